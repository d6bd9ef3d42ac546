//! The life of a bus over `Control::step` with invented time: error frames and interfaces in; states, the likely cause,
//! alarms, restarts and quarantine out.

use canvoy::bus::error_frame::ErrorFrame;
use canvoy::command::Change;
use canvoy::control::{Event, Wish};
use canvoy::plan::{Alarm, Restart, RestartPolicy};
use canvoy::store::layout::{BusState, BusWord, Trouble};

use crate::bench::{Bench, MS, START};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (1,0) [0|0] "rpm" Us
BO_ 300 Command: 8 Us
 SG_ Setpoint : 0|16@1- (1,0) [0|0] "rpm" Drive
"#;

/// A bench with one bus, `b`, which has these keys besides.
fn bench(keys: &str) -> Bench {
    let toml = format!(
        "[bus.b]\ninterface = \"can0\"\ndbc = [\"b.dbc\"]\nnode = \"Us\"\ntransmit = [\"Command\"]\n\
         message.Command = {{ cycle_ms = 10, send = \"cyclic\" }}\n{keys}\n"
    );
    Bench::unplugged(&toml, &[("b.dbc", DBC)])
}

/// An error frame as candump writes it, `20000204#000C000000006061`, or the name of one that drivers send.
fn error_frame(text: &str) -> ErrorFrame {
    let text = match text {
        // classes, then: lost-arbitration bit, controller, kind, place, transceiver, 0, transmit and receive counter
        "ack" => "20000020#0000000000000000",
        "ack-slot" => "20000088#0000001900000000",
        "stuff" => "20000088#0000040000000000",
        "form" => "20000088#0000021A00000000",
        "crc" => "20000088#0000000800000000",
        "overwritten" => "20000088#0000810A00000000",
        "transceiver" => "20000010#0000000004000000",
        "overflow" => "20000004#0001000000000000",
        "arbitration" => "20000002#0500000000000000",
        "error" => "20000080#0000000000000000",
        "warned" => "20000204#0008000000006000",
        "passive-sending" => "20000204#0020000000008000",
        "passive-receiving" => "20000204#0010000000000080",
        "recovered" => "20000204#0040000000005F00",
        "off" => "20000040#0000000000000000",
        "restarted" => "20000100#0000000000000000",
        _ => text,
    };
    let (id, data) = text.split_once('#').unwrap_or_else(|| panic!("no error frame: {text}"));
    let id = u32::from_str_radix(id, 16).unwrap();
    assert!(id & 0x2000_0000 != 0, "not an error frame: {text}");
    let data = u64::from_str_radix(data, 16).unwrap().to_be_bytes();
    ErrorFrame { classes: id & 0x1FFF_FFFF, data }
}

/// What can be seen of the bus, in words.
fn seen(b: &mut Bench) -> String {
    let state = b.reader.bus_state(0).word();
    let trouble = Trouble::from_word(b.bus_word("b", BusWord::Trouble));
    let alarms = [
        (Alarm::InterfaceGone(0), "gone"),
        (Alarm::BusOff(0), "off"),
        (Alarm::BusErrors(0), "errors"),
        (Alarm::Flapping(0), "flapping"),
    ];
    let alarms: Vec<&str> = alarms.into_iter().filter(|(alarm, _)| b.alarm(*alarm)).map(|(_, word)| word).collect();
    let trouble = format!("{trouble:?}").to_lowercase();
    format!("{state} {trouble} [{}]", alarms.join(" "))
}

fn wishes(b: &mut Bench) -> Vec<Wish> {
    std::iter::from_fn(|| b.control.take_wish())
        .map(|(bus, wish)| {
            assert_eq!(bus, 0);
            wish
        })
        .collect()
}

/// Plays lines of `SECONDS what`; more than one `what` on a line with `;`:
///
/// - a state (`active`, `down`, `gone`, ...): what the kernel says about the interface
/// - `NAME` or `NAME*N` of [`error_frame`]
/// - `= STATE TROUBLE [ALARMS]`: what is to be seen
/// - `wish restart|by-hand`: this is wished for at this moment, and nothing was since the last look; `no wish`
/// - `sends`, `silent`: whether frames of ours leave within the next 10 ms
/// - `command`, `refused`: a restart by command, and one that is refused
/// - `WORD N`: a word of the bus
fn play(b: &mut Bench, script: &str) {
    let mut log: Vec<(u64, Wish)> = Vec::new();
    for (number, line) in script.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let Some((time, whats)) = line.split_once(' ') else { continue };
        let ms = (time.parse::<f64>().unwrap_or_else(|_| panic!("line {number}: no time: {line}")) * 1000.0) as u64;
        assert!(ms >= b.ms(), "line {number}: time runs backwards: {line}");
        advance(b, ms, &mut log);
        for what in whats.split(';').map(str::trim) {
            let place = format!("line {number}: {line}: {what}");
            let words: Vec<&str> = what.split_whitespace().collect();
            if let Some(want) = what.strip_prefix("= ") {
                assert_eq!(seen(b), want, "{place}");
            } else if let Some(state) = BusState::ALL.into_iter().find(|state| state.word() == what) {
                b.step(Event::Bus { bus: 0, state });
            } else {
                match words[..] {
                    ["no", "wish"] => assert_eq!(log, [], "{place}"),
                    ["wish", which] => {
                        let wish = if which == "restart" { Wish::Restart } else { Wish::ByHand };
                        assert_eq!(std::mem::take(&mut log), [(ms, wish)], "{place}");
                    }
                    ["sends"] | ["silent"] => {
                        let sent = b.pass(10).len();
                        assert_eq!(sent > 0, what == "sends", "{place}: {sent} frames");
                    }
                    ["command"] => assert_eq!(b.command(Change::Restart(0)), Ok(vec![]), "{place}"),
                    ["refused"] => {
                        assert_eq!(b.command(Change::Restart(0)), Err("bus b is not off".into()), "{place}");
                    }
                    [word, n] => assert_eq!(b.bus_word("b", bus_word(word)).to_string(), n, "{place}"),
                    [name] => {
                        let (name, times) = name.split_once('*').unwrap_or((name, "1"));
                        for _ in 0..times.parse().unwrap() {
                            b.step(Event::Error { bus: 0, error: &error_frame(name) });
                        }
                    }
                    _ => panic!("{place}: not understood"),
                }
            }
            log.extend(wishes(b).into_iter().map(|wish| (b.ms(), wish)));
        }
    }
}

/// Lets time pass up to this moment, and notes when something was wished for.
fn advance(b: &mut Bench, ms: u64, log: &mut Vec<(u64, Wish)>) {
    let end = START + ms * MS;
    while b.control.next_due() <= end {
        b.now = b.now.max(b.control.next_due());
        b.step(Event::Timer);
        log.extend(wishes(b).into_iter().map(|wish| (b.ms(), wish)));
    }
    b.now = end;
}

fn bus_word(name: &str) -> BusWord {
    use BusWord::*;
    let all = [
        BusOffs,
        InterfaceLosses,
        TransmitErrors,
        ReceiveErrors,
        ErrorFrames,
        ControllerOverflows,
        Restarts,
        SilentUntil,
        TransmitNoBus,
    ];
    all.into_iter().find(|word| format!("{word:?}") == name).unwrap_or_else(|| panic!("no word {name}"))
}

#[track_caller]
fn check(keys: &str, scripts: &[&str]) {
    for script in scripts {
        play(&mut bench(keys), script);
    }
}

#[test]
fn states_and_counters_by_error_frames() {
    check(
        "",
        &[
            "0 active; = active none []
             1 warned; = warning unknown [errors]; TransmitErrors 96; ReceiveErrors 0; ErrorFrames 1
             2 passive-sending; = passive noacknowledge [errors]; TransmitErrors 128
             3 recovered; = active none []; TransmitErrors 95; sends",
            "0 active
             1 passive-receiving; = passive unknown [errors]; ReceiveErrors 128; sends
             2 20000204#0004000000000060; = warning unknown [errors]; ReceiveErrors 96
             3 20000200#0000000000000000; = active none []",
            // from error-passive to off: what nobody acknowledges never gets there
            "0 active
             1 passive-sending; = passive noacknowledge [errors]
             2 off; = bus_off unknown [off]; BusOffs 1; silent
             3 restarted; = active none []; Restarts 1; TransmitErrors 0",
            // counters alone tell the state, but never end a bus-off
            "0 active; 20000200#0000000000007F00; = warning unknown [errors]
             1 off; = bus_off unknown [off]
             2 20000200#0000000000000000; = bus_off unknown [off]
             3 active; = active none []; Restarts 1",
            // error frames that were queued before the interface went away
            "0 active; down; = down interface [gone]; off; passive-sending; = down interface [gone]; BusOffs 0
             1 active; = active none []",
            "0 active; overflow; ControllerOverflows 1; = active none []; overflow*4; = active overflow []",
            "0 gone; down; bus_off; = bus_off unknown [off]; no wish
             1 restarted; = active none []",
        ],
    );
}

#[test]
fn an_interface_that_is_not_there() {
    check(
        "",
        &[
            // the sockets are just being opened
            "0 = gone none []
             0.999 = gone none []
             1 = gone interface [gone]
             2 down; = down interface [gone]
             3 active; = active none []; InterfaceLosses 0; sends",
            "0.5 active
             2 = active none []",
            "0.1 down; = down interface [gone]
             5 gone; = gone interface [gone]
             6 active; = active none []",
            // down and up, gone and back
            "0 active; sends
             1 down; = down interface [gone]; InterfaceLosses 1; silent
             2 active; = active none []; InterfaceLosses 1; sends
             600 gone; = gone interface [gone]; InterfaceLosses 2; silent
             601 down; = down interface [gone]; InterfaceLosses 2
             602 active; sends; TransmitErrors 0",
            // unplugged while it was off: no restart, and the quarantine is kept all the same
            "0 active
             1 off; = bus_off unknown [off]
             2 gone; = gone interface [gone]; InterfaceLosses 1; BusOffs 1
             3 active; silent; Restarts 1
             3.18 silent
             3.21 sends",
            // counters of the interface that was there before are not those of this one
            "0 active; passive-sending; TransmitErrors 128
             1 gone
             2 active; TransmitErrors 0; ReceiveErrors 0; = active none []",
            // it is passive when it comes back: the driver says so
            "0 active
             0.2 down
             0.3 passive; = passive unknown [errors]; sends
             0.4 down; = down interface [gone]",
        ],
    );
}

/// How many error frames of each kind, then the trouble that is seen, healthy and error-passive.
#[test]
fn the_dominant_class_is_the_likely_cause() {
    let kinds = [
        ("ack", "noacknowledge"),
        ("ack-slot", "noacknowledge"),
        ("stuff", "protocol"),
        ("form", "protocol"),
        ("crc", "protocol"),
        ("overwritten", "sameidentifier"),
        ("transceiver", "transceiver"),
        ("overflow", "overflow"),
    ];
    for (kind, trouble) in kinds {
        // one disturbed frame is no trouble, several are; what only says "error" or is every day's business adds nothing
        for (times, seen) in [(1, "none"), (2, "none"), (3, trouble), (200, trouble)] {
            check("", &[&format!("0 active; {kind}*{times}; error*9; arbitration*50; = active {seen} []")]);
        }
        // a bus that is not well: the first one counts, and stays however silent it gets
        for (state, word, alarm) in
            [("warning", "warning", "errors"), ("passive-receiving", "passive", "errors"), ("off", "bus_off", "off")]
        {
            check(
                "",
                &[&format!(
                    "0 active; {state}; = {word} unknown [{alarm}]; {kind}; = {word} {trouble} [{alarm}]\n100 = {word} {trouble} [{alarm}]"
                )],
            );
            check("", &[&format!("0 active; {kind}; {state}; = {word} {trouble} [{alarm}]")]);
            check("", &[&format!("0 active; {state}; arbitration*90; error*90; = {word} unknown [{alarm}]")]);
        }
        // over when it is quiet: 200 are a quarter of one after ten half-lives
        check(
            "",
            &[&format!("0 active; {kind}*3; = active {trouble} []\n2 = active {trouble} []\n6 = active none []")],
        );
        check("", &[&format!("0 active; {kind}*200\n8.9 = active {trouble} []\n12 = active none []")]);
        for (other, other_trouble) in kinds {
            if trouble == other_trouble {
                continue;
            }
            // the more frequent one wins, wherever it stands; a later one takes over as the earlier leaks away
            check(
                "",
                &[&format!("0 active; passive; {kind}*5; {other}*7; {kind}; = passive {other_trouble} [errors]")],
            );
            check(
                "",
                &[&format!("0 active; {kind}*20; = active {trouble} []\n3 {other}*6; = active {other_trouble} []")],
            );
            check("", &[&format!("0 active; {kind}*40; = active {trouble} []\n1 {other}*6; = active {trouble} []")]);
        }
    }
}

#[test]
fn the_alarm_says_the_cause() {
    let mut b = bench("");
    let detail = |b: &Bench, alarm| b.reader.alarm(b.plan.alarm(alarm).unwrap()).detail;
    play(&mut b, "0 active; passive-receiving; = passive unknown [errors]");
    assert_eq!(detail(&b, Alarm::BusErrors(0)), Trouble::Unknown as u64);
    play(&mut b, "1 stuff; off");
    assert_eq!(detail(&b, Alarm::BusErrors(0)), Trouble::Protocol as u64);
    assert_eq!(detail(&b, Alarm::BusOff(0)), Trouble::Protocol as u64);
    play(&mut b, "2 down");
    assert_eq!(detail(&b, Alarm::InterfaceGone(0)), BusState::Down as u64);
}

#[test]
fn restarts_by_policy() {
    check("", &["0 active; off\n7200 no wish; = bus_off unknown [off]; command; wish restart\n7300 no wish"]);
    check("managed = true\nrestart = \"off\"", &["0 active; off\n7200 no wish; command; wish restart\n7201 no wish"]);
    check(
        "managed = true\nrestart = \"by-hand\"",
        &[
            "0 refused; active; refused; warning; refused; off\n7200 no wish; command; wish restart\n9000 no wish
             9001 restarted; refused; = active none []; Restarts 1",
            "0 active; down; refused; gone; refused",
        ],
    );
    check(
        "managed = true\nrestart = \"fixed\"\nrestart_ms = 500\nrestarts_per_hour = 3",
        &[
            // each time after half a second, whether the one before has helped or not
            "0 active; off; no wish
             0.499 no wish
             0.5 wish restart
             1 wish restart; restarted
             2 no wish; off
             2.5 wish restart; restarted
             // that was the third
             10 off; no wish
             10.5 wish by-hand
             3500 no wish; = bus_off unknown [off flapping]
             3501 restarted
             // within the hour after the first; then the first does not count any more
             3599 off
             3599.5 wish by-hand; restarted
             3599.8 off
             3600.3 wish by-hand; restarted
             3600.7 off
             3601.2 wish restart",
            // by command, and everything begins anew
            "0 active; off
             0.5 wish restart
             1 wish restart
             1.5 wish restart
             2 wish by-hand
             60 no wish; command; wish restart
             60.5 wish restart
             61 wish restart
             61.5 wish by-hand
             62 restarted; refused",
            // it comes back by itself, or goes away: nothing to restart
            "0 active; off
             0.3 active
             9 no wish; off
             9.4 gone
             99 no wish",
        ],
    );
    check(
        "managed = true",
        &[
            // 1, 2, 4, ... 60 s
            "0 active; off
             1 wish restart
             3 wish restart
             7 wish restart
             15 wish restart
             31 wish restart
             63 wish restart
             123 wish restart
             183 wish restart
             243 wish restart
             303 wish restart
             // ten within the hour
             363 wish by-hand
             4000 no wish",
            // a short stay on the bus goes on with the row, a long one begins it anew
            "0 active; off
             1 wish restart; restarted
             2 off
             4 wish restart; restarted
             63.9 off
             67.9 wish restart; restarted
             127.9 off
             128.9 wish restart",
            "0 active; off
             1 wish restart
             3 wish restart
             4 command; wish restart
             // counted anew from the command
             6 wish restart
             10 wish restart",
        ],
    );
}

#[test]
fn quarantine_after_a_restart() {
    for (keys, ms) in [("", 200), ("quarantine_ms = 0", 0), ("quarantine_ms = 1500", 1500)] {
        let mut b = bench(keys);
        play(&mut b, "0 active; sends\n1 off; silent; SilentUntil 0\n2 restarted");
        assert_eq!(b.control.silent_until(0), if ms == 0 { 0 } else { b.now + ms * MS });
        assert_eq!(b.bus_word("b", BusWord::SilentUntil), b.control.silent_until(0));
        let frames = b.pass(2000);
        let first = frames.first().map(|(at, _)| *at);
        assert!(first.is_some_and(|at| (2000 + ms..2000 + ms + 11).contains(&at)), "{keys}: {first:?}");
        assert_eq!(b.bus_word("b", BusWord::SilentUntil), 0, "{keys}: is over");
        // off again within the quarantine, and down within it
        play(
            &mut b,
            "10 off; restarted; off; = bus_off unknown [off flapping]; SilentUntil 0\n11 restarted; down; SilentUntil 0",
        );
        play(&mut b, "11.1 active; sends");
    }
}

#[test]
fn flapping() {
    let leave = [("off", "restarted"), ("down", "active"), ("gone", "active")];
    for (out, back) in leave {
        let alarm = if out == "off" { "off" } else { "gone" };
        let word = if out == "off" {
            "bus_off unknown"
        } else if out == "down" {
            "down interface"
        } else {
            "gone interface"
        };
        check(
            "",
            &[
                // three times within five minutes
                &format!(
                    "0 active
                     10 {out}; {back}
                     200 {out}; {back}; = active none []
                     310 {out}; = {word} [{alarm} flapping]; {back}; = active none [flapping]
                     // ten minutes on the bus
                     909 = active none [flapping]
                     910 = active none []"
                ),
                // not within them
                &format!(
                    "0 active
                     10 {out}; {back}
                     200 {out}; {back}
                     310.1 {out}; {back}; = active none []
                     511 {out}; {back}; = active none []"
                ),
                // the ten minutes begin anew, and do not pass while it is away
                &format!(
                    "0 active
                     10 {out}; {back}; {out}; {back}; {out}; {back}; = active none [flapping]
                     600 {out}; = {word} [{alarm} flapping]; {back}
                     611 = active none [flapping]
                     1000 {out}
                     2000 = {word} [{alarm} flapping]; {back}
                     2599 = active none [flapping]
                     2600 = active none []"
                ),
            ],
        );
    }
    // from off to down to gone is one departure; errors are none
    check(
        "",
        &[
            "0 active; off; down; gone; down; active; down; gone; active; warning; passive; recovered; warning; = warning unknown [errors]",
        ],
    );
    let mut b = bench("");
    play(&mut b, "0 active; off; restarted; down; active; gone; active; off; restarted; = active none [flapping]");
    let alarm = b.reader.alarm(b.plan.alarm(Alarm::Flapping(0)).unwrap());
    assert_eq!((alarm.detail, alarm.count), (4, 1), "departures, and one alarm");
}

#[test]
fn the_plan_says_what_the_configuration_says() {
    let check = |keys: &str, policy, per_hour, quarantine: u64| {
        let bus = bench(keys).plan.buses[0].clone();
        assert_eq!(bus.restart, Restart { policy, per_hour, quarantine: quarantine * MS }, "{keys}");
        bus
    };
    let seconds = 1000 * MS;
    check("", RestartPolicy::Off, 10, 200);
    let bus = check("managed = true", RestartPolicy::Growing(seconds, 60 * seconds), 10, 200);
    assert_eq!((bus.managed, bus.bit_rate, bus.data_bit_rate), (true, None, None));
    check("managed = true\nrestart_ms = 90000", RestartPolicy::Growing(90 * seconds, 90 * seconds), 10, 200);
    check("managed = true\nrestart = \"by-hand\"", RestartPolicy::ByHand, 10, 200);
    let keys = "managed = true\nfd = true\nbit_rate = 500000\ndata_bit_rate = 2000000\nrestart = \"fixed\"\n\
                restart_ms = 50\nrestarts_per_hour = 7\nquarantine_ms = 0";
    let bus = check(keys, RestartPolicy::Fixed(50 * MS), 7, 0);
    assert_eq!((bus.managed, bus.bit_rate, bus.data_bit_rate), (true, Some(500_000), Some(2_000_000)));
    let hashes: Vec<[u8; 32]> = [
        "",
        "managed = true",
        "bit_rate = 250000",
        "bit_rate = 500000",
        "fd = true\nbit_rate = 250000\ndata_bit_rate = 250000",
        "managed = true\nrestart = \"off\"",
        "managed = true\nrestart = \"by-hand\"",
        "managed = true\nrestart = \"fixed\"",
        "managed = true\nrestart = \"fixed\"\nrestart_ms = 999",
        "managed = true\nrestart_ms = 999",
        "managed = true\nrestart_max_ms = 59000",
        "managed = true\nrestarts_per_hour = 9",
        "quarantine_ms = 201",
    ]
    .into_iter()
    .map(|keys| bench(keys).plan.hash)
    .collect();
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "{index} is no other plan");
    }
}
