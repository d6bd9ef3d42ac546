//! A person's connection to a running controller: finding it, its plan and store, one command at a time.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::exit::{Failure, INTERNAL, UNAVAILABLE};
use super::folder;
use super::plant::{Loaded, plan_of};
use crate::command::socket::Connection;
use crate::command::{Action, Generation, Origin, Place, Refusal};
use crate::config::{LoadOptions, Sources};
use crate::plan::Plan;
use crate::plant::link::{self, End, Handover, Link};
use crate::plant::view::Request;
use crate::store::Reader;

/// Where the unit's controller listens.
pub const DEFAULT_SOCKET: &str = "/run/canvoy/command";

/// How long a controller that has just changed its configuration may take to hand that over.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a controller.
pub struct Client {
    pub plan: Plan,
    pub reader: Reader,
    /// Process id of the controller.
    pub pid: u32,
    /// What `plan` is of.
    pub generation: Generation,
    /// What the controller's plan was made from, and how it reads it.
    pub sources: Sources,
    pub options: LoadOptions,
    pub socket: PathBuf,
    link: Link,
    /// A later generation that was handed over and is not in use yet.
    next: Option<Handover>,
    runtime: tokio::runtime::Runtime,
}

/// What [`Client::rest`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rested {
    /// Nothing.
    Quiet,
    /// The controller has put another configuration in force: read what is left here, then [`Client::renew`].
    Reloaded,
    /// It is gone.
    Ended,
}

impl Client {
    /// Connects to `socket`, else to the unit's controller, else to the only `canvoy run` or `demo` of this user.
    pub fn open(socket: Option<PathBuf>) -> anyhow::Result<Client> {
        let socket = match socket {
            Some(socket) => socket,
            None => find(Path::new(DEFAULT_SOCKET), &folders(|name| std::env::var_os(name)))?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (link, handover) =
            runtime.block_on(async { link::connect(&socket, Place::Machine).await }).map_err(|error| {
                let remedy = "is the controller running, and may you write to its socket?";
                Failure::new(UNAVAILABLE, format!("no controller at {}: {error}; {remedy}", socket.display()))
            })?;
        let (sources, options) =
            Sources::from_bundle(&handover.bundle).map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
        let Loaded { plan, reader, generation, .. } = plan_of(handover)?;
        let pid = generation.pid;
        Ok(Client { plan, reader, pid, generation, sources, options, socket, link, next: None, runtime })
    }

    /// One command that has no indices of the plan, or whose sender does without it should the configuration change; the
    /// controller's answer.
    pub fn command(&mut self, action: Action) -> anyhow::Result<Result<(), Refusal>> {
        let origin = Origin { protocol: Origin::TERMINAL.into(), user: user(), address: "local".into() };
        let (answer, mut done) = oneshot::channel();
        let (sender, mut requests) = mpsc::channel(1);
        let unanswered =
            || Failure::new(UNAVAILABLE, "the controller did not answer; whether it was done is not known");
        let Client { runtime, link, next, generation, .. } = self;
        runtime.block_on(async {
            let generation = generation.number;
            sender.send(Request { generation, origin, action, answer }).await.map_err(|_| unanswered())?;
            loop {
                tokio::select! {
                    answered = &mut done => return Ok(answered.map_err(|_| unanswered())?),
                    end = link.serve(&mut requests) => match end {
                        Ok(End::Handover(handover)) => *next = Some(handover),
                        Ok(End::Closed) | Err(_) => return Err(unanswered().into()),
                    }
                }
            }
        })
    }

    /// One command with indices of the plan. Should the configuration have changed in between, it is made once more, with
    /// the plan that is in force then.
    pub fn command_by(
        &mut self,
        make: impl Fn(&Plan) -> anyhow::Result<Action>,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let action = make(&self.plan)?;
        match self.command(action)? {
            Err(Refusal::Reloaded) => {}
            other => return Ok(other),
        }
        if self.next.is_none() && self.rest(PATIENCE) == Rested::Ended {
            return Ok(Err(Refusal::Reloaded));
        }
        self.renew()?;
        let action = make(&self.plan)?;
        self.command(action)
    }

    /// Waits, at most this long, for news of the connection.
    pub fn rest(&mut self, time: Duration) -> Rested {
        if self.next.is_some() {
            return Rested::Reloaded;
        }
        let (_sender, mut requests) = mpsc::channel(1);
        let Client { runtime, link, next, .. } = self;
        match runtime.block_on(async { timeout(time, link.serve(&mut requests)).await }) {
            Err(_) => Rested::Quiet,
            Ok(Ok(End::Handover(handover))) => {
                *next = Some(handover);
                Rested::Reloaded
            }
            Ok(Ok(End::Closed) | Err(_)) => Rested::Ended,
        }
    }

    /// Goes on with the configuration that was handed over last; without one nothing changes.
    pub fn renew(&mut self) -> anyhow::Result<()> {
        if let Some(handover) = self.next.take() {
            let Loaded { plan, reader, generation, .. } = plan_of(handover)?;
            (self.plan, self.reader, self.generation) = (plan, reader, generation);
        }
        Ok(())
    }
}

/// Who gives the command, for the audit record; the controller notes what the kernel says too.
fn user() -> String {
    let uid = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Where the private folders of `canvoy run` and `demo` can be.
fn folders(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = variable("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().collect();
    let temporary = std::env::temp_dir();
    if !folder::has_room(&temporary) {
        folders.push("/tmp".into());
    }
    folders.push(temporary);
    folders.sort();
    folders.dedup();
    folders
}

fn find(default: &Path, folders: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let is_socket = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if is_socket(default) {
        return Ok(default.into());
    }
    let ours = |path: &Path| path.metadata().is_ok_and(|found| found.uid() == nix::unistd::Uid::current().as_raw());
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("canvoy-"))
        .map(|entry| entry.path().join("command"))
        .filter(|path| is_socket(path) && ours(path))
        .collect();
    found.sort();
    if found.len() > 1 {
        // one that a killed process left behind has nobody who listens
        found.retain(|path| Connection::connect(path).is_ok());
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::new(
            UNAVAILABLE,
            format!(
                "no controller is running: nothing at {}, and no `canvoy run` of yours; say --socket PATH",
                default.display()
            ),
        )
        .into()),
        (Some(last), false) => {
            found.push(last);
            let list: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::new(
                UNAVAILABLE,
                format!("several controllers are running; say --socket, one of: {}", list.join(", ")),
            )
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::socket::Listener;

    #[test]
    fn the_only_controller_is_found() {
        let base = std::env::temp_dir().join(format!("canvoy-find-{}", std::process::id()));
        let folder = |name: &str| {
            let path = base.join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let find = |base: &Path| find(&base.join("unit"), &[base.into()]).map_err(|error| error.to_string());
        let (first, second) = (folder("canvoy-1"), folder("canvoy-2"));
        assert!(find(&base).unwrap_err().contains("no controller is running"));
        let one = Listener::bind(&first.join("command"), 0o600).unwrap();
        assert_eq!(find(&base), Ok(first.join("command")));
        let two = Listener::bind(&second.join("command"), 0o600).unwrap();
        assert!(find(&base).unwrap_err().contains("several controllers"));
        let unit = Listener::bind(&base.join("unit"), 0o600).unwrap();
        assert_eq!(find(&base), Ok(base.join("unit")));
        drop((one, two, unit));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
