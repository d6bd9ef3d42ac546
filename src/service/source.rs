//! Which plant is to be run: a user's file or the demo that is built in.

use std::io::Write;
use std::sync::Arc;

use tracing::warn;

use crate::config::{self, Files, LoadOptions, Loaded, Sources};
use crate::controller;
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

    /// How the configuration is read again while the machine runs; the demo's is built in.
    pub fn reload(&self, options: LoadOptions) -> Option<Arc<controller::Load>> {
        let (source, files) = match self {
            Source::File(files) => (self.clone(), files.clone()),
            Source::Demo => return None,
        };
        Some(Arc::new(move |bundle: Option<&[u8]>| {
            let (sources, options) = match bundle {
                Some(bundle) => Sources::from_bundle(bundle).map_err(|error| error.to_string())?,
                None => (files.read().map_err(|mistakes| lines(&mistakes))?, options),
            };
            let loaded = config::load(&sources, options).map_err(|mistakes| lines(&mistakes))?;
            for warning in &loaded.diagnostics {
                warn!("{warning}");
            }
            let simulator = source.simulator(&loaded).map_err(|error| format!("{error:#}"))?;
            let bundle = sources.to_bundle(options);
            Ok(controller::Candidate { plan: Arc::new(loaded.plan), bundle, simulator })
        }))
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

/// One after the other, for people.
fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// To standard error, one after the other.
pub fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let mut stderr = std::io::stderr().lock();
    for diagnostic in diagnostics {
        // there is nowhere left to report that standard error is gone
        let _ = writeln!(stderr, "{diagnostic}");
    }
}
