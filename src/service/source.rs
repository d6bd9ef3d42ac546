//! Which plant is to be run: a user's file or the demo that is built in.

use std::io::Write;

use crate::config::{self, Files, LoadOptions, Loaded, Sources};
use crate::diagnostic::Diagnostic;
use crate::plan::Interface;
use crate::service::exit::Failure;
use crate::sim::{Simulator, demo, playback};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(Files),
    /// The packaging line, from constants in the program.
    Demo,
}

/// A configuration that can be run.
pub struct Plant {
    pub sources: Sources,
    pub options: LoadOptions,
    pub loaded: Loaded,
}

impl Source {
    /// Reads and checks everything. Mistakes and warnings are printed, all of them.
    pub fn load(&self, options: LoadOptions) -> Result<Plant, Failure> {
        let sources = match self {
            Source::File(files) => files.read(),
            Source::Demo => Ok(Sources::embedded("demo/plant.toml", demo::CONFIG, demo::DBC)),
        };
        let loaded = sources.and_then(|sources| config::load(&sources, options).map(|loaded| (sources, loaded)));
        match loaded {
            Ok((sources, loaded)) => Ok(Plant { sources, options, loaded }),
            Err(mistakes) => {
                print_diagnostics(&mistakes);
                Err(Failure::config())
            }
        }
    }

    /// Whoever else is on the virtual buses; nobody where there are none.
    pub fn simulator(&self, loaded: &Loaded) -> anyhow::Result<Option<Simulator>> {
        let plan = &loaded.plan;
        Ok(match self {
            Source::Demo => Some(Simulator::Demo(demo::Plant::new(plan)?)),
            Source::File(_) if plan.buses.iter().any(|bus| bus.interface == Interface::Virtual) => {
                Some(Simulator::Playback(playback::Player::new(plan)))
            }
            Source::File(_) => None,
        })
    }
}

/// To standard error, one after the other.
pub fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let mut stderr = std::io::stderr().lock();
    for diagnostic in diagnostics {
        // there is nowhere left to report that standard error is gone
        let _ = writeln!(stderr, "{diagnostic}");
    }
}
