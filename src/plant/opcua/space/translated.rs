//! What overlay tables say in the languages of who asks.

use opcua::types::{UAString, Variant};

use super::Space;
use crate::plan::TagIndex;
use crate::plant::opcua::mapping::Words;
use crate::plant::opcua::session::User;

/// What Canvoy itself says, and most DBC files.
const OWN: &str = "en";

impl Space {
    /// The words of a signal's value table, where they are translated for this user.
    pub fn words(&self, tag: TagIndex, user: &User) -> Words<'_> {
        user.locales.best(&self.plan.tag_overlays.get(&tag)?.words)
    }

    /// LocaleIdArray (OPC 10000-5, 6.3.2): what texts there are in.
    pub fn locales(&self) -> Variant {
        let others = self.plan.locales.iter().map(String::as_str).filter(|locale| *locale != OWN);
        Variant::from([OWN].into_iter().chain(others).map(UAString::from).collect::<Vec<_>>())
    }
}
