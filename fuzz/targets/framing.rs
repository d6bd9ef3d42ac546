//! Bytes of a connection from its first one: headers, Hello, OpenSecureChannel, chunks put together.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| canvoy::plant::opcua::channel::fuzz::framing(bytes));
