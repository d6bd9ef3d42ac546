//! The keys of a bus about its interface and its life: bit rates, who sets them, restarts after bus-off.

use super::bus::Section;
use super::report::Report;
use super::written::RestartPolicy as Written;
use crate::plan::{Restart, RestartPolicy};

const NS_PER_MS: u64 = 1_000_000;
/// What a policy has that the section does not say.
const PAUSE_MS: i64 = 1000;
const LONGEST_PAUSE_MS: i64 = 60_000;
const PER_HOUR: i64 = 10;
const QUARANTINE_MS: i64 = 200;
/// Bit/s of the arbitration: from the slowest networks in use to the limit of ISO 11898-1.
const BIT_RATES: (i64, i64) = (5_000, 1_000_000);
/// Bit/s of the data phase of CAN FD.
const DATA_BIT_RATES: (i64, i64) = (5_000, 20_000_000);

/// What the section says about it.
pub struct Life {
    pub restart: Restart,
    pub bit_rate: Option<u32>,
    pub data_bit_rate: Option<u32>,
    pub managed: bool,
}

/// Checks the keys. `fd`: CAN FD frames pass on this bus.
pub fn check(section: &Section<'_>, simulate: bool, fd: bool, report: &mut Report<'_>) -> Life {
    let (name, written) = (section.name, section.written);
    let wrong = |report: &mut Report<'_>, key: &str, message: String| report.error(&["bus", name, key], message);
    let managed = written.managed.unwrap_or(false);
    let interface = written.interface.is_some() && written.r#virtual != Some(true);
    if managed && !interface {
        wrong(report, "managed", "managed belongs to a bus with an interface; a virtual bus has none".into());
    }
    let bit_rate = within(section, "bit_rate", written.bit_rate, BIT_RATES, "bit/s", report);
    let data_bit_rate = within(section, "data_bit_rate", written.data_bit_rate, DATA_BIT_RATES, "bit/s", report);
    match (bit_rate, data_bit_rate) {
        (_, Some(_)) if !fd => {
            wrong(report, "data_bit_rate", "data_bit_rate is for CAN FD: add fd = true, or remove it".into());
        }
        (None, Some(_)) if written.bit_rate.is_none() => {
            wrong(report, "data_bit_rate", "data_bit_rate needs bit_rate, the rate of the arbitration".into());
        }
        (Some(rate), Some(data)) if data < rate => {
            let message = format!("data_bit_rate {data} is below bit_rate {rate}");
            wrong(report, "data_bit_rate", message);
        }
        _ => {}
    }
    let restart = restart(section, managed, report);
    if simulate {
        let restart = Restart { policy: RestartPolicy::Off, ..restart };
        return Life { restart, bit_rate, data_bit_rate, managed: false };
    }
    Life { restart, bit_rate, data_bit_rate, managed }
}

fn restart(section: &Section<'_>, managed: bool, report: &mut Report<'_>) -> Restart {
    let (name, written) = (section.name, section.written);
    let default = if managed { Written::Growing } else { Written::Off };
    let policy = written.restart.unwrap_or(default);
    let by_itself = matches!(policy, Written::Fixed | Written::Growing);
    if policy != Written::Off && !managed {
        let remedy = "add managed = true and start canvoy-link, or leave restarts to the interface (RestartSec= of systemd-networkd)";
        report.error(&["bus", name, "restart"], format!("nobody could restart this bus: {remedy}"));
    }
    for (key, given, fits, belongs) in [
        ("restart_ms", written.restart_ms.is_some(), by_itself, "restart = \"fixed\" or \"growing\""),
        ("restarts_per_hour", written.restarts_per_hour.is_some(), by_itself, "restart = \"fixed\" or \"growing\""),
        ("restart_max_ms", written.restart_max_ms.is_some(), policy == Written::Growing, "restart = \"growing\""),
    ] {
        if given && !fits {
            report.error(&["bus", name, key], format!("{key} belongs to {belongs}; remove it, or change restart"));
        }
    }
    let mut number = |key: &str, written: Option<i64>, default: i64, limits: (i64, i64), unit: &str| {
        within(section, key, written, limits, unit, report).map_or(default.max(0) as u64, u64::from)
    };
    let pause = number("restart_ms", written.restart_ms, PAUSE_MS, (10, 3_600_000), "ms");
    let longest_default = LONGEST_PAUSE_MS.max(pause as i64);
    let longest = number("restart_max_ms", written.restart_max_ms, longest_default, (10, 3_600_000), "ms");
    let per_hour = number("restarts_per_hour", written.restarts_per_hour, PER_HOUR, (1, 3600), "restarts");
    let quarantine = number("quarantine_ms", written.quarantine_ms, QUARANTINE_MS, (0, 60_000), "ms") * NS_PER_MS;
    if policy == Written::Growing && longest < pause {
        let message = format!("restart_max_ms {longest} is below restart_ms {pause}");
        report.error(&["bus", name, "restart_max_ms"], message);
    }
    let policy = match policy {
        Written::Off => RestartPolicy::Off,
        Written::ByHand => RestartPolicy::ByHand,
        Written::Fixed => RestartPolicy::Fixed(pause * NS_PER_MS),
        Written::Growing => RestartPolicy::Growing(pause * NS_PER_MS, longest * NS_PER_MS),
    };
    Restart { policy, per_hour: per_hour as u32, quarantine }
}

/// A number within its limits; nothing where it is not written, or outside of them.
fn within(
    section: &Section<'_>,
    key: &str,
    written: Option<i64>,
    (least, most): (i64, i64),
    unit: &str,
    report: &mut Report<'_>,
) -> Option<u32> {
    let number = written?;
    if (least..=most).contains(&number) {
        return u32::try_from(number).ok();
    }
    report.error(&["bus", section.name, key], format!("{key} goes from {least} to {most} {unit}; not {number}"));
    None
}
