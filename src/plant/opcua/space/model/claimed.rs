//! What a J1939 device says about itself by the NAME that it claims its address with (SAE J1939-81, 4.1.1).
//!
//! The properties are there as long as the device is, whether its NAME is known or not: a client subscribes to them once, and
//! no model changes with a claim. Before the first claim those of the NAME wait for initial data, as a signal does before its
//! first frame; those of DI have the empty texts that it asks for where nothing is known (OPC 10000-100, 4.5.2).

use opcua::types::{DataTypeId, LocalizedText, Variant};

use super::devices::Device;
use super::plate::Plate;
use crate::can::name::{ADDRESSES, Name};
use crate::plan::{BusIndex, Direction};
use crate::plant::opcua::mapping;
use crate::plant::opcua::space::Space;
use crate::plant::{View, j1939};
use crate::quality::{Cause, Causes};
use crate::sample::Sample;
use crate::store::names::Holder;

/// The NAME and what is in it, in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    ArbitraryAddressCapable,
    Claimed,
    EcuInstance,
    Function,
    FunctionInstance,
    IdentityNumber,
    IndustryGroup,
    ManufacturerCode,
    Name,
    VehicleSystem,
    VehicleSystemInstance,
}

impl Field {
    pub fn name(self) -> &'static str {
        match self {
            Field::ArbitraryAddressCapable => "J1939ArbitraryAddressCapable",
            Field::Claimed => "J1939Claimed",
            Field::EcuInstance => "J1939EcuInstance",
            Field::Function => "J1939Function",
            Field::FunctionInstance => "J1939FunctionInstance",
            Field::IdentityNumber => "J1939IdentityNumber",
            Field::IndustryGroup => "J1939IndustryGroup",
            Field::ManufacturerCode => "J1939ManufacturerCode",
            Field::Name => "J1939Name",
            Field::VehicleSystem => "J1939VehicleSystem",
            Field::VehicleSystemInstance => "J1939VehicleSystemInstance",
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            Field::ArbitraryAddressCapable => DataTypeId::Boolean,
            Field::Claimed => DataTypeId::UtcTime,
            Field::IdentityNumber => DataTypeId::UInt32,
            Field::ManufacturerCode => DataTypeId::UInt16,
            Field::Name => DataTypeId::UInt64,
            Field::EcuInstance
            | Field::Function
            | Field::FunctionInstance
            | Field::IndustryGroup
            | Field::VehicleSystem
            | Field::VehicleSystemInstance => DataTypeId::Byte,
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Field::ArbitraryAddressCapable => "Whether it takes another address where the one it wants is taken.",
            Field::Claimed => "When it claimed its address last.",
            Field::EcuInstance => "Which of several ECUs that share a function.",
            Field::Function => "What it does, by the list of SAE.",
            Field::FunctionInstance => "Which of several of the same function.",
            Field::IdentityNumber => "Number that the manufacturer has given to this one device.",
            Field::IndustryGroup => {
                "0 global, 1 on-highway, 2 agriculture and forestry, 3 construction, 4 marine, 5 industrial."
            }
            Field::ManufacturerCode => "The manufacturer, by the list of SAE.",
            Field::Name => "The NAME that it claimed its address with (SAE J1939-81).",
            Field::VehicleSystem => "Kind of vehicle system, by industry group.",
            Field::VehicleSystemInstance => "Which of several vehicle systems of the same kind.",
        }
    }

    /// `None` where the clock was not set at the time.
    fn of(self, Holder { name, claimed }: Holder) -> Option<Variant> {
        Some(match self {
            Field::ArbitraryAddressCapable => Variant::Boolean(name.is_arbitrary_address_capable()),
            Field::Claimed => return mapping::source_time(known(claimed)).map(Variant::from),
            Field::EcuInstance => Variant::Byte(name.ecu_instance()),
            Field::Function => Variant::Byte(name.function()),
            Field::FunctionInstance => Variant::Byte(name.function_instance()),
            Field::IdentityNumber => Variant::UInt32(name.identity_number()),
            Field::IndustryGroup => Variant::Byte(name.industry_group()),
            Field::ManufacturerCode => Variant::UInt16(name.manufacturer_code()),
            Field::Name => Variant::UInt64(name.0),
            Field::VehicleSystem => Variant::Byte(name.vehicle_system()),
            Field::VehicleSystemInstance => Variant::Byte(name.vehicle_system_instance()),
        })
    }
}

/// 0: the clock was not set then.
fn known(time: u64) -> u64 {
    crate::store::clock::known(time).unwrap_or(0)
}

impl Space {
    /// The address that a device would claim: a source's own, or what is configured of one of several alike.
    fn address(&self, device: Device) -> Option<(BusIndex, u8)> {
        let (bus, address) = match device {
            Device::Source(bus, address) => (bus, address),
            Device::Listed(number) => {
                let listed = self.devices.get(number).filter(|device| device.is_instance())?;
                let messages = listed.messages.iter().filter_map(|message| self.plan.messages.get(*message as usize));
                let received = messages.filter(|message| matches!(message.direction, Direction::Input(_)));
                (listed.bus, received.filter_map(|message| message.message.source_address).next()?)
            }
        };
        let has_table = self.plan.buses.get(bus)?.names.is_some() && usize::from(address) < ADDRESSES;
        has_table.then_some((bus, address))
    }

    /// Whether a device has a property because it may claim its address. What is configured stays.
    pub(super) fn is_claimed(&self, device: Device, plate: Plate) -> bool {
        let own = match plate {
            Plate::Manufacturer | Plate::SerialNumber | Plate::DeviceClass => true,
            // a message of the same name keeps the name to itself
            Plate::J1939(field) => !self.has_message(device, field.name()),
            _ => false,
        };
        own && self.engraved(device, plate).is_none() && self.address(device).is_some()
    }

    fn has_message(&self, device: Device, name: &str) -> bool {
        let named = |message: usize| self.message_name(message) == name;
        match device {
            Device::Source(bus, _) => self.bus_messages(bus).any(|message| self.is_j1939(message) && named(message)),
            Device::Listed(number) => {
                self.devices.get(number).is_some_and(|device| device.messages.iter().any(|at| named(*at as usize)))
            }
        }
    }

    /// The value of such a property, with its sample where there is something to say about it. `now`: CLOCK_MONOTONIC
    /// nanoseconds.
    pub(super) fn claimed(
        &self,
        view: &View,
        device: Device,
        plate: Plate,
        now: u64,
    ) -> (Option<Variant>, Option<Sample>) {
        let address = self.address(device);
        let holder = address.and_then(|(bus, address)| j1939::holder(&view.plan, &view.reader, bus, address));
        let (Some((bus, _)), Some(holder)) = (address, holder) else {
            return match plate {
                Plate::J1939(_) => (None, Some(Sample::NEVER_RECEIVED)),
                plate => (Some(plate.nothing()), None),
            };
        };
        let text = |of: fn(Name) -> String| Variant::from(of(holder.name));
        let value = match plate {
            Plate::J1939(field) => field.of(holder),
            Plate::Manufacturer => {
                let maker = j1939::manufacturer(&view.plan, holder.name);
                Some(Variant::from(LocalizedText::new("", &maker)))
            }
            Plate::SerialNumber => Some(text(|name| name.identity_number().to_string())),
            Plate::DeviceClass => Some(text(j1939::function)),
            _ => None,
        };
        // who a device is does not end with its bus
        let outer = view.bus_causes(bus, now);
        let of = |cause| if outer.contains(cause) { Causes::of(cause) } else { Causes::NONE };
        let causes = of(Cause::ControllerGone).and(of(Cause::Simulated));
        let causes = if value.is_none() { causes.with(Cause::NotAvailable) } else { causes };
        let source_time = known(holder.claimed);
        (value, Some(Sample { raw: None, value: None, causes, source_time, received: now, count: 1 }))
    }
}

#[cfg(test)]
mod tests;
