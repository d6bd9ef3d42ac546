//! Who a user is (OPC 10000-4, 7.40): nobody in particular, a name with its password, or a certificate.

use std::sync::Arc;

use opcua::crypto::KeySize;
use opcua::types::{SignatureData, StatusCode};

use super::application;
use super::channel::Channel;
use super::pki::read_chain;
use super::server::Server;
use super::service::session::verify;
use super::session::{Proof, User};
use super::wire::{Reader, Structure};
use crate::plant::access::{Identity, MAX_PASSWORD, Role, Roles};

/// Longest text in a token; passwords are measured by [`MAX_PASSWORD`].
const MOST_TEXT: usize = 512;
/// Blocks that an encrypted password may take: one holds 190 bytes and more.
const MOST_BLOCKS: usize = 8;

/// What a client shows at ActivateSession.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Also where a client shows nothing at all.
    Anonymous {
        policy: String,
    },
    UserName {
        policy: String,
        name: String,
        password: Vec<u8>,
        algorithm: String,
    },
    Certificate {
        policy: String,
        der: Vec<u8>,
    },
}

impl Token {
    pub fn read(structure: Structure<'_>) -> Result<Token, StatusCode> {
        let invalid = StatusCode::BadIdentityTokenInvalid;
        let Some(body) = structure.body else {
            let nothing = structure.encoding.is_null();
            return if nothing { Ok(Token::Anonymous { policy: String::new() }) } else { Err(invalid) };
        };
        let mut reader = Reader::new(body);
        let token = |reader: &mut Reader<'_>| -> Result<Token, StatusCode> {
            let mut text = || match reader.string()?.unwrap_or_default() {
                text if text.len() > MOST_TEXT => Err(invalid),
                text => Ok(text.to_owned()),
            };
            let policy = text()?;
            Ok(match structure.encoding.standard() {
                Some(321) => Token::Anonymous { policy },
                Some(324) => {
                    let name = text()?;
                    let password = reader.bytes()?.unwrap_or_default().to_vec();
                    let algorithm = reader.string()?.unwrap_or_default().chars().take(MOST_TEXT).collect();
                    Token::UserName { policy, name, password, algorithm }
                }
                Some(327) => Token::Certificate { policy, der: reader.bytes()?.unwrap_or_default().to_vec() },
                // issued tokens are not offered
                _ => return Err(invalid),
            })
        };
        token(&mut reader).map_err(|_| invalid)
    }

    /// The certificate that was shown, with those of its issuers where they came along.
    pub fn certificate(&self) -> Option<Arc<[u8]>> {
        match self {
            Token::Certificate { der, .. } => Some(der.as_slice().into()),
            Token::Anonymous { .. } | Token::UserName { .. } => None,
        }
    }

    /// Whom it names, for audit records; what comes from a client is not trusted to be printable.
    pub fn display(&self) -> String {
        match self {
            Token::Anonymous { .. } => "anonymous".into(),
            Token::UserName { name, .. } => name.escape_debug().to_string(),
            Token::Certificate { der, .. } => match read_chain(der).ok().and_then(|chain| chain.into_iter().next()) {
                Some(certificate) => certificate.common_name(),
                None => "certificate".into(),
            },
        }
    }
}

/// What a token has shown so far.
pub enum Shown {
    User(User),
    /// A name, with a password that is still to be checked.
    Password(String, String),
}

/// The roles of somebody who has come by this channel.
fn roles(server: &Server, channel: &Channel, shown: Identity<'_>) -> Roles {
    // a channel without security shows no application, and where any certificate will do a name in it proves nothing
    let certificate = channel.certificate.as_ref().filter(|_| !server.application.trusts_any);
    let application = certificate.and_then(|certificate| certificate.uris.first()).map(String::as_str);
    server.plant.view().rights.roles_of(Identity { application, ..shown })
}

/// The user behind what was shown. Wrong passwords are answered late.
pub async fn login(server: &Server, channel: &Channel, shown: Shown) -> Result<User, StatusCode> {
    match shown {
        Shown::User(user) => Ok(user),
        Shown::Password(name, password) => {
            if name.is_empty() || !server.users.verify(&name, &password, channel.peer.ip()).await {
                return Err(StatusCode::BadIdentityTokenRejected);
            }
            let roles = roles(server, channel, Identity { name: Some(&name), ..Identity::default() });
            Ok(User::named(&name, Proof::Password, roles))
        }
    }
}

/// Looks at a token: decrypts its password, checks its certificate and signature. Blocks. `nonce`: what the client had to sign
/// or encrypt along.
pub fn look(
    server: &Server,
    channel: &Channel,
    token: &Token,
    signature: &SignatureData,
    nonce: &[u8],
) -> Result<Shown, StatusCode> {
    let open = channel.certificate.is_none();
    match token {
        Token::Anonymous { policy } => {
            if !server.application.lets_anonymous_in(channel.policy) {
                return Err(StatusCode::BadIdentityTokenRejected);
            }
            // who shows nothing names no policy
            if !policy.is_empty() && policy != application::ANONYMOUS {
                return Err(StatusCode::BadIdentityTokenInvalid);
            }
            let roles = roles(server, channel, Identity::default());
            // let in to be looked at: an application may have a role where nobody else reads without a name
            if !open && !server.application.anonymous_read && roles.has(Role::Anonymous) {
                return Err(StatusCode::BadIdentityTokenRejected);
            }
            Ok(Shown::User(User { roles, ..User::anonymous() }))
        }
        Token::UserName { policy, name, password, algorithm } => {
            if open {
                return Err(StatusCode::BadIdentityTokenRejected);
            }
            if policy != application::USER_NAME {
                return Err(StatusCode::BadIdentityTokenInvalid);
            }
            let password = decrypt(server, channel, password, algorithm, nonce)?;
            Ok(Shown::Password(name.clone(), password))
        }
        Token::Certificate { policy, der } => {
            if open {
                return Err(StatusCode::BadIdentityTokenRejected);
            }
            if policy != application::CERTIFICATE {
                return Err(StatusCode::BadIdentityTokenInvalid);
            }
            let certificate = server.trust.admit_user(der).map_err(|_| StatusCode::BadIdentityTokenRejected)?;
            verify(signature, channel.policy, &certificate.x509, server, nonce)
                .map_err(|_| StatusCode::BadUserSignatureInvalid)?;
            let name = certificate.user_name().ok_or(StatusCode::BadIdentityTokenRejected)?;
            let shown = Identity { name: Some(&name), certificate: Some(certificate.thumbprint), application: None };
            Ok(Shown::User(User::named(&name, Proof::Certificate, roles(server, channel, shown))))
        }
    }
}

/// The password in a UserNameIdentityToken (7.40.2.2, 7.40.4): encrypted by the channel's policy, or it is not looked at.
fn decrypt(
    server: &Server,
    channel: &Channel,
    secret: &[u8],
    algorithm: &str,
    nonce: &[u8],
) -> Result<String, StatusCode> {
    let invalid = StatusCode::BadIdentityTokenInvalid;
    if channel.policy.asymmetric_encryption_algorithm() != Some(algorithm) {
        return Err(invalid);
    }
    let block = server.application.key.size();
    if secret.is_empty() || !secret.len().is_multiple_of(block) || secret.len() > MOST_BLOCKS * block {
        return Err(invalid);
    }
    let mut plain = vec![0; secret.len()];
    let length = channel.policy.asymmetric_decrypt(&server.application.key, secret, &mut plain).map_err(|_| invalid)?;
    let mut reader = Reader::new(plain.get(..length).ok_or(invalid)?);
    let told = reader.u32().map_err(|_| invalid)? as usize;
    let content = reader.take(told).map_err(|_| invalid)?;
    // what pads the rest must be zero
    let (password, with) = content.split_at_checked(told.saturating_sub(nonce.len())).ok_or(invalid)?;
    if with != nonce || reader.rest().iter().any(|byte| *byte != 0) {
        return Err(invalid);
    }
    match std::str::from_utf8(password) {
        Ok(password) if password.len() <= MAX_PASSWORD => Ok(password.to_owned()),
        _ => Err(invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_logs_in_is_named_in_audit_records() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pki/user.der");
        let user = std::fs::read(file).unwrap();
        let name = read_chain(&user).unwrap()[0].user_name().unwrap();
        let certificate = |der: Vec<u8>| Token::Certificate { policy: String::new(), der };
        let named = |name: &str| Token::UserName {
            policy: String::new(),
            name: name.into(),
            password: Vec::new(),
            algorithm: String::new(),
        };
        for (token, want) in [
            (Token::Anonymous { policy: String::new() }, "anonymous"),
            (named("anna"), "anna"),
            (named("anna\n2026 WARN"), "anna\\n2026 WARN"),
            (certificate(user), name.as_str()),
            (certificate(b"nonsense".to_vec()), "certificate"),
        ] {
            assert_eq!(token.display(), want);
        }
    }
}
