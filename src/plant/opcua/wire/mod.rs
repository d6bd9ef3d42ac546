//! Messages as bytes: the binary encoding read and written (OPC 10000-6, 5.2), and the headers of requests and responses.
//!
//! What a client sends is read by our own [`Reader`], never by recursion without a limit; the crate decodes single values
//! that were found to be flat enough. Structures inside values stay bytes (no type loader): only who knows what it wants
//! opens one.

mod header;
mod read;
mod write;

pub use header::{RequestHeader, response, service_fault};
pub use read::{MOST_DEPTH, Name, NodeRef, Reader, Structure};
pub use write::Writer;

use opcua::types::type_loader::FallbackTypeLoader;
use opcua::types::{ContextOwned, DecodingOptions, NamespaceMap, TypeLoaderCollection};

/// What the crate's codec is told: the limits of lengths are those of a whole message, which is bounded before it is read.
pub(super) fn context() -> &'static ContextOwned {
    static CONTEXT: std::sync::LazyLock<ContextOwned> = std::sync::LazyLock::new(|| {
        let most = i32::MAX as usize;
        let options = DecodingOptions {
            max_string_length: most,
            max_byte_string_length: most,
            max_array_length: most,
            ..DecodingOptions::default()
        };
        // structures stay what they are: bytes
        let mut loaders = TypeLoaderCollection::new_empty();
        loaders.add_type_loader(FallbackTypeLoader);
        ContextOwned::new(NamespaceMap::new(), loaders, options)
    });
    &CONTEXT
}
