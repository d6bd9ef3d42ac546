//! `canvoy cert`: which certificates the OPC UA server has, which clients and users it trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use nix::unistd::geteuid;
use serde_json::json;

use super::print;
use super::prompt::refuse;
use crate::plant::opcua::pki::{self, Certificate, Content, Held, Holders, Inventory, Shelf};
use crate::plant::private::become_owner;
use crate::service::exit::{Failure, UNAVAILABLE};
use crate::service::folder;
use crate::store::clock;

/// Where the service keeps them.
const OF_SERVICE: &str = "/var/lib/canvoy-plant";
/// A certificate that ends in less is pointed out.
const SOON: i64 = 60;
/// Digits of a thumbprint that are shown, and that are enough to name one.
const SHORT: usize = 8;
const LEAST: usize = 4;

/// Show the certificates of the OPC UA server, decide which clients and users it trusts
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy cert list                     who is trusted, who was refused
  canvoy cert trust 5f3a               lets in the client whose refused certificate begins so
  canvoy cert trust plant-ca.pem       a certificate authority: all of its clients
  canvoy cert trust plant-ca.crl       its revocation list
  canvoy cert reject 5f3a              no longer
  canvoy cert renew                    a new certificate for the server itself

A running server sees each change at once, its own new certificate after a restart of the plant side. Moving files by hand does
the same: trusted/certs, trusted/crl, issuers/certs, issuers/crl, rejected in the folder `pki`; users_trusted and so on for people
who log in with a certificate.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Folder of the plant side [default: $STATE_DIRECTORY, $XDG_STATE_HOME/canvoy or ~/.local/state/canvoy,
    /// /var/lib/canvoy-plant; the first with certificates, for root the last first]
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show all of them: the server's own, trusted, issuers, rejected
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Trust a certificate that was rejected, or one from a file
    ///
    /// A certificate authority's makes all of its clients trusted, if its revocation list is there too. Files are DER or PEM:
    /// certificates or a revocation list.
    Trust {
        /// The first digits of its thumbprint, as `canvoy cert list` shows it, or a file
        #[arg(value_name = "THUMBPRINT|FILE")]
        what: PathBuf,
        /// It only completes chains, and is not trusted by itself
        #[arg(long)]
        issuer: bool,
        /// A file is for users who log in with certificates, not for client programs
        #[arg(long)]
        user: bool,
    },
    /// Trust a certificate no longer
    Reject {
        /// The first digits of its thumbprint
        #[arg(value_name = "THUMBPRINT")]
        thumbprint: String,
    },
    /// Make a new certificate for the server itself, with the same names
    Renew {
        /// With a new key too
        #[arg(long)]
        new_key: bool,
        /// A name or address by which clients reach this computer, besides those in the old one; may be repeated
        #[arg(long, value_name = "NAME")]
        host: Vec<String>,
    },
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let pki = find(args.state)?;
    // what is only ours to read is read before root becomes somebody else
    let given = match &args.command {
        Command::Trust { what, .. } if what.is_file() => {
            Some(fs::read(what).with_context(|| what.display().to_string())?)
        }
        _ => None,
    };
    become_owner(&pki)?;
    let now = Duration::from_nanos(clock::realtime());
    let text = match args.command {
        Command::List { json: false } => listing(&pki, &pki::inventory(&pki), now),
        Command::List { json: true } => format!("{:#}\n", as_json(&pki, &pki::inventory(&pki), now)),
        Command::Trust { what, issuer, user } => trust(&pki, &what, given, issuer, user, now)?,
        Command::Reject { thumbprint } => reject(&pki, &thumbprint)?,
        Command::Renew { new_key, host } => {
            let pki::Renewed { certificate, kept } = pki::renew(&pki, &host, new_key)?;
            let kept: Vec<String> = kept.iter().map(|file| file.display().to_string()).collect();
            format!(
                "new certificate: {}\nthe old one is kept: {}\nin force after a restart of the plant side (systemctl restart canvoy-plant; \
                 the machine side goes on); clients that trust the old one must trust the new one\n",
                certificate.display(),
                kept.join(", ")
            )
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The folder `pki`.
fn find(state: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    of_plant(state, "pki").map_err(|tried| {
        let message = format!(
            "no certificates in {tried}: the OPC UA server makes them at its first start; say its folder with --state, or run this as root"
        );
        Failure::new(UNAVAILABLE, message).into()
    })
}

/// A folder in the state folder of the plant side, or in which places it is not.
pub(super) fn of_plant(state: Option<PathBuf>, name: &str) -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name);
    let mut folders: Vec<PathBuf> = match state {
        Some(state) => vec![state],
        None => [folder::of_service(variable), folder::of_person(variable), Some(OF_SERVICE.into())]
            .into_iter()
            .flatten()
            .collect(),
    };
    if geteuid().is_root() {
        folders.reverse();
    }
    let found = folders.iter().map(|folder| folder.join(name)).find(|found| found.is_dir());
    found.ok_or_else(|| {
        let tried: Vec<String> = folders.iter().map(|folder| folder.join(name).display().to_string()).collect();
        tried.join(", ")
    })
}

/// Days from now, less than none if it is past.
fn days(time: Duration, now: Duration) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    (seconds(time) - seconds(now)).div_euclid(86_400)
}

/// What is wrong with a certificate's dates, in plain words.
fn warning(certificate: &Certificate, now: Duration) -> Option<String> {
    let left = days(certificate.not_after(), now);
    if now < certificate.not_before() {
        Some(format!("not valid before {}, by the clock of this computer", date(certificate.not_before())))
    } else if now > certificate.not_after() {
        Some(format!("ended {} days ago", -left))
    } else {
        (left < SOON).then(|| format!("ends in {left} days"))
    }
}

/// `2026-01-02`.
fn date(time: Duration) -> String {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    crate::plant::text::time(nanoseconds).chars().take(10).collect()
}

fn below<'a>(file: &'a Path, pki: &Path) -> std::path::Display<'a> {
    file.strip_prefix(pki).unwrap_or(file).display()
}

fn listing(pki: &Path, inventory: &Inventory, now: Duration) -> String {
    let mut text = format!("Certificates in {}\n", pki.display());
    for shelf in Shelf::ALL {
        let here: Vec<&Held> = inventory.certificates.iter().filter(|held| held.shelf == shelf).collect();
        let lists: Vec<_> = inventory.lists.iter().filter(|held| held.shelf == shelf).collect();
        if here.is_empty() && lists.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n", shelf.name()));
        for held in here {
            let certificate = &held.certificate;
            let thumbprint: String = certificate.thumbprint_text().chars().take(SHORT).collect();
            let authority = if pki::is_authority(certificate) { ", certificate authority" } else { "" };
            text.push_str(&format!("  {thumbprint}  {}{authority}\n", certificate.subject));
            let (from, to) = (date(certificate.not_before()), date(certificate.not_after()));
            let uri = certificate.uris.first().map(|uri| format!("{uri}, ")).unwrap_or_default();
            text.push_str(&format!("            {uri}{from} to {to}\n"));
            if let Some(warning) = warning(certificate, now) {
                text.push_str(&format!("            WARNING: {warning}\n"));
            }
            text.push_str(&format!("            {}\n", below(&held.file, pki)));
        }
        for held in lists {
            let list = &held.list;
            let until = list.next_update.map(|next| format!(", next by {}", date(next))).unwrap_or_default();
            let revoked = list.revoked.len();
            text.push_str(&format!("  revocation list of {}: {revoked} revoked{until}\n", list.issuer));
            if list.is_outdated(now) {
                text.push_str(
                    "            WARNING: out of date; its authority's clients are refused until a newer one is here\n",
                );
            }
            text.push_str(&format!("            {}\n", below(&list.file, pki)));
        }
    }
    for (file, reason) in &inventory.others {
        text.push_str(&format!("\nnot read: {}: {reason}\n", below(file, pki)));
    }
    if inventory.certificates.iter().any(|held| matches!(held.shelf, Shelf::Rejected(_))) {
        text.push_str("\n`canvoy cert trust THUMBPRINT` lets a rejected one in.\n");
    }
    text
}

fn as_json(pki: &Path, inventory: &Inventory, now: Duration) -> serde_json::Value {
    let certificates: Vec<_> = inventory
        .certificates
        .iter()
        .map(|held| {
            let certificate = &held.certificate;
            json!({
                "store": held.shelf.name(),
                "subject": certificate.subject,
                "issuer": certificate.issuer(),
                "thumbprint": certificate.thumbprint_text(),
                "application_uri": certificate.uris.first(),
                "authority": pki::is_authority(certificate),
                "not_before": date(certificate.not_before()),
                "not_after": date(certificate.not_after()),
                "days_left": days(certificate.not_after(), now),
                "warning": warning(certificate, now),
                "file": held.file,
            })
        })
        .collect();
    let lists: Vec<_> = inventory
        .lists
        .iter()
        .map(|held| {
            json!({
                "store": held.shelf.name(),
                "issuer": held.list.issuer.to_string(),
                "this_update": date(held.list.this_update),
                "next_update": held.list.next_update.map(date),
                "outdated": held.list.is_outdated(now),
                "revoked": held.list.revoked.len(),
                "file": held.list.file,
            })
        })
        .collect();
    json!({ "folder": pki, "certificates": certificates, "revocation_lists": lists })
}

/// Whether this may be the beginning of a thumbprint.
fn is_thumbprint(text: &str) -> bool {
    text.len() >= LEAST && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn trust(
    pki: &Path,
    what: &Path,
    given: Option<Vec<u8>>,
    issuer: bool,
    user: bool,
    now: Duration,
) -> anyhow::Result<String> {
    let inventory = pki::inventory(pki);
    let shelf = |holders| if issuer { Shelf::Issuers(holders) } else { Shelf::Trusted(holders) };
    if let Some(text) = what.to_str().filter(|text| is_thumbprint(text)) {
        let found = inventory.find(text);
        if let Some(held) = one(&found, text, |held| matches!(held.shelf, Shelf::Rejected(_)))? {
            let Shelf::Rejected(holders) = held.shelf else { return Ok(String::new()) };
            let file = pki::accept(pki, held, shelf(holders))?;
            return Ok(accepted(pki, &held.certificate, &file, now));
        }
        if let Some(held) = found.first() {
            return Ok(format!("{} is in {} already\n", held.certificate.subject, below(&held.file, pki)));
        }
    }
    let Some(bytes) = given else {
        return Err(refuse(format!(
            "{} is neither a file nor the beginning of a rejected certificate's thumbprint; `canvoy cert list` shows them",
            what.display()
        )));
    };
    let holders = if user { Holders::Users } else { Holders::Applications };
    match pki::understand(&bytes, what) {
        Content::Certificates(found) => {
            let mut text = String::new();
            for certificate in found {
                let name = pki::file_name(&certificate);
                let file = pki::put(pki, shelf(holders), "certs", &name, &certificate.der)?;
                text.push_str(&accepted(pki, &certificate, &file, now));
            }
            Ok(text)
        }
        Content::Revocations(list) => {
            let signer = inventory.certificates.iter().find(|held| list.is_of(&held.certificate));
            let Some(signer) = signer else {
                return Err(refuse(format!(
                    "{} is a revocation list of {}, whose certificate is not here or did not sign it: trust that first",
                    what.display(),
                    list.issuer
                )));
            };
            // so that a newer list takes the place of the older one
            let name = pki::file_name(&signer.certificate).replace(".der", ".crl");
            let file = pki::put(pki, shelf(holders), "crl", &name, list.der())?;
            let outdated = if list.is_outdated(now) { "WARNING: it is out of date; get a newer one\n" } else { "" };
            Ok(format!("revocation list of {} is in force: {}\n{outdated}", list.issuer, below(&file, pki)))
        }
        Content::Other => {
            Err(refuse(format!("{} holds no certificate or revocation list in DER or PEM form", what.display())))
        }
    }
}

fn accepted(pki: &Path, certificate: &Certificate, file: &Path, now: Duration) -> String {
    let mut text = format!("{} is trusted: {}\n", certificate.subject, below(file, pki));
    if file.starts_with(pki.join("issuers")) || file.starts_with(pki.join("users_issuers")) {
        text = format!("{} completes chains: {}\n", certificate.subject, below(file, pki));
    }
    if let Some(warning) = warning(certificate, now) {
        text.push_str(&format!("WARNING: {warning}\n"));
    }
    if pki::is_authority(certificate) && !pki::inventory(pki).has_list_of(certificate, now) {
        text.push_str(
            "its clients are refused until its revocation list is here too: `canvoy cert trust FILE.crl`, or revocation_lists_required = false in [opcua]\n",
        );
    }
    text
}

fn reject(pki: &Path, thumbprint: &str) -> anyhow::Result<String> {
    if !is_thumbprint(thumbprint) {
        return Err(refuse(format!(
            "{thumbprint}: {LEAST} to 40 digits of a thumbprint, as `canvoy cert list` shows it"
        )));
    }
    let inventory = pki::inventory(pki);
    let found = inventory.find(thumbprint);
    let counts = |held: &Held| !matches!(held.shelf, Shelf::Rejected(_));
    let Some(first) = one(&found, thumbprint, counts)? else {
        return Err(refuse(format!(
            "no trusted certificate has a thumbprint that begins with {thumbprint}; `canvoy cert list` shows them"
        )));
    };
    let mut text = String::new();
    // it may lie in several files
    for held in found.iter().filter(|held| counts(held)) {
        let file = pki::refuse(pki, held)?;
        text = format!(
            "{} is no longer trusted: {}\nconnections that are open stay until they are closed; a restart of the plant side closes them\n",
            first.certificate.subject,
            below(&file, pki)
        );
    }
    Ok(text)
}

/// The one certificate that is meant. It may lie in several files; another one whose thumbprint begins like this is a mistake.
fn one<'a>(found: &[&'a Held], thumbprint: &str, counts: impl Fn(&Held) -> bool) -> anyhow::Result<Option<&'a Held>> {
    let wanted: Vec<&Held> = found.iter().copied().filter(|held| counts(held)).collect();
    let Some(first) = wanted.first() else { return Ok(None) };
    if wanted.iter().any(|held| held.certificate.der != first.certificate.der) {
        let names: Vec<String> = wanted
            .iter()
            .map(|held| format!("{} {}", held.certificate.thumbprint_text(), held.certificate.subject))
            .collect();
        return Err(refuse(format!("{thumbprint} is the beginning of several: {}", names.join(", "))));
    }
    Ok(Some(first))
}

#[cfg(test)]
mod tests;
