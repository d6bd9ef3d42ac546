//! Who made the machine and its devices, which no DBC file says: `[opcua.machine]` and `[opcua.device."bus.Device"]`.

use std::collections::BTreeMap;

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub machine: Machine,
    /// By `bus.Device`.
    pub device: BTreeMap<String, Nameplate>,
}

/// `[opcua.machine]`: the machine that this is the controller of (OPC 40001-1, 8).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// In Objects/Machines; without it there is no machine.
    pub name: Option<String>,
    pub manufacturer: Option<String>,
    pub manufacturer_uri: Option<String>,
    pub model: Option<String>,
    pub product_code: Option<String>,
    pub serial_number: Option<String>,
    /// Unique in the world for this one machine.
    pub product_instance_uri: Option<String>,
    pub hardware_revision: Option<String>,
    pub software_revision: Option<String>,
    pub device_class: Option<String>,
    pub asset_id: Option<String>,
    pub component_name: Option<String>,
    pub location: Option<String>,
    pub year_of_construction: Option<u16>,
    /// 1 to 12.
    pub month_of_construction: Option<u8>,
}

impl Machine {
    /// What Machinery asks of every machine and is not configured.
    pub fn missing(&self) -> Vec<&'static str> {
        let wanted = [
            ("manufacturer", &self.manufacturer),
            ("serial_number", &self.serial_number),
            ("product_instance_uri", &self.product_instance_uri),
        ];
        wanted.into_iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect()
    }
}

/// `[opcua.device."bus.Device"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nameplate {
    pub manufacturer: Option<String>,
    pub manufacturer_uri: Option<String>,
    pub model: Option<String>,
    pub product_code: Option<String>,
    pub serial_number: Option<String>,
    pub product_instance_uri: Option<String>,
    pub hardware_revision: Option<String>,
    pub software_revision: Option<String>,
    pub device_revision: Option<String>,
    pub device_manual: Option<String>,
    pub device_class: Option<String>,
    pub asset_id: Option<String>,
    pub component_name: Option<String>,
}

impl Nameplate {
    /// What Machinery asks of every component and is not configured.
    pub fn missing(&self) -> Vec<&'static str> {
        let wanted = [("manufacturer", &self.manufacturer), ("serial_number", &self.serial_number)];
        wanted.into_iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect()
    }
}
