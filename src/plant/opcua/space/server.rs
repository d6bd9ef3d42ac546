//! The Server object (OPC 10000-5, 6.3): the values of its variables that are known only now.

use opcua::types::{
    BuildInfo, DateTime, ExtensionObject, LocalizedText, NodeId, ServerDiagnosticsSummaryDataType, ServerState,
    ServerStatusDataType, SessionDiagnosticsDataType, SessionSecurityDiagnosticsDataType, StatusCode,
    SubscriptionDiagnosticsDataType, VariableId, Variant, VariantScalarTypeId,
};

use super::diagnostic::field::{SECURITY, SESSION};
use super::model::{DI_URI, MACHINERY_URI};
use super::{Diagnostic, NAMESPACE_URI, array, role};
use crate::plant::access::Operation;
use crate::plant::opcua::application::PRODUCT;
use crate::plant::opcua::limits::{FASTEST_MS, Limits, MOST_ELEMENTS, MOST_SELECTED};

/// Namespace 0.
const STANDARD_URI: &str = "http://opcfoundation.org/UA/";
/// Profiles of OPC 10000-7 that all of this server meets.
const PROFILES: [&str; 9] = [
    "http://opcfoundation.org/UA-Profile/Server/EmbeddedUA2017",
    "http://opcfoundation.org/UA-Profile/Server/DataAccess",
    "http://opcfoundation.org/UA-Profile/Server/Methods",
    "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary",
    "http://opcfoundation.org/UA-Profile/Security/UserToken/Server/UserNamePassword",
    "http://opcfoundation.org/UA-Profile/Security/UserToken/Server/X509Certificate",
    "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256",
    "http://opcfoundation.org/UA/SecurityPolicy#Aes128_Sha256_RsaOaep",
    "http://opcfoundation.org/UA/SecurityPolicy#Aes256_Sha256_RsaPss",
];

/// What other parts of the server count and keep, asked for when a client reads it. Values are read and nodes are found
/// wherever requests are answered: none of these may wait for a lock that somebody holds meanwhile.
pub struct Diagnostics {
    /// Ids of the sessions there are.
    pub ids: Box<dyn Fn() -> Vec<u32> + Send + Sync>,
    pub summary: Box<dyn Fn() -> ServerDiagnosticsSummaryDataType + Send + Sync>,
    pub sessions: Box<dyn Fn() -> Vec<SessionDiagnosticsDataType> + Send + Sync>,
    pub security: Box<dyn Fn() -> Vec<SessionSecurityDiagnosticsDataType> + Send + Sync>,
    pub subscriptions: Box<dyn Fn() -> Vec<SubscriptionDiagnosticsDataType> + Send + Sync>,
}

impl Diagnostics {
    /// Nothing is counted.
    pub fn none() -> Diagnostics {
        Diagnostics {
            ids: Box::new(Vec::new),
            summary: Box::new(ServerDiagnosticsSummaryDataType::default),
            sessions: Box::new(Vec::new),
            security: Box::new(Vec::new),
            subscriptions: Box::new(Vec::new),
        }
    }
}

/// What the Server object tells.
pub struct ServerObject {
    pub application_uri: String,
    pub limits: Limits,
    pub start: DateTime,
    pub diagnostics: Diagnostics,
}

/// How the machine is, for ServiceLevel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// The controller is gone: values are held, nothing can be written.
    ControllerGone,
}

impl Health {
    /// OPC 10000-4, 6.6.2.4.2: 200 to 255 healthy, 2 to 199 degraded.
    fn service_level(self) -> u8 {
        match self {
            Health::Good => 255,
            Health::ControllerGone => 100,
        }
    }
}

/// A value that another variable has a part of.
enum Part {
    Status(fn(&ServerStatusDataType) -> Variant),
    Build(fn(&BuildInfo) -> Variant),
    Summary(fn(&ServerDiagnosticsSummaryDataType) -> u32),
}

impl ServerObject {
    pub fn new(application_uri: &str, limits: Limits, diagnostics: Diagnostics) -> ServerObject {
        ServerObject { application_uri: application_uri.into(), limits, start: DateTime::now(), diagnostics }
    }

    pub fn build_info(&self) -> BuildInfo {
        BuildInfo {
            product_uri: PRODUCT.into(),
            manufacturer_name: "Canvoy".into(),
            product_name: "Canvoy".into(),
            software_version: env!("CARGO_PKG_VERSION").into(),
            build_number: env!("CARGO_PKG_VERSION").into(),
            build_date: DateTime::ymd(2026, 1, 1),
        }
    }

    fn status(&self) -> ServerStatusDataType {
        ServerStatusDataType {
            start_time: self.start,
            current_time: DateTime::now(),
            state: ServerState::Running,
            build_info: self.build_info(),
            seconds_till_shutdown: 0,
            shutdown_reason: LocalizedText::null(),
        }
    }

    /// What reading a variable of namespace 0 is.
    pub fn reading(number: u32) -> Operation {
        if Self::is_confidential(number) {
            Operation::Diagnose
        } else if role::is_role(number) {
            Operation::SeeRoles
        } else {
            Operation::Read
        }
    }

    /// Whether a variable tells about what other users do.
    fn is_confidential(number: u32) -> bool {
        use VariableId as V;
        [
            V::Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray,
            V::Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray,
            V::Server_ServerDiagnostics_SubscriptionDiagnosticsArray,
        ]
        .into_iter()
        .any(|variable| variable as u32 == number)
    }

    /// Whether it changes while the server runs.
    pub fn is_live(number: u32) -> bool {
        use VariableId as V;
        let changes =
            [V::Server_ServerStatus, V::Server_ServerStatus_CurrentTime, V::Server_ServiceLevel].map(|id| id as u32);
        let summary = part(number).is_some_and(|part| matches!(part, Part::Summary(_)))
            || number == V::Server_ServerDiagnostics_ServerDiagnosticsSummary as u32;
        summary || Self::is_confidential(number) || changes.contains(&number)
    }

    /// The value of a variable of namespace 0, where it is ours to say.
    pub fn value(&self, number: u32, health: Health) -> Option<Variant> {
        match part(number) {
            Some(Part::Status(of)) => Some(of(&self.status())),
            Some(Part::Build(of)) => Some(of(&self.build_info())),
            Some(Part::Summary(of)) => Some(Variant::UInt32(of(&(self.diagnostics.summary)()))),
            None => self.limit(number).or_else(|| self.whole(number, health)),
        }
    }

    /// What is told about one session.
    pub fn session(&self, id: u32, diagnostic: Diagnostic) -> Result<Variant, StatusCode> {
        let node = NodeId::new(1, id);
        let gone = StatusCode::BadNodeIdUnknown;
        let session = || (self.diagnostics.sessions)().into_iter().find(|one| one.session_id == node).ok_or(gone);
        let security = || (self.diagnostics.security)().into_iter().find(|one| one.session_id == node).ok_or(gone);
        Ok(match diagnostic {
            Diagnostic::Session => object(session()?),
            Diagnostic::Security => object(security()?),
            Diagnostic::OfSession(field) => (SESSION.get(usize::from(field)).ok_or(gone)?.value)(&session()?),
            Diagnostic::OfSecurity(field) => (SECURITY.get(usize::from(field)).ok_or(gone)?.value)(&security()?),
            Diagnostic::Subscriptions => {
                let all = (self.diagnostics.subscriptions)().into_iter();
                objects(all.filter(|subscription| subscription.session_id == node).collect())
            }
        })
    }

    /// What is not a limit and no part of a structure.
    fn whole(&self, number: u32, health: Health) -> Option<Variant> {
        use VariableId as V;
        let is = |variable: VariableId| variable as u32 == number;
        let texts = |texts: &[&str]| Variant::from(texts.iter().map(|text| text.to_string()).collect::<Vec<_>>());
        Some(match number {
            _ if is(V::Server_ServerArray) => texts(&[&self.application_uri]),
            _ if is(V::Server_NamespaceArray) => {
                texts(&[STANDARD_URI, &self.application_uri, NAMESPACE_URI, DI_URI, MACHINERY_URI])
            }
            _ if is(V::Server_ServerStatus) => object(self.status()),
            _ if is(V::Server_ServerStatus_BuildInfo) => object(self.build_info()),
            _ if is(V::Server_ServiceLevel) => Variant::Byte(health.service_level()),
            _ if is(V::Server_Auditing) => Variant::Boolean(true),
            _ if is(V::Server_UrisVersion) => Variant::UInt32(version_time(self.start)),
            _ if is(V::Server_ServerRedundancy_RedundancySupport) => Variant::Int32(0),
            _ if is(V::Server_ServerCapabilities_ServerProfileArray) => texts(&PROFILES),
            _ if is(V::Server_ServerCapabilities_MinSupportedSampleRate) => Variant::Double(FASTEST_MS),
            _ if is(V::Server_ServerCapabilities_SoftwareCertificates) => objects::<BuildInfo>(Vec::new()),
            _ if is(V::HistoryServerCapabilities_AccessHistoryDataCapability) => Variant::Boolean(true),
            _ if is(V::Server_ServerDiagnostics_EnabledFlag) => Variant::Boolean(true),
            _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary) => object((self.diagnostics.summary)()),
            _ if is(V::Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray) => {
                objects((self.diagnostics.sessions)())
            }
            _ if is(V::Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray) => {
                objects((self.diagnostics.security)())
            }
            _ if is(V::Server_ServerDiagnostics_SubscriptionDiagnosticsArray) => {
                objects((self.diagnostics.subscriptions)())
            }
            _ => return None,
        })
    }

    fn limit(&self, number: u32) -> Option<Variant> {
        use VariableId as V;
        let limits = &self.limits;
        let wide = |limit: usize| Variant::UInt32(u32::try_from(limit).unwrap_or(u32::MAX));
        let short = |limit: usize| Variant::UInt16(u16::try_from(limit).unwrap_or(u16::MAX));
        let is = |variable: VariableId| variable as u32 == number;
        Some(match number {
            _ if is(V::Server_ServerCapabilities_MaxBrowseContinuationPoints) => {
                short(limits.browse_continuation_points)
            }
            _ if is(V::Server_ServerCapabilities_MaxHistoryContinuationPoints) => {
                short(limits.history_continuation_points)
            }
            _ if is(V::Server_ServerCapabilities_MaxQueryContinuationPoints) => short(0),
            // nothing but the size of a message limits these
            _ if is(V::Server_ServerCapabilities_MaxArrayLength)
                || is(V::Server_ServerCapabilities_MaxStringLength)
                || is(V::Server_ServerCapabilities_MaxByteStringLength) =>
            {
                wide(limits.message_bytes)
            }
            _ if is(V::Server_ServerCapabilities_MaxSessions) => wide(limits.sessions),
            _ if is(V::Server_ServerCapabilities_MaxSubscriptions) => wide(limits.subscriptions),
            _ if is(V::Server_ServerCapabilities_MaxSubscriptionsPerSession) => wide(limits.subscriptions_per_session),
            _ if is(V::Server_ServerCapabilities_MaxMonitoredItems) => wide(limits.monitored_items),
            _ if is(V::Server_ServerCapabilities_MaxMonitoredItemsPerSubscription) => {
                wide(limits.monitored_items_per_subscription)
            }
            _ if is(V::Server_ServerCapabilities_MaxMonitoredItemsQueueSize) => wide(limits.queue_size),
            _ if is(V::Server_ServerCapabilities_MaxSelectClauseParameters) => wide(MOST_SELECTED),
            _ if is(V::Server_ServerCapabilities_MaxWhereClauseParameters) => wide(MOST_ELEMENTS),
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead) => wide(limits.nodes_per_read),
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData) => {
                wide(limits.nodes_per_history_read)
            }
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite) => wide(limits.nodes_per_write),
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall) => {
                wide(limits.nodes_per_method_call)
            }
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse) => wide(limits.nodes_per_browse),
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerRegisterNodes) => {
                wide(limits.nodes_per_register)
            }
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds) => {
                wide(limits.nodes_per_translate)
            }
            _ if is(V::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall) => {
                wide(limits.monitored_items_per_call)
            }
            _ => return None,
        })
    }
}

/// The variables below a structure.
fn part(number: u32) -> Option<Part> {
    use VariableId as V;
    let is = |variable: VariableId| variable as u32 == number;
    Some(match number {
        _ if is(V::Server_ServerStatus_StartTime) => Part::Status(|status| Variant::from(status.start_time)),
        _ if is(V::Server_ServerStatus_CurrentTime) => Part::Status(|status| Variant::from(status.current_time)),
        _ if is(V::Server_ServerStatus_State) => Part::Status(|status| Variant::Int32(status.state as i32)),
        _ if is(V::Server_ServerStatus_SecondsTillShutdown) => {
            Part::Status(|status| Variant::UInt32(status.seconds_till_shutdown))
        }
        _ if is(V::Server_ServerStatus_ShutdownReason) => {
            Part::Status(|status| Variant::from(status.shutdown_reason.clone()))
        }
        _ if is(V::Server_ServerStatus_BuildInfo_ProductUri) => Part::Build(|build| build.product_uri.clone().into()),
        _ if is(V::Server_ServerStatus_BuildInfo_ManufacturerName) => {
            Part::Build(|build| build.manufacturer_name.clone().into())
        }
        _ if is(V::Server_ServerStatus_BuildInfo_ProductName) => Part::Build(|build| build.product_name.clone().into()),
        _ if is(V::Server_ServerStatus_BuildInfo_SoftwareVersion) => {
            Part::Build(|build| build.software_version.clone().into())
        }
        _ if is(V::Server_ServerStatus_BuildInfo_BuildNumber) => Part::Build(|build| build.build_number.clone().into()),
        _ if is(V::Server_ServerStatus_BuildInfo_BuildDate) => Part::Build(|build| Variant::from(build.build_date)),
        _ => return summary(number).map(Part::Summary),
    })
}

fn summary(number: u32) -> Option<fn(&ServerDiagnosticsSummaryDataType) -> u32> {
    use VariableId as V;
    let is = |variable: VariableId| variable as u32 == number;
    Some(match number {
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_ServerViewCount) => |all| all.server_view_count,
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSessionCount) => {
            |all| all.current_session_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_CumulatedSessionCount) => {
            |all| all.cumulated_session_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_SecurityRejectedSessionCount) => {
            |all| all.security_rejected_session_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_RejectedSessionCount) => {
            |all| all.rejected_session_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_SessionTimeoutCount) => {
            |all| all.session_timeout_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_SessionAbortCount) => {
            |all| all.session_abort_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSubscriptionCount) => {
            |all| all.current_subscription_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_CumulatedSubscriptionCount) => {
            |all| all.cumulated_subscription_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_PublishingIntervalCount) => {
            |all| all.publishing_interval_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_SecurityRejectedRequestsCount) => {
            |all| all.security_rejected_requests_count
        }
        _ if is(V::Server_ServerDiagnostics_ServerDiagnosticsSummary_RejectedRequestsCount) => {
            |all| all.rejected_requests_count
        }
        _ => return None,
    })
}

pub(super) fn object(value: impl opcua::types::DynEncodable + 'static) -> Variant {
    Variant::from(ExtensionObject::from_message(value))
}

pub fn objects<T: opcua::types::DynEncodable + 'static>(values: Vec<T>) -> Variant {
    let values = values.into_iter().map(|value| Variant::from(ExtensionObject::from_message(value)));
    array(VariantScalarTypeId::ExtensionObject, values.collect())
}

/// VersionTime (OPC 10000-4, 7.44): seconds since 2000.
fn version_time(time: DateTime) -> u32 {
    let since = time.as_chrono().timestamp() - 946_684_800;
    u32::try_from(since).unwrap_or(0)
}
