//! What is said once at the start: where to look, with whom to log in, and what is not real.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::config::Settings;
use crate::plan::{Direction, Interface, Plan};
use crate::service::source::Source;

/// `login`: the user of this run and the password.
pub fn text(source: &Source, plan: &Plan, settings: &Settings, login: Option<(&str, &str)>) -> String {
    let mut text = String::new();
    // writing into a String can't fail
    let _ = write_text(&mut text, source, plan, settings, login);
    text
}

fn write_text(
    text: &mut String,
    source: &Source,
    plan: &Plan,
    settings: &Settings,
    login: Option<(&str, &str)>,
) -> std::fmt::Result {
    let what = match source {
        Source::Demo => "demo plant, a packaging line".to_owned(),
        Source::File(files) => files.to_string(),
    };
    let buses: Vec<&str> = plan.buses.iter().map(|bus| bus.name.as_str()).collect();
    writeln!(text, "Canvoy {}: {what}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        text,
        "{} {} ({}), {} messages, {} signals. Not a safety component.\n",
        buses.len(),
        if buses.len() == 1 { "bus" } else { "buses" },
        buses.join(", "),
        plan.messages.len(),
        plan.tags.len(),
    )?;
    let simulated: Vec<&str> =
        plan.buses.iter().filter(|bus| bus.interface == Interface::Virtual).map(|bus| bus.name.as_str()).collect();
    if simulated.len() == buses.len() {
        writeln!(text, "  SIMULATED   all devices on all buses: there is no machine behind these values")?;
    } else if !simulated.is_empty() {
        let names = simulated.join(", ");
        writeln!(text, "  SIMULATED   all devices on {names}: there is no machine behind these values")?;
    }
    if settings.opcua.enabled {
        write!(text, "  OPC UA      opc.tcp://{}", reachable(settings.opcua.listen))?;
        match (login, &settings.opcua.users) {
            (Some((user, password)), _) => writeln!(text, "   user {user}   password {password}")?,
            (None, Some(users)) => writeln!(text, "   users in {}", users.display())?,
            (None, None) if settings.opcua.anonymous_read => writeln!(text, "   anybody may read")?,
            (None, None) => writeln!(
                text,
                "\n              nobody can log in yet: `canvoy user add users NAME`, and users = \"users\" in [opcua]"
            )?,
        }
        if settings.opcua.trust_any_client_certificate {
            writeln!(text, "              any client certificate is accepted: only this computer can connect")?;
        }
        if settings.opcua.trust_first_client {
            writeln!(text, "              the first client that comes is trusted, while none is")?;
        }
        if settings.opcua.security_policy_none {
            writeln!(text, "              security policy None is offered: no encryption")?;
        }
    }
    if settings.http.enabled {
        let address = reachable(settings.http.listen);
        writeln!(text, "  page        http://{address}/")?;
        writeln!(text, "  metrics     http://{address}/metrics")?;
    }
    let sends = plan.messages.iter().filter(|m| matches!(m.direction, Direction::Output(_))).count();
    let writable = plan.tags.iter().filter(|tag| tag.writable).count();
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let sends = count(sends, "message is sent", "messages are sent");
    let writable = count(writable, "signal may be written", "signals may be written");
    writeln!(text, "\n  {sends}, {writable}.")?;
    if *source == Source::Demo {
        writeln!(text, "  Write line.DriveCommand.SpeedSetpoint, and DriveStatus.ActualSpeed follows.")?;
    }
    writeln!(text, "  Ctrl-C ends it.\n")
}

/// An address that a client on this computer can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoadOptions;

    #[test]
    fn the_demo_says_where_to_look() {
        let plant = Source::Demo.load(LoadOptions::default()).unwrap();
        let mut settings = plant.loaded.settings.clone();
        settings.opcua.trust_any_client_certificate = true;
        settings.http.listen = "0.0.0.0:9841".parse().unwrap();
        let text = text(&Source::Demo, &plant.loaded.plan, &settings, Some(("demo", "secret")));
        for part in [
            "opc.tcp://127.0.0.1:4840   user demo   password secret\n",
            "any client certificate is accepted",
            "page        http://127.0.0.1:9841/\n",
            "metrics     http://127.0.0.1:9841/metrics\n",
            "SIMULATED   all devices",
            "Not a safety component",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }
}
