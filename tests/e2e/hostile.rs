//! An OPC UA client that means harm and has no certificate: what it sends ends its own connection, nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::canvoy::{Canvoy, get};
use crate::harness::{LIMIT, poll, resident};

crate::tests! {
    Nothing: nested_values_on_an_unencrypted_channel, connections_that_say_nothing;
}

fn start() -> (Canvoy, String) {
    let bus = "[bus.m]\nvirtual = true\ndbc = [\"machine.dbc\"]\nnode = \"Canvoy\"\n";
    let canvoy = Canvoy::run_with("", bus, &[("machine.dbc", include_str!("machine.dbc"))], &[]);
    let address = canvoy.opcua.trim_start_matches("opc.tcp://").to_string();
    (canvoy, address)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream
}

/// A message chunk (OPC 10000-6, 6.7.2): type, size, the rest.
fn message(kind: &[u8; 4], rest: &[u8]) -> Vec<u8> {
    [&kind[..], &(rest.len() as u32 + 8).to_le_bytes(), rest].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The answer to a Hello (OPC 10000-6, 7.1.2.3): ACK, or nothing when the server would rather not.
fn hello(stream: &mut TcpStream, address: &str) -> Option<[u8; 28]> {
    let sizes: Vec<u8> = [0u32, 65_535, 65_535, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    stream.write_all(&message(b"HELF", &[sizes, string(&format!("opc.tcp://{address}"))].concat())).ok()?;
    let mut answer = [0; 28];
    stream.read_exact(&mut answer).ok()?;
    answer.starts_with(b"ACKF").then_some(answer)
}

const NULL: [u8; 4] = [0xFF; 4];
/// RequestHeader: no token, no time, handle 1, nothing else wanted.
const HEADER: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0];

/// Opens a channel with the security policy None, as every client does for discovery: channel and token.
fn open(stream: &mut TcpStream) -> Option<(u32, u32)> {
    // sequence number 1, request 1, OpenSecureChannelRequest (i=446)
    let head = [&[0; 4][..], &string("http://opcfoundation.org/UA/SecurityPolicy#None"), &NULL, &NULL].concat();
    let body = [&[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0xBE, 1][..], HEADER].concat();
    // protocol 0, issue, mode None, no nonce, an hour
    let tail: Vec<u8> = [0u32, 0, 1, u32::MAX, 3_600_000].iter().flat_map(|word| word.to_le_bytes()).collect();
    stream.write_all(&message(b"OPNF", &[head, body, tail].concat())).ok()?;
    let mut answer = vec![0; 8];
    stream.read_exact(&mut answer).ok()?;
    let size = u32::from_le_bytes(answer[4..8].try_into().ok()?) as usize;
    answer.resize(size, 0);
    stream.read_exact(&mut answer[8..]).ok()?;
    assert!(answer.starts_with(b"OPNF"), "{answer:?}");
    // it ends with: channel, token, created (8), lifetime (4), no nonce (4) or an empty one
    let word = |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().expect("four bytes"));
    let channel = word(8);
    let at = (60..size - 20).find(|at| word(*at) == channel && word(at + 16) == 3_600_000).unwrap_or(size - 24);
    Some((channel, word(at + 4)))
}

/// A service request on the open channel, in one chunk.
fn request(channel: (u32, u32), service: u16, body: &[u8]) -> Vec<u8> {
    let [low, high] = service.to_le_bytes();
    let words: Vec<u8> = [channel.0, channel.1, 2, 2].iter().flat_map(|word| word.to_le_bytes()).collect();
    message(b"MSGF", &[&words[..], &[1, 0, low, high], HEADER, body].concat())
}

/// A DataValue in a Variant in a DataValue...: two bytes a level, each one a call deeper in a decoder by recursion.
fn nested_values_on_an_unencrypted_channel() {
    let (canvoy, address) = start();
    let plant = canvoy.part("plant");
    let before = resident(plant);
    // GetEndpoints as it should be (i=428) is answered: what follows fails for what it is, not for its form
    let mut stream = connect(&address);
    hello(&mut stream, &address).expect("a hello is answered");
    let channel = open(&mut stream).expect("a channel for discovery");
    stream.write_all(&request(channel, 428, &[string(&canvoy.opcua), vec![0; 8]].concat())).expect("ask for endpoints");
    let mut answer = [0; 16_000];
    let count = stream.read(&mut answer).expect("endpoints");
    let text = String::from_utf8_lossy(&answer[..count]);
    assert!(text.starts_with("MSGF") && text.contains("#Basic256Sha256"), "{text}");
    for depth in [100, 3_000, 30_000] {
        // WriteRequest (i=673): one value, of node i=0, attribute 13
        let value = [&[1, 0, 0, 0, 0, 0, 13, 0, 0, 0][..], &NULL, &[1, 23].repeat(depth), &[0]].concat();
        // ReadRequest and others take no values; FindServers (i=422) and GetEndpoints (i=428) must not be misread either
        for service in [673, 422, 428, 631, 461] {
            let mut stream = connect(&address);
            hello(&mut stream, &address).expect("a hello is answered");
            let channel = open(&mut stream).expect("a channel for discovery");
            let _ = stream.write_all(&request(channel, service, &value));
            let _ = stream.read(&mut [0; 1000]);
            assert_eq!(
                get(&canvoy.http, "/healthz").map(|(status, _)| status),
                Some(200),
                "service {service}, depth {depth}"
            );
        }
    }
    assert_eq!(canvoy.part("plant"), plant, "the plant process was started again");
    assert!(resident(plant) < before + (64 << 20), "{} bytes, {before} before", resident(plant));
    assert!(!canvoy.process.errors().contains("panicked"));
}

/// Hundreds of connections, some after a hello, wait for nothing: whoever comes later is served all the same.
fn connections_that_say_nothing() {
    let (canvoy, address) = start();
    let plant = canvoy.part("plant");
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut stream = connect(&address);
        if number % 2 == 0 {
            // it may be refused already
            let _ = hello(&mut stream, &address);
        }
        idle.push(stream);
    }
    poll("a hello to be answered", LIMIT, || {
        let mut stream = connect(&address);
        hello(&mut stream, &address).filter(|_| open(&mut stream).is_some()).map(drop)
    });
    assert_eq!(canvoy.part("plant"), plant);
    drop(idle);
}
