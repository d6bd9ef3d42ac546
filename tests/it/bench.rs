//! The machine side with an invented clock: frames, commands and time in; frames, values, causes and alarms out.

use std::sync::Arc;

use canvoy::can::Frame;
use canvoy::candump::{self, Content};
use canvoy::command::{self, Change, Place, Value, Write};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::control::{Control, Event, Now, Sent, State, Transmit};
use canvoy::plan::{Alarm, Bits, BusIndex, MessageIndex, Plan, Succession, TagIndex};
use canvoy::sample;
use canvoy::store::layout::{BusState, BusWord, MessageWord, Word};
use canvoy::store::{AlarmEvent, EventLost, Layout, Memory, Reader, Writer};

use crate::allocations::Watch;

pub const MS: u64 = 1_000_000;
/// CLOCK_MONOTONIC of the start, nanoseconds.
pub const START: u64 = 1000 * MS;
/// What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, nanoseconds.
const AHEAD: u64 = 4_000_000 * MS;

pub struct Bench {
    pub plan: Plan,
    pub control: Control,
    pub store: Writer,
    pub reader: Reader,
    pub transmit: Transmit,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub now: u64,
    /// By bus: frames that the kernel's queue still takes; `None`: as many as there are.
    pub room: Vec<Option<usize>>,
    /// Nanoseconds from the event to the return of the transmit call.
    pub call: u64,
    /// Where commands come from.
    pub place: Place,
    /// What was sent and not yet looked at by a script: milliseconds since the start, and the frame.
    log: Vec<(u64, String)>,
    /// Transitions of alarms under this plan and those before it, by key, so far as [`Bench::alarm_events`] was asked.
    events: Vec<(String, AlarmEvent)>,
    /// Before events and commands the plan is put in force anew: so many there were so far.
    reloading: Option<u32>,
}

/// A variable of the environment under which all tests reload before their events: see `control_reload`.
pub const RELOADING: &str = "CANVOY_TEST_RELOADING";

/// The plan of a configuration. `dbc`: each file under the name that the configuration uses for it.
pub fn plan(toml: &str, dbc: &[(&str, &str)]) -> Plan {
    let dbc: Vec<(&str, &[u8])> = dbc.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let sources = Sources::embedded("bench.toml", toml, &dbc);
    let mut plan = load(&sources, LoadOptions { simulate: false }).unwrap_or_else(|e| panic!("{e:#?}")).plan;
    // whoever wants to wait before the first frame says so
    if !toml.contains("listen_ms") {
        plan.buses.iter_mut().for_each(|bus| bus.listen = 0);
    }
    plan
}

impl Bench {
    /// `dbc`: each file under the name that the configuration uses for it. Every bus is gone.
    pub fn unplugged(toml: &str, dbc: &[(&str, &str)]) -> Bench {
        let plan = plan(toml, dbc);
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut store = Writer::new(memory.clone(), layout, 1);
        let reader = Reader::open(memory, layout, 1).unwrap();
        let start = Now { monotonic: START, realtime: START + AHEAD };
        store.set(Word::Heartbeat, START);
        let mut control = Control::new(&plan, start);
        control.start(start, &mut store);
        let transmit = Transmit::new(&plan);
        let room = vec![None; plan.buses.len()];
        let reloading = std::env::var_os(RELOADING).map(|_| 0);
        Bench {
            plan,
            control,
            store,
            reader,
            transmit,
            now: START,
            room,
            call: 0,
            place: Place::Machine,
            log: Vec::new(),
            events: Vec::new(),
            reloading,
        }
    }

    /// The same with every bus active.
    pub fn new(toml: &str, dbc: &[(&str, &str)]) -> Bench {
        let mut bench = Bench::unplugged(toml, dbc);
        for bus in 0..bench.plan.buses.len() {
            bench.step(Event::Bus { bus, state: BusState::Active });
        }
        bench
    }

    /// Another plan takes the place of this one; the frames that it sent. Forces go on whether the plan lets people force or not.
    pub fn reload(&mut self, plan: Plan) -> Vec<String> {
        let mut forcible = plan.clone();
        forcible.tags.iter_mut().for_each(|tag| tag.forcible = true);
        let succession = Succession::new(&self.plan, &forcible);
        self.succeed(plan, &succession)
    }

    /// The same, and forces end that the plan does not allow.
    pub fn reload_as_written(&mut self, plan: Plan) -> Vec<String> {
        let succession = Succession::new(&self.plan, &plan);
        self.succeed(plan, &succession)
    }

    fn succeed(&mut self, plan: Plan, succession: &Succession) -> Vec<String> {
        let now = self.at();
        self.alarm_events();
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut store = Writer::new(memory.clone(), layout, 1);
        let reader = Reader::open(memory, layout, 1).unwrap();
        let (mut control, mut transmit) = (Control::new(&plan, now), Transmit::new(&plan));
        let watch = Watch::thread(nix::unistd::gettid().as_raw());
        self.control.farewell(now, |at| succession.leaves[at], &mut self.store, &mut self.transmit);
        let before = watch.count();
        let mut sent = self.sent();
        let between = watch.count();
        let old = State { control: &mut self.control, transmit: &mut self.transmit, store: &mut self.store };
        control.adopt(now, now, (&mut transmit, &mut store), old, succession);
        assert_eq!((before, watch.count()), (0, between), "a change of plans allocates nothing and frees nothing");
        drop(watch);
        // what the farewell has changed is in the old store only, whose end is where the new one begins
        self.alarm_events();
        let begin = reader.alarm_events_begin();
        assert_eq!(begin, self.reader.alarm_events_next());
        if begin > 0 {
            assert_eq!(reader.alarm_event(begin - 1), Err(EventLost { next: begin }));
        }
        let room = |bus: &Option<BusIndex>| bus.and_then(|at| self.room[at]);
        self.room = succession.buses.iter().map(room).collect();
        (self.plan, self.control, self.transmit, self.store, self.reader) = (plan, control, transmit, store, reader);
        sent.extend(self.sent());
        sent
    }

    /// In the mode of [`RELOADING`]: the same plan again, of which nobody may notice anything.
    fn reload_unseen(&mut self) {
        let Some(events) = &mut self.reloading else { return };
        *events += 1;
        // of long runs some: each costs a store
        if *events < 50 || *events % 499 == 0 {
            let sent = self.reload(self.plan.clone());
            assert!(sent.is_empty(), "a reload without a change sends {sent:?} at {} ms", self.ms());
        }
    }

    /// One event now; the frames it sent, as `bus id#payload`.
    pub fn step(&mut self, event: Event<'_>) -> Vec<String> {
        self.reload_unseen();
        let now = self.at();
        self.store.set(Word::Heartbeat, self.now);
        self.control.step(now, event, &mut self.store, &mut self.transmit);
        self.sent()
    }

    pub fn at(&self) -> Now {
        Now { monotonic: self.now, realtime: self.now + AHEAD }
    }

    /// Milliseconds since the start.
    pub fn ms(&self) -> u64 {
        (self.now - START) / MS
    }

    fn sent(&mut self) -> Vec<String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
        let (now, call) = (self.at(), self.call);
        let (buses, room) = (&self.plan.buses, &mut self.room);
        let mut sent = Vec::new();
        self.control.flush(now, &mut self.store, &mut self.transmit, |bus, outgoing| {
            let frame = &outgoing.frame;
            if let Some(room) = &mut room[bus] {
                match room.checked_sub(1) {
                    Some(less) => *room = less,
                    None => return Sent::Busy,
                }
            }
            let mark = if frame.fd { format!("##{}", u8::from(frame.bit_rate_switch)) } else { "#".into() };
            sent.push(format!("{} {}{mark}{}", buses[bus].name, frame.id, hex(frame.payload())));
            Sent::At(now.monotonic + call)
        });
        let ms = self.ms();
        self.log.extend(sent.iter().map(|frame| (ms, frame.clone())));
        sent
    }

    fn next_due(&self) -> u64 {
        self.control.next_due().min(self.transmit.next_due())
    }

    /// Lets time pass, serving every deadline at its moment; the frames sent, with their time in ms since the start.
    pub fn pass(&mut self, ms: u64) -> Vec<(u64, String)> {
        let end = self.now + ms * MS;
        let mut sent = Vec::new();
        while self.next_due() <= end {
            self.now = self.now.max(self.next_due());
            let frames = self.step(Event::Timer);
            sent.extend(frames.into_iter().map(|frame| (self.ms(), frame)));
        }
        self.now = end;
        self.store.set(Word::Heartbeat, end);
        sent
    }

    /// A frame as candump logs it, `bus 123#0011` (extended: 8 digits; FD: `##1` and so on); the frames it sent.
    pub fn receive(&mut self, frame: &str) -> Vec<String> {
        let line = candump::parse(frame).unwrap_or_else(|e| panic!("{frame}: {e}")).unwrap();
        let bus = self.bus(line.bus);
        let received = match line.content {
            Content::Data { id, fd: None, payload } => Frame::classic(id, payload.bytes()),
            Content::Data { id, fd: Some(flags), payload } => {
                let mut frame = Frame::fd(id, payload.bytes());
                frame.iter_mut().for_each(|frame| frame.bit_rate_switch = flags & 1 == 1);
                frame
            }
            Content::Remote { id } => Frame::remote(id, 0),
            Content::Error => None,
        };
        let received = received.unwrap_or_else(|| panic!("{frame} is no frame"));
        self.step(Event::Received { bus, frame: &received, source_time: self.now + AHEAD })
    }

    /// A command, checked already; the frames it sent, or the refusal.
    pub fn command(&mut self, change: Change) -> Result<Vec<String>, String> {
        self.reload_unseen();
        let now = self.at();
        let result = self.control.command(now, self.place, &change, &mut self.store, &mut self.transmit);
        result.map_err(|denied| denied.refusal(&self.plan).to_string())?;
        Ok(self.sent())
    }

    /// A write of the plant.
    pub fn write(&mut self, writes: &[(&str, Value)]) -> Result<Vec<String>, String> {
        let writes: Vec<Write> =
            writes.iter().map(|(name, value)| Write { tag: self.tag(name), value: *value }).collect();
        let patch = command::compile(&self.plan, &writes).map_err(|refusal| refusal.to_string())?;
        self.command(Change::Patch(patch))
    }

    /// Holds a tag at an engineering value, whether the plan lets people do that or not.
    pub fn force(&mut self, name: &str, value: f64, seconds: f64) -> Result<Vec<String>, String> {
        let tag = self.tag(name);
        let codec = &self.plan.signal(tag).codec;
        let (raw, mut bits) = (codec.to_raw(value).unwrap(), Bits::NONE);
        codec.mask(&mut bits.mask);
        codec.insert(raw, &mut bits.bits).unwrap();
        let until = self.now + (seconds * 1e9) as u64;
        self.command(Change::Force { tag, bits, raw: raw.bits(), until })
    }

    pub fn bus(&self, name: &str) -> BusIndex {
        self.plan.buses.iter().position(|bus| bus.name == name).unwrap_or_else(|| panic!("no bus {name}"))
    }

    /// By `bus.Message`.
    pub fn message(&self, name: &str) -> MessageIndex {
        let found = (0..self.plan.messages.len()).find(|index| self.plan.message_name(*index, None) == name);
        found.unwrap_or_else(|| panic!("no message {name}"))
    }

    /// By `bus.Message.Signal`.
    pub fn tag(&self, name: &str) -> TagIndex {
        let found = (0..self.plan.tags.len()).find(|tag| self.plan.tag_name(*tag, None) == name);
        found.unwrap_or_else(|| panic!("no tag {name}"))
    }

    /// Value and shown cause of a tag, as text. `source`: the J1939 slot, 0 for all others.
    pub fn show(&self, name: &str, source: usize) -> String {
        let sample = sample::read(&self.plan, &self.reader, self.tag(name), source, self.now);
        let value = sample.value.map_or("-".to_string(), |value| value.to_string());
        format!("{value} {}", sample.causes.meaning().label)
    }

    /// Every cause of a tag, worst first.
    pub fn causes(&self, name: &str, source: usize) -> String {
        let sample = sample::read(&self.plan, &self.reader, self.tag(name), source, self.now);
        format!("{:?}", sample.causes)
    }

    pub fn check(&self, name: &str, want: &str) {
        assert_eq!(self.show(name, 0), want, "{name} at {} ms", self.ms());
    }

    /// Whether an alarm is active.
    pub fn alarm(&self, alarm: Alarm) -> bool {
        let index = self.plan.alarm(alarm).unwrap_or_else(|| panic!("no alarm {alarm:?}"));
        self.reader.alarm(index).active
    }

    /// Every transition of an alarm so far, with its key.
    pub fn alarm_events(&mut self) -> &[(String, AlarmEvent)] {
        while let Some(event) = self.reader.alarm_event(self.events.len() as u64).unwrap() {
            self.events.push((self.plan.alarms[event.alarm].key(&self.plan), event));
        }
        &self.events
    }

    /// The same of the alarms that the configuration names, as `MS NAME BEFORE>STATE VALUE`.
    pub fn configured_events(&mut self) -> Vec<String> {
        let line = |(key, event): &(String, AlarmEvent)| {
            let ms = (event.time - START - AHEAD) as f64 / MS as f64;
            let AlarmEvent { before, state, value, .. } = event;
            key.strip_prefix("alarm:").map(|name| format!("{ms} {name} {before}>{state} {value}"))
        };
        self.alarm_events().iter().filter_map(line).collect()
    }

    pub fn bus_word(&self, bus: &str, word: BusWord) -> u64 {
        self.reader.bus(self.bus(bus), word)
    }

    pub fn message_word(&self, message: &str, word: MessageWord) -> u64 {
        self.reader.message(self.message(message), word)
    }

    /// Plays lines of `MS WHAT ARGUMENTS`, the time in milliseconds since the start. Blank lines and what follows `//` do
    /// not count. In a line:
    ///
    /// - `rx BUS FRAME`: a frame arrives, as candump writes it
    /// - `tx BUS FRAME`: this was sent, at this moment, and nothing else since what the script looked at last
    /// - `quiet`: nothing was sent since then; `clear`: whatever was sent since then is fine
    /// - `is TAG VALUE CAUSE`: value (`-` for none) and shown cause
    /// - `causes TAG {Late, Lost}`: all causes
    /// - `state BUS WORD`: the bus changes its state
    /// - `slot N TAG VALUE CAUSE`: as `is`, of a J1939 source in order of appearance
    /// - `lost BUS N`: frames were lost
    /// - `force TAG VALUE SECONDS`, `release TAG`, `release`: forces of received tags
    /// - `write TAG VALUE`: the plant writes an engineering value
    /// - `arm`, `disarm`; `refused WORDS`: arming is refused with these words in the reason
    /// - `on ALARM`, `off ALARM`: the alarm is active or not: `late b.Status`, see [`Bench::alarm_named`]
    /// - `count MESSAGE WORD N`: a word of a message, `count b.Status TooSoon 2`
    pub fn play(&mut self, script: &str) {
        for (number, line) in script.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default().trim();
            let Some((ms, what)) = line.split_once(' ') else { continue };
            let ms: u64 = ms.parse().unwrap_or_else(|_| panic!("line {number}: no time: {line}"));
            assert!(ms >= self.ms(), "line {number}: time runs backwards: {line}");
            self.pass(ms - self.ms());
            let (verb, rest) = what.trim().split_once(' ').unwrap_or((what.trim(), ""));
            let rest = rest.trim();
            let words: Vec<&str> = rest.split_whitespace().collect();
            let place = format!("line {number}: {line}");
            match (verb, &words[..]) {
                ("rx", _) => drop(self.receive(rest)),
                ("tx", _) => {
                    assert!(!self.log.is_empty(), "{place}: nothing was sent");
                    assert_eq!(self.log.remove(0), (ms, rest.to_string()), "{place}");
                }
                ("quiet", []) => assert_eq!(self.log, [], "{place}"),
                ("clear", []) => self.log.clear(),
                ("is", [tag, value, cause]) => assert_eq!(self.show(tag, 0), format!("{value} {cause}"), "{place}"),
                ("slot", [slot, tag, value, cause]) => {
                    let found = self.show(tag, slot.parse().unwrap());
                    assert_eq!(found, format!("{value} {cause}"), "{place}");
                }
                ("lost", [bus, frames]) => {
                    let event = Event::Lost { bus: self.bus(bus), frames: frames.parse().unwrap() };
                    self.step(event);
                }
                ("force", [tag, value, seconds]) => {
                    let (value, seconds): (f64, f64) = (value.parse().unwrap(), seconds.parse().unwrap());
                    let done = self.force(tag, value, seconds);
                    done.unwrap_or_else(|refusal| panic!("{place}: {refusal}"));
                }
                ("release", tags) => {
                    let done = self.command(Change::Release(tags.first().map(|tag| self.tag(tag))));
                    done.unwrap_or_else(|refusal| panic!("{place}: {refusal}"));
                }
                ("causes", [tag, ..]) => {
                    assert_eq!(self.causes(tag, 0), rest[tag.len()..].trim(), "{place}");
                }
                ("state", [bus, word]) => {
                    let state = BusState::ALL.into_iter().find(|state| state.word() == *word);
                    let state = state.unwrap_or_else(|| panic!("{place}: no such state"));
                    self.step(Event::Bus { bus: self.bus(bus), state });
                }
                ("write", [tag, value]) => {
                    let value = Value::Engineering(value.parse().unwrap_or_else(|e| panic!("{place}: {e}")));
                    self.write(&[(tag, value)]).unwrap_or_else(|refusal| panic!("{place}: {refusal}"));
                }
                ("arm", []) => drop(self.command(Change::Arm).unwrap_or_else(|refusal| panic!("{place}: {refusal}"))),
                ("disarm", []) => drop(self.command(Change::Disarm).unwrap()),
                ("refused", _) => {
                    let refusal = self.command(Change::Arm).err().unwrap_or_default();
                    assert!(refusal.contains(rest), "{place}: {refusal}");
                }
                ("on" | "off", _) => assert_eq!(self.alarm(self.alarm_named(rest)), verb == "on", "{place}"),
                ("count", [message, word, n]) => {
                    let found = self.message_word(message, message_word(word));
                    assert_eq!(found.to_string(), *n, "{place}");
                }
                _ => panic!("{place}: not understood"),
            }
        }
    }

    /// An alarm by the words of a script: its name in small letters and what it is about.
    pub fn alarm_named(&self, words: &str) -> Alarm {
        let (name, about) = words.split_once(' ').unwrap_or((words, ""));
        match name {
            "not-armed" => Alarm::NotArmed,
            "forced" => Alarm::Forced,
            "overrun" => Alarm::Overrun,
            "interface-gone" => Alarm::InterfaceGone(self.bus(about)),
            "bus-off" => Alarm::BusOff(self.bus(about)),
            "bus-errors" => Alarm::BusErrors(self.bus(about)),
            "flapping" => Alarm::Flapping(self.bus(about)),
            "frames-lost" => Alarm::FramesLost(self.bus(about)),
            "transmit-dropped" => Alarm::TransmitDropped(self.bus(about)),
            "foreign-sender" => Alarm::ForeignSender(self.message(about)),
            "fallback" => Alarm::Fallback(self.message(about)),
            "late" => Alarm::Late(self.message(about)),
            "protection" => Alarm::Protection(self.message(about)),
            "limit" => Alarm::Limit(self.plan.limits.iter().position(|l| l.name == about).unwrap()),
            "off-normal" => Alarm::OffNormal(self.plan.off_normals.iter().position(|o| o.name == about).unwrap()),
            "storm" => Alarm::Storm(self.plan.routes.iter().position(|r| r.name == about).unwrap()),
            "link" => Alarm::Link(self.plan.links.iter().position(|l| l.name == about).unwrap()),
            _ => panic!("no alarm {words}"),
        }
    }
}

fn message_word(name: &str) -> MessageWord {
    use MessageWord::*;
    let all = [ShortestInterval, LongestInterval, TooSoon, WrongChecksums, WrongCounters, Late, Latched, Foreign];
    all.into_iter().find(|word| format!("{word:?}") == name).unwrap_or_else(|| panic!("no word {name}"))
}
