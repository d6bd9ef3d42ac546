//! What is on a device's nameplate (OPC 10000-100, 4.5.2): what the configuration says, and nothing that it does not.

use opcua::types::{DataTypeId, LocalizedText, Variant};

use super::DI;
use super::claimed::Field;
use super::devices::Device;
use crate::plant::opcua::identity::Nameplate;
use crate::plant::opcua::space::{NAMESPACE, Space};

/// Properties of DI's DeviceType, and those of a J1939 device, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plate {
    AssetId,
    ComponentName,
    DeviceClass,
    DeviceManual,
    DeviceRevision,
    HardwareRevision,
    J1939(Field),
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
    pub const ALL: [Plate; 25] = [
        Plate::AssetId,
        Plate::ComponentName,
        Plate::DeviceClass,
        Plate::DeviceManual,
        Plate::DeviceRevision,
        Plate::HardwareRevision,
        Plate::J1939(Field::ArbitraryAddressCapable),
        Plate::J1939(Field::Claimed),
        Plate::J1939(Field::EcuInstance),
        Plate::J1939(Field::Function),
        Plate::J1939(Field::FunctionInstance),
        Plate::J1939(Field::IdentityNumber),
        Plate::J1939(Field::IndustryGroup),
        Plate::J1939(Field::ManufacturerCode),
        Plate::J1939(Field::Name),
        Plate::J1939(Field::VehicleSystem),
        Plate::J1939(Field::VehicleSystemInstance),
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
            Plate::J1939(field) => field.name(),
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

    /// Of its BrowseName.
    pub fn namespace(self) -> u16 {
        if matches!(self, Plate::J1939(_)) { NAMESPACE } else { DI }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            Plate::Manufacturer | Plate::Model | Plate::ComponentName => DataTypeId::LocalizedText,
            Plate::RevisionCounter => DataTypeId::Int32,
            Plate::J1939(field) => field.data_type(),
            _ => DataTypeId::String,
        }
    }

    /// DeviceType says that every device has it; what is not known is an empty text.
    fn is_mandatory(self) -> bool {
        use Plate::{DeviceManual, DeviceRevision, HardwareRevision, Manufacturer, Model};
        let texts = [DeviceManual, DeviceRevision, HardwareRevision, Manufacturer, Model];
        texts.contains(&self) || matches!(self, Plate::RevisionCounter | Plate::SerialNumber | Plate::SoftwareRevision)
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
            Plate::RevisionCounter | Plate::J1939(_) => return None,
        };
        text.as_deref()
    }

    /// What it says where nothing is known (OPC 10000-100, 4.5.2).
    pub(super) fn nothing(self) -> Variant {
        self.text("")
    }

    fn text(self, text: &str) -> Variant {
        match self.data_type() {
            // nobody counts the revisions
            DataTypeId::Int32 => Variant::Int32(-1),
            DataTypeId::LocalizedText => Variant::from(LocalizedText::new("", text)),
            _ => Variant::from(text),
        }
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

    /// What the configuration says of a device.
    pub(super) fn engraved(&self, device: Device, wanted: Plate) -> Option<&str> {
        self.nameplate(device).and_then(|plate| wanted.of(plate))
    }

    /// What a device has on it.
    pub(super) fn plates(&self, device: Device) -> impl Iterator<Item = Plate> + use<'_> {
        let has = move |wanted: &Plate| {
            wanted.is_mandatory() || self.engraved(device, *wanted).is_some() || self.is_claimed(device, *wanted)
        };
        Plate::ALL.into_iter().filter(has)
    }

    /// What is configured, or nothing.
    pub(in crate::plant::opcua::space) fn plate(&self, device: Device, wanted: Plate) -> Variant {
        wanted.text(self.engraved(device, wanted).unwrap_or_default())
    }
}
