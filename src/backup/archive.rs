//! A backup's bytes: a tar file in one canonical form, with a list of what is in it and the hash of each.

use std::collections::BTreeSet;
use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Refused, allowed};

/// Of what [`pack`] writes. A newer one is refused.
const FORMAT: u32 = 1;
/// The list, first in the archive.
const LIST: &str = "canvoy-backup.json";
/// The hashes in the form of `sha256sum`, last.
const HASHES: &str = "SHA256SUMS";
/// Most files.
const MOST_FILES: usize = 10_000;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub format: u32,
    /// Version of the program that made it.
    pub canvoy: String,
    /// Of the computer.
    pub host: String,
    /// RFC 3339; none where the clock was not set.
    pub time: Option<String>,
    /// Path of the configuration file among the files.
    pub configuration: String,
    /// Hash of the plan, hexadecimal.
    pub plan: String,
    pub files: Vec<Entry>,
}

/// One file in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative to the root of the file system.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Names; empty: whoever owns such files.
    pub owner: String,
    pub group: String,
    pub size: u64,
}

/// A whole backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub list: List,
    /// The bytes of each file of the list.
    pub contents: Vec<Vec<u8>>,
}

impl Backup {
    /// The form number of what this program makes.
    pub const FORMAT: u32 = FORMAT;

    /// Each file with its bytes.
    pub fn files(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.list.files.iter().zip(self.contents.iter().map(Vec::as_slice))
    }
}

/// The bytes of a backup.
pub fn pack(backup: &Backup) -> std::io::Result<Vec<u8>> {
    let mut list = serde_json::to_vec_pretty(&backup.list)?;
    list.push(b'\n');
    let mut tar = tar::Builder::new(Vec::new());
    let mut hashes = String::new();
    let listed = [(LIST, 0o600, list.as_slice())];
    let files = backup.files().map(|(entry, bytes)| (entry.path.as_str(), entry.mode, bytes));
    for (path, mode, bytes) in listed.into_iter().chain(files) {
        append(&mut tar, path, mode, bytes)?;
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        hashes.push_str(&format!("{hash}  {path}\n"));
    }
    append(&mut tar, HASHES, 0o600, hashes.as_bytes())?;
    tar.into_inner()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

/// Only the `format` and the version of a list that may have more than we know.
#[derive(Deserialize)]
struct Outline {
    format: u32,
    #[serde(default)]
    canvoy: String,
}

/// The backup that the bytes are; any bytes may come. What comes back gives exactly these bytes again.
pub fn unpack(bytes: &[u8]) -> Result<Backup, Refused> {
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    let damaged = Refused::Damaged;
    for entry in tar::Archive::new(bytes).entries().map_err(|_| Refused::NotABackup)? {
        let broken = if entries.is_empty() { Refused::NotABackup } else { damaged("it can't be read to its end") };
        let mut entry = entry.map_err(|_| broken.clone())?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(if entries.is_empty() { broken } else { damaged("something that is not a file") });
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| broken.clone())?;
        if entries.is_empty() && path != LIST {
            return Err(Refused::NotABackup);
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|_| damaged("it ends too early"))?;
        entries.push((path, content));
        if entries.len() > MOST_FILES + 2 {
            return Err(damaged("too many files"));
        }
    }
    let mut entries = entries.into_iter();
    let (_, list) = entries.next().ok_or(Refused::NotABackup)?;
    let list = read_list(&list)?;
    if list.files.len() > MOST_FILES {
        return Err(damaged("too many files"));
    }
    if let Some(odd) = list.files.iter().find(|file| !allowed(&file.path)) {
        return Err(Refused::Place(odd.path.clone()));
    }
    let paths: BTreeSet<&str> = list.files.iter().map(|file| file.path.as_str()).collect();
    let inside = |path: &str| path.match_indices('/').any(|(at, _)| paths.contains(&path[..at]));
    if paths.len() != list.files.len() || paths.iter().any(|path| inside(path)) {
        return Err(damaged("a file is in it twice"));
    }
    if !paths.contains(list.configuration.as_str()) {
        return Err(damaged("the configuration is not in it"));
    }
    let contents = entries.by_ref().take(list.files.len()).map(|(_, content)| content).collect();
    let backup = Backup { list, contents };
    let sized = backup.files().filter(|(entry, content)| entry.size == content.len() as u64).count();
    // names, hashes, modes, order, padding: all of it at once
    match pack(&backup) {
        Ok(again) if again == bytes && sized == backup.list.files.len() => Ok(backup),
        Ok(_) | Err(_) => Err(damaged("its files are not what its list and its hashes say")),
    }
}

fn read_list(bytes: &[u8]) -> Result<List, Refused> {
    let damaged = |_| Refused::Damaged("its list can't be read");
    let Outline { format, canvoy } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT {
        let by = if canvoy.is_empty() { canvoy } else { format!(" ({canvoy})") };
        return Err(Refused::Newer { format, known: FORMAT, by });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: usize) -> Entry {
        Entry { path: path.into(), mode: 0o640, owner: "root".into(), group: String::new(), size: size as u64 }
    }

    pub fn example() -> Backup {
        let long = format!("etc/canvoy/{}/line.dbc", "x".repeat(150));
        let files: [(&str, &[u8]); 4] = [
            ("etc/canvoy/plant.toml", b"[bus.a]\nvirtual = true\n"),
            (&long, b"VERSION"),
            ("var/lib/canvoy-plant/pki/own/key.pem", &[7; 700]),
            ("var/lib/canvoy/retained/a", b""),
        ];
        Backup {
            list: List {
                format: FORMAT,
                canvoy: "0.1.0".into(),
                host: "line-3".into(),
                time: None,
                configuration: "etc/canvoy/plant.toml".into(),
                plan: "00ff".into(),
                files: files.iter().map(|(path, bytes)| entry(path, bytes.len())).collect(),
            },
            contents: files.iter().map(|(_, bytes)| bytes.to_vec()).collect(),
        }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let backup = example();
        let bytes = pack(&backup).unwrap();
        assert_eq!(unpack(&bytes), Ok(backup.clone()));
        assert_eq!(pack(&backup).unwrap(), bytes, "the same bytes each time");
    }

    #[test]
    fn cut_anywhere_it_is_refused() {
        let bytes = pack(&example()).unwrap();
        for cut in 0..bytes.len() {
            assert!(unpack(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(unpack(&[&bytes[..], &[0; 512]].concat()).is_err());
    }

    /// Numbers that look random and are the same each time (splitmix64).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[test]
    fn mutated_it_is_refused() {
        let whole = pack(&example()).unwrap();
        let mut state = 4;
        for number in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + number % 4 {
                let at = random(&mut state) as usize % bytes.len();
                match random(&mut state) % 4 {
                    0 => bytes[at] ^= 1 << (random(&mut state) % 8),
                    1 => bytes[at] = random(&mut state) as u8,
                    2 => drop(bytes.remove(at)),
                    _ => bytes.copy_within(at / 2..at / 2 + (at - at / 2).min(64), at / 3),
                }
            }
            assert!(unpack(&bytes).is_err() || bytes == whole, "mutation {number}");
        }
    }

    /// What a list may say with right hashes around it, and what is said to that.
    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |change: &dyn Fn(&mut Backup), want: &str| {
            let mut backup = example();
            change(&mut backup);
            let error = unpack(&pack(&backup).unwrap()).unwrap_err().to_string();
            assert!(error.contains(want), "{error} / {want}");
        };
        check(&|backup| backup.list.format = 2, "made by a newer version of Canvoy (0.1.0) (form 2; this one knows 1)");
        check(&|backup| backup.list.files[1].path = "etc/passwd".into(), "etc/passwd: no place");
        check(&|backup| backup.list.files[3].path = "var/lib/canvoy/retained/x".into(), "no place");
        check(&|backup| backup.list.files[1].path = "etc/canvoy/plant.toml".into(), "twice");
        check(&|backup| backup.list.files[1].path = "etc/canvoy/plant.toml/x".into(), "twice");
        check(&|backup| backup.list.files[2].size = 1, "its list");
        check(&|backup| backup.list.configuration = "etc/canvoy/other.toml".into(), "the configuration is not in it");
        for (bytes, want) in [(&b""[..], "no backup"), (b"hello", "no backup"), (&[0; 1024], "no backup")] {
            assert!(unpack(bytes).unwrap_err().to_string().contains(want), "{bytes:?}");
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        let list = serde_json::to_vec(&example().list).unwrap();
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Block, tar::EntryType::Directory] {
            let mut tar = tar::Builder::new(Vec::new());
            append(&mut tar, LIST, 0o600, &list).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_link_name("/etc/passwd").unwrap();
            tar.append_data(&mut header, "etc/canvoy/plant.toml", &b""[..]).unwrap();
            let error = unpack(&tar.into_inner().unwrap()).unwrap_err();
            assert_eq!(error, Refused::Damaged("something that is not a file"), "{kind:?}");
        }
    }
}
