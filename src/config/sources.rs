//! The bytes that a plan is made from: the configuration's files and all they name, from disk, embedded, or handed over.

use std::path::{Path, PathBuf};

use super::LoadOptions;

/// Most DBC files and overlay tables of one configuration.
pub(super) const MAX_FILES: usize = 256;
/// Most files that a configuration is made of besides the main one.
pub(super) const MAX_INCLUDED: usize = 256;
/// Most parts of a bundle.
const MAX_PARTS: usize = MAX_FILES + MAX_INCLUDED + 4096;

const BUNDLE_MAGIC: &[u8; 8] = b"CANVOYB\x02";

/// The configuration file, then all that it names, with the bytes as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub config: SourceFile,
    /// In the order of their first mention; each file once.
    pub included: Vec<SourceFile>,
    /// The variables of one machine.
    pub machine: Option<SourceFile>,
    /// Variables of the environment, name and value, sorted.
    pub environment: Vec<(String, String)>,
    /// In the order of their first mention by buses sorted by name; each file once.
    pub dbc: Vec<SourceFile>,
    /// As `dbc`.
    pub overlay: Vec<SourceFile>,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// As a user can open it: the configuration as named on the command line, others relative to the file that names them.
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

/// What a part of a bundle is.
const CONFIG: u8 = 0;
const INCLUDED: u8 = 1;
const MACHINE: u8 = 2;
const VARIABLE: u8 = 3;
const DBC: u8 = 4;
const OVERLAY: u8 = 5;

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
            ..Sources::default()
        }
    }

    /// All files, in the order in which mistakes in them are shown.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        let texts = std::iter::once(&self.config).chain(&self.included).chain(&self.machine);
        texts.chain(&self.dbc).chain(&self.overlay)
    }

    /// For the plant process: files and options in one piece, so that it builds the same plan.
    pub fn to_bundle(&self, options: LoadOptions) -> Vec<u8> {
        let mut bundle = BUNDLE_MAGIC.to_vec();
        bundle.push(options.simulate.into());
        let mut put = |kind: u8, name: &str, bytes: &[u8]| {
            bundle.push(kind);
            for part in [name.as_bytes(), bytes] {
                bundle.extend((part.len() as u64).to_le_bytes());
                bundle.extend(part);
            }
        };
        put(CONFIG, &self.config.name, &self.config.bytes);
        self.included.iter().for_each(|file| put(INCLUDED, &file.name, &file.bytes));
        self.machine.iter().for_each(|file| put(MACHINE, &file.name, &file.bytes));
        self.environment.iter().for_each(|(name, value)| put(VARIABLE, name, value.as_bytes()));
        self.dbc.iter().for_each(|file| put(DBC, &file.name, &file.bytes));
        self.overlay.iter().for_each(|file| put(OVERLAY, &file.name, &file.bytes));
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
        let mut sources = Sources::default();
        let mut parts = 0;
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            let name = String::from_utf8(take_part(&mut rest)?).map_err(|_| BundleError::Damaged)?;
            let bytes = take_part(&mut rest)?;
            // the configuration is the first, and the only one of its kind
            if (*kind == CONFIG) != (parts == 0) || parts >= MAX_PARTS {
                return Err(BundleError::Damaged);
            }
            parts += 1;
            let file = SourceFile { name, bytes };
            match *kind {
                CONFIG => sources.config = file,
                INCLUDED => sources.included.push(file),
                MACHINE if sources.machine.is_none() => sources.machine = Some(file),
                VARIABLE => {
                    let value = String::from_utf8(file.bytes).map_err(|_| BundleError::Damaged)?;
                    sources.environment.push((file.name, value));
                }
                DBC => sources.dbc.push(file),
                OVERLAY => sources.overlay.push(file),
                _ => return Err(BundleError::Damaged),
            }
        }
        if parts == 0 { Err(BundleError::Truncated) } else { Ok((sources, options)) }
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
        let first = BUNDLE_MAGIC.len() + 1 + 1 + 8 + "p.toml".len() + 8 + 1;
        for cut in 0..whole.len() {
            assert_eq!(Sources::from_bundle(&whole[..cut]).is_ok(), cut == first, "{cut}");
        }
        let mut long = whole.clone();
        long[10..18].fill(0xFF);
        assert_eq!(Sources::from_bundle(&long), Err(BundleError::Truncated));
        assert_eq!(Sources::from_bundle(b"CANVOYB\x01"), Err(BundleError::Version));
    }

    proptest! {
        #[test]
        fn bundles_come_back(
            files in prop::collection::vec((".{0,8}", prop::collection::vec(any::<u8>(), 0..50)), 1..9),
            environment in prop::collection::vec((".{0,8}", ".{0,8}"), 0..3),
            simulate: bool,
        ) {
            let mut files: Vec<_> = files.into_iter().map(|(name, bytes)| SourceFile { name, bytes }).collect();
            let config = files.remove(0);
            let machine = files.pop();
            let overlay = files.split_off(files.len() / 2);
            let dbc = files.split_off(files.len() / 2);
            let sources = Sources { config, included: files, machine, environment, dbc, overlay };
            let options = LoadOptions { simulate };
            prop_assert_eq!(Sources::from_bundle(&sources.to_bundle(options)), Ok((sources, options)));
        }

        #[test]
        fn any_bytes_are_no_trouble(mut bytes in prop::collection::vec(any::<u8>(), 0..100), magic: bool) {
            if magic {
                bytes.splice(..0, *b"CANVOYB\x02\x00\x00");
            }
            let _ = Sources::from_bundle(&bytes);
        }
    }
}
