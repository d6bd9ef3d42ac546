//! Diagnostics of a session: the variables that each has.

use opcua::types::{DataTypeId, VariableTypeId};

/// What is told about one session (OPC 10000-5, 6.3.5), in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    Session,
    Security,
    Subscriptions,
}

impl Diagnostic {
    pub(super) const ALL: [Diagnostic; 3] = [Diagnostic::Session, Diagnostic::Security, Diagnostic::Subscriptions];

    pub(super) fn name(self) -> &'static str {
        match self {
            Diagnostic::Session => "SessionDiagnostics",
            Diagnostic::Security => "SessionSecurityDiagnostics",
            Diagnostic::Subscriptions => "SubscriptionDiagnosticsArray",
        }
    }

    pub(super) fn type_definition(self) -> VariableTypeId {
        match self {
            Diagnostic::Session => VariableTypeId::SessionDiagnosticsVariableType,
            Diagnostic::Security => VariableTypeId::SessionSecurityDiagnosticsType,
            Diagnostic::Subscriptions => VariableTypeId::SubscriptionDiagnosticsArrayType,
        }
    }

    pub(super) fn data_type(self) -> DataTypeId {
        match self {
            Diagnostic::Session => DataTypeId::SessionDiagnosticsDataType,
            Diagnostic::Security => DataTypeId::SessionSecurityDiagnosticsDataType,
            Diagnostic::Subscriptions => DataTypeId::SubscriptionDiagnosticsDataType,
        }
    }
}
