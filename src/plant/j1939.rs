//! J1939 devices by the NAMEs that they claimed, as every protocol shows them.

use serde::Serialize;

use super::text;
use crate::can::name::{ADDRESSES, Name};
use crate::plan::{BusIndex, Plan};
use crate::store::Reader;
use crate::store::names::{Holder, NameWord};

/// A device that holds an address.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    pub bus: String,
    pub source_address: u8,
    /// All 64 bits, sixteen hexadecimal digits.
    pub name: String,
    pub manufacturer: String,
    pub manufacturer_code: u16,
    pub identity_number: u32,
    pub function: u8,
    pub function_instance: u8,
    pub ecu_instance: u8,
    pub vehicle_system: u8,
    pub vehicle_system_instance: u8,
    pub industry_group: u8,
    pub arbitrary_address_capable: bool,
    /// RFC 3339: the last claim; `null`: the clock was not set then.
    pub claimed: Option<String>,
}

impl Device {
    /// For people.
    pub fn line(&self) -> String {
        let Device { bus, source_address, name, manufacturer, identity_number, .. } = self;
        let since = self.claimed.as_deref().unwrap_or(text::UNKNOWN_TIME);
        let function = self.function;
        format!(
            "{bus}.@{source_address:<3} {name}  {manufacturer}, serial number {identity_number}, function {function}, claimed {since}"
        )
    }
}

/// The manufacturer as the configuration calls him, else by his number.
pub fn manufacturer(plan: &Plan, name: Name) -> String {
    let code = name.manufacturer_code();
    plan.manufacturers.get(&code).cloned().unwrap_or_else(|| format!("J1939 manufacturer {code}"))
}

/// What a device does, by numbers: the words for them are in SAE's list.
pub fn function(name: Name) -> String {
    let function = name.function();
    // the upper half means something else in each of these (SAE J1939-81, 4.1.1)
    match function {
        128.. => {
            let (group, system) = (name.industry_group(), name.vehicle_system());
            format!("J1939 function {function} (industry group {group}, vehicle system {system})")
        }
        _ => format!("J1939 function {function}"),
    }
}

/// Who holds an address of a bus, as far as it was heard.
pub fn holder(plan: &Plan, reader: &Reader, bus: BusIndex, address: u8) -> Option<Holder> {
    reader.holder(plan.buses.get(bus)?.names?, address)
}

/// All devices that hold an address, by bus and address.
pub fn devices(plan: &Plan, reader: &Reader) -> Vec<Device> {
    let all = (0..plan.buses.len()).flat_map(|bus| (0..ADDRESSES as u8).map(move |address| (bus, address)));
    let device = |(bus, address): (BusIndex, u8)| {
        let Holder { name, claimed } = holder(plan, reader, bus, address)?;
        Some(Device {
            bus: plan.buses.get(bus)?.name.clone(),
            source_address: address,
            name: name.to_string(),
            manufacturer: manufacturer(plan, name),
            manufacturer_code: name.manufacturer_code(),
            identity_number: name.identity_number(),
            function: name.function(),
            function_instance: name.function_instance(),
            ecu_instance: name.ecu_instance(),
            vehicle_system: name.vehicle_system(),
            vehicle_system_instance: name.vehicle_system_instance(),
            industry_group: name.industry_group(),
            arbitrary_address_capable: name.is_arbitrary_address_capable(),
            claimed: text::known_time(claimed),
        })
    };
    all.filter_map(device).collect()
}

/// Buses with J1939, each with a count.
pub fn counts(plan: &Plan, reader: &Reader, word: NameWord) -> Vec<(String, u64)> {
    let buses = plan.buses.iter();
    buses.filter_map(|bus| Some((bus.name.clone(), reader.name_word(bus.names?, word)))).collect()
}
