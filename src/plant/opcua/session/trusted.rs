//! Sessions of users with certificates go on only as long as these are good: a certificate that is revoked, removed or expired
//! ends them, as it ends the channels of applications.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::types::StatusCode;

use super::Session;
use crate::plant::opcua::audit;
use crate::plant::opcua::channel::Notice;
use crate::plant::opcua::pki::{Lists, Trust};
use crate::plant::opcua::server::Server;

/// Between two looks at what the folders of certificates hold.
const LOOK: Duration = Duration::from_secs(2);
/// Certificates and revocation lists also end by time.
const AGAIN: Duration = Duration::from_secs(60);

/// Ends sessions whose users' certificates are no longer good, for good.
pub async fn watch(server: &Server) {
    let mut looked = Looked::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let (trust, logged_in) = (server.trust.clone(), logged_in(server));
        if logged_in.is_empty() {
            continue;
        }
        let look = tokio::task::spawn_blocking(move || {
            let bad = looked.bad(&trust, logged_in, Instant::now());
            (looked, bad)
        });
        let Ok((next, bad)) = look.await else {
            looked = Looked::default();
            continue;
        };
        looked = next;
        bad.into_iter().for_each(|(login, status)| end(server, &login, status));
    }
}

/// A session, and the certificate that its user has shown.
struct Login {
    session: Arc<Session>,
    chain: Arc<[u8]>,
}

fn logged_in(server: &Server) -> Vec<Login> {
    let all = server.sessions.all().into_iter();
    let shown = all.filter_map(|session| {
        let chain = session.state().user_certificate.clone()?;
        Some(Login { session, chain })
    });
    shown.collect()
}

fn end(server: &Server, Login { session, chain }: &Login, status: StatusCode) {
    // it may have another user by now
    let peer = {
        let state = session.state();
        let same = state.user_certificate.as_ref().is_some_and(|now| Arc::ptr_eq(now, chain));
        if !same || server.sessions.remove(session.id).is_none() {
            return;
        }
        state.channel.peer
    };
    tracing::warn!(session = session.id, %peer, %status, "OPC UA session ended: the certificate of its user is no longer good");
    audit::channel(server, peer, &Notice::Certificate { status, der: chain });
    server.end_session(session, true, "the certificate of its user is no longer good");
}

/// What was looked at last.
#[derive(Default)]
struct Looked {
    lists: Option<Arc<Lists>>,
    all: Option<Instant>,
}

impl Looked {
    /// Those whose certificates are no longer good. Blocks; costs next to nothing where nothing has changed.
    fn bad(&mut self, trust: &Trust, logged_in: Vec<Login>, now: Instant) -> Vec<(Login, StatusCode)> {
        let lists = trust.user_lists();
        let same = self.lists.as_ref().is_some_and(|before| Arc::ptr_eq(before, &lists));
        if same && self.all.is_some_and(|all| now.duration_since(all) < AGAIN) {
            return Vec::new();
        }
        (self.lists, self.all) = (Some(lists), Some(now));
        let bad = logged_in.into_iter().filter_map(|login| {
            let status = trust.still_user(&login.chain).err()?;
            Some((login, status))
        });
        bad.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use opcua::crypto::SecurityPolicy;
    use opcua::types::MessageSecurityMode;

    use super::*;
    use crate::plant::opcua::Config;
    use crate::plant::opcua::channel::Channel;
    use crate::plant::opcua::server::build;
    use crate::plant::opcua::session::table::Wanted;
    use crate::plant::opcua::session::{Proof, User};
    use crate::plant::opcua::tests::Example;
    use crate::plant::scratch::Scratch;

    #[test]
    fn who_is_no_longer_trusted_is_logged_out() {
        let (example, _requests) = Example::new();
        let folder = Scratch::new("users");
        let address = "127.0.0.1:4840".parse().unwrap();
        let server = build(example.plant.clone(), Config::default(), address, &folder).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pki");
        let put = |file: &str, place: &str| {
            std::fs::copy(fixtures.join(file), folder.join(place).join(file)).unwrap();
        };
        put("root.der", "users_trusted/certs");
        put("intermediate.der", "users_issuers/certs");
        put("root.crl", "users_trusted/crl");
        put("intermediate.crl", "users_trusted/crl");
        let security = (SecurityPolicy::None, MessageSecurityMode::None);
        let channel = Arc::new(Channel::new(1, security, None, "127.0.0.1:5000".parse().unwrap()));
        let login = |certificate: Option<&str>| {
            let wanted = Wanted::plain(0);
            let most = (10, Duration::from_secs(60));
            let (session, _) = server.sessions.create(wanted, &channel, vec![0; 32], most, Instant::now()).unwrap();
            let shown = certificate.map(|file| std::fs::read(fixtures.join(file)).unwrap().into());
            let proof = if shown.is_some() { Proof::Certificate } else { Proof::Password };
            let mut state = session.state();
            state.user = Some(Arc::new(User { proof, ..User::anybody("anna") }));
            state.user_certificate = shown;
            drop(state);
            session.id
        };
        let (by_certificate, by_password) = (login(Some("user.der")), login(None));
        let now = Instant::now();
        let mut looked = Looked::default();
        let mut look = |after: u64| {
            let bad = looked.bad(&server.trust, logged_in(&server), now + Duration::from_secs(after));
            bad.iter().for_each(|(login, status)| end(&server, login, *status));
            bad.into_iter().map(|(login, status)| (login.session.id, status)).collect::<Vec<_>>()
        };
        assert_eq!(look(0), []);
        assert_eq!(look(120), [], "and not by the time that passes");
        std::fs::remove_file(folder.join("users_trusted/crl/intermediate.crl")).unwrap();
        assert_eq!(look(121), [(by_certificate, StatusCode::BadCertificateRevocationUnknown)]);
        assert!(!server.sessions.has(by_certificate) && server.sessions.has(by_password));
        let again = login(Some("user.der"));
        put("intermediate.crl", "users_trusted/crl");
        assert_eq!(look(122), []);
        std::fs::remove_file(folder.join("users_trusted/certs/root.der")).unwrap();
        assert_eq!(look(123), [(again, StatusCode::BadCertificateChainIncomplete)]);
        assert_eq!(server.sessions.all().len(), 1);
    }
}
