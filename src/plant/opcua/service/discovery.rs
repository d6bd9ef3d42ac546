//! FindServers and GetEndpoints (OPC 10000-4, 5.5): answered to everybody.

use opcua::types::StatusCode;

use crate::plant::opcua::application::{Application, TRANSPORT};
use crate::plant::opcua::wire::{Reader, Writer};

/// Elements of a list of locales or URIs that are looked at.
const MOST_LISTED: usize = 100;

/// This server, unless the client asks for others.
pub fn find_servers(application: &Application, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let url = reader.string()?.unwrap_or_default();
    strings(reader)?; // locales: there is one
    let wanted = strings(reader)?;
    let found = wanted.is_empty() || wanted.contains(&application.uri.as_str());
    writer.all(&if found { vec![application.description(url)] } else { Vec::new() });
    Ok(())
}

/// All endpoints, unless the client wants another transport.
pub fn get_endpoints(
    application: &Application,
    reader: &mut Reader<'_>,
    writer: &mut Writer,
) -> Result<(), StatusCode> {
    let url = reader.string()?.unwrap_or_default();
    strings(reader)?;
    let profiles = strings(reader)?;
    let found = profiles.is_empty() || profiles.contains(&TRANSPORT);
    writer.all(&if found { application.endpoints(url) } else { Vec::new() });
    Ok(())
}

fn strings<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, StatusCode> {
    let count = reader.count(4)?;
    if count > MOST_LISTED {
        return Err(StatusCode::BadEncodingLimitsExceeded);
    }
    (0..count).map(|_| reader.string().map(Option::unwrap_or_default)).collect()
}
