//! What the parts of the server share, and its life: set up, serving, ended.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use opcua::crypto::{PrivateKey, X509};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::application::Application;
use super::audit;
use super::change;
use super::channel::{self, Answers, Channel, Door, Request};
use super::condition;
use super::config::Config;
use super::counters::Counters;
use super::crypto::Work;
use super::diagnostics;
use super::limits::Limits;
use super::pki::{self, Rules, Trust};
use super::sampler;
use super::scene::Scenes;
use super::service;
use super::session::{self, Leases, Session, Sessions};
use super::space::server::ServerObject;
use super::subscription::{Event, Reply, Subscriptions};
use crate::plant::Plant;
use crate::plant::access::Users;
use crate::plant::figure::Figure;
use crate::plant::pulse::Pulses;
use crate::store::{clock, memory};

/// Between two looks for sessions that nobody uses any more.
const SWEEP: Duration = Duration::from_millis(500);

/// Between two warnings that the own certificate ends soon.
const DAILY: Duration = Duration::from_secs(86_400);

/// When so many monitored items less are there than were, their memory is given back.
const MANY: u64 = 5_000;

/// The server: what every request may need.
pub struct Server {
    pub plant: Arc<Plant>,
    pub scenes: Scenes,
    pub limits: Limits,
    pub application: Arc<Application>,
    pub trust: Arc<Trust>,
    pub users: Users,
    pub sessions: Arc<Sessions>,
    pub leases: Leases,
    pub counters: Arc<Counters>,
    pub work: Work,
    /// Until when its own certificate is good, since 1970.
    pub not_after: Duration,
    /// Wakes the sampler: there is something new to look at.
    pub wake: Notify,
    subscriptions: Arc<Mutex<Subscriptions>>,
}

fn lock(subscriptions: &Mutex<Subscriptions>) -> MutexGuard<'_, Subscriptions> {
    subscriptions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Server {
    pub fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }

    /// What has to happen once a session is out of the table.
    pub fn end_session(&self, session: &Session, with_subscriptions: bool, why: &str) {
        self.leases.ended(session.id);
        let replies = {
            let mut subscriptions = self.subscriptions();
            subscriptions.session_closed(session.id, with_subscriptions);
            subscriptions.replies()
        };
        replies.into_iter().for_each(Reply::send);
        audit::session_closed(self, session, why);
    }

    /// A session has been activated on a channel: what waits on another one is answered.
    pub fn channel_left(&self, session: &Session, channel: &Channel) {
        let replies = {
            let mut subscriptions = self.subscriptions();
            subscriptions.channel_left(session.id, channel.id);
            subscriptions.replies()
        };
        replies.into_iter().for_each(Reply::send);
    }

    /// Gives up Publish requests with this handle; how many there were.
    pub fn cancel(&self, session: &Session, handle: u32) -> u32 {
        let (cancelled, replies) = {
            let mut subscriptions = self.subscriptions();
            (subscriptions.cancel(session.id, handle), subscriptions.replies())
        };
        replies.into_iter().for_each(Reply::send);
        cancelled
    }

    /// Hands an event to whoever has subscribed to it.
    pub fn event(&self, event: &Event) {
        self.subscriptions().event(event);
    }

    /// Says when our own certificate ends, if that is soon.
    fn warn_of_end(&self) {
        if pki::ends_soon(self.not_after, Duration::from_nanos(clock::realtime())) {
            let until = x509_cert::der::DateTime::from_unix_duration(self.not_after).map(|until| until.to_string());
            let until = until.unwrap_or_default();
            tracing::warn!(until, "own certificate ends soon, or has ended; `canvoy cert renew` makes a new one");
        }
    }

    /// Ends sessions whose clients have gone, and shows what was counted.
    async fn sweep(&self) {
        let mut most = 0;
        self.plant.figures.set(Figure::CertificateNotAfter, self.not_after.as_secs());
        let mut warned: Option<Instant> = None;
        loop {
            if warned.is_none_or(|warned| warned.elapsed() >= DAILY) {
                warned = Some(Instant::now());
                self.warn_of_end();
            }
            for session in self.sessions.expire(Instant::now()) {
                self.counters.session_timed_out();
                // subscriptions have a lifetime of their own (OPC 10000-4, 5.14.1.2)
                self.end_session(&session, false, "not used for its timeout");
            }
            self.counters.show(&self.sessions, &self.subscriptions(), &self.plant.figures);
            let items = self.subscriptions().totals().items;
            most = most.max(items);
            if most - items > MANY {
                most = items;
                // how it ends nobody waits for
                let _ = tokio::task::spawn_blocking(memory::trim_heap).await;
            }
            tokio::time::sleep(SWEEP).await;
        }
    }
}

/// Serves the plant on `listener` until `shutdown`; `pulses` beat while it does. The PKI folder is made in `state`.
pub async fn run(
    plant: Arc<Plant>,
    config: Config,
    listener: std::net::TcpListener,
    state: &Path,
    pulses: &Pulses,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the OPC UA listener has no address")?;
    if config.trust_any_client_certificate && !address.ip().is_loopback() {
        bail!("trust_any_client_certificate is only for a loopback address; {address} can be reached from the network");
    }
    listener.set_nonblocking(true).context("the OPC UA listener")?;
    let listener = TcpListener::from_std(listener).context("the OPC UA listener")?;
    let folder = state.join("pki");
    let max_connections = config.max_connections;
    let server = tokio::task::spawn_blocking({
        let plant = plant.clone();
        move || build(plant, config, address, &folder)
    });
    let server = Arc::new(server.await.context("the OPC UA server")??);
    let door = Door {
        application: server.application.clone(),
        trust: server.trust.clone(),
        max_connections,
        limits: server.limits.clone(),
        counters: server.counters.clone(),
        tell: {
            let server = Arc::downgrade(&server);
            Arc::new(move |peer, notice| {
                if let Some(server) = server.upgrade() {
                    audit::channel(&server, peer, &notice);
                }
            })
        },
    };
    let answer = {
        let server = server.clone();
        move |channel: &Arc<Channel>, answers: &Answers, request: Request| {
            service::dispatch(&server, channel, answers, request);
        }
    };
    tracing::info!(%address, "OPC UA server ready");
    tokio::select! {
        ended = server.scenes.follow(&plant) => match ended? {},
        () = channel::serve(listener, door, answer, &pulses.opcua) => Ok(()),
        () = sampler::run(&server, &pulses.sampling) => Ok(()),
        () = server.sweep() => Ok(()),
        () = session::trusted::watch(&server) => Ok(()),
        never = condition::tell::run(&server) => match never {},
        never = change::run(&server) => match never {},
        () = shutdown => Ok(()),
    }
}

/// Certificates and nodes: blocks.
pub(super) fn build(plant: Arc<Plant>, config: Config, address: SocketAddr, folder: &Path) -> anyhow::Result<Server> {
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let own = pki::own(&folder, &config.certificate_hosts)?;
    let rules = Rules {
        any_application: config.trust_any_client_certificate,
        first_application: config.trust_first_client,
        revocation_lists: config.revocation_lists_required,
        rejected: config.limits.rejected_certificates,
    };
    let trust = Trust::new(&folder, rules)?;
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("read {}", file.display()));
    let certificate_der = read(&own.certificate)?;
    let certificate = X509::from_der(&certificate_der).map_err(|_| anyhow!("the server's own certificate"))?;
    let not_after = pki::Certificate::from_der(&certificate_der).map_or(Duration::ZERO, |own| own.not_after());
    let key = PrivateKey::from_pem(&read(&own.key)?).map_err(|_| anyhow!("the server's own private key"))?;
    let identity = config.identity();
    let application = Application {
        uri: own.application_uri,
        certificate,
        certificate_der,
        key,
        address,
        hostname: pki::hostname(),
        hosts: config.certificate_hosts,
        offers_none: config.security_policy_none,
        anonymous_read: config.anonymous_read,
        roles_of_applications: plant.view().rights.name_applications() && !config.trust_any_client_certificate,
        trusts_any: config.trust_any_client_certificate,
    };
    let (sessions, counters) = (Arc::new(Sessions::default()), Arc::new(Counters::default()));
    // the nodes tell about the sessions, and the sessions about the nodes: the way back is found when both are there
    let subscriptions: Arc<OnceLock<Arc<Mutex<Subscriptions>>>> = Arc::default();
    let diagnostics = diagnostics::of(&sessions, &subscriptions, &counters);
    let object = ServerObject::new(&application.uri, config.limits.clone(), diagnostics);
    let scenes = Scenes::new(&plant, object, identity);
    let mut begun = Subscriptions::new(config.limits.clone(), scenes.now());
    // milliseconds: the numbers of two lives of this process do not meet
    let number = (clock::realtime() / 1_000_000) as u32 & 0x3FFF_FFFF;
    begun.number_from(number);
    sessions.number_from(number);
    let all = Arc::new(Mutex::new(begun));
    // set once, here
    let _ = subscriptions.set(all.clone());
    Ok(Server {
        plant,
        scenes,
        limits: config.limits,
        application: Arc::new(application),
        trust: Arc::new(trust),
        users: Users::new(config.users),
        sessions,
        leases: Leases::default(),
        counters,
        work: Work::default(),
        not_after,
        wake: Notify::new(),
        subscriptions: all,
    })
}
