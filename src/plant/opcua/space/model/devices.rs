//! The devices of a plan and their types. A device is a node of a DBC file that sends messages, a configured device of several
//! alike, or a J1939 source address.

use crate::plan::{BusIndex, InstanceIndex, MessageIndex, Plan};

/// Number of a device in [`Devices`], or a J1939 source of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    Listed(u32),
    Source(BusIndex, u8),
}

/// A type of devices: that of a listed one, with the number of the first device of it, or that of the J1939 sources of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Listed(u32),
    Sources(BusIndex),
}

/// What the sources of a bus have as the name of their type; no name of a DBC file has this letter.
pub const SOURCES: &str = "@J1939";

#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub bus: BusIndex,
    pub name: Name,
    /// The first device of its type.
    pub family: u32,
    /// Sorted.
    pub messages: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    Instance(InstanceIndex),
    /// A node of a DBC file.
    Node(Box<str>),
}

/// All devices but J1939 sources, sorted by bus and name.
#[derive(Debug, Default)]
pub struct Devices {
    all: Vec<Listed>,
}

impl Listed {
    pub fn name<'a>(&'a self, plan: &'a Plan) -> &'a str {
        match &self.name {
            Name::Instance(instance) => &plan.instances[*instance].name,
            Name::Node(name) => name,
        }
    }

    /// The name of its type.
    pub fn family_name<'a>(&'a self, plan: &'a Plan) -> &'a str {
        match &self.name {
            Name::Instance(instance) => &plan.instances[*instance].device,
            Name::Node(name) => name,
        }
    }

    pub fn is_instance(&self) -> bool {
        matches!(self.name, Name::Instance(_))
    }
}

impl Devices {
    pub fn new(plan: &Plan) -> Devices {
        let mut all: Vec<Listed> = Vec::new();
        for (index, instance) in plan.instances.iter().enumerate() {
            all.push(Listed { bus: instance.bus, name: Name::Instance(index), family: 0, messages: Vec::new() });
        }
        let instances = all.len();
        let mut nodes: std::collections::BTreeMap<(BusIndex, &str), Vec<u32>> = Default::default();
        for (index, message) in plan.messages.iter().enumerate() {
            let number = index as u32;
            match message.instance {
                // who sends a J1939 message is known by its frames only
                _ if message.message.has_sources() => {}
                Some(instance) => all.get_mut(instance).into_iter().for_each(|device| device.messages.push(number)),
                None => {
                    for sender in &message.message.senders {
                        let messages = nodes.entry((message.bus, sender)).or_default();
                        if messages.last() != Some(&number) {
                            messages.push(number);
                        }
                    }
                }
            }
        }
        for ((bus, name), messages) in nodes {
            // a configured device or type of devices keeps its name to itself
            let taken = all
                .get(..instances)
                .unwrap_or_default()
                .iter()
                .any(|device| device.bus == bus && (device.name(plan) == name || device.family_name(plan) == name));
            if !taken {
                all.push(Listed { bus, name: Name::Node(name.into()), family: 0, messages });
            }
        }
        all.sort_by(|a, b| (a.bus, a.name(plan)).cmp(&(b.bus, b.name(plan))));
        let mut first: std::collections::BTreeMap<(BusIndex, String), u32> = Default::default();
        for (number, device) in all.iter_mut().enumerate() {
            let family = (device.bus, device.family_name(plan).to_owned());
            device.family = *first.entry(family).or_insert(number as u32);
        }
        Devices { all }
    }

    pub fn get(&self, number: u32) -> Option<&Listed> {
        self.all.get(number as usize)
    }

    pub fn numbers(&self) -> impl Iterator<Item = (u32, &Listed)> {
        (0..).zip(&self.all)
    }

    /// Those of a bus.
    pub fn of_bus(&self, bus: BusIndex) -> impl Iterator<Item = (u32, &Listed)> {
        self.numbers().skip(self.all.partition_point(|device| device.bus < bus)).take_while(move |(_, d)| d.bus == bus)
    }

    pub fn find(&self, plan: &Plan, bus: BusIndex, name: &str) -> Option<u32> {
        let found = self.all.binary_search_by(|device| (device.bus, device.name(plan)).cmp(&(bus, name)));
        found.ok().map(|number| number as u32)
    }

    /// The types of a bus's devices, by the first device of each.
    pub fn families(&self, bus: BusIndex) -> impl Iterator<Item = (u32, &Listed)> {
        self.of_bus(bus).filter(|(number, device)| *number == device.family)
    }

    /// The devices that a message belongs to.
    pub fn of_message(&self, plan: &Plan, message: MessageIndex) -> Vec<u32> {
        let Some(described) = plan.messages.get(message) else { return Vec::new() };
        let name = match described.instance {
            _ if described.message.has_sources() => return Vec::new(),
            Some(instance) => {
                let name = plan.instances.get(instance).map(|instance| instance.name.as_str());
                return name.and_then(|name| self.find(plan, described.bus, name)).into_iter().collect();
            }
            None => &described.message.senders,
        };
        let mut found: Vec<u32> = name.iter().filter_map(|sender| self.find(plan, described.bus, sender)).collect();
        found.retain(|number| self.get(*number).is_some_and(|device| !device.is_instance()));
        found.sort_unstable();
        found.dedup();
        found
    }

    pub fn bytes(&self) -> usize {
        let messages: usize = self.all.iter().map(|device| device.messages.len() * size_of::<u32>()).sum();
        messages + self.all.len() * size_of::<Listed>()
    }
}
