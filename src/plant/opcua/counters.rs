//! What the server has counted since its start: ServerDiagnosticsSummary (OPC 10000-5, 12.9), and what the metrics show.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use opcua::types::{ServerDiagnosticsSummaryDataType, StatusCode};

use super::session::Sessions;
use super::subscription::Subscriptions;
use crate::plant::figure::{Figure, Figures};

/// Counters that go up only, but for the connections.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU32,
    connections_refused: AtomicU64,
    certificates_refused: AtomicU64,
    sessions: AtomicU32,
    sessions_timed_out: AtomicU32,
    sessions_aborted: AtomicU32,
    security_rejected_sessions: AtomicU32,
    rejected_sessions: AtomicU32,
    security_rejected_requests: AtomicU32,
    rejected_requests: AtomicU32,
}

fn up(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

/// Whether a request was refused for who asked and how it was secured, not for what it asked (OPC 10000-4, 7.38.2).
fn is_security(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadSecurityChecksFailed
            | StatusCode::BadSecurityPolicyRejected
            | StatusCode::BadSecurityModeRejected
            | StatusCode::BadSecurityModeInsufficient
            | StatusCode::BadSecureChannelIdInvalid
            | StatusCode::BadSecureChannelTokenUnknown
            | StatusCode::BadSessionNotActivated
            | StatusCode::BadNonceInvalid
            | StatusCode::BadApplicationSignatureInvalid
            | StatusCode::BadUserSignatureInvalid
            | StatusCode::BadUserAccessDenied
            | StatusCode::BadIdentityTokenInvalid
            | StatusCode::BadIdentityTokenRejected
            | StatusCode::BadIdentityChangeNotSupported
            | StatusCode::BadCertificateInvalid
            | StatusCode::BadCertificateUriInvalid
            | StatusCode::BadCertificateUntrusted
            | StatusCode::BadCertificateRevoked
    )
}

impl Counters {
    /// So many are open now.
    pub fn connections(&self, count: usize) {
        self.connections.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub fn open(&self) -> u32 {
        read(&self.connections)
    }

    /// A connection was ended for what its client did, or because there were too many.
    pub fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A channel was not opened.
    pub fn certificate_refused(&self) {
        self.certificates_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn session_created(&self) {
        up(&self.sessions);
    }

    /// CreateSession failed.
    pub fn session_rejected(&self) {
        up(&self.rejected_sessions);
    }

    /// The same, for a certificate, a signature, a name or a password.
    pub fn session_not_trusted(&self) {
        up(&self.security_rejected_sessions);
    }

    pub fn session_timed_out(&self) {
        up(&self.sessions_timed_out);
    }

    /// A session ended by the server.
    pub fn session_aborted(&self) {
        up(&self.sessions_aborted);
    }

    /// A request of any service was refused as a whole, those that open channels and sessions too.
    pub fn request_rejected(&self, status: StatusCode) {
        up(&self.rejected_requests);
        if is_security(status) {
            up(&self.security_rejected_requests);
        }
    }

    /// As the standard has it.
    pub fn summary(&self, sessions: &Sessions, subscriptions: &Subscriptions) -> ServerDiagnosticsSummaryDataType {
        let totals = subscriptions.totals();
        ServerDiagnosticsSummaryDataType {
            server_view_count: 0,
            current_session_count: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
            cumulated_session_count: read(&self.sessions),
            security_rejected_session_count: read(&self.security_rejected_sessions),
            rejected_session_count: read(&self.rejected_sessions),
            session_timeout_count: read(&self.sessions_timed_out),
            session_abort_count: read(&self.sessions_aborted),
            current_subscription_count: u32::try_from(totals.subscriptions).unwrap_or(u32::MAX),
            cumulated_subscription_count: u32::try_from(totals.created).unwrap_or(u32::MAX),
            publishing_interval_count: u32::try_from(totals.intervals).unwrap_or(u32::MAX),
            security_rejected_requests_count: read(&self.security_rejected_requests),
            rejected_requests_count: read(&self.rejected_requests),
        }
    }

    /// For metrics and status.
    pub fn show(&self, sessions: &Sessions, subscriptions: &Subscriptions, figures: &Figures) {
        let totals = subscriptions.totals();
        for (figure, value) in [
            (Figure::Connections, u64::from(read(&self.connections))),
            (Figure::Sessions, sessions.len() as u64),
            (Figure::Subscriptions, totals.subscriptions),
            (Figure::MonitoredItems, totals.items),
            (Figure::ConnectionsRefused, self.connections_refused.load(Ordering::Relaxed)),
            (Figure::CertificatesRefused, self.certificates_refused.load(Ordering::Relaxed)),
            (Figure::SessionsRefused, u64::from(read(&self.rejected_sessions))),
            (Figure::SessionsTimedOut, u64::from(read(&self.sessions_timed_out))),
            (Figure::RequestsRefused, u64::from(read(&self.rejected_requests))),
            (Figure::Notifications, totals.notifications),
            (Figure::ValuesLost, totals.lost),
        ] {
            figures.set(figure, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_refused_for_security_are_counted_apart() {
        let counters = Counters::default();
        for (status, want) in [
            (StatusCode::BadNothingToDo, (1, 0)),
            (StatusCode::BadIdentityTokenRejected, (2, 1)),
            (StatusCode::BadSessionIdInvalid, (3, 1)),
            (StatusCode::BadSecureChannelIdInvalid, (4, 2)),
        ] {
            counters.request_rejected(status);
            let got = (read(&counters.rejected_requests), read(&counters.security_rejected_requests));
            assert_eq!(got, want, "{status}");
        }
    }
}
