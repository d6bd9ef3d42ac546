//! The plant's own object types: messages, buses, the controller and what has a time to keep; their variables, from the store.

use opcua::types::{DataTypeId, ExtensionObject, NodeId, Range, VariableTypeId, Variant, VariantScalarTypeId};

use super::super::{NAMESPACE, Space};
use super::{Part, state};
use crate::dbc::Raw;
use crate::plan::{BusIndex, ContractIndex, Interface, Plan, Timed};
use crate::plant::View;
use crate::plant::machine::timed;
use crate::plant::opcua::machine::forces_seen;
use crate::plant::opcua::mapping::{self, Property};
use crate::plant::opcua::units;
use crate::quality::{Cause, Causes};
use crate::sample::Sample;
use crate::store::layout::{BusWord, FLAG_FIFO, MessageWord, Word};

/// One of the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bus,
    Message,
    Controller,
    Deadline,
}

/// Who has variables: a type, or an object of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Type(Kind),
    Bus(BusIndex),
    Controller,
    Deadline(ContractIndex),
}

/// One variable of a kind.
pub struct Field {
    pub name: &'static str,
    pub data_type: Type,
    /// A property; else a component.
    pub is_property: bool,
    /// Every object has it.
    pub is_mandatory: bool,
    pub description: &'static str,
    /// For the bus or contract of this index. `now`: CLOCK_MONOTONIC nanoseconds.
    value: fn(&View, usize, u64) -> Variant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Scalar(DataTypeId),
    Array(DataTypeId),
    /// A Double in percent, with unit and range: AnalogUnitType (OPC 10000-8, 5.3.2.4).
    Percent,
    /// [`state::NAME`].
    State,
}

/// The variable that says itself why it has no value.
const LOAD: &str = "Load";

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Bus, Kind::Message, Kind::Controller, Kind::Deadline];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Bus => "CanBusType",
            Kind::Message => "CanMessageType",
            Kind::Controller => "ControllerType",
            Kind::Deadline => "DeadlineType",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Kind::Bus => "A CAN bus as the controller sees it.",
            Kind::Message => "A CAN message as a DBC file describes it.",
            Kind::Controller => "The process that exchanges frames with the buses.",
            Kind::Deadline => "Times of one route, link or cyclic message since the start of the controller.",
        }
    }

    pub fn fields(self) -> &'static [Field] {
        match self {
            Kind::Bus => BUS,
            Kind::Message => MESSAGE,
            Kind::Controller => CONTROLLER,
            Kind::Deadline => DEADLINE,
        }
    }
}

impl Owner {
    pub fn kind(self) -> Kind {
        match self {
            Owner::Type(kind) => kind,
            Owner::Bus(_) => Kind::Bus,
            Owner::Controller => Kind::Controller,
            Owner::Deadline(_) => Kind::Deadline,
        }
    }

    pub fn field(self, number: u8) -> &'static Field {
        self.kind().fields().get(usize::from(number)).unwrap_or(&NOTHING)
    }

    /// Its variables: all of a type, of an object those that it has.
    pub fn numbers(self, plan: &Plan) -> impl Iterator<Item = u8> + use<'_> {
        let fields = (0_u8..).zip(self.kind().fields());
        fields.filter(move |(_, field)| self.has(plan, field)).map(|(number, _)| number)
    }

    fn has(self, plan: &Plan, field: &Field) -> bool {
        match self {
            _ if field.is_mandatory => true,
            Owner::Type(_) => true,
            Owner::Bus(bus) => match field.name {
                "BitRate" => plan.buses[bus].bit_rate.is_some(),
                "DataBitRate" => plan.buses[bus].data_bit_rate.is_some(),
                _ => matches!(plan.buses[bus].interface, Interface::SocketCan(_)),
            },
            Owner::Controller | Owner::Deadline(_) => true,
        }
    }

    pub fn find_field(self, plan: &Plan, name: &str) -> Option<u8> {
        self.numbers(plan).find(|number| self.field(*number).name == name)
    }

    pub fn find_scale(self, plan: &Plan, name: &str, property: &str) -> Option<Part> {
        let field = self.find_field(plan, name)?;
        let mut properties = self.field(field).data_type.properties().iter();
        let found = properties.find(|found| found.name() == property)?;
        Some(Part::Scale(self, field, *found))
    }

    /// The variable's value and quality; `None` of a type, which has none.
    pub fn value(self, view: &View, number: u8, now: u64) -> Option<(Variant, Sample)> {
        let index = match self {
            Owner::Type(_) => return None,
            Owner::Bus(index) | Owner::Deadline(index) => index,
            Owner::Controller => 0,
        };
        let value = (self.field(number).value)(view, index, now);
        let causes = if view.alive(now) { Causes::NONE } else { Causes::of(Cause::ControllerGone) };
        let causes = match self {
            // why there is none: bus off, interface gone, not yet a second of a known bit rate
            Owner::Bus(bus) if self.field(number).name == LOAD => {
                causes.and(view.reader.load(bus, now).err().unwrap_or(Causes::NONE))
            }
            Owner::Bus(_) if value == Variant::Empty => causes.with(Cause::NeverReceived),
            _ if value == Variant::Empty => causes.with(Cause::NotAvailable),
            _ => causes,
        };
        Some((value, Sample { raw: None, value: None, causes, source_time: 0, received: now, count: 1 }))
    }
}

impl Type {
    /// Number in namespace 0 of the type, or of that which it derives from.
    pub fn standard(self) -> DataTypeId {
        match self {
            Type::Scalar(kind) | Type::Array(kind) => kind,
            Type::Percent => DataTypeId::Double,
            Type::State => DataTypeId::Enumeration,
        }
    }

    /// Of a component.
    pub fn type_definition(self) -> VariableTypeId {
        match self {
            Type::Percent => VariableTypeId::AnalogUnitType,
            Type::Scalar(_) | Type::Array(_) | Type::State => VariableTypeId::BaseDataVariableType,
        }
    }

    /// Those that say what the number means.
    pub fn properties(self) -> &'static [Property] {
        match self {
            Type::Percent => &[Property::EngineeringUnits, Property::EuRange],
            Type::Scalar(_) | Type::Array(_) | Type::State => &[],
        }
    }

    pub fn id(self) -> NodeId {
        match self {
            Type::Scalar(_) | Type::Array(_) | Type::Percent => self.standard().into(),
            Type::State => NodeId::new(NAMESPACE, format!("{}.{}", super::super::ROOT, state::NAME)),
        }
    }
}

/// A contract's name, which no other has.
pub fn deadline_name(plan: &Plan, contract: ContractIndex) -> String {
    let Some(contract) = plan.contracts.get(contract) else { return String::new() };
    let (kind, name) = timed(plan, contract.of);
    format!("{kind} {name}")
}

pub fn find_deadline(space: &Space, text: &str) -> Option<ContractIndex> {
    let plan = space.plan();
    let (kind, name) = text.split_once(' ')?;
    let of = match kind {
        "route" => Timed::Route(plan.routes.iter().position(|route| route.name == name)?),
        "link" => Timed::Link(plan.links.iter().position(|link| link.name == name)?),
        _ => {
            let message = space.message_named(name)?;
            Timed::Cycle(message)
        }
    };
    let found = plan.contract(of)?;
    (deadline_name(plan, found) == text).then_some(found)
}

const NOTHING: Field = Field {
    name: "",
    data_type: Type::Scalar(DataTypeId::String),
    is_property: false,
    is_mandatory: true,
    description: "",
    value: |_, _, _| Variant::Empty,
};

/// A variable that every object has.
const fn field(
    name: &'static str,
    data_type: DataTypeId,
    description: &'static str,
    value: fn(&View, usize, u64) -> Variant,
) -> Field {
    Field { name, data_type: Type::Scalar(data_type), description, value, ..NOTHING }
}

/// A property that not every object has.
const fn property(
    name: &'static str,
    data_type: DataTypeId,
    description: &'static str,
    value: fn(&View, usize, u64) -> Variant,
) -> Field {
    Field { is_property: true, is_mandatory: false, ..field(name, data_type, description, value) }
}

const fn percent_field(
    name: &'static str,
    description: &'static str,
    value: fn(&View, usize, u64) -> Variant,
) -> Field {
    Field { data_type: Type::Percent, ..field(name, DataTypeId::Double, description, value) }
}

/// What a property of [`Type::Percent`] says. More than 100 is possible: the range is the normal one (OPC 10000-8, 5.6.3).
pub fn percent(property: Property) -> Variant {
    match property {
        Property::EngineeringUnits => Variant::from(ExtensionObject::from_message(units::engineering_units("%"))),
        Property::EuRange => Variant::from(ExtensionObject::from_message(Range { low: 0.0, high: 100.0 })),
        _ => Variant::Empty,
    }
}

pub fn scale_type(property: Property) -> DataTypeId {
    match property {
        Property::EngineeringUnits => DataTypeId::EUInformation,
        _ => DataTypeId::Range,
    }
}

/// In the order of the names, as all of them.
const BUS: &[Field] = &[
    property("BitRate", DataTypeId::UInt32, "Configured bit rate in bit/s.", |view, bus, _| {
        view.plan.buses[bus].bit_rate.map_or(Variant::Empty, Variant::UInt32)
    }),
    field("BusOffCount", DataTypeId::UInt64, "Times that the bus went bus-off.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::BusOffs))
    }),
    property("DataBitRate", DataTypeId::UInt32, "Configured bit rate of the data phase in bit/s.", |view, bus, _| {
        view.plan.buses[bus].data_bit_rate.map_or(Variant::Empty, Variant::UInt32)
    }),
    field("ErrorFrames", DataTypeId::UInt64, "Error frames received.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::ErrorFrames))
    }),
    property("Interface", DataTypeId::String, "The network interface.", |view, bus, _| {
        match &view.plan.buses[bus].interface {
            Interface::SocketCan(name) => Variant::from(name.as_str()),
            Interface::Virtual => Variant::Empty,
        }
    }),
    field("InterfaceLosses", DataTypeId::UInt64, "Times that the interface went down or away.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::InterfaceLosses))
    }),
    percent_field(
        LOAD,
        "Share of the last second that frames had the bus; none while its bit rate is not known.",
        |view, bus, now| view.reader.load(bus, now).map_or(Variant::Empty, |load| Variant::Double(load * 100.0)),
    ),
    percent_field("LoadPeak", "Highest load of a second since the start of the controller.", |view, bus, _| {
        view.reader.load_peak(bus).map_or(Variant::Empty, |(load, _)| Variant::Double(load * 100.0))
    }),
    field("LoadPeakTime", DataTypeId::UtcTime, "When that second ended.", |view, bus, _| {
        view.reader.load_peak(bus).map_or(Variant::Empty, |(_, at)| time(at))
    }),
    field(
        "LostFrames",
        DataTypeId::UInt64,
        "Frames lost on receiving, by the kernel or the interface.",
        |view, bus, _| {
            let lost = view.reader.bus(bus, BusWord::LostFrames);
            Variant::UInt64(lost.saturating_add(view.reader.bus(bus, BusWord::ControllerOverflows)))
        },
    ),
    field("ReceiveErrors", DataTypeId::UInt32, "Receive error counter, where the driver tells.", |view, bus, _| {
        narrow(view.reader.bus(bus, BusWord::ReceiveErrors))
    }),
    field("ReceivedBytes", DataTypeId::UInt64, "Bytes of payload received.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::ReceivedBytes))
    }),
    field("ReceivedFrames", DataTypeId::UInt64, "Frames received.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::ReceivedFrames))
    }),
    Field {
        data_type: Type::State,
        ..field("State", DataTypeId::Enumeration, "State of the bus.", |view, bus, _| {
            Variant::Int32(view.reader.bus_state(bus) as i32)
        })
    },
    field("StateSince", DataTypeId::UtcTime, "When the state changed.", |view, bus, _| {
        time(view.reader.bus(bus, BusWord::StateSince))
    }),
    field("TransmitErrors", DataTypeId::UInt32, "Transmit error counter, where the driver tells.", |view, bus, _| {
        narrow(view.reader.bus(bus, BusWord::TransmitErrors))
    }),
    field("TransmittedBytes", DataTypeId::UInt64, "Bytes of payload sent.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::TransmittedBytes))
    }),
    field("TransmittedFrames", DataTypeId::UInt64, "Frames sent.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::TransmittedFrames))
    }),
    field("UnknownFrames", DataTypeId::UInt64, "Frames that match no message of the DBC files.", |view, bus, _| {
        Variant::UInt64(view.reader.bus(bus, BusWord::UnknownFrames))
    }),
];

/// Objects have these as facts of their messages; [`super::super::Fact`].
const MESSAGE: &[Field] = &[
    property("Comment", DataTypeId::LocalizedText, "What the DBC file says about it.", |_, _, _| Variant::Empty),
    property("CycleTime", DataTypeId::Duration, "Time from one frame to the next.", |_, _, _| Variant::Empty),
    property("Identifier", DataTypeId::String, "CAN identifier, hexadecimal.", |_, _, _| Variant::Empty),
    property(
        "LeaseTime",
        DataTypeId::Duration,
        "Within it the plant must write again, or its session give a sign of life.",
        |_, _, _| Variant::Empty,
    ),
    property("Sender", DataTypeId::String, "The nodes that send it.", |_, _, _| Variant::Empty),
];

const CONTROLLER: &[Field] = &[
    field("Armed", DataTypeId::Boolean, "Whether the outputs are armed.", |view, _, _| {
        Variant::Boolean(view.reader.get(Word::Armed) == 1)
    }),
    field("Commands", DataTypeId::UInt64, "Commands that were applied.", |view, _, _| {
        Variant::UInt64(view.reader.get(Word::Commands))
    }),
    field("CommandsRefused", DataTypeId::UInt64, "Commands that were refused.", |view, _, _| {
        Variant::UInt64(view.reader.get(Word::CommandsRefused))
    }),
    Field {
        data_type: Type::Array(DataTypeId::String),
        ..field("FallbackMessages", DataTypeId::String, "Messages that have their fallback values.", |view, _, _| {
            let messages = 0..view.plan.messages.len();
            let held = messages.filter(|message| view.reader.message(*message, MessageWord::Latched) != 0);
            Variant::from(held.map(|message| view.plan.message_name(message, None)).collect::<Vec<_>>())
        })
    },
    Field {
        data_type: Type::Array(DataTypeId::String),
        ..field("ForcedSignals", DataTypeId::String, "Signals that are forced, with their values.", |view, _, now| {
            Variant::from(forced(view, now))
        })
    },
    field(FORCES, DataTypeId::UInt32, "Number of signals that are forced.", |view, _, _| forces_seen(view, |_| true)),
    field("Overruns", DataTypeId::UInt64, "Cyclic frames that left later than half of their period.", |view, _, _| {
        Variant::UInt64(view.reader.get(Word::Overruns))
    }),
    field(
        "RealTime",
        DataTypeId::Boolean,
        "Whether its thread runs under a real-time scheduling class.",
        |view, _, _| Variant::Boolean(view.reader.get(Word::Flags) & FLAG_FIFO != 0),
    ),
    field("Remote", DataTypeId::Boolean, "Whether the plant may write, arm, force and switch.", |view, _, _| {
        Variant::Boolean(view.reader.get(Word::Remote) == 1)
    }),
    field("Simulated", DataTypeId::Boolean, "Whether the devices are simulated.", |view, _, _| {
        Variant::Boolean(view.plan.simulated)
    }),
    field("StartTime", DataTypeId::UtcTime, "When it was started.", |view, _, _| {
        time(view.reader.get(Word::StartedRealtime))
    }),
    field("TimerLateness", DataTypeId::Duration, "99 of 100 deadlines were served within this time.", |view, _, _| {
        lateness(&view.reader.lateness(), 0.99).map_or(Variant::Empty, Variant::Double)
    }),
    field("Writes", DataTypeId::UInt64, "Writes from the plant that were applied.", |view, _, _| {
        Variant::UInt64(view.reader.get(Word::Writes))
    }),
];

const DEADLINE: &[Field] = &[
    Field {
        is_mandatory: true,
        ..property("Budget", DataTypeId::Duration, "Time that it may take.", |view, contract, _| {
            view.plan.contracts.get(contract).map_or(Variant::Empty, |contract| ms(contract.budget))
        })
    },
    field("Count", DataTypeId::UInt64, "How often it was measured.", |view, contract, _| {
        Variant::UInt64(view.reader.contract(contract).count)
    }),
    field("Maximum", DataTypeId::Duration, "Longest time.", |view, contract, _| ms(view.reader.contract(contract).max)),
    field("Median", DataTypeId::Duration, "Half of the times were shorter.", |view, contract, _| {
        quantile(view, contract, 0.5)
    }),
    field("Overruns", DataTypeId::UInt64, "How often it was longer than the budget.", |view, contract, _| {
        Variant::UInt64(view.reader.contract(contract).overruns)
    }),
    field("Percentile99", DataTypeId::Duration, "99 of 100 times were shorter.", |view, contract, _| {
        quantile(view, contract, 0.99)
    }),
];

fn narrow(number: u64) -> Variant {
    Variant::UInt32(u32::try_from(number).unwrap_or(u32::MAX))
}

fn time(nanoseconds: u64) -> Variant {
    mapping::source_time(nanoseconds).map_or(Variant::Empty, Variant::from)
}

/// Duration is in milliseconds (OPC 10000-3, 8.13).
fn ms(nanoseconds: u64) -> Variant {
    Variant::Double(nanoseconds as f64 / 1e6)
}

fn quantile(view: &View, contract: usize, share: f64) -> Variant {
    let times = view.reader.contract(contract);
    if times.count == 0 { Variant::Empty } else { ms(times.quantile(share).unwrap_or(times.max)) }
}

/// Milliseconds: the end of the bucket that this share of all is reached in; `None` where nothing was counted.
fn lateness(buckets: &[u64], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut counted = 0;
    let reached = (1_i32..).zip(buckets).find(|(_, count)| {
        counted += **count;
        counted >= wanted
    });
    reached.filter(|_| all > 0).map(|(power, _)| f64::powi(2.0, power) / 1e3)
}

/// The count of forces, which leaves out what may not be seen.
pub const FORCES: &str = "Forces";

/// Of a list of names, behind which values may be, what may be seen; everything else as it is.
pub fn seen_of(value: Variant, seen: impl Fn(&str) -> bool) -> Variant {
    let Variant::Array(list) = &value else { return value };
    let name = |text: &str| text.split(" = ").next().unwrap_or_default().to_owned();
    let shown = list.values.iter().filter_map(|one| match one {
        Variant::String(text) => seen(&name(text.as_ref())).then(|| text.as_ref().to_owned()),
        _ => None,
    });
    match list.value_type {
        VariantScalarTypeId::String => Variant::from(shown.collect::<Vec<String>>()),
        _ => value,
    }
}

/// `bus.Message.Signal = value`.
fn forced(view: &View, _now: u64) -> Vec<String> {
    let plan = &view.plan;
    let forces = view.reader.forces().filter(|force| force.tag < plan.tags.len());
    let text = |force: crate::store::reader::Force| {
        let codec = &plan.signal(force.tag).codec;
        let value = codec.engineering(Raw::from_bits(codec.kind, force.bits));
        format!("{} = {value}", plan.tag_name(force.tag, None))
    };
    forces.map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_named_once() {
        for kind in Kind::ALL {
            let names: Vec<&str> = kind.fields().iter().map(|field| field.name).collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(names, sorted, "{kind:?}");
        }
    }

    #[test]
    fn lateness_is_the_end_of_a_bucket() {
        for (buckets, want) in [
            (&[0_u64, 0, 0][..], None),
            (&[100, 0, 0], Some(0.002)),
            (&[99, 1, 0], Some(0.002)),
            (&[98, 1, 1], Some(0.004)),
            (&[0, 0, 1], Some(0.008)),
        ] {
            assert_eq!(lateness(buckets, 0.99), want, "{buckets:?}");
        }
    }
}
