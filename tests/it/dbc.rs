//! DBC files: every gap and trap of real ones, decoding and encoding against what cantools made, any bytes survived.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use canvoy::can::FrameId;
use canvoy::cli::{decode, encode};
use canvoy::dbc::codec::{ByteOrder, Kind};
use canvoy::dbc::decoder::Batch;
use canvoy::dbc::{self, Attribute, Codec, Database, Decoder, Lookup, Message, Raw, SendType, Signal, Trigger};
use canvoy::diagnostic::has_errors;
use proptest::prelude::*;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn fixture(name: &str) -> PathBuf {
    path(&format!("tests/fixtures/dbc/{name}.dbc"))
}

fn load(name: &str) -> Database {
    let bytes = std::fs::read(fixture(name)).unwrap();
    dbc::parse(&format!("{name}.dbc"), &bytes).0.unwrap()
}

fn message<'a>(database: &'a Database, name: &str) -> &'a Message {
    database.messages.iter().find(|message| message.name == name).unwrap_or_else(|| panic!("no message {name}"))
}

fn signal<'a>(message: &'a Message, name: &str) -> &'a Signal {
    message.signals.iter().find(|signal| signal.name == name).unwrap_or_else(|| panic!("no signal {name}"))
}

/// A file of this test, away from the sources.
fn scratch(content: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dbc-{}-{number}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

/// `canvoy decode`: exit status, output, what is said on standard error.
fn run_decode(dbc: PathBuf, log: &str, json: bool, single_line: bool) -> (u8, String, String) {
    let log = scratch(log);
    let args = decode::Args { dbc: vec![dbc], json, single_line, quiet: true, log: Some(log.clone()) };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = decode::process(&args, &mut output, &mut errors).unwrap();
    std::fs::remove_file(&log).unwrap();
    let errors = String::from_utf8(errors).unwrap().replace(&log.display().to_string(), "log");
    (code, String::from_utf8(output).unwrap(), errors)
}

/// `canvoy encode`, as `run_decode`.
fn run_encode(dbc: PathBuf, input: &str) -> (u8, String, String) {
    let file = scratch(input);
    let args = encode::Args { dbc: vec![dbc], interface: "can0".into(), quiet: true, input: Some(file.clone()) };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = encode::process(&args, &mut output, &mut errors).unwrap();
    std::fs::remove_file(&file).unwrap();
    let errors = String::from_utf8(errors).unwrap().replace(&file.display().to_string(), "input");
    (code, String::from_utf8(output).unwrap(), errors)
}

/// diagnostics.txt: `=== file`, then everything that must be said about it, a line each, in order.
#[test]
fn every_mistake_is_reported_with_its_place() {
    let mut differing = String::new();
    let mut seen = 0;
    for case in include_str!("../fixtures/dbc/diagnostics.txt").split("=== ").skip(1) {
        let (name, want) = case.split_once('\n').unwrap();
        let bytes = std::fs::read(path("tests/fixtures/dbc").join(name)).unwrap();
        let (database, diagnostics) = dbc::parse(name, &bytes);
        assert_eq!(database.is_none(), has_errors(&diagnostics), "{name}");
        let said: String = diagnostics
            .iter()
            .map(|d| d.to_string().lines().next().unwrap_or_default().replacen(name, "", 1).to_owned() + "\n")
            .collect();
        if said != want {
            differing.push_str(&format!("=== {name}\n{said}"));
        }
        seen += 1;
    }
    let fixtures = std::fs::read_dir(path("tests/fixtures/dbc")).unwrap().count() - 1;
    assert_eq!(seen, fixtures, "every fixture has its entry");
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
}

/// How far an engineering value may be from the exact one.
fn tolerance(codec: &Codec, raw: f64) -> f64 {
    4.0 * 2f64.powi(-53) * ((raw * codec.factor).abs() + codec.offset.abs())
}

#[test]
fn decodes_and_encodes_as_cantools() {
    let mut vectors = 0;
    for entry in std::fs::read_dir(path("tests/golden")).unwrap() {
        let golden = entry.unwrap().path();
        if golden.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let name = golden.file_stem().unwrap().to_str().unwrap();
        let file = if fixture(name).exists() { fixture(name) } else { path(&format!("dbc/{name}.dbc")) };
        let lines: Vec<Value> =
            std::fs::read_to_string(&golden).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (decoded, encoded): (Vec<Value>, Vec<Value>) =
            lines.into_iter().partition(|line| line.get("payload").is_some());
        vectors += decoded.len() + encoded.len();
        check_decoded(&file, &decoded);
        check_encoded(&file, &encoded);
    }
    assert!(vectors > 900, "only {vectors} golden vectors found");
}

fn check_decoded(file: &Path, vectors: &[Value]) {
    let database = dbc::parse("", &std::fs::read(file).unwrap()).0.unwrap();
    let mut log = String::new();
    for vector in vectors {
        let (id, payload) = (vector["id"].as_str().unwrap(), vector["payload"].as_str().unwrap());
        let flags = if payload.len() > 16 { "#0" } else { "" };
        log.push_str(&format!("(1.5) can0 {id}#{flags}{payload}\n"));
    }
    let (code, output, errors) = run_decode(file.into(), &log, true, false);
    assert_eq!((code, errors.as_str(), output.lines().count()), (0, "", vectors.len()), "{}", file.display());
    for (line, want) in output.lines().zip(vectors) {
        let got: Value = serde_json::from_str(line).unwrap();
        let place = format!("{}: {line}\n{want}", file.display());
        for (key, want) in [("time", &Value::from(1.5)), ("bus", &"can0".into())]
            .into_iter()
            .chain(["id", "extended", "message"].map(|key| (key, &want[key])))
        {
            assert_eq!(&got[key], want, "{place}");
        }
        let (got, signals) = (got["signals"].as_object().unwrap(), want["signals"].as_object().unwrap());
        assert_eq!(got.keys().collect::<Vec<_>>(), signals.keys().collect::<Vec<_>>(), "{place}");
        let is_meant = |m: &&Message| want["id"] == m.id.to_string() && want["extended"] == m.id.is_extended();
        let message = database.messages.iter().find(is_meant).unwrap();
        for (name, want) in signals {
            let got = &got[name];
            assert_eq!(got["raw"], want["raw"], "{name} in {place}");
            assert_eq!(got["label"], want["label"], "{name} in {place}");
            let signal = message.signals.iter().find(|s| s.file_name() == name).unwrap();
            let raw = Raw::parse(signal.codec.kind, want["raw"].as_str().unwrap()).unwrap();
            match (got["value"].as_f64(), want["value"].as_f64()) {
                (Some(got), Some(want)) => {
                    assert!((got - want).abs() <= tolerance(&signal.codec, raw.as_f64()), "{name} in {place}");
                }
                (got, want) => assert_eq!(got, want, "{name} in {place}"),
            }
        }
    }
}

fn check_encoded(file: &Path, vectors: &[Value]) {
    let mut input = String::new();
    for vector in vectors {
        let mut request = vector.clone();
        request.as_object_mut().unwrap().remove("frame");
        input.push_str(&format!("{request}\n"));
    }
    let (code, output, errors) = run_encode(file.into(), &input);
    assert_eq!((code, errors.as_str(), output.lines().count()), (0, "", vectors.len()), "{}", file.display());
    for (line, want) in output.lines().zip(vectors) {
        let (id, data) = line.strip_prefix("(0.000000) can0 ").unwrap().split_once('#').unwrap();
        let data = data.strip_prefix('#').map_or(data, |data| &data[1..]);
        assert_eq!(format!("{id}#{data}"), want["frame"].as_str().unwrap(), "{}: {want}", file.display());
    }
}

#[test]
fn text_is_that_of_cantools() {
    for name in ["multiplex", "values"] {
        let golden = |kind| std::fs::read_to_string(path(&format!("tests/golden/{name}.{kind}"))).unwrap();
        for (single_line, want) in [(false, golden("text.txt")), (true, golden("single.txt"))] {
            let (code, output, errors) = run_decode(fixture(name), &golden("log"), false, single_line);
            assert_eq!((code, errors.as_str()), (0, ""));
            assert_eq!(output, want, "{name}");
        }
    }
}

#[test]
fn a_log_line_that_is_none_is_reported_and_the_rest_decoded() {
    let log = "can0 400   [1]  FF   '\u{FFFD}'\nnonsense\n(1.0) can0 7FE#00\n\ncan0 400#0\n(1.0) can1 20000004#0000\n(1.0) can1 400#R\n";
    let (code, output, errors) = run_decode(fixture("values"), log, true, false);
    let (head, tail) = ("{\"time\":1.0,\"bus\":\"can", "\"signals\":{}}\n");
    assert_eq!(
        output,
        format!(
            "{{\"time\":null,\"bus\":\"can0\",\"id\":\"400\",\"extended\":false,\"message\":\"Words\",\"signals\":{{\"State\":\
             {{\"raw\":\"-1\",\"value\":-1,\"label\":\"Fault\",\"unit\":null}}}}}}\n\
             {head}0\",\"id\":\"7FE\",\"extended\":false,\"message\":null,{tail}\
             {head}1\",\"id\":\"400\",\"extended\":false,\"message\":\"Words\",{tail}"
        )
    );
    assert_eq!(
        errors,
        "log:2: no identifier behind the interface\nlog:5: an odd number of digits in the data\n2 lines could not be read\n"
    );
    assert_eq!(code, 65);
}

#[test]
fn floats_that_are_no_numbers_have_no_value() {
    let (_, output, _) = run_decode(fixture("values"), "can0 404#0000C07F\ncan0 404#000080FF\n", true, false);
    let shown: Vec<&str> = output.lines().filter_map(|line| line.split_once("\"F\":")).map(|(_, f)| f).collect();
    assert_eq!(
        shown,
        [
            "{\"raw\":\"2143289344\",\"value\":null,\"label\":null,\"unit\":null}}}",
            "{\"raw\":\"4286578688\",\"value\":null,\"label\":null,\"unit\":null}}}",
        ]
    );
}

#[test]
fn nothing_usable_is_said_and_nothing_decoded() {
    let (code, output, errors) = run_decode(fixture("not_dbc"), "can0 100#00\n", true, false);
    assert_eq!((code, output.as_str()), (65, ""));
    assert!(errors.ends_with("not_dbc.dbc: error: not a DBC file: no DBC statement in it\n"), "{errors}");
}

#[test]
fn what_can_not_be_encoded_is_refused() {
    let check = |dbc: &str, request: &str, want: Result<&str, &str>| {
        let (code, output, errors) = run_encode(fixture(dbc), &format!("\n{request}\n"));
        match want {
            Ok(frame) => {
                assert_eq!((code, output.as_str(), errors.as_str()), (0, &*format!("(0.000000) can0 {frame}\n"), ""));
            }
            Err(reason) => {
                let errors = errors.strip_suffix("1 line was refused\n").unwrap();
                assert_eq!((code, output.as_str(), errors), (65, "", &*format!("input:2: {reason}\n")), "{request}");
            }
        }
    };
    // values
    check(
        "values",
        r#"{"message":"Words","signals":{"Level":12.5,"State":"On","Flag":1}}"#,
        Ok("400#0119010000000000"),
    );
    check(
        "values",
        r#"{"message":"Words","signals":{"Level":128}}"#,
        Err("Level: value 128 needs a raw value outside 0..=255"),
    );
    check("values", r#"{"message":"Words","signals":{"State":-128.5}}"#, Ok("400#8000000000000000"));
    check(
        "values",
        r#"{"message":"Words","signals":{"State":-129}}"#,
        Err("State: value -129 needs a raw value outside -128..=127"),
    );
    check(
        "values",
        r#"{"message":"Words","signals":{"State":"Open"}}"#,
        Err("State: \"Open\" is not in its value table"),
    );
    check(
        "values",
        r#"{"message":"Words","signals":{"SameWords":"Off"}}"#,
        Err("SameWords: \"Off\" names several raw values: give a number"),
    );
    check("values", r#"{"message":"Words","signals":{"State":null}}"#, Err("State: neither a number nor a word"));
    check("values", r#"{"message":"Words","raw":{"State":"128"}}"#, Err("State: raw value 128 is outside -128..=127"));
    check(
        "values",
        r#"{"message":"Words","raw":{"State":"1.5"}}"#,
        Err("State: \"1.5\" is no raw value of a signed integer"),
    );
    check(
        "values",
        r#"{"message":"Words","raw":{"Level":"-1"}}"#,
        Err("Level: \"-1\" is no raw value of a unsigned integer"),
    );
    check("values", r#"{"message":"Words","raw":{"State":"1"},"signals":{"State":1}}"#, Err("State is given twice"));
    check("values", r#"{"message":"Words","signals":{"State":1,"State":2}}"#, Err("State is given twice"));
    check("values", r#"{"message":"Words","signals":{"Nobody":1}}"#, Err("Words has no signal \"Nobody\""));
    check("values", r#"{"message":"Nobody"}"#, Err("no message \"Nobody\" in the DBC files"));
    check("values", r#"{"message":"Words"}"#, Ok("400#0000000000000000"));
    check("values", r#"{"signals":{}}"#, Err("missing field `message` at line 1 column 14"));
    check(
        "values",
        r#"{"message":"Words","value":{}}"#,
        Err("unknown field `value`, expected one of `message`, `signals`, `raw` at line 1 column 26"),
    );
    check("values", r#"{"message":"Big","signals":{"All":18446744073709551615}}"#, Ok("401#FFFFFFFFFFFFFFFF"));
    check("values", r#"{"message":"Big","signals":{"All":9007199254740993}}"#, Ok("401#0100000000002000"));
    check(
        "values",
        r#"{"message":"Big","signals":{"All":1e20}}"#,
        Err("All: value 100000000000000000000 needs a raw value outside 0..=18446744073709551615"),
    );
    check("values", r#"{"message":"Float","raw":{"F":"2143289344"}}"#, Ok("404#0000C07F00000000"));
    check(
        "values",
        r#"{"message":"Float","signals":{"F":1e39}}"#,
        Err("F: value 1000000000000000000000000000000000000000 does not fit the signal's floating-point format"),
    );
    check(
        "layout",
        r#"{"message":"Scaling","signals":{"Constant":7}}"#,
        Err("Constant: the signal's factor is 0: it is a constant and can't be encoded"),
    );
    check(
        "layout",
        r#"{"message":"Scaling","raw":{"Constant":"3"},"signals":{"Negative":-53.5}}"#,
        Ok("205#037F000000000000"),
    );
    // layout
    check(
        "layout",
        r#"{"message":"Overlap","signals":{"One":1,"Two":1}}"#,
        Err("One and Two share bits: only one of them can be written"),
    );
    check("layout", r#"{"message":"Overlap","signals":{"Two":255}}"#, Ok("201#00FF000000000000"));
    check("layout", r#"{"message":"Twice","signals":{"Same":255}}"#, Ok("202#00FF000000000000"));
    check("layout", r#"{"message":"Twice","signals":{"Branch_2":258}}"#, Ok("202#0000010002010000"));
    // branches
    check("multiplex", r#"{"message":"Simple","signals":{"OnOne":5}}"#, Ok("100#0105000000000000"));
    check(
        "multiplex",
        r#"{"message":"Simple","signals":{"OnOne":5,"OnZero":1}}"#,
        Err("OnZero is present only where raw Page is 0, which the other values rule out"),
    );
    check(
        "multiplex",
        r#"{"message":"Simple","signals":{"OnOne":5,"Page":0}}"#,
        Err("OnOne is present only where raw Page is 1, which the other values rule out"),
    );
    check(
        "multiplex",
        r#"{"message":"Ranges","signals":{"Low":5}}"#,
        Err("Low is present only where raw Page is 0 to 3; give that signal too"),
    );
    check("multiplex", r#"{"message":"Ranges","signals":{"Wide":5,"Page":20}}"#, Ok("101#1405000000000000"));
    check(
        "multiplex",
        r#"{"message":"Ranges","signals":{"Wide":5,"Page":13}}"#,
        Err("Wide is present only where raw Page is 10 to 12, 20, 255, which the other values rule out"),
    );
    check("multiplex", r#"{"message":"Nested","signals":{"Deepest":7}}"#, Ok("102#4100FF0700000000"));
    check(
        "multiplex",
        r#"{"message":"Nested","signals":{"Deepest":7,"OnOuterZero":1}}"#,
        Err("OnOuterZero is present only where raw Outer is 0, which the other values rule out"),
    );
    check(
        "multiplex",
        r#"{"message":"Several","signals":{"OnRight":7,"Right":3,"OnLeft":1,"Left":2}}"#,
        Ok("103#0203010700000000"),
    );
    check(
        "multiplex_faults",
        r#"{"message":"SignedSelector","signals":{"NeverReached":1}}"#,
        Err("NeverReached is present only where raw Page is 255, which the other values rule out"),
    );
    // start values
    check("attributes", r#"{"message":"Cyclic"}"#, Ok("500#040500FD00000000"));
    check("attributes", r#"{"message":"Cyclic","signals":{"Start":-10}}"#, Ok("500#000500FD00000000"));
    // names
    check(
        "long_names",
        r#"{"message":"ShortMessageNameOfThirtyTwoChars","signals":{"Child":1}}"#,
        Ok("600#0101000000000000"),
    );
    check(
        "long_names",
        r#"{"message":"ShortMessageNameOfThirtyTwoCharsIsLonger","signals":{"ShortSignalNameOfThirtyTwoCharactersIsLonger":2,"With spaces, v1_2":1}}"#,
        Ok("600#0200000100000000"),
    );
    check(
        "long_names",
        r#"{"message":"ShortMessageNameOfThirtyTwoChars","signals":{"ShortSignalNameOfThirtyTwoCharac":2,"Spaced":1}}"#,
        Ok("600#0200000100000000"),
    );
    // frames
    check("fd", r#"{"message":"FdOfEight","signals":{"S":1}}"#, Ok("701##00100000000000000"));
    check("fd", r#"{"message":"ExtendedFd","signals":{"S":1}}"#, Ok("00000704##1000000000000000000000001"));
    check(
        "j1939",
        r#"{"message":"Transport","signals":{"Late":1}}"#,
        Err("Transport has 200 bytes, a frame at most 64"),
    );
}

#[test]
fn identifiers_and_parameter_groups() {
    let check = |dbc: &str, extended: bool, number: u32, want: Option<&str>| {
        let database = load(dbc);
        let lookup = Lookup::new(&database.messages);
        let id = if extended { FrameId::extended(number) } else { FrameId::standard(number) };
        let found = lookup.get(id.unwrap()).map(|index| database.messages[index].name.as_str());
        assert_eq!(found, want, "{dbc} {number:X}");
    };
    check("identifiers", false, 1, Some("StandardOne"));
    check("identifiers", true, 1, Some("ExtendedOne"));
    check("identifiers", true, 0, Some("ExtendedZero"));
    check("identifiers", false, 0, None);
    check("identifiers", true, 0x1063_0000, None);
    check("identifiers", false, 300, Some("Second"));
    check("j1939", true, 0x0CF0_04FE, Some("EEC1"));
    check("j1939", true, 0x18F0_0417, Some("EEC1"));
    check("j1939", true, 0x0C00_2103, Some("TSC1")); // PDU1: to any destination
    check("j1939", true, 0x18FE_F1FE, Some("NotJ1939"));
    check("j1939", true, 0x18FE_F117, None);
    check("j1939_protocol", true, 0x00F0_0400, Some("EEC1"));
}

#[test]
fn frame_formats() {
    let check = |dbc: &str, name: &str, fd: bool, pgn: Option<u32>| {
        let database = load(dbc);
        let message = message(&database, name);
        assert_eq!((message.fd, message.pgn), (fd, pgn), "{name}");
    };
    check("fd", "Fd", true, None);
    check("fd", "FdOfEight", true, None);
    check("fd", "Classic", false, None);
    check("fd", "ClassicTooLong", true, None);
    check("fd", "ExtendedFd", true, None);
    check("fd_bus", "Everything", true, None);
    check("j1939", "EEC1", false, Some(0xF004));
    check("j1939", "TSC1", false, Some(0));
    check("j1939", "NotJ1939", false, None);
    check("j1939", "Standard", false, None);
    check("j1939_protocol", "EEC1", false, Some(0xF004));
}

#[test]
fn raw_values_that_say_there_is_none() {
    let check = |dbc: &str, name: &str, of: &str, raw: u64, want: bool| {
        let database = load(dbc);
        let message = message(&database, name);
        assert_eq!(signal(message, of).not_available(message, Raw::Unsigned(raw)), want, "{of} {raw:X}");
    };
    check("j1939", "EEC1", "EngineSpeed", 0xFF00, true);
    check("j1939", "EEC1", "EngineSpeed", 0xFE00, true);
    check("j1939", "EEC1", "EngineSpeed", 0xFAFF, false);
    check("j1939", "EEC1", "StarterMode", 3, true);
    check("j1939", "NotJ1939", "S", 0xFF, false);
    check("values", "Words", "Level", 0xFF, true);
    check("values", "Words", "Level", 0xFE, false);
    check("values", "Words", "Flag", 1, false);
    check("values", "Big", "All", u64::MAX, true);
}

#[test]
fn attributes_mean_what_their_definitions_say() {
    let database = load("attributes");
    assert_eq!(database.version, "7");
    assert_eq!(database.comment.as_deref(), Some("Bus, first part. Second part."));
    assert_eq!(database.attributes, BTreeMap::from([("DBName".into(), Attribute::Text("Line 1".into()))]));
    assert_eq!(database.nodes[0].comment.as_deref(), Some("The controller"));
    assert_eq!(database.nodes[1].attributes["NodeLayerModules"], Attribute::Text("CANoe.dll".into()));

    let check = |name: &str, send_type, cycle: Option<u64>, delay: u64, senders: &[&str]| {
        let message = message(&database, name);
        assert_eq!(message.send_type, send_type, "{name}");
        assert_eq!(message.cycle_time, cycle.map(Duration::from_micros), "{name}");
        assert_eq!(message.start_delay, Duration::from_millis(delay), "{name}");
        assert_eq!(message.senders, senders, "{name}");
    };
    let only = SendType::default();
    let cyclic_type = Some(SendType { cyclic: true, ..only });
    check("Cyclic", cyclic_type, Some(2500), 20, &["Ecu"]);
    check("ByDefault", Some(only), Some(100_000), 0, &["Ecu", "Tool"]);
    check("Event", Some(SendType { trigger: Trigger::OnWrite, ..only }), None, 0, &["Ecu"]);
    check("ByWord", Some(SendType { if_active: true, ..only }), Some(100_000), 0, &["Ecu"]);
    check("OutOfEnumeration", Some(only), Some(100_000), 0, &["Ecu"]);
    let cyclic = message(&database, "Cyclic");
    assert_eq!(cyclic.comment.as_deref(), Some("Sent every 2.5 ms"));
    assert_eq!(cyclic.attributes["GenMsgSendType"], Attribute::Enum { index: 0, word: "cyclic".into() });
    assert_eq!(cyclic.attributes["GenMsgNrOfRepetition"], Attribute::Integer(3));

    let starts: Vec<_> = cyclic.signals.iter().map(|signal| signal.start_value).collect();
    let unsigned = |raw| Some(Raw::Unsigned(raw));
    assert_eq!(starts, [unsigned(4), unsigned(5), None, None, Some(Raw::Signed(-3))]);
    assert_eq!(signal(cyclic, "Start").send_type, Some(SendType { trigger: Trigger::OnChange, ..only }));
    assert_eq!(signal(cyclic, "StartFloat").send_type, cyclic_type);
    assert_eq!(signal(message(&database, "Event"), "S").start_value, unsigned(0));
}

#[test]
fn texts_in_either_encoding() {
    let text = |name: &str| {
        let database = load(name);
        let signal = database.messages[0].signals[0].clone();
        (signal.unit, signal.comment.unwrap(), signal.value_table)
    };
    let table = vec![(0, "Süß".to_string())];
    assert_eq!(text("cp1252"), ("°C".into(), "Öl – 5 €".into(), table.clone()));
    assert_eq!(text("utf8"), ("°C".into(), "Öl – 5 € Ω".into(), table));
    let database = load("strings");
    let signal = &database.messages[0].signals[0];
    assert_eq!(database.version, "a;b");
    assert_eq!(signal.unit, "m/s; \"raw\"");
    assert_eq!(signal.comment.as_deref(), Some("says \"stop; go\" and /* means */ it"));
    assert_eq!(signal.value_table, [(0, "a;b".into()), (1, "\"quoted\"".into()), (2, String::new())]);
    let comment = database.messages[0].comment.as_deref().unwrap();
    assert!(comment.starts_with("first line;\nBO_ 999") && comment.ends_with("not a comment, last line"), "{comment}");
}

#[test]
fn repaired_statements_mean_what_they_plainly_mean() {
    let database = load("repaired");
    let names: Vec<_> = database.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "C"]);
    let m = message(&database, "M");
    assert!(m.senders.is_empty());
    assert_eq!(m.attributes["Kind"], Attribute::Enum { index: 1, word: "fast".into() });
    assert_eq!((signal(m, "NoRange").codec.factor, signal(m, "NoRange").codec.offset), (5.0, -5.0));
    assert_eq!(signal(m, "Infinite").receivers, ["B", "C"]);
    let words = ["one", "C:\\", "four", "all ones"];
    let table = &signal(m, "NoReceiver").value_table;
    assert_eq!(table.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), words);
    assert_eq!(table.last().unwrap().0, u64::MAX.into());
    assert_eq!(signal(message(&database, "Floats"), "F").codec.kind, Kind::F32);
    let digits = message(&database, "2017_Digits");
    assert_eq!(digits.senders, ["1A"]);
    assert_eq!(digits.signals[0].comment.as_deref(), Some("of a name that begins with a digit"));
    assert_eq!(digits.signals[0].start_value, Some(Raw::Unsigned(5)));
}

/// A layout of signals that do not overlap, as positions of the next free bit and sizes.
#[test]
fn decoding_allocates_nothing() {
    let mut messages = Vec::new();
    for name in ["layout", "multiplex", "fd", "values"] {
        messages.extend(load(name).messages);
    }
    let decoder = Decoder::new(&messages);
    let (mut row, mut raw, mut batch) = (decoder.row(), decoder.row(), decoder.batch_buffer());
    let payload: [u8; 64] = std::array::from_fn(|i| (i * 41) as u8);
    let frames: Vec<(FrameId, &[u8])> =
        messages.iter().flat_map(|message| (0..=64).map(|len| (message.id, &payload[..len]))).collect();
    let values = |batch: &mut Batch| -> usize {
        let mut values = 0;
        decoder.batch(&frames, |frame| *frame, batch, |table| values += table.column(0).len());
        values
    };
    let expected = values(&mut batch);
    let watch = crate::allocations::Watch::thread(nix::unistd::gettid().as_raw());
    for (id, payload) in &frames {
        assert!(decoder.decode(*id, payload, &mut row).is_some() && decoder.raw(*id, payload, &mut raw).is_some());
    }
    assert_eq!(values(&mut batch), expected);
    assert_eq!(watch.count(), 0);
}

fn layouts() -> impl Strategy<Value = Vec<(u8, u8, bool, bool)>> {
    // gap before the signal, size, Motorola, signed
    proptest::collection::vec((0u8..9, 1u8..=64, any::<bool>(), any::<bool>()), 1..20)
}

/// The layout as a message of 64 bytes.
fn laid_out(layout: &[(u8, u8, bool, bool)]) -> Database {
    let mut text = String::from("BO_ 100 M: 64 A\n");
    // Intel signals fill the payload from the front, Motorola ones from a byte boundary behind
    let mut at = 0usize;
    for (index, &(gap, size, motorola, signed)) in layout.iter().enumerate() {
        let from = at.next_multiple_of(8) + usize::from(gap);
        at = from + usize::from(size);
        if at > 512 {
            break;
        }
        let start = if motorola { from / 8 * 8 + 7 - from % 8 } else { from };
        let (order, sign) = (if motorola { 0 } else { 1 }, if signed { '-' } else { '+' });
        text.push_str(&format!(" SG_ S{index} : {start}|{size}@{order}{sign} (1,0) [0|0] \"\" A\n"));
    }
    let (database, diagnostics) = dbc::parse("", text.as_bytes());
    // more than 8 bytes without a word of FD
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}\n{text}");
    database.unwrap()
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(layout in layouts(), bits in proptest::collection::vec(any::<u64>(), 20)) {
        let database = laid_out(&layout);
        let message = &database.messages[0];
        let values: Vec<(usize, Raw)> = message
            .signals
            .iter()
            .enumerate()
            .map(|(index, signal)| {
                let size = u32::from(signal.codec.size);
                let raw = match signal.codec.kind {
                    Kind::Signed => Raw::Signed((bits[index] as i64) >> (64 - size)),
                    _ => Raw::Unsigned(bits[index] >> (64 - size)),
                };
                (index, raw)
            })
            .collect();
        let payload = message.encode(&values).unwrap();
        prop_assert_eq!(message.decode(&payload).collect::<Vec<_>>(), values.clone());
        // one of them alone leaves all other bits as they are
        for (index, raw) in values {
            let mut ones = payload.iter().map(|byte| !byte).collect::<Vec<u8>>();
            message.signals[index].codec.insert(raw, &mut ones).unwrap();
            let (mut mask, codec) = (vec![0; payload.len()], &message.signals[index].codec);
            codec.mask(&mut mask);
            for ((one, byte), mask) in ones.iter().zip(&payload).zip(&mask) {
                prop_assert_eq!(*one, !byte & !mask | byte & mask);
            }
        }
    }

    #[test]
    fn values_survive_their_engineering_form(
        start in 0u16..64, size in 1u8..=32, motorola: bool, factor in 1u16..1000, offset: i16, bits: u32,
    ) {
        let order = if motorola { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
        let codec = Codec::new(start, size, order, Kind::Unsigned, f64::from(factor) / 64.0, offset.into()).unwrap();
        let raw = Raw::Unsigned(u64::from(bits >> (32 - size)));
        prop_assert_eq!(codec.to_raw(codec.engineering(raw)), Ok(raw));
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "[ BOSG_CMVAL\"\\\\;:|@0-9()\n+,/*\\[\\]-]{0,300}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let (database, diagnostics) = dbc::parse("", bytes);
            prop_assert_eq!(database.is_none(), has_errors(&diagnostics));
        }
    }

    #[test]
    fn damaged_files_are_read(which in 0usize..100, edits in proptest::collection::vec((any::<u16>(), any::<u8>(), 0u8..4), 1..12)) {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(path("tests/fixtures/dbc")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let mut bytes = std::fs::read(&names[which % names.len()]).unwrap();
        for (at, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = usize::from(at) % bytes.len();
            match edit {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..(at + usize::from(byte) / 4).min(bytes.len()))),
                2 => bytes.insert(at, b"\";\n/\\ "[usize::from(byte) % 6]),
                _ => bytes.truncate(at),
            }
        }
        let (database, diagnostics) = dbc::parse("", &bytes);
        prop_assert_eq!(database.is_none(), has_errors(&diagnostics));
        for message in database.iter().flat_map(|database| &database.messages) {
            let payload = vec![0xA5; message.length.into()];
            let values: Vec<_> = message.decode(&payload).collect();
            if let Ok(encoded) = message.encode(&values) {
                prop_assert!(values.iter().all(|value| message.decode(&encoded).any(|found| found == *value)));
            }
        }
    }
}
