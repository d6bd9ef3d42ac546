//! Sets the server layer up and runs it: endpoints, limits, users, our nodes.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use opcua::crypto::SecurityPolicy;
use opcua::server::{
    ANONYMOUS_USER_TOKEN_ID, Limits, OperationalLimits, Server, ServerBuilder, ServerEndpoint, ServerHandle,
    SubscriptionLimits,
};
use opcua::types::{BuildInfo, DateTime, MessageSecurityMode, VariableId, Variant};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::config::Config;
use super::guard::{self, Guard, Peers};
use super::login::Login;
use super::nodes::Nodes;
use super::pki::{self, Own, Trust};
use super::sampling::Sampling;
use super::scene::Scenes;
use super::space::{FASTEST_MS, NAMESPACE, NAMESPACE_URI};
use crate::plant::Plant;
use crate::plant::access::Users;
use crate::plant::pulse::{Pulse, Pulses};

/// Stack of the runtime's worker threads, in bytes. A nested value in a request is decoded by recursion without a limit
/// (async-opcua 0.19), before any session is looked at; the guard keeps strangers from sending one, this leaves room for
/// what a trusted client may send. It is address space, not memory.
pub const WORKER_STACK: usize = 32 * 1024 * 1024;

/// The policies that are offered, always with SignAndEncrypt.
pub(super) const POLICIES: [SecurityPolicy; 3] =
    [SecurityPolicy::Aes256Sha256RsaPss, SecurityPolicy::Basic256Sha256, SecurityPolicy::Aes128Sha256RsaOaep];

/// Operations in one request, as clients read it in OperationLimits.
const OPERATIONS: usize = 10_000;
/// Items of a subscription.
const ITEMS: usize = 20_000;
/// Largest answer, in bytes.
const MESSAGE: usize = 16 * 1024 * 1024;
/// Largest chunk, in bytes.
pub(super) const CHUNK: usize = 65_535;

/// Serves the plant on `listener` until `shutdown`; `pulses` beat while it does. The PKI folder is made in `state`. The runtime should have
/// [`WORKER_STACK`].
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
    let hosts = config.certificate_hosts.clone();
    let any = config.trust_any_client_certificate;
    let prepare = move || -> anyhow::Result<(Own, Trust)> {
        std::fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        Ok((pki::own(&folder, &hosts)?, Trust::new(&folder, any)?))
    };
    let (own, trust) = tokio::task::spawn_blocking(prepare).await.context("certificates")??;

    let peers = Arc::new(Peers::default());
    let (inner, port) = watch::channel(None);
    let guard = Guard {
        inner: port,
        offers_none: config.security_policy_none,
        max_connections: config.max_connections,
        trust: trust.clone(),
        peers: peers.clone(),
    };
    let layers = async {
        loop {
            let (server, handle, sampling, scenes) = build(&plant, &config, address, &own, &trust, &peers)?;
            layer(&plant, server, handle, (&sampling, &scenes, &pulses.sampling), &inner, address).await?;
            tracing::info!("OPC UA server begun anew, to be rid of what deleted subscriptions left behind");
        }
    };
    tokio::select! {
        ended = layers => ended,
        () = guard::serve(listener, guard, &pulses.opcua) => Ok(()),
        () = shutdown => Ok(()),
    }
}

/// One life of the server layer. It ends by itself when too much is left behind in it: the layer keeps an entry for
/// each monitored item of a deleted subscription, for ever (async-opcua 0.19). Clients then connect again.
async fn layer(
    plant: &Plant,
    server: Server,
    handle: ServerHandle,
    (sampling, scenes, pulse): (&Sampling, &Scenes, &Pulse),
    inner: &watch::Sender<Option<u16>>,
    address: SocketAddr,
) -> anyhow::Result<()> {
    let own = "the OPC UA server's own listener";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context(own)?;
    let port = listener.local_addr().context(own)?.port();
    let subscriptions = server.subscriptions();
    let stop = Stop(&handle);
    let mut running = tokio::spawn(server.run_with(listener));
    tokio::select! {
        () = publish_port(&handle, address.port()) => {}
        ended = &mut running => bail!("the OPC UA server ended: {ended:?}"),
    }
    inner.send_replace(Some(port));
    tracing::info!(%address, "OPC UA server ready");
    tokio::select! {
        ended = &mut running => bail!("the OPC UA server ended: {ended:?}"),
        ended = scenes.follow(plant) => match ended? {},
        () = sampling.run(scenes, subscriptions, pulse) => {}
        () = count_sessions(&handle, plant) => {}
        () = sampling.littered() => {}
    }
    inner.send_replace(None);
    drop(stop);
    // what does not end when it is told to is ended
    if tokio::time::timeout(Duration::from_secs(1), &mut running).await.is_err() {
        running.abort();
    }
    Ok(())
}

/// Tells the server layer to end, however its user ends.
struct Stop<'a>(&'a ServerHandle);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Keeps [`Plant::opcua_sessions`] up to date.
async fn count_sessions(handle: &ServerHandle, plant: &Plant) {
    loop {
        let count = handle
            .info()
            .diagnostics
            .get(VariableId::Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSessionCount);
        let count = match count.and_then(|data| data.value) {
            Some(Variant::UInt32(count)) => count as usize,
            _ => 0,
        };
        plant.opcua_sessions.store(count, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The server layer tells clients the port it listens on, which is not where they reach it.
async fn publish_port(handle: &ServerHandle, port: u16) {
    while handle.info().port.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    handle.info().port.store(port, Ordering::Relaxed);
}

fn build(
    plant: &Plant,
    config: &Config,
    address: SocketAddr,
    own: &Own,
    trust: &Trust,
    peers: &Arc<Peers>,
) -> anyhow::Result<(Server, ServerHandle, Arc<Sampling>, Arc<Scenes>)> {
    let host = host(address.ip());
    let sampling = Arc::new(Sampling::new());
    let login = Login { users: Users::new(config.users.clone()), anonymous_read: config.anonymous_read };
    let scenes = Arc::new(Scenes::new(plant));
    let nodes = Nodes::new(scenes.clone(), sampling.clone(), peers.clone());
    let mut builder = ServerBuilder::new()
        .application_name("Canvoy")
        .application_uri(&own.application_uri)
        .product_uri("urn:canvoy")
        .build_info(build_info())
        .host(&host)
        .port(address.port())
        .discovery_urls(vec![format!("opc.tcp://{host}:{}/", address.port())])
        .pki_dir(trust.session())
        .certificate_path(&own.certificate)
        .private_key_path(&own.key)
        .limits(limits())
        .hello_timeout(10)
        .max_session_timeout_ms(60_000)
        .max_secure_channel_token_lifetime_ms(600_000)
        // twice as often as the shortest publishing interval, or every second one would be missed by a hair
        .subscription_poll_interval_ms((FASTEST_MS / 2.0) as u64)
        .diagnostics_enabled(true)
        .with_authenticator(Arc::new(login))
        .with_node_manager(move |context: opcua::server::node_manager::ServerContext| {
            context.type_tree.write().namespaces_mut().add_namespace(NAMESPACE_URI);
            nodes
        });
    // whoever offers it gets it: readers without a name, without encryption
    if config.security_policy_none {
        let anonymous = [ANONYMOUS_USER_TOKEN_ID];
        builder = builder.add_endpoint("none", endpoint(SecurityPolicy::None, MessageSecurityMode::None, &anonymous));
    }
    for policy in POLICIES {
        let users: &[&str] = if config.anonymous_read { &[ANONYMOUS_USER_TOKEN_ID] } else { &[] };
        builder = builder.add_endpoint(policy.to_str(), endpoint(policy, MessageSecurityMode::SignAndEncrypt, users));
    }
    let builder = builder.default_endpoint(SecurityPolicy::Basic256Sha256.to_str());
    let (server, handle) = builder.build().map_err(|error| anyhow!("the OPC UA server: {error}"))?;
    match handle.get_namespace_index(NAMESPACE_URI) {
        Some(NAMESPACE) => Ok((server, handle, sampling, scenes)),
        other => bail!("the namespace {NAMESPACE_URI} has the index {other:?} instead of {NAMESPACE}"),
    }
}

fn endpoint(policy: SecurityPolicy, mode: MessageSecurityMode, users: &[&str]) -> ServerEndpoint {
    ServerEndpoint::from(("/", policy, mode, users))
}

/// The host that clients are told: the address they can reach, or this machine's name where it listens on all.
fn host(address: IpAddr) -> String {
    match address {
        address if address.is_unspecified() => pki::hostname(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn build_info() -> BuildInfo {
    BuildInfo {
        product_uri: "urn:canvoy".into(),
        manufacturer_name: "Canvoy".into(),
        product_name: "Canvoy".into(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        build_number: env!("CARGO_PKG_VERSION").into(),
        build_date: DateTime::ymd(2026, 1, 1),
    }
}

fn limits() -> Limits {
    Limits {
        // never below an operation limit, or a request that is allowed can't be decoded
        max_array_length: ITEMS,
        max_string_length: 64 * 1024,
        max_byte_string_length: 64 * 1024,
        max_message_size: MESSAGE,
        max_chunk_count: MESSAGE / (CHUNK / 2),
        send_buffer_size: CHUNK,
        receive_buffer_size: CHUNK,
        max_browse_continuation_points: 100,
        max_history_continuation_points: 10,
        max_query_continuation_points: 10,
        max_sessions: 100,
        subscriptions: SubscriptionLimits {
            max_subscriptions_per_session: 50,
            max_pending_publish_requests: 40,
            max_publish_requests_per_subscription: 10,
            min_sampling_interval_ms: FASTEST_MS,
            min_publishing_interval_ms: FASTEST_MS,
            max_monitored_items_per_sub: ITEMS,
            max_monitored_item_queue_size: 100,
            max_notifications_per_publish: 5000,
            max_queued_notifications: 100,
            ..SubscriptionLimits::default()
        },
        operational: OperationalLimits {
            max_nodes_per_translate_browse_paths_to_node_ids: OPERATIONS,
            max_nodes_per_read: OPERATIONS,
            max_nodes_per_write: 1000,
            max_nodes_per_browse: 1000,
            max_nodes_per_register_nodes: OPERATIONS,
            max_monitored_items_per_call: OPERATIONS,
            max_references_per_browse_node: 5000,
            max_subscriptions_per_call: 50,
            ..OperationalLimits::default()
        },
    }
}
