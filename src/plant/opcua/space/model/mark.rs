//! What is on the machine's nameplate (OPC 40001-1, 8): what the configuration says, and nothing that it does not.

use opcua::types::{DataTypeId, LocalizedText, Variant};

use super::{DI, MACHINERY};
use crate::plant::opcua::identity::Machine;
use crate::plant::opcua::space::Space;

/// Properties of MachineIdentificationType that the configuration may fill, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    AssetId,
    ComponentName,
    DeviceClass,
    HardwareRevision,
    Location,
    Manufacturer,
    ManufacturerUri,
    Model,
    MonthOfConstruction,
    ProductCode,
    ProductInstanceUri,
    SerialNumber,
    SoftwareRevision,
    YearOfConstruction,
}

impl Mark {
    pub const ALL: [Mark; 14] = [
        Mark::AssetId,
        Mark::ComponentName,
        Mark::DeviceClass,
        Mark::HardwareRevision,
        Mark::Location,
        Mark::Manufacturer,
        Mark::ManufacturerUri,
        Mark::Model,
        Mark::MonthOfConstruction,
        Mark::ProductCode,
        Mark::ProductInstanceUri,
        Mark::SerialNumber,
        Mark::SoftwareRevision,
        Mark::YearOfConstruction,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Mark::AssetId => "AssetId",
            Mark::ComponentName => "ComponentName",
            Mark::DeviceClass => "DeviceClass",
            Mark::HardwareRevision => "HardwareRevision",
            Mark::Location => "Location",
            Mark::Manufacturer => "Manufacturer",
            Mark::ManufacturerUri => "ManufacturerUri",
            Mark::Model => "Model",
            Mark::MonthOfConstruction => "MonthOfConstruction",
            Mark::ProductCode => "ProductCode",
            Mark::ProductInstanceUri => "ProductInstanceUri",
            Mark::SerialNumber => "SerialNumber",
            Mark::SoftwareRevision => "SoftwareRevision",
            Mark::YearOfConstruction => "YearOfConstruction",
        }
    }

    pub fn namespace(self) -> u16 {
        match self {
            Mark::Location | Mark::MonthOfConstruction | Mark::YearOfConstruction => MACHINERY,
            _ => DI,
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            Mark::Manufacturer | Mark::Model | Mark::ComponentName => DataTypeId::LocalizedText,
            Mark::MonthOfConstruction => DataTypeId::Byte,
            Mark::YearOfConstruction => DataTypeId::UInt16,
            _ => DataTypeId::String,
        }
    }

    /// What the configuration has for it.
    pub fn value(self, machine: &Machine) -> Option<Variant> {
        let text = match self {
            Mark::MonthOfConstruction => return machine.month_of_construction.map(Variant::Byte),
            Mark::YearOfConstruction => return machine.year_of_construction.map(Variant::UInt16),
            Mark::AssetId => &machine.asset_id,
            Mark::ComponentName => &machine.component_name,
            Mark::DeviceClass => &machine.device_class,
            Mark::HardwareRevision => &machine.hardware_revision,
            Mark::Location => &machine.location,
            Mark::Manufacturer => &machine.manufacturer,
            Mark::ManufacturerUri => &machine.manufacturer_uri,
            Mark::Model => &machine.model,
            Mark::ProductCode => &machine.product_code,
            Mark::ProductInstanceUri => &machine.product_instance_uri,
            Mark::SerialNumber => &machine.serial_number,
            Mark::SoftwareRevision => &machine.software_revision,
        };
        let text = text.as_deref()?;
        Some(match self.data_type() {
            DataTypeId::LocalizedText => Variant::from(LocalizedText::new("", text)),
            _ => Variant::from(text),
        })
    }
}

impl Space {
    /// What is known of the machine.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> + use<'_> {
        Mark::ALL.into_iter().filter(|mark| mark.value(&self.identity.machine).is_some())
    }

    /// Machinery has nobody without these (OPC 40001-1, 8.4).
    pub(super) fn is_identified(&self) -> bool {
        self.identity.machine.name.is_some() && self.identity.machine.missing().is_empty()
    }
}
