//! A small plant on the heap for the tests of the pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::can::{FrameId, MAX_LEN};
use crate::command::{Generation, Place, VERSION};
use crate::dbc::codec::{ByteOrder, Kind};
use crate::dbc::{self, Codec};
use crate::plan::{Bus, Direction, Interface, Message, Overlay, Plan, Reception, Tag, Transmission};
use crate::plant::{Plant, View};
use crate::quality::Causes;
use crate::store::layout::{BusState, Word};
use crate::store::{Layout, MainWriter, Memory, Reader, Record, Writer};

/// CLOCK_MONOTONIC of every test.
pub const NOW: u64 = 1_000_000_000_000;
/// CLOCK_REALTIME of every frame: 2026-01-02 03:04:05.25 UTC.
pub const STAMP: u64 = 1_767_323_045_250_000_000;

pub struct Example {
    pub plan: Arc<Plan>,
    pub plant: Arc<Plant>,
    pub writer: Writer,
    pub main: MainWriter,
}

impl Example {
    /// `line` on can0 with a drive, a J1939 engine and odd texts; `cell` virtual with a robot.
    pub fn new() -> Example {
        let speed = signal("ActualSpeed", 0, 16, 0.5, Some((0.0, 10_000.0)), "1/min");
        let mut mode = signal("Mode", 16, 8, 1.0, None, "");
        mode.value_table = vec![(0, "Off".into()), (2, "Running <fast>".into())];
        mode.comment = Some("What the drive does.\nSays <script>alert(1)</script>".into());
        let load = signal("Load", 0, 8, 1.0, None, "%");
        let quoted = signal("Quoted", 0, 8, 1.0, None, "\"<b>\\\n°");
        let setpoint = signal("Setpoint", 0, 16, 0.5, None, "1/min");
        let axis = signal("Axis", 0, 8, 1.0, None, "°");
        let mut eec1 = message("EEC1", FrameId::extended(0x0CF0_0400).unwrap(), vec![load]);
        eec1.pgn = Some(0xF004);
        let standard = |number| FrameId::standard(number).unwrap();
        let input = Direction::Input(Reception { deadlines: vec![Some(250_000_000)], ..Reception::default() });
        let output = Direction::Output(Box::new(Transmission::new(2, [0; MAX_LEN], Some(10_000_000))));
        let mut plan = Plan { hash: [0xAB; 32], ..Plan::default() };
        add_bus(
            &mut plan,
            "line",
            Interface::SocketCan("can0".into()),
            vec![
                (message("DriveCommand", standard(0x1F0), vec![setpoint]), output, 1),
                (message("DriveStatus", standard(0x1F4), vec![speed, mode]), input.clone(), 1),
                (eec1, input.clone(), 3),
                (message("Odd", standard(0x10), vec![quoted]), input.clone(), 1),
            ],
        );
        add_bus(&mut plan, "cell", Interface::Virtual, vec![(message("Robot", standard(0x20), vec![axis]), input, 1)]);
        let words = |alias: Option<&str>, area: &str| Overlay {
            alias: alias.map(str::to_owned),
            area: Some(area.into()),
            ..Overlay::default()
        };
        let index = |name: &str| plan.messages.iter().position(|m| m.message.name == name).unwrap();
        let (drive, engine) = (index("DriveStatus"), index("EEC1"));
        let speed = plan.messages[drive].tags.start;
        plan.tag_overlays = [(speed, words(Some("Drive <1>"), "Hall \"2\""))].into();
        plan.message_overlays = [(engine, words(None, "Cellar"))].into();
        plan.number();
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let main = MainWriter::new(memory.clone());
        let mut writer = Writer::new(memory.clone(), layout, 7);
        writer.set(Word::Heartbeat, NOW);
        writer.set(Word::StartedRealtime, STAMP);
        for bus in 0..layout.buses {
            writer.set_bus_state(bus, BusState::Active, STAMP);
        }
        let plan = Arc::new(plan);
        let (sender, _) = mpsc::channel(4);
        let generation =
            Generation { version: VERSION, number: 1, pid: 1, hash: "ab".repeat(32), since: STAMP, door: Place::Plant };
        let plant = Plant::new(View::new(plan.clone(), Reader::open(memory, layout, 7).unwrap(), &generation, sender));
        Example { plan, plant: Arc::new(plant), writer, main }
    }

    fn record_of(&self, name: &str, source: usize, group: usize) -> usize {
        let found = (0..self.plan.messages.len()).find(|m| self.plan.message_name(*m, None) == name);
        self.plan.messages[found.unwrap()].record(source, group)
    }

    /// A frame of a quarter of a second ago. `bits`: the identifier as in DBC files.
    pub fn frame(&mut self, name: &str, source: usize, group: usize, bits: u32, bytes: &[u8]) {
        let mut payload = [0; MAX_LEN];
        payload[..bytes.len()].copy_from_slice(bytes);
        let record = Record {
            causes: Causes::NONE,
            id_bits: bits,
            source_time: STAMP,
            received: NOW - 250_000_000,
            count: 1,
            length: bytes.len(),
            payload,
        };
        let index = self.record_of(name, source, group);
        self.writer.record(index, &record);
    }

    /// Sets the causes of a message that has come.
    pub fn causes(&mut self, name: &str, causes: Causes) {
        let index = self.record_of(name, 0, 0);
        let record = self.plant.view().reader.record(index).unwrap();
        self.writer.record(index, &Record { causes, ..record });
    }
}

fn add_bus(plan: &mut Plan, name: &str, interface: Interface, messages: Vec<(dbc::Message, Direction, usize)>) {
    let first = plan.messages.len();
    for (message, direction, sources) in messages {
        let tags = plan.tags.len()..plan.tags.len() + message.signals.len();
        let index = plan.messages.len();
        plan.tags.extend((0..message.signals.len()).map(|signal| Tag {
            message: index,
            signal,
            writable: matches!(direction, Direction::Output(_)),
            ..Tag::default()
        }));
        let message = Arc::new(message);
        plan.messages.push(Message {
            bus: plan.buses.len(),
            message,
            direction,
            sources,
            first_record: plan.records,
            tags,
            protection: None,
            instance: None,
        });
        plan.records += plan.messages[index].records();
    }
    plan.buses.push(Bus {
        name: name.into(),
        fd: interface == Interface::Virtual,
        interface,
        messages: first..plan.messages.len(),
        ..Bus::default()
    });
}

fn message(name: &str, id: FrameId, signals: Vec<dbc::Signal>) -> dbc::Message {
    dbc::Message {
        id,
        pgn: None,
        source_address: None,
        name: name.into(),
        dbc_name: name.into(),
        length: 8,
        fd: false,
        senders: vec!["Drive".into()],
        comment: None,
        signals,
        groups: vec![dbc::Group::default()],
        send_type: None,
        cycle_time: Some(Duration::from_millis(100)),
        start_delay: Duration::ZERO,
        attributes: BTreeMap::new(),
    }
}

fn signal(name: &str, start: u16, size: u8, factor: f64, range: Option<(f64, f64)>, unit: &str) -> dbc::Signal {
    dbc::Signal {
        name: name.into(),
        dbc_name: name.into(),
        codec: Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, factor, 0.0).unwrap(),
        range,
        unit: unit.into(),
        comment: None,
        receivers: Vec::new(),
        value_table: Vec::new(),
        multiplexor: false,
        group: 0,
        start_value: None,
        timeouts: Vec::new(),
        send_type: None,
        attributes: BTreeMap::new(),
    }
}
