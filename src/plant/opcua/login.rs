//! Who may open a session: names with passwords, and anonymous readers where the configuration lets them.

use async_trait::async_trait;
use opcua::crypto::SecurityPolicy;
use opcua::server::authenticator::{
    AuthManager, CoreServerPermissions, Password, UserToken, user_pass_security_policy_id,
};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerEndpoint};
use opcua::types::{Error, StatusCode, UAString, UserTokenPolicy, UserTokenType};

use crate::plant::access::Users;

/// Answers the server layer's questions about users.
pub struct Login {
    pub users: Users,
    pub anonymous_read: bool,
}

impl Login {
    /// Anonymous users only where the configuration says so; on an endpoint without security there is nobody else.
    fn anonymous(&self, endpoint: &ServerEndpoint) -> bool {
        self.anonymous_read || is_open(endpoint)
    }
}

/// Security policy None: no password crosses it.
fn is_open(endpoint: &ServerEndpoint) -> bool {
    endpoint.security_policy() == SecurityPolicy::None
}

fn rejected(what: &'static str) -> Error {
    Error::new(StatusCode::BadIdentityTokenRejected, what)
}

#[async_trait]
impl AuthManager for Login {
    async fn authenticate_anonymous_token(&self, endpoint: &ServerEndpoint) -> Result<(), Error> {
        if self.anonymous(endpoint) { Ok(()) } else { Err(rejected("anonymous users are not allowed")) }
    }

    async fn authenticate_username_identity_token(
        &self,
        endpoint: &ServerEndpoint,
        name: &str,
        password: &Password,
    ) -> Result<UserToken, Error> {
        // the server layer's own name for "nobody" must not become somebody's
        if is_open(endpoint) || name == ANONYMOUS_USER_TOKEN_ID || !self.users.verify(name, password.get()).await {
            tracing::warn!(user = %name.escape_debug(), "login refused");
            return Err(rejected("wrong name or password"));
        }
        tracing::info!(user = name, "login");
        Ok(UserToken(name.to_owned()))
    }

    fn user_token_policies(&self, endpoint: &ServerEndpoint) -> Vec<UserTokenPolicy> {
        let policy = |policy_id, token_type| UserTokenPolicy {
            policy_id,
            token_type,
            issued_token_type: UAString::null(),
            issuer_endpoint_url: UAString::null(),
            security_policy_uri: UAString::null(),
        };
        let mut policies = Vec::new();
        if self.anonymous(endpoint) {
            // the server layer knows the policy by this id only
            policies.push(policy("anonymous".into(), UserTokenType::Anonymous));
        }
        if !is_open(endpoint) {
            policies.push(policy(user_pass_security_policy_id(endpoint), UserTokenType::UserName));
        }
        policies
    }

    fn core_permissions(&self, token: &UserToken) -> CoreServerPermissions {
        CoreServerPermissions { read_diagnostics: !token.is_anonymous() }
    }
}
