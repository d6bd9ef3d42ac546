//! What the nodes of the model are found by: buses, devices and messages by name, J1939 sources by address.

use std::collections::BTreeSet;

use super::Part;
use super::devices::{Device, Listed};
use super::machinery;
use crate::plan::{BusIndex, InstanceIndex, MessageIndex};
use crate::plant::opcua::space::names::Named;
use crate::plant::opcua::space::{Node, Passing, Source, Space, number_of};

/// All devices of a bus, J1939 sources among them, sorted by name.
pub fn devices_of(space: &Space, bus: BusIndex, passing: Passing<'_>) -> Vec<Device> {
    space.devices_of(bus, passing, |_| true)
}

/// The messages in an area, of J1939 once for each source.
pub fn messages_in(space: &Space, area: u32, passing: Passing<'_>) -> Vec<(MessageIndex, Option<Source>)> {
    space.messages_in(area, passing)
}

impl Space {
    /// The bus of a device.
    pub(in crate::plant::opcua::space) fn device_bus(&self, number: u32) -> Option<BusIndex> {
        self.devices.get(number).map(|device| device.bus)
    }

    /// A node of the standard or of a companion specification.
    pub fn find_number(&self, namespace: u16, number: u32) -> Option<Node> {
        self.standard.numbered(namespace, number).map(Node::Standard)
    }

    pub(super) fn bus_named(&self, name: &str) -> Option<BusIndex> {
        match self.names.find(&self.plan, &[name])? {
            Named::Bus(bus) => Some(bus),
            Named::Message(_) | Named::Tag(_) => None,
        }
    }

    /// `bus.Message`.
    pub(super) fn message_named(&self, name: &str) -> Option<MessageIndex> {
        match self.names.find(&self.plan, &[name])? {
            Named::Message(message) => Some(message),
            Named::Bus(_) | Named::Tag(_) => None,
        }
    }

    pub(super) fn bus_messages(&self, bus: BusIndex) -> std::ops::Range<MessageIndex> {
        self.plan.buses.get(bus).map_or(0..0, |bus| bus.messages.clone())
    }

    /// The configured device that a message belongs to; that of a J1939 message is its source.
    pub(in crate::plant::opcua::space) fn instance(&self, message: MessageIndex) -> Option<InstanceIndex> {
        self.plan.messages.get(message)?.instance.filter(|_| !self.is_j1939(message))
    }

    /// What a message hangs from: its device, where it is part of one of several alike, else its bus.
    pub(in crate::plant::opcua::space) fn home(&self, message: MessageIndex) -> Option<Node> {
        let bus = self.plan.messages.get(message)?.bus;
        let Some(instance) = self.instance(message) else { return Some(Node::Bus(bus)) };
        let device = self.devices.find(&self.plan, bus, &self.plan.instances.get(instance)?.name)?;
        Some(Node::Model(Part::Device(Device::Listed(device))))
    }

    /// A configured device of several alike: its bus and its messages.
    pub(in crate::plant::opcua::space) fn alike(&self, node: Node) -> Option<(BusIndex, &[u32])> {
        let Node::Model(Part::Device(Device::Listed(number))) = node else { return None };
        let device = self.devices.get(number).filter(|device| device.is_instance())?;
        Some((device.bus, &device.messages))
    }

    /// All of them on a bus.
    pub(in crate::plant::opcua::space) fn alike_on(&self, bus: BusIndex) -> impl Iterator<Item = Node> {
        let devices = self.devices.of_bus(bus).filter(|(_, device)| device.is_instance());
        devices.map(|(number, _)| Node::Model(Part::Device(Device::Listed(number))))
    }

    /// The name of a message in its parent: without that of the device, which has one of its own.
    pub(in crate::plant::opcua::space) fn message_name(&self, message: MessageIndex) -> &str {
        let Some(described) = self.plan.messages.get(message) else { return "" };
        let name = described.message.name.as_str();
        let instance = self.instance(message).and_then(|instance| self.plan.instances.get(instance));
        let short = instance.and_then(|instance| name.strip_prefix(instance.name.as_str())?.strip_prefix('_'));
        short.unwrap_or(name)
    }

    /// The source addresses seen on a bus.
    pub(super) fn addresses(&self, bus: BusIndex, passing: Passing<'_>) -> BTreeSet<u8> {
        let messages = self.bus_messages(bus);
        let sources = messages.flat_map(|message| self.sources(message, passing));
        sources.map(|source| source.address).collect()
    }

    /// The devices of a bus that are wanted, and all J1939 sources, sorted by name.
    pub(super) fn devices_of(
        &self,
        bus: BusIndex,
        passing: Passing<'_>,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Vec<Device> {
        let sources = self.addresses(bus, passing).into_iter().map(|address| Device::Source(bus, address));
        let listed = self.devices.of_bus(bus).filter(|(_, device)| wanted(device));
        let mut all: Vec<Device> = sources.chain(listed.map(|(number, _)| Device::Listed(number))).collect();
        all.sort_by_cached_key(|device| self.browse_name(Node::Model(Part::Device(*device))).name.to_string());
        all
    }

    /// The messages of a device, sorted by name.
    pub(super) fn messages_of(&self, device: Device, passing: Passing<'_>) -> Vec<Node> {
        match device {
            Device::Listed(number) => {
                let messages = self.devices.get(number).map_or(&[][..], |device| device.messages.as_slice());
                messages.iter().map(|message| Node::Message(*message as usize, None)).collect()
            }
            Device::Source(bus, address) => {
                let of = |message: MessageIndex| {
                    let found = self.sources(message, passing).find(|source| source.address == address)?;
                    Some(Node::Message(message, Some(found)))
                };
                self.bus_messages(bus).filter_map(of).collect()
            }
        }
    }
}

/// `bus.Device`, `bus.@33`, and what is on its plate.
pub(super) fn device(space: &Space, text: &str, passing: Passing<'_>) -> Option<Part> {
    let (bus, rest) = text.split_once('.')?;
    let bus = space.bus_named(bus)?;
    let (name, plate) = match rest.split_once('.') {
        Some((name, plate)) => (name, Some(plate)),
        None => (rest, None),
    };
    let device = match name.strip_prefix('@') {
        Some(address) => {
            let address = u8::try_from(number_of(address)?).ok()?;
            space.addresses(bus, passing).contains(&address).then_some(Device::Source(bus, address))?
        }
        None => Device::Listed(space.devices.find(space.plan(), bus, name)?),
    };
    match plate {
        None => Some(Part::Device(device)),
        Some(plate) => match space.plates(device).find(|own| own.name() == plate) {
            Some(plate) => Some(Part::Plate(device, plate)),
            None => machinery::find_of(space, device, plate).map(Part::Machinery),
        },
    }
}
