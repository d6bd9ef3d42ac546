//! Links between monitored items: what is only sampled is reported when another item has news (OPC 10000-4, 5.13.1.6).

use opcua::types::StatusCode;

use super::Subscriptions;

impl Subscriptions {
    /// Links and unlinks items that report when this one does (5.13.5). A status for each.
    pub fn link(
        &mut self,
        (session, id, item): (u32, u32, u32),
        add: &[u32],
        remove: &[u32],
    ) -> Result<(Vec<StatusCode>, Vec<StatusCode>), StatusCode> {
        let subscription = self.of(session, id)?;
        let mut links = match subscription.items.get(&item) {
            Some(found) => found.links.clone(),
            None => return Err(StatusCode::BadMonitoredItemIdInvalid),
        };
        let unknown = StatusCode::BadMonitoredItemIdInvalid;
        let removed = remove.iter().map(|link| match links.iter().position(|other| other == link) {
            Some(at) => {
                links.swap_remove(at);
                StatusCode::Good
            }
            None => unknown,
        });
        let removed = removed.collect();
        let added = add.iter().map(|link| {
            if !subscription.items.contains_key(link) {
                return unknown;
            }
            if !links.contains(link) {
                links.push(*link);
            }
            StatusCode::Good
        });
        let added = added.collect();
        if let Some(found) = subscription.items.get_mut(&item) {
            found.links = links;
        }
        Ok((added, removed))
    }
}
