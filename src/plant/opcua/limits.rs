//! What one client, and all of them together, may take of the server; what OperationLimits and ServerCapabilities tell.

/// Shortest publishing and sampling interval, in milliseconds.
pub const FASTEST_MS: f64 = 5.0;
/// Fields that a client may select of events, and elements of its condition.
pub const MOST_SELECTED: usize = 100;
pub const MOST_ELEMENTS: usize = 100;

/// `[opcua.limits]`. What is above a limit is refused with the status code that OPC 10000-4 has for it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections from one address; 0: half of `max_connections`, all of them from this computer.
    pub connections_per_address: usize,
    /// Seconds from the connection until the secure channel is open.
    pub half_open_s: u64,
    pub sessions: usize,
    /// Milliseconds; longer session timeouts are revised to this.
    pub session_timeout_ms: u32,
    /// Milliseconds; longer lifetimes of a channel's token are revised to this.
    pub token_lifetime_ms: u32,
    /// Bytes of a request before a session is activated on its channel.
    pub message_before_login_bytes: usize,
    /// Bytes of a request after that.
    pub message_bytes: usize,
    /// Bytes of responses that a client has not taken; nothing more is read from it meanwhile.
    pub backlog_bytes: usize,
    pub subscriptions: usize,
    pub subscriptions_per_session: usize,
    /// Publish requests of a session that wait for an answer.
    pub publish_requests_per_session: usize,
    pub monitored_items: usize,
    pub monitored_items_per_subscription: usize,
    /// Values that one monitored item may hold for its client.
    pub queue_size: usize,
    /// Bytes of all values and messages that are held for clients.
    pub queue_bytes: usize,
    /// Nodes or items in one request (OPC 10000-5, 6.3.11).
    pub nodes_per_read: usize,
    pub nodes_per_write: usize,
    pub nodes_per_browse: usize,
    pub nodes_per_translate: usize,
    pub nodes_per_register: usize,
    pub nodes_per_method_call: usize,
    pub nodes_per_history_read: usize,
    pub monitored_items_per_call: usize,
    /// References of one node in one response.
    pub references_per_node: usize,
    /// Browses, of one session, that wait to be continued.
    pub browse_continuation_points: usize,
    pub history_continuation_points: usize,
    /// Files in `pki/rejected`; the oldest goes.
    pub rejected_certificates: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_per_address: 0,
            half_open_s: 10,
            sessions: 100,
            session_timeout_ms: 3_600_000,
            token_lifetime_ms: 3_600_000,
            message_before_login_bytes: 64 * 1024,
            message_bytes: 16 * 1024 * 1024,
            backlog_bytes: 32 * 1024 * 1024,
            subscriptions: 500,
            subscriptions_per_session: 50,
            publish_requests_per_session: 40,
            monitored_items: 200_000,
            monitored_items_per_subscription: 50_000,
            queue_size: 10_000,
            queue_bytes: 128 * 1024 * 1024,
            nodes_per_read: 10_000,
            nodes_per_write: 1_000,
            nodes_per_browse: 1_000,
            nodes_per_translate: 10_000,
            nodes_per_register: 10_000,
            nodes_per_method_call: 100,
            nodes_per_history_read: 100,
            monitored_items_per_call: 10_000,
            references_per_node: 10_000,
            browse_continuation_points: 100,
            history_continuation_points: 10,
            rejected_certificates: 25,
        }
    }
}

/// One key of `[opcua.limits]`, and what it may be.
pub struct Key {
    pub name: &'static str,
    pub least: u64,
    pub most: u64,
    pub of: fn(&Limits) -> u64,
}

macro_rules! key {
    ($name:ident, $least:literal, $most:literal) => {
        Key { name: stringify!($name), least: $least, most: $most, of: |limits| limits.$name as u64 }
    };
}

/// All keys. The least lets one client work; the most is what a small computer may be asked for.
pub const KEYS: &[Key] = &[
    key!(connections_per_address, 0, 1_000),
    key!(half_open_s, 1, 600),
    key!(sessions, 1, 10_000),
    key!(session_timeout_ms, 5_000, 86_400_000),
    key!(token_lifetime_ms, 10_000, 86_400_000),
    key!(message_before_login_bytes, 8_192, 16_777_216),
    key!(message_bytes, 65_536, 268_435_456),
    key!(backlog_bytes, 65_536, 1_073_741_824),
    key!(subscriptions, 1, 100_000),
    key!(subscriptions_per_session, 1, 10_000),
    key!(publish_requests_per_session, 1, 200),
    key!(monitored_items, 1, 1_000_000),
    key!(monitored_items_per_subscription, 1, 1_000_000),
    key!(queue_size, 1, 100_000),
    key!(queue_bytes, 1_048_576, 4_294_967_295),
    key!(nodes_per_read, 1, 100_000),
    key!(nodes_per_write, 1, 100_000),
    key!(nodes_per_browse, 1, 100_000),
    key!(nodes_per_translate, 1, 100_000),
    key!(nodes_per_register, 1, 100_000),
    key!(nodes_per_method_call, 1, 100_000),
    key!(nodes_per_history_read, 1, 100_000),
    key!(monitored_items_per_call, 1, 100_000),
    key!(references_per_node, 1, 100_000),
    key!(browse_continuation_points, 1, 10_000),
    key!(history_continuation_points, 1, 1_000),
    key!(rejected_certificates, 0, 10_000),
];

impl Key {
    /// What it takes, in words.
    pub fn takes(&self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_range_that_its_default_is_in() {
        let limits = Limits::default();
        let debug = format!("{limits:?}");
        assert_eq!(debug.matches(": ").count(), KEYS.len(), "{debug}");
        for key in KEYS {
            let value = (key.of)(&limits);
            assert!((key.least..=key.most).contains(&value), "{}: {value}", key.name);
            assert!(debug.contains(&format!("{}: {value}", key.name)), "{}", key.name);
        }
    }
}
