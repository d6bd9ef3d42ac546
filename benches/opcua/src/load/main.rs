//! The load client: one measurement of one server that runs. Prints its figures as a line of JSON.
//!
//! `load pki DIR`, `load dbc DIR`, or `load WHAT --address HOST:PORT --pki DIR [--pid NAME=PID ...] [--NAME NUMBER ...]`

mod client;
mod flood;
mod items;
mod latency;
mod memory;
mod process;
mod read;
mod soak;
mod subscribe;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use opcua::crypto::{X509, X509Data};
use opcua_bench::{argument, number, plant};

/// Name with unit, and value.
pub type Figures = Vec<(String, f64)>;

fn main() -> anyhow::Result<()> {
    let what = std::env::args().nth(1).context("load WHAT")?;
    let folder = || std::env::args().nth(2).map(PathBuf::from).context("load WHAT DIR");
    let measure = match what.as_str() {
        "pki" => return pki(&folder()?),
        "dbc" => return dbc(&folder()?),
        "memory" => memory::measure,
        "items" => items::measure,
        "read" => read::measure,
        "latency" => latency::measure,
        "flood" => flood::measure,
        "soak" => soak::measure,
        "wait" => |address: &str, _: &Path| memory::wait(address).map(|()| Figures::new()),
        _ => bail!("load {what}: there is no such measurement"),
    };
    let address = argument("address").context("--address HOST:PORT")?;
    let figures = measure(&address, &PathBuf::from(argument("pki").context("--pki DIR")?))?;
    let figure = |(name, value): &(String, f64)| {
        let value = if value.is_finite() { value.to_string() } else { "null".into() };
        format!("\"{name}\": {value}")
    };
    println!("{{{}}}", figures.iter().map(figure).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Certificates of the client and of the peers.
fn pki(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, uri) in [("client", client::APPLICATION_URI), ("server", "urn:bench:server")] {
        let data = X509Data {
            key_size: 2048,
            common_name: format!("bench {name}"),
            organization: String::new(),
            organizational_unit: String::new(),
            country: String::new(),
            state: String::new(),
            alt_host_names: X509Data::alt_host_names(uri, Some(vec!["127.0.0.1".into()]), false, false, false),
            certificate_duration_days: 30,
        };
        let (certificate, key) = X509::cert_and_pkey(&data).map_err(|error| anyhow!("{error}"))?;
        let pem = key.to_der().ok().and_then(|der| der.to_pem("PRIVATE KEY", Default::default()).ok());
        let der = certificate.to_der().map_err(|_| anyhow!("write the certificate as DER"))?;
        std::fs::write(folder.join(format!("{name}.der")), der)?;
        std::fs::write(folder.join(format!("{name}.pem")), pem.context("write the key as PEM")?.as_bytes())?;
    }
    Ok(())
}

/// The DBC files of the plant, for Canvoy.
fn dbc(folder: &Path) -> anyhow::Result<()> {
    let plant = plant();
    ensure!(plant.is_even(), "{plant:?}: the signals do not fill whole messages and buses");
    let cycle_ms = plant.busy as f64 * 1000.0 / number("rate", 20_000.0);
    for (bus, text) in plant.dbc(cycle_ms.round() as u32) {
        std::fs::write(folder.join(format!("{bus}.dbc")), text)?;
    }
    Ok(())
}
