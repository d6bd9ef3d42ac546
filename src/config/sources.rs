//! The bytes that a plan is made from: the configuration file and the DBC files it names, from disk, embedded, or handed over.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::LoadOptions;
use super::document::Document;
use super::written;
use crate::diagnostic::{Diagnostic, Severity};

/// Largest configuration file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Largest DBC file, in bytes. The largest known public ones have about 10 MB.
const MAX_DBC: u64 = 64 << 20;
/// Most DBC files of one configuration.
const MAX_FILES: usize = 256;

const BUNDLE_MAGIC: &[u8; 8] = b"CANVOYB\x01";

/// The configuration file, then the DBC files it names, with the bytes as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    pub config: SourceFile,
    /// In the order of their first mention by buses sorted by name; each file once.
    pub dbc: Vec<SourceFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As a user can open it: the configuration as named on the command line, a DBC file relative to that.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Why handed-over bytes are no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the configuration handed over is of another version of Canvoy")]
    Version,
    #[error("the configuration handed over ends too early")]
    Truncated,
    #[error("the configuration handed over is damaged")]
    Damaged,
}

/// Reads the configuration and the DBC files it names: the only file access of this module.
///
/// Where a file can't be read, all mistakes of those that can be are in the answer too.
pub fn read(path: &Path) -> Result<Sources, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let bytes = read_file(path, MAX_CONFIG).map_err(|reason| {
        vec![Diagnostic::new(Severity::Error, &name, 0, 0, format!("can't read the file: {reason}"))]
    })?;
    let config = SourceFile { name, bytes };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut unreadable = Vec::new();
    let mut dbc = Vec::new();
    {
        let document = Document::parse(&config.name, &config.bytes)?;
        for place in mentioned(&document) {
            match read_file(&folder.join(&place.written), MAX_DBC) {
                Ok(bytes) => dbc.push(SourceFile { name: dbc_name(&config.name, &place.written), bytes }),
                Err(reason) => unreadable.push(place.diagnostic(&document, &reason)),
            }
        }
    }
    let sources = Sources { config, dbc };
    if unreadable.is_empty() {
        return Ok(sources);
    }
    // what the files that are there say is reported along; a file that is not there is reported once
    let rest = match super::check(&sources, LoadOptions::default(), false) {
        Ok(loaded) => loaded.diagnostics,
        Err(mistakes) => mistakes,
    };
    unreadable.extend(rest);
    super::sort(&mut unreadable, &sources);
    Err(unreadable)
}

/// A DBC file where the configuration first names it.
struct Mention {
    bus: String,
    index: usize,
    written: String,
}

impl Mention {
    fn diagnostic(&self, document: &Document<'_>, reason: &str) -> Diagnostic {
        let message = format!("can't read \"{}\": {reason}", self.written);
        document.element(Severity::Error, &["bus", &self.bus, "dbc"], self.index, message)
    }
}

/// Every DBC file once. Mistakes of shape are left to the check that follows.
fn mentioned(document: &Document<'_>) -> Vec<Mention> {
    let (file, _): (written::File, _) = document.read(written::TAKES, &mut Vec::new());
    let mut mentions: Vec<Mention> = Vec::new();
    for (bus, section) in file.bus {
        for (index, written) in section.dbc.into_iter().enumerate() {
            if mentions.len() < MAX_FILES && mentions.iter().all(|known| known.written != written) {
                mentions.push(Mention { bus: bus.clone(), index, written });
            }
        }
    }
    mentions
}

/// A whole regular file; the reason in words where that can't be had.
fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let explain = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidInput => "not a file name".to_owned(),
        _ => error.to_string(),
    };
    // before opening: a named pipe would wait for its other end
    let metadata = std::fs::metadata(path).map_err(explain)?;
    if metadata.is_dir() {
        return Err("it is a directory".into());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(explain)?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}

/// A DBC file's name for people: the path in the configuration, seen from where the configuration's own name is seen.
pub(super) fn dbc_name(config: &str, written: &str) -> String {
    let folder = Path::new(config).parent().unwrap_or(Path::new(""));
    let joined: PathBuf = folder.join(written);
    joined.display().to_string()
}

impl Sources {
    /// From constants in the program. `dbc`: each file under the name that the configuration uses for it.
    pub fn embedded(name: &str, toml: &str, dbc: &[(&str, &[u8])]) -> Sources {
        Sources {
            config: SourceFile { name: name.into(), bytes: toml.into() },
            dbc: dbc
                .iter()
                .map(|(written, bytes)| SourceFile { name: dbc_name(name, written), bytes: bytes.to_vec() })
                .collect(),
        }
    }

    /// For the plant process: files and options in one piece, so that it builds the same plan.
    pub fn to_bundle(&self, options: LoadOptions) -> Vec<u8> {
        let mut bundle = BUNDLE_MAGIC.to_vec();
        bundle.push(options.simulate.into());
        for file in std::iter::once(&self.config).chain(&self.dbc) {
            for part in [file.name.as_bytes(), &file.bytes] {
                bundle.extend((part.len() as u64).to_le_bytes());
                bundle.extend(part);
            }
        }
        bundle
    }

    /// The reverse of [`Sources::to_bundle`]; any bytes may come.
    pub fn from_bundle(bundle: &[u8]) -> Result<(Sources, LoadOptions), BundleError> {
        let rest = bundle.strip_prefix(BUNDLE_MAGIC).ok_or(BundleError::Version)?;
        let (options, mut rest) = match rest {
            [simulate @ (0 | 1), rest @ ..] => (LoadOptions { simulate: *simulate == 1 }, rest),
            [] => return Err(BundleError::Truncated),
            _ => return Err(BundleError::Damaged),
        };
        let mut files = Vec::new();
        while !rest.is_empty() {
            let name = String::from_utf8(take_part(&mut rest)?).map_err(|_| BundleError::Damaged)?;
            files.push(SourceFile { name, bytes: take_part(&mut rest)? });
            if files.len() > MAX_FILES + 1 {
                return Err(BundleError::Damaged);
            }
        }
        if files.is_empty() {
            return Err(BundleError::Truncated);
        }
        let config = files.remove(0);
        Ok((Sources { config, dbc: files }, options))
    }
}

/// A length and so many bytes from the front.
fn take_part(rest: &mut &[u8]) -> Result<Vec<u8>, BundleError> {
    let (length, after) = rest.split_first_chunk::<8>().ok_or(BundleError::Truncated)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| BundleError::Damaged)?;
    let (part, after) = after.split_at_checked(length).ok_or(BundleError::Truncated)?;
    *rest = after;
    Ok(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_dbc_files() {
        for (config, written, expected) in [
            ("plant.toml", "line.dbc", "line.dbc"),
            ("/etc/canvoy/plant.toml", "line.dbc", "/etc/canvoy/line.dbc"),
            ("a/plant.toml", "../dbc/line.dbc", "a/../dbc/line.dbc"),
            ("a/plant.toml", "/x.dbc", "/x.dbc"),
            ("", "x.dbc", "x.dbc"),
        ] {
            assert_eq!(dbc_name(config, written), expected);
        }
    }

    #[test]
    fn damaged_bundles() {
        let sources = Sources::embedded("p.toml", "x", &[("a.dbc", b"y")]);
        let whole = sources.to_bundle(LoadOptions { simulate: true });
        assert_eq!(Sources::from_bundle(&whole), Ok((sources, LoadOptions { simulate: true })));
        // the end of the first file is the only cut that leaves a whole bundle
        let first = BUNDLE_MAGIC.len() + 1 + 8 + "p.toml".len() + 8 + 1;
        for cut in 0..whole.len() {
            assert_eq!(Sources::from_bundle(&whole[..cut]).is_ok(), cut == first, "{cut}");
        }
        let mut long = whole.clone();
        long[9..17].fill(0xFF);
        assert_eq!(Sources::from_bundle(&long), Err(BundleError::Truncated));
        assert_eq!(Sources::from_bundle(b"CANVOYB\x02"), Err(BundleError::Version));
    }

    proptest! {
        #[test]
        fn bundles_come_back(
            files in prop::collection::vec((".{0,8}", prop::collection::vec(any::<u8>(), 0..50)), 1..5),
            simulate: bool,
        ) {
            let mut files: Vec<_> = files.into_iter().map(|(name, bytes)| SourceFile { name, bytes }).collect();
            let sources = Sources { config: files.remove(0), dbc: files };
            let options = LoadOptions { simulate };
            prop_assert_eq!(Sources::from_bundle(&sources.to_bundle(options)), Ok((sources, options)));
        }

        #[test]
        fn any_bytes_are_no_trouble(mut bytes in prop::collection::vec(any::<u8>(), 0..100), magic: bool) {
            if magic {
                bytes.splice(..0, *b"CANVOYB\x01\x00");
            }
            let _ = Sources::from_bundle(&bytes);
        }
    }
}
