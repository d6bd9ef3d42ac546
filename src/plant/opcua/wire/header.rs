//! What every request and every response begins with (OPC 10000-4, 7.32 and 7.33).

use opcua::types::{DateTime, StatusCode};

use super::{NodeRef, Reader, Writer};

/// A RequestHeader. Its additional header is passed over unread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestHeader<'a> {
    pub authentication_token: NodeRef<'a>,
    /// 100 ns since 1601.
    pub timestamp: i64,
    pub handle: u32,
    pub return_diagnostics: u32,
    pub audit_entry_id: Option<&'a str>,
    /// Milliseconds that the client waits; 0: for ever.
    pub timeout_hint: u32,
}

impl<'a> RequestHeader<'a> {
    pub fn read(reader: &mut Reader<'a>) -> Result<RequestHeader<'a>, StatusCode> {
        let header = RequestHeader {
            authentication_token: reader.node_id()?,
            timestamp: reader.i64()?,
            handle: reader.u32()?,
            return_diagnostics: reader.u32()?,
            audit_entry_id: reader.string()?,
            timeout_hint: reader.u32()?,
        };
        reader.structure()?;
        Ok(header)
    }
}

/// Begins a response: the id of its encoding and a ResponseHeader. `handle`: the request's.
pub fn response(encoding: u32, handle: u32, status: StatusCode) -> Writer {
    let mut writer = Writer::with_capacity(256);
    writer.node_id(NodeRef::Numeric(0, encoding));
    writer.encode(&DateTime::now());
    writer.u32(handle);
    writer.status(status);
    // no diagnostics, no strings, no additional header
    writer.u8(0);
    writer.i32(-1);
    writer.raw(&[0, 0, 0]);
    writer
}

/// The whole answer to a request that could not be answered as a whole.
pub fn service_fault(handle: u32, status: StatusCode) -> Vec<u8> {
    response(397, handle, status).finish()
}

#[cfg(test)]
mod tests {
    use opcua::types::{BinaryDecodable, ResponseHeader, ServiceFault};

    use super::*;

    #[test]
    fn the_crate_reads_what_we_write() {
        let bytes = service_fault(7, StatusCode::BadSessionIdInvalid);
        let (id, mut body) = bytes.split_at(4);
        assert_eq!(id, [1, 0, 0x8D, 0x01]);
        let fault = ServiceFault::decode(&mut body, &super::super::context().context()).unwrap();
        let ResponseHeader { request_handle, service_result, .. } = fault.response_header;
        assert_eq!((request_handle, service_result), (7, StatusCode::BadSessionIdInvalid));
        assert!(body.is_empty());
    }
}
