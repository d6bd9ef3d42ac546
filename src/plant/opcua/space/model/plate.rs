//! What is on a device's nameplate (OPC 10000-100, 4.5.2): what the configuration says, and nothing that it does not.

use opcua::types::{DataTypeId, LocalizedText, Variant};

use super::devices::Device;
use crate::plant::opcua::identity::Nameplate;
use crate::plant::opcua::space::Space;

/// Properties of DI's DeviceType, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plate {
    AssetId,
    ComponentName,
    DeviceClass,
    DeviceManual,
    DeviceRevision,
    HardwareRevision,
    Manufacturer,
    ManufacturerUri,
    Model,
    ProductCode,
    ProductInstanceUri,
    RevisionCounter,
    SerialNumber,
    SoftwareRevision,
}

impl Plate {
    pub const ALL: [Plate; 14] = [
        Plate::AssetId,
        Plate::ComponentName,
        Plate::DeviceClass,
        Plate::DeviceManual,
        Plate::DeviceRevision,
        Plate::HardwareRevision,
        Plate::Manufacturer,
        Plate::ManufacturerUri,
        Plate::Model,
        Plate::ProductCode,
        Plate::ProductInstanceUri,
        Plate::RevisionCounter,
        Plate::SerialNumber,
        Plate::SoftwareRevision,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Plate::AssetId => "AssetId",
            Plate::ComponentName => "ComponentName",
            Plate::DeviceClass => "DeviceClass",
            Plate::DeviceManual => "DeviceManual",
            Plate::DeviceRevision => "DeviceRevision",
            Plate::HardwareRevision => "HardwareRevision",
            Plate::Manufacturer => "Manufacturer",
            Plate::ManufacturerUri => "ManufacturerUri",
            Plate::Model => "Model",
            Plate::ProductCode => "ProductCode",
            Plate::ProductInstanceUri => "ProductInstanceUri",
            Plate::RevisionCounter => "RevisionCounter",
            Plate::SerialNumber => "SerialNumber",
            Plate::SoftwareRevision => "SoftwareRevision",
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            Plate::Manufacturer | Plate::Model | Plate::ComponentName => DataTypeId::LocalizedText,
            Plate::RevisionCounter => DataTypeId::Int32,
            _ => DataTypeId::String,
        }
    }

    /// DeviceType says that every device has it; what is not known is an empty text.
    fn is_mandatory(self) -> bool {
        use Plate::{DeviceManual, DeviceRevision, HardwareRevision, Manufacturer, Model};
        let texts = [DeviceManual, DeviceRevision, HardwareRevision, Manufacturer, Model];
        texts.contains(&self) || matches!(self, Plate::RevisionCounter | Plate::SerialNumber | Plate::SoftwareRevision)
    }

    /// MachineryComponentIdentificationType has it too (OPC 40001-1, 10).
    fn is_of_component(self) -> bool {
        !matches!(self, Plate::DeviceManual | Plate::RevisionCounter)
    }

    fn of(self, plate: &Nameplate) -> Option<&str> {
        let text = match self {
            Plate::AssetId => &plate.asset_id,
            Plate::ComponentName => &plate.component_name,
            Plate::DeviceClass => &plate.device_class,
            Plate::DeviceManual => &plate.device_manual,
            Plate::DeviceRevision => &plate.device_revision,
            Plate::HardwareRevision => &plate.hardware_revision,
            Plate::Manufacturer => &plate.manufacturer,
            Plate::ManufacturerUri => &plate.manufacturer_uri,
            Plate::Model => &plate.model,
            Plate::ProductCode => &plate.product_code,
            Plate::ProductInstanceUri => &plate.product_instance_uri,
            Plate::SerialNumber => &plate.serial_number,
            Plate::SoftwareRevision => &plate.software_revision,
            Plate::RevisionCounter => return None,
        };
        text.as_deref()
    }
}

impl Space {
    /// `bus.Device`, as the configuration names it.
    fn nameplate(&self, device: Device) -> Option<&Nameplate> {
        let plan = &self.plan;
        let name = match device {
            Device::Listed(number) => {
                let device = self.devices.get(number)?;
                format!("{}.{}", plan.buses.get(device.bus)?.name, device.name(plan))
            }
            Device::Source(bus, address) => format!("{}.@{address}", plan.buses.get(bus)?.name),
        };
        self.identity.device.get(&name)
    }

    /// What is known of a device; the one place that asks where it comes from.
    fn engraved(&self, device: Device, wanted: Plate) -> Option<&str> {
        self.nameplate(device).and_then(|plate| wanted.of(plate))
    }

    /// Whether it is known who made it: no component of a machine is without (OPC 40001-1, 10).
    pub(super) fn is_component(&self, device: Device) -> bool {
        [Plate::Manufacturer, Plate::SerialNumber].iter().all(|wanted| self.engraved(device, *wanted).is_some())
    }

    /// What a device has on it.
    pub(super) fn plates(&self, device: Device) -> impl Iterator<Item = Plate> + use<'_> {
        let has = move |wanted: &Plate| wanted.is_mandatory() || self.engraved(device, *wanted).is_some();
        Plate::ALL.into_iter().filter(has)
    }

    /// What a component's identification has.
    pub(super) fn component_plates(&self, device: Device) -> impl Iterator<Item = Plate> + use<'_> {
        Plate::ALL
            .into_iter()
            .filter(move |wanted| wanted.is_of_component() && self.engraved(device, *wanted).is_some())
    }

    pub(in crate::plant::opcua::space) fn plate(&self, device: Device, wanted: Plate) -> Variant {
        let text = self.engraved(device, wanted).unwrap_or_default();
        match wanted.data_type() {
            // nobody counts the revisions (OPC 10000-100, 4.5.2)
            DataTypeId::Int32 => Variant::Int32(-1),
            DataTypeId::LocalizedText => Variant::from(LocalizedText::new("", text)),
            _ => Variant::from(text),
        }
    }
}
