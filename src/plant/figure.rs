//! What the protocols count about themselves, for metrics and status: kept by one of them, shown by another.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Connections,
    Sessions,
    Subscriptions,
    MonitoredItems,
    ConnectionsRefused,
    CertificatesRefused,
    SessionsRefused,
    SessionsTimedOut,
    RequestsRefused,
    Notifications,
    ValuesLost,
    /// Seconds since 1970; 0: there is no OPC UA server.
    CertificateNotAfter,
    /// 1 while alarms can't be written to the disk.
    AlarmsUnkept,
    AlarmChangesLost,
    AlarmLinesLost,
}

impl Figure {
    pub const ALL: [Figure; 15] = [
        Figure::Connections,
        Figure::Sessions,
        Figure::Subscriptions,
        Figure::MonitoredItems,
        Figure::ConnectionsRefused,
        Figure::CertificatesRefused,
        Figure::SessionsRefused,
        Figure::SessionsTimedOut,
        Figure::RequestsRefused,
        Figure::Notifications,
        Figure::ValuesLost,
        Figure::CertificateNotAfter,
        Figure::AlarmsUnkept,
        Figure::AlarmChangesLost,
        Figure::AlarmLinesLost,
    ];

    /// Name of the metric, and its help.
    pub fn metric(self) -> (&'static str, &'static str) {
        match self {
            Figure::Connections => ("canvoy_opcua_connections", "Connections of OPC UA clients."),
            Figure::Sessions => ("canvoy_opcua_sessions", "Sessions of OPC UA clients."),
            Figure::Subscriptions => ("canvoy_opcua_subscriptions", "Subscriptions of OPC UA clients."),
            Figure::MonitoredItems => ("canvoy_opcua_monitored_items", "Monitored items of OPC UA clients."),
            Figure::ConnectionsRefused => (
                "canvoy_opcua_connections_refused_total",
                "OPC UA connections ended by the server: too many, malformed, too slow.",
            ),
            Figure::CertificatesRefused => (
                "canvoy_opcua_certificates_refused_total",
                "OPC UA channels that were not opened for the client's certificate.",
            ),
            Figure::SessionsRefused => (
                "canvoy_opcua_sessions_refused_total",
                "OPC UA sessions that were not created and logins that were refused: too many, a wrong name, password, certificate or signature, a malformed request.",
            ),
            Figure::SessionsTimedOut => {
                ("canvoy_opcua_sessions_timed_out_total", "OPC UA sessions that no client used for their timeout.")
            }
            Figure::RequestsRefused => {
                ("canvoy_opcua_requests_refused_total", "OPC UA requests answered with a fault.")
            }
            Figure::Notifications => {
                ("canvoy_opcua_notifications_total", "Values and events handed to OPC UA clients in notifications.")
            }
            Figure::ValuesLost => (
                "canvoy_opcua_values_lost_total",
                "Values and events that did not fit into the queues of OPC UA clients.",
            ),
            Figure::CertificateNotAfter => (
                "canvoy_opcua_certificate_not_after_seconds",
                "When the OPC UA server's own certificate ends, in seconds since 1970.",
            ),
            Figure::AlarmsUnkept => (
                "canvoy_alarms_unkept",
                "1 while what is done about alarms, or their journal, can't be written to the disk.",
            ),
            Figure::AlarmChangesLost => (
                "canvoy_alarm_changes_lost_total",
                "Changes of alarms that were overwritten before the plant process read them.",
            ),
            Figure::AlarmLinesLost => (
                "canvoy_alarm_journal_lines_lost_total",
                "Lines of the journal of alarms that could not be written and are lost.",
            ),
        }
    }

    /// Whether 0 means that there is nothing to tell.
    pub fn is_absent_at_zero(self) -> bool {
        self == Figure::CertificateNotAfter
    }

    /// Goes up only.
    pub fn is_counter(self) -> bool {
        self.metric().0.ends_with("_total")
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Figures([AtomicU64; Figure::ALL.len()]);

impl Figures {
    pub fn get(&self, figure: Figure) -> u64 {
        self.0[figure as usize].load(Ordering::Relaxed)
    }

    pub fn set(&self, figure: Figure, value: u64) {
        self.0[figure as usize].store(value, Ordering::Relaxed);
    }
}
