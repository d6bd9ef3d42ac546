//! The server as clients find it (OPC 10000-4, 5.5): who it is, and which endpoints it offers to whom.

use std::net::{IpAddr, SocketAddr};

use opcua::crypto::{PrivateKey, SecurityPolicy, X509};
use opcua::types::{
    ApplicationDescription, ApplicationType, ByteString, EndpointDescription, LocalizedText, MessageSecurityMode,
    UAString, UserTokenPolicy, UserTokenType,
};

/// The policies that are offered, each with Sign and SignAndEncrypt; the best first.
pub const POLICIES: [SecurityPolicy; 3] =
    [SecurityPolicy::Aes256Sha256RsaPss, SecurityPolicy::Basic256Sha256, SecurityPolicy::Aes128Sha256RsaOaep];
/// OPC UA TCP, binary (OPC 10000-7).
pub const TRANSPORT: &str = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary";
/// ProductUri.
pub const PRODUCT: &str = "urn:canvoy";

/// Ids of the kinds of user token. They mean the same on every endpoint: signed or encrypted by the channel's policy.
pub const ANONYMOUS: &str = "anonymous";
pub const USER_NAME: &str = "username";
pub const CERTIFICATE: &str = "certificate";

/// Who this server is.
pub struct Application {
    /// ApplicationUri.
    pub uri: String,
    pub certificate: X509,
    /// The same as bytes.
    pub certificate_der: Vec<u8>,
    pub key: PrivateKey,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name, where it listens on all addresses.
    pub hostname: String,
    /// Other hosts that its certificate names.
    pub hosts: Vec<String>,
    pub offers_none: bool,
    pub anonymous_read: bool,
    /// Applications may have roles of their own: they are let in without a name.
    pub roles_of_applications: bool,
    /// Any client certificate will do: what it says of its owner proves nothing.
    pub trusts_any: bool,
}

impl Application {
    /// The URL that a client which has come by `url` can reach every endpoint at.
    pub fn url(&self, url: &str) -> String {
        let port = self.address.port();
        let asked = host(url).filter(|host| self.is_host(host));
        let host = match (asked, self.address.ip()) {
            (Some(host), _) => host.to_owned(),
            (None, ip) if ip.is_unspecified() => self.hostname.clone(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
            (None, IpAddr::V4(ip)) => ip.to_string(),
        };
        format!("opc.tcp://{host}:{port}/")
    }

    /// Whether this computer is known by a name, or by an address that it could have.
    fn is_host(&self, host: &str) -> bool {
        let own = self.address.ip();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address == own || own.is_unspecified() && !address.is_unspecified(),
            Err(_) => {
                let names = self.hosts.iter().chain([&self.hostname]).any(|name| name.eq_ignore_ascii_case(host));
                // a loopback listener is reached by these names only
                names && !own.is_loopback() || host.eq_ignore_ascii_case("localhost")
            }
        }
    }

    pub fn description(&self, url: &str) -> ApplicationDescription {
        ApplicationDescription {
            application_uri: self.uri.as_str().into(),
            product_uri: PRODUCT.into(),
            application_name: LocalizedText::new("", "Canvoy"),
            application_type: ApplicationType::Server,
            gateway_server_uri: UAString::null(),
            discovery_profile_uri: UAString::null(),
            discovery_urls: Some(vec![self.url(url).into()]),
        }
    }

    /// All endpoints, the best first. None comes last: nobody should take it without need.
    pub fn endpoints(&self, url: &str) -> Vec<EndpointDescription> {
        let pairs = [MessageSecurityMode::SignAndEncrypt, MessageSecurityMode::Sign]
            .into_iter()
            .flat_map(|mode| POLICIES.map(|policy| (policy, mode)));
        let none = self.offers_none.then_some((SecurityPolicy::None, MessageSecurityMode::None));
        let pairs: Vec<_> = pairs.chain(none).collect();
        let most = pairs.len();
        let described = pairs.into_iter().enumerate().map(|(place, (policy, mode))| EndpointDescription {
            endpoint_url: self.url(url).into(),
            server: self.description(url),
            server_certificate: ByteString::from(&self.certificate_der),
            security_mode: mode,
            security_policy_uri: policy.to_uri().into(),
            user_identity_tokens: Some(self.tokens(policy)),
            transport_profile_uri: TRANSPORT.into(),
            security_level: if policy == SecurityPolicy::None { 0 } else { (most - place) as u8 },
        });
        described.collect()
    }

    pub fn offers(&self, policy: SecurityPolicy, mode: MessageSecurityMode) -> bool {
        match mode {
            MessageSecurityMode::None => policy == SecurityPolicy::None && self.offers_none,
            MessageSecurityMode::Sign | MessageSecurityMode::SignAndEncrypt => POLICIES.contains(&policy),
            MessageSecurityMode::Invalid => false,
        }
    }

    /// Whether readers without a name are let in on a channel of this policy: where the configuration offers no security
    /// there is nobody else.
    pub fn lets_anonymous_in(&self, policy: SecurityPolicy) -> bool {
        if policy == SecurityPolicy::None {
            self.offers_none
        } else {
            self.anonymous_read || self.roles_of_applications
        }
    }

    /// No password and no certificate of a user crosses a channel without security.
    fn tokens(&self, policy: SecurityPolicy) -> Vec<UserTokenPolicy> {
        let token = |id: &str, token_type| UserTokenPolicy {
            policy_id: id.into(),
            token_type,
            issued_token_type: UAString::null(),
            issuer_endpoint_url: UAString::null(),
            security_policy_uri: UAString::null(),
        };
        let mut all = Vec::new();
        if self.lets_anonymous_in(policy) {
            all.push(token(ANONYMOUS, UserTokenType::Anonymous));
        }
        if policy != SecurityPolicy::None {
            all.push(token(USER_NAME, UserTokenType::UserName));
            all.push(token(CERTIFICATE, UserTokenType::Certificate));
        }
        all
    }
}

/// The host in `opc.tcp://host:port/path`.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_at_checked("opc.tcp://".len())?;
    if !scheme.eq_ignore_ascii_case("opc.tcp://") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or(authority),
    };
    (!host.is_empty() && host.len() <= 255).then_some(host)
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashSet;

    use opcua::crypto::X509Data;

    use super::*;

    /// An application with a key of its own.
    pub fn application(address: &str, offers_none: bool, anonymous_read: bool) -> Application {
        static OWN: std::sync::LazyLock<(Vec<u8>, Vec<u8>)> = std::sync::LazyLock::new(|| {
            let (certificate, key) = X509::cert_and_pkey(&X509Data::sample_cert()).unwrap();
            (
                certificate.to_der().unwrap(),
                key.to_der().unwrap().to_pem("PRIVATE KEY", Default::default()).unwrap().as_bytes().to_vec(),
            )
        });
        Application {
            uri: "urn:press:canvoy".into(),
            certificate: X509::from_der(&OWN.0).unwrap(),
            certificate_der: OWN.0.clone(),
            key: PrivateKey::from_pem(&OWN.1).unwrap(),
            address: address.parse().unwrap(),
            hostname: "press".into(),
            hosts: vec!["press.example".into()],
            offers_none,
            anonymous_read,
            roles_of_applications: false,
            trusts_any: false,
        }
    }

    #[test]
    fn a_client_is_told_the_way_it_came() {
        for (address, asked, want) in [
            ("0.0.0.0:4840", "opc.tcp://press.example:4840", "press.example"),
            ("0.0.0.0:4840", "opc.tcp://10.0.0.7:9999/x", "10.0.0.7"),
            ("0.0.0.0:4840", "OPC.TCP://PRESS:1", "PRESS"),
            ("0.0.0.0:4840", "opc.tcp://evil.example:4840", "press"),
            ("0.0.0.0:4840", "", "press"),
            ("[::]:4840", "opc.tcp://[::1]:4840/", "[::1]"),
            ("[::1]:4840", "nonsense", "[::1]"),
            ("127.0.0.1:4840", "opc.tcp://localhost:4840", "localhost"),
            ("127.0.0.1:4840", "opc.tcp://press:4840", "127.0.0.1"),
            ("10.0.0.7:4840", "opc.tcp://10.0.0.8:4840", "10.0.0.7"),
            ("10.0.0.7:4840", "opc.tcp://:4840", "10.0.0.7"),
        ] {
            assert_eq!(application(address, false, false).url(asked), format!("opc.tcp://{want}:4840/"), "{asked}");
        }
    }

    #[test]
    fn endpoints_are_what_the_configuration_says() {
        for (none, anonymous, count, with_anonymous) in
            [(false, false, 6, 0), (true, false, 7, 1), (false, true, 6, 6), (true, true, 7, 7)]
        {
            let application = application("127.0.0.1:4840", none, anonymous);
            let endpoints = application.endpoints("");
            assert_eq!(endpoints.len(), count);
            let levels: HashSet<u8> = endpoints.iter().map(|endpoint| endpoint.security_level).collect();
            assert_eq!(levels.len(), count, "security levels differ");
            let tokens = |endpoint: &EndpointDescription| endpoint.user_identity_tokens.clone().unwrap();
            let anonymous = endpoints
                .iter()
                .filter(|endpoint| tokens(endpoint).iter().any(|token| token.token_type == UserTokenType::Anonymous));
            assert_eq!(anonymous.count(), with_anonymous);
            for endpoint in &endpoints {
                let policy = SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref());
                assert!(application.offers(policy, endpoint.security_mode));
                let open = policy == SecurityPolicy::None;
                assert_eq!(open, endpoint.security_level == 0);
                assert_eq!(open, tokens(endpoint).iter().all(|token| token.token_type == UserTokenType::Anonymous));
            }
        }
        let application = application("127.0.0.1:4840", false, false);
        for (policy, mode) in [
            (SecurityPolicy::None, MessageSecurityMode::None),
            (SecurityPolicy::None, MessageSecurityMode::Sign),
            (SecurityPolicy::Basic256, MessageSecurityMode::Sign),
            (SecurityPolicy::Basic256Sha256, MessageSecurityMode::None),
        ] {
            assert!(!application.offers(policy, mode), "{policy} {mode:?}");
        }
    }
}
