//! Diagnostics of a session: the variables that each has.

pub mod field;

use opcua::types::{DataTypeId, VariableTypeId};

use field::{SECURITY, SESSION};

/// What is told about one session (OPC 10000-5, 6.3.5), and field by field of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    Session,
    Security,
    Subscriptions,
    /// Numbers of fields.
    OfSession(u8),
    OfSecurity(u8),
}

impl Diagnostic {
    /// Those that a session has, in the order of the names.
    pub(super) const ALL: [Diagnostic; 3] = [Diagnostic::Session, Diagnostic::Security, Diagnostic::Subscriptions];

    /// What follows the number of a session in an identifier.
    pub(super) fn find(text: &str) -> Option<Diagnostic> {
        let (name, field) = text.split_once('.').map_or((text, None), |(name, field)| (name, Some(field)));
        let whole = Diagnostic::ALL.into_iter().find(|diagnostic| diagnostic.name() == name)?;
        match field {
            None => Some(whole),
            Some(field) => whole.fields().find(|own| own.name() == field),
        }
    }

    /// What it is made of, in the order of the names.
    pub(super) fn fields(self) -> impl Iterator<Item = Diagnostic> {
        let (count, field): (usize, fn(u8) -> Diagnostic) = match self {
            Diagnostic::Session => (SESSION.len(), Diagnostic::OfSession),
            Diagnostic::Security => (SECURITY.len(), Diagnostic::OfSecurity),
            Diagnostic::Subscriptions | Diagnostic::OfSession(_) | Diagnostic::OfSecurity(_) => {
                (0, Diagnostic::OfSession)
            }
        };
        (0..count as u8).map(field)
    }

    /// What it is a field of.
    pub(super) fn whole(self) -> Option<Diagnostic> {
        match self {
            Diagnostic::OfSession(_) => Some(Diagnostic::Session),
            Diagnostic::OfSecurity(_) => Some(Diagnostic::Security),
            Diagnostic::Session | Diagnostic::Security | Diagnostic::Subscriptions => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Diagnostic::Session => "SessionDiagnostics",
            Diagnostic::Security => "SessionSecurityDiagnostics",
            Diagnostic::Subscriptions => "SubscriptionDiagnosticsArray",
            Diagnostic::OfSession(field) => SESSION.get(usize::from(field)).map_or("", |field| field.name),
            Diagnostic::OfSecurity(field) => SECURITY.get(usize::from(field)).map_or("", |field| field.name),
        }
    }

    pub(super) fn type_definition(self) -> VariableTypeId {
        match self {
            Diagnostic::Session => VariableTypeId::SessionDiagnosticsVariableType,
            Diagnostic::Security => VariableTypeId::SessionSecurityDiagnosticsType,
            Diagnostic::Subscriptions => VariableTypeId::SubscriptionDiagnosticsArrayType,
            Diagnostic::OfSession(_) | Diagnostic::OfSecurity(_) => VariableTypeId::BaseDataVariableType,
        }
    }

    pub(super) fn data_type(self) -> DataTypeId {
        let none = DataTypeId::BaseDataType;
        match self {
            Diagnostic::Session => DataTypeId::SessionDiagnosticsDataType,
            Diagnostic::Security => DataTypeId::SessionSecurityDiagnosticsDataType,
            Diagnostic::Subscriptions => DataTypeId::SubscriptionDiagnosticsDataType,
            Diagnostic::OfSession(field) => SESSION.get(usize::from(field)).map_or(none, |field| field.data_type),
            Diagnostic::OfSecurity(field) => SECURITY.get(usize::from(field)).map_or(none, |field| field.data_type),
        }
    }

    pub(super) fn is_array(self) -> bool {
        match self {
            Diagnostic::Session | Diagnostic::Security => false,
            Diagnostic::Subscriptions => true,
            Diagnostic::OfSession(field) => SESSION.get(usize::from(field)).is_some_and(|field| field.is_array),
            Diagnostic::OfSecurity(field) => SECURITY.get(usize::from(field)).is_some_and(|field| field.is_array),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_found_by_their_names() {
        for whole in Diagnostic::ALL {
            let names: Vec<&str> = whole.fields().map(Diagnostic::name).collect();
            assert!(names.is_sorted(), "{names:?}");
            for field in whole.fields() {
                assert_eq!(Diagnostic::find(&format!("{}.{}", whole.name(), field.name())), Some(field));
                assert_eq!(field.whole(), Some(whole));
            }
        }
        for text in
            ["", "SessionDiagnostics.", "SessionDiagnostics.ReadCount.", "SubscriptionDiagnosticsArray.ReadCount"]
        {
            assert_eq!(Diagnostic::find(text), None, "{text}");
        }
    }
}
