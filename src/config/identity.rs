//! Who made the machine and its devices: `[opcua.machine]`, `[opcua.device."bus.Device"]`.

use super::report::Report;
use crate::plan::Plan;
use crate::plant::opcua::Config;
use crate::plant::opcua::space::model::devices::Devices;

/// Names that are no devices, and a machine that can't be told from others.
pub fn check(config: &Config, plan: &Plan, report: &mut Report<'_>) {
    let machine = &config.machine;
    let path = |key| ["opcua", "machine", key];
    if let Some(month) = machine.month_of_construction.filter(|month| !(1..=12).contains(month)) {
        report.error(&path("month_of_construction"), format!("month_of_construction goes from 1 to 12; not {month}"));
    }
    match &machine.name {
        Some(name) if name.trim().is_empty() => {
            report.error(&path("name"), "the machine has a name, like name = \"Press 7\"")
        }
        Some(_) if !machine.missing().is_empty() => {
            let missing = machine.missing().join(", ");
            let message = format!(
                "without {missing} the machine has no Identification in OPC UA (OPC 40001-1); add what is on its nameplate"
            );
            report.warning(&["opcua", "machine"], message);
        }
        None if *machine != Default::default() => {
            report.error(&["opcua", "machine"], "the machine has no name; add name = \"Press 7\"");
        }
        _ => {}
    }
    if config.device.is_empty() {
        return;
    }
    let devices = Devices::new(plan);
    for (name, plate) in &config.device {
        let missing = plate.missing().join(", ");
        // who made a J1939 device may be in its NAME
        if machine.name.is_some() && !missing.is_empty() && !name.contains(".@") {
            let message = format!(
                "without {missing} \"{name}\" is none of the machine's Components in OPC UA (OPC 40001-1); add what is on its nameplate"
            );
            report.warning(&["opcua", "device", name], message);
        }
        let known = name.split_once('.').is_some_and(|(bus, device)| {
            let bus = plan.buses.iter().position(|known| known.name == bus);
            bus.is_some_and(|bus| devices.find(plan, bus, device).is_some() || is_source(device))
        });
        if !known {
            let names = devices.numbers().map(|(_, device)| {
                let bus = plan.buses.get(device.bus).map_or("", |bus| bus.name.as_str());
                format!("{bus}.{}", device.name(plan))
            });
            let names: Vec<String> = names.take(MOST_NAMES).collect();
            let message = format!(
                "there is no device \"{name}\"; devices are nodes of DBC files that send messages, those of [bus.NAME.device.TYPE], \
                 and J1939 sources (bus.@33): {}",
                names.join(", ")
            );
            report.error(&["opcua", "device", name], message);
        }
    }
}

/// More devices than these are not listed in a message.
const MOST_NAMES: usize = 8;

/// `@33`: 254 and 255 are no addresses of devices (SAE J1939-81, 4.2).
fn is_source(name: &str) -> bool {
    let address = name.strip_prefix('@').and_then(|address| address.parse::<u8>().ok());
    address.is_some_and(|address| address <= 253 && name == format!("@{address}"))
}
