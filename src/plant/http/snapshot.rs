//! Everything that can be seen, at one moment: what the page shows and `/api/v1/tags` answers.

use serde::Serialize;

use super::alarms::Over;
use crate::can::FrameId;
use crate::dbc;
use crate::plan::{self, Direction, Interface};
use crate::plant::machine::Machine;
use crate::plant::status::Status;
use crate::plant::{View, j1939, text};
use crate::quality::{Cause, Causes, Trust};
use crate::sample;
use crate::store::clock;
use crate::store::layout::{BusState, BusWord, FLAG_SIMULATED, Trouble, Word};
use crate::store::{Reader, Record};

/// Most tags in one answer; the rest is counted and found by a filter.
pub const MAX_TAGS: usize = 2_000;

#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    /// RFC 3339; `null`: the clock is not set.
    pub time: Option<String>,
    pub controller: Controller<'a>,
    pub machine: Machine,
    /// Alarms that are over and wait for somebody, the worst first.
    pub over: Vec<Over>,
    /// How many alarms, active or over, are not in the two lists.
    pub alarms_left_out: usize,
    /// What is done about alarms, and their journal, is on the disk.
    pub alarms_kept: bool,
    pub buses: Vec<Bus<'a>>,
    /// Who holds which address of a bus, from the NAMEs that were claimed.
    pub j1939: Vec<j1939::Device>,
    /// Grouped by message, in the order of the plan.
    pub tags: Vec<Tag<'a>>,
    /// Tags that match and are not shown.
    pub left_out: usize,
    /// The messages of the tags, for the page.
    #[serde(skip)]
    pub messages: Vec<Message<'a>>,
}

#[derive(Debug, Serialize)]
pub struct Controller<'a> {
    pub up: bool,
    /// Some or all devices are simulated.
    pub simulated: bool,
    /// First digits of the hash of the configuration in force.
    pub configuration: String,
    /// All of it.
    pub configuration_hash: &'a str,
    /// RFC 3339: in force since.
    pub configuration_since: Option<String>,
    pub started: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Bus<'a> {
    pub name: &'a str,
    pub interface: &'a str,
    pub simulated: bool,
    pub state: &'static str,
    /// The likely cause of what is wrong, for people; empty for none.
    pub trouble: &'static str,
    pub trust: &'static str,
    pub since: Option<String>,
    /// Both directions; `null` in the first second.
    pub frames_per_second: Option<f64>,
    /// Percent of the last second that frames had the bus; `null` while that is not known.
    pub load_percent: Option<f64>,
    /// The highest since the start of the controller, and when it was.
    pub load_peak_percent: Option<f64>,
    pub load_peak_time: Option<String>,
    pub received: u64,
    pub transmitted: u64,
    /// Dropped by the kernel or the CAN controller.
    pub lost: u64,
    pub not_sent: u64,
    pub error_frames: u64,
    pub unknown: u64,
}

#[derive(Debug)]
pub struct Message<'a> {
    /// `bus.Message` or `bus.Message@SA`.
    pub name: String,
    pub dbc: &'a dbc::Message,
    /// Of the last frame, else as the DBC has it.
    pub id: FrameId,
    pub direction: &'a Direction,
    /// Its tags in [`Snapshot::tags`].
    pub tags: std::ops::Range<usize>,
}

#[derive(Debug, Serialize)]
pub struct Tag<'a> {
    /// `bus.Message.Signal`, `bus.Message@SA.Signal`.
    pub name: String,
    /// Its name for people, from an overlay table.
    pub alias: Option<&'a str>,
    /// Where in the plant it belongs.
    pub area: Option<&'a str>,
    /// Engineering value, `null` for none (also for infinity and NaN).
    pub value: Option<f64>,
    /// The raw value as a decimal string; IEEE bits for a float signal.
    pub raw: Option<String>,
    /// Word of the value table.
    pub label: Option<&'a str>,
    pub unit: &'a str,
    /// The value as people read it.
    pub text: String,
    /// Label of the worst cause, `good` for none.
    pub quality: &'static str,
    /// The same for people.
    pub quality_text: &'static str,
    /// `good`, `uncertain`, `bad`.
    pub trust: &'static str,
    /// Since when it is held: the time of the last good frame; `null` where it is not held.
    pub since: Option<String>,
    /// When the frame came; `null`: never, or the clock was not set then.
    pub time: Option<String>,
    /// Seconds since then.
    pub age: Option<f64>,
    /// The same for people.
    pub age_text: String,
    #[serde(skip)]
    pub signal: &'a dbc::Signal,
}

/// Which tags are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Words that must all be in the tag's name, alias or area; case does not matter.
    pub words: String,
    /// Only what is not good.
    pub problems: bool,
}

impl Filter {
    /// From the query of a request: `q=drive+speed&problems=1`. Anything else is passed over.
    pub fn from_query(query: Option<&str>) -> Filter {
        let mut filter = Filter::default();
        for (name, value) in query.unwrap_or_default().split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "q" => filter.words = decode(value),
                "problems" => filter.problems = value == "1",
                _ => {}
            }
        }
        filter
    }

    fn matches(&self, name: &str, alias: Option<&str>, area: Option<&str>) -> bool {
        let texts: Vec<String> = [Some(name), alias, area].into_iter().flatten().map(str::to_lowercase).collect();
        let found = |word: String| texts.iter().any(|text| text.contains(&word));
        self.words.split_whitespace().all(|word| found(word.to_lowercase()))
    }
}

/// application/x-www-form-urlencoded; what is no escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        let escape = text.get(at..at + 2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let escaped = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(match (byte, escaped) {
            (b'+', _) => b' ',
            (b'%', Some(byte)) => {
                at += 2;
                byte
            }
            _ => *byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `now`: CLOCK_MONOTONIC nanoseconds.
pub fn take<'a>(view: &'a View, status: &Status, filter: &Filter, now: u64) -> Snapshot<'a> {
    let View { plan, reader, .. } = view;
    let alive = view.alive(now);
    let started = reader.get(Word::StartedRealtime);
    let simulated = |bus: &plan::Bus| {
        bus.interface == Interface::Virtual || plan.simulated || reader.get(Word::Flags) & FLAG_SIMULATED != 0
    };
    let buses = plan
        .buses
        .iter()
        .enumerate()
        .map(|(index, bus)| of_bus(reader, index, bus, status, simulated(bus), alive, now));
    let mut snapshot = Snapshot {
        time: text::known_time(clock::realtime()),
        controller: Controller {
            up: alive,
            simulated: plan.buses.iter().any(simulated),
            configuration: plan.short_hash(),
            configuration_hash: &view.hash,
            configuration_since: text::known_time(view.since),
            started: text::known_time(started),
        },
        machine: Machine::take(plan, reader, now),
        over: Vec::new(),
        alarms_left_out: 0,
        alarms_kept: true,
        buses: buses.collect(),
        j1939: j1939::devices(plan, reader),
        tags: Vec::new(),
        left_out: 0,
        messages: Vec::new(),
    };
    for index in 0..plan.messages.len() {
        let mut sources: Vec<_> = view.sources(index).into_iter().map(|(slot, sa)| (slot, Some(sa))).collect();
        sources.sort_unstable_by_key(|(_, address)| *address);
        if sources.is_empty() {
            sources.push((0, None));
        }
        for (slot, address) in sources {
            snapshot.add_message(view, index, slot, address, filter, now);
        }
    }
    snapshot
}

fn of_bus<'a>(
    reader: &Reader,
    index: usize,
    bus: &'a plan::Bus,
    status: &Status,
    simulated: bool,
    alive: bool,
    now: u64,
) -> Bus<'a> {
    let count = |word| reader.bus(index, word);
    // what a dead controller said last is no state
    let state = alive.then(|| reader.bus_state(index));
    let since = if alive { count(BusWord::StateSince) } else { 0 };
    let peak = reader.load_peak(index);
    Bus {
        name: &bus.name,
        interface: match &bus.interface {
            Interface::SocketCan(name) => name,
            Interface::Virtual => "virtual",
        },
        simulated,
        state: state.map_or("unknown", BusState::word),
        trouble: if alive { Trouble::from_word(count(BusWord::Trouble)).text() } else { "" },
        trust: word(match state {
            Some(BusState::Active) => Trust::Good,
            Some(BusState::Warning | BusState::Passive) => Trust::Uncertain,
            Some(BusState::Gone | BusState::Down | BusState::BusOff) | None => Trust::Bad,
        }),
        since: text::known_time(since),
        frames_per_second: status.rate(&bus.name),
        load_percent: reader.load(index, now).ok().filter(|_| alive).map(text::percent),
        load_peak_percent: peak.map(|(load, _)| text::percent(load)),
        load_peak_time: peak.and_then(|(_, at)| text::known_time(at)),
        received: count(BusWord::ReceivedFrames),
        transmitted: count(BusWord::TransmittedFrames),
        lost: count(BusWord::LostFrames) + count(BusWord::ControllerOverflows),
        not_sent: count(BusWord::TransmitDropped),
        error_frames: count(BusWord::ErrorFrames),
        unknown: count(BusWord::UnknownFrames),
    }
}

impl<'a> Snapshot<'a> {
    /// The tags of one message, of one source. `slot`, `address`: J1939 only.
    fn add_message(
        &mut self,
        view: &'a View,
        index: usize,
        slot: usize,
        address: Option<u8>,
        filter: &Filter,
        now: u64,
    ) {
        let message = &view.plan.messages[index];
        let name = view.plan.message_name(index, address);
        let first = self.tags.len();
        let records: Vec<(Record, Causes)> =
            (0..message.message.groups.len()).map(|group| view.record(index, slot, group, now)).collect();
        for tag in message.tags.clone() {
            let number = view.plan.tags[tag].signal;
            let signal = &message.message.signals[number];
            let tag_name = format!("{name}.{}", signal.name);
            let Some((record, causes)) = records.get(signal.group) else { continue };
            let (alias, area) = (view.plan.alias(tag), view.plan.area(tag));
            if !filter.matches(&tag_name, alias, area) {
                continue;
            }
            let marks = view.reader.marks(tag).causes();
            let sample = sample::decode(&message.message, number, record, causes.and(marks));
            let meaning = sample.causes.meaning();
            if filter.problems && meaning.trust == Trust::Good {
                continue;
            }
            if self.tags.len() == MAX_TAGS {
                self.left_out += 1;
                continue;
            }
            let age = (sample.count > 0).then(|| now.saturating_sub(sample.received));
            self.tags.push(Tag {
                name: tag_name,
                alias,
                area,
                value: sample.value.filter(|value| value.is_finite()),
                raw: sample.raw.map(|raw| raw.to_string()),
                label: sample.raw.and_then(|raw| signal.label(raw)),
                unit: &signal.unit,
                text: text::value(signal, &sample),
                quality: meaning.label,
                quality_text: meaning.text,
                trust: word(meaning.trust),
                since: text::known_time(sample.source_time).filter(|_| sample.causes.worst().is_some_and(is_held)),
                time: text::known_time(sample.source_time),
                age: age.map(|age| age as f64 / 1e9),
                age_text: age.map_or_else(|| "–".into(), text::age),
                signal,
            });
        }
        if self.tags.len() > first {
            let id = records.first().map_or(0, |(record, _)| record.id_bits);
            let seen = records.first().is_some_and(|(record, _)| record.count > 0);
            let id = FrameId::from_bits(id).filter(|_| seen).unwrap_or(message.message.id);
            self.messages.push(Message {
                name,
                dbc: &message.message,
                id,
                direction: &message.direction,
                tags: first..self.tags.len(),
            });
        }
    }
}

/// Whether a value with this cause is the last one that came, kept since then.
fn is_held(cause: Cause) -> bool {
    match cause {
        Cause::ControllerGone
        | Cause::InterfaceGone
        | Cause::BusOff
        | Cause::NotExpected
        | Cause::Checksum
        | Cause::Counter
        | Cause::Late
        | Cause::Lost => true,
        Cause::Forced
        | Cause::NeverReceived
        | Cause::BranchNotSeen
        | Cause::NotSent
        | Cause::NotAvailable
        | Cause::OutOfRange
        | Cause::Fallback
        | Cause::Interlocked
        | Cause::Substituted
        | Cause::Simulated => false,
    }
}

fn word(trust: Trust) -> &'static str {
    match trust {
        Trust::Good => "good",
        Trust::Uncertain => "uncertain",
        Trust::Bad => "bad",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Example, NOW};
    use super::*;

    fn json(example: &Example, query: &str) -> serde_json::Value {
        let status = Status::new(&example.plan, &[]).unwrap();
        let view = example.plant.view();
        let snapshot = take(&view, &status, &Filter::from_query(Some(query)), NOW);
        serde_json::to_value(&snapshot).unwrap()
    }

    fn names(json: &serde_json::Value) -> Vec<&str> {
        json["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_tag_in_json() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        let json = json(&example, "q=drivestatus");
        assert_eq!(
            json["tags"][1],
            serde_json::json!({
                "name": "line.DriveStatus.Mode", "alias": null, "area": null, "value": 2.0, "raw": "2", "label": "Running <fast>", "unit": "",
                "text": "Running <fast> (2)", "quality": "good", "quality_text": "good", "trust": "good", "since": null,
                "time": "2026-01-02T03:04:05.250Z", "age": 0.25, "age_text": "0.25 s",
            })
        );
        assert_eq!(json["buses"][1]["simulated"], true);
        assert_eq!(json["controller"]["configuration"], "abababababab");
        assert_eq!(json["controller"]["configuration_hash"], "ab".repeat(32));
        assert_eq!(json["controller"]["configuration_since"], "2026-01-02T03:04:05.250Z");
    }

    #[test]
    fn sources_of_a_j1939_message_are_tags_of_their_own() {
        let mut example = Example::new();
        assert_eq!(names(&json(&example, "q=eec1")), ["line.EEC1.Load"]);
        example.frame("line.EEC1", 0, 0, 0x8CF0_0421, &[0x10]);
        example.frame("line.EEC1", 1, 0, 0x8CF0_0422, &[0x20]);
        assert_eq!(names(&json(&example, "q=eec1")), ["line.EEC1@33.Load", "line.EEC1@34.Load"]);
    }

    #[test]
    fn a_bus_of_a_dead_controller_has_no_state() {
        let example = Example::new();
        assert_eq!(json(&example, "")["buses"][0]["state"], "active");
        example.plant.disconnect();
        let bus = &json(&example, "")["buses"][0];
        assert_eq!((&bus["state"], &bus["trust"], &bus["since"]), (&"unknown".into(), &"bad".into(), &().into()));
    }

    #[test]
    fn filters() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        assert_eq!(names(&json(&example, "problems=1&q=Line.%44rive")), ["line.DriveCommand.Setpoint"]);
        assert_eq!(names(&json(&example, "q=speed+STATUS&x")), ["line.DriveStatus.ActualSpeed"]);
        example.causes("line.DriveStatus", Causes::of(Cause::Late));
        let late = json(&example, "problems=1&q=mode");
        assert_eq!((late["tags"][0]["quality"].as_str(), late["tags"][0]["value"].as_f64()), (Some("late"), Some(2.0)));
        for (query, words) in
            [("q=%", "%"), ("q=%4", "%4"), ("q=%zz", "%zz"), ("q=%C3%A9é", "éé"), ("q=%FF", "\u{fffd}")]
        {
            assert_eq!(Filter::from_query(Some(query)).words, words);
        }
        assert_eq!(Filter::from_query(None), Filter::default());
    }
}
