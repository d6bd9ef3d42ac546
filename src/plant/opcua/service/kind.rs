//! The services: numbers of their encodings (OPC 10000-6, annex A.3), and what each of them needs.

/// A service that this server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    FindServers,
    GetEndpoints,
    CreateSession,
    ActivateSession,
    CloseSession,
    Cancel,
    Read,
    HistoryRead,
    Write,
    Call,
    CreateMonitoredItems,
    ModifyMonitoredItems,
    SetMonitoringMode,
    SetTriggering,
    DeleteMonitoredItems,
    CreateSubscription,
    ModifySubscription,
    SetPublishingMode,
    Publish,
    Republish,
    TransferSubscriptions,
    DeleteSubscriptions,
    Browse,
    BrowseNext,
    TranslateBrowsePathsToNodeIds,
    RegisterNodes,
    UnregisterNodes,
}

impl Service {
    pub const ALL: [Service; 27] = [
        Service::FindServers,
        Service::GetEndpoints,
        Service::CreateSession,
        Service::ActivateSession,
        Service::CloseSession,
        Service::Cancel,
        Service::Read,
        Service::HistoryRead,
        Service::Write,
        Service::Call,
        Service::CreateMonitoredItems,
        Service::ModifyMonitoredItems,
        Service::SetMonitoringMode,
        Service::SetTriggering,
        Service::DeleteMonitoredItems,
        Service::CreateSubscription,
        Service::ModifySubscription,
        Service::SetPublishingMode,
        Service::Publish,
        Service::Republish,
        Service::TransferSubscriptions,
        Service::DeleteSubscriptions,
        Service::Browse,
        Service::BrowseNext,
        Service::TranslateBrowsePathsToNodeIds,
        Service::RegisterNodes,
        Service::UnregisterNodes,
    ];

    /// NodeIds of the binary encodings of request and response.
    const fn encodings(self) -> (u32, u32) {
        match self {
            Service::FindServers => (422, 425),
            Service::GetEndpoints => (428, 431),
            Service::CreateSession => (461, 464),
            Service::ActivateSession => (467, 470),
            Service::CloseSession => (473, 476),
            Service::Cancel => (479, 482),
            Service::Read => (631, 634),
            Service::HistoryRead => (664, 667),
            Service::Write => (673, 676),
            Service::Call => (712, 715),
            Service::CreateMonitoredItems => (751, 754),
            Service::ModifyMonitoredItems => (763, 766),
            Service::SetMonitoringMode => (769, 772),
            Service::SetTriggering => (775, 778),
            Service::DeleteMonitoredItems => (781, 784),
            Service::CreateSubscription => (787, 790),
            Service::ModifySubscription => (793, 796),
            Service::SetPublishingMode => (799, 802),
            Service::Publish => (826, 829),
            Service::Republish => (832, 835),
            Service::TransferSubscriptions => (841, 844),
            Service::DeleteSubscriptions => (847, 850),
            Service::Browse => (527, 530),
            Service::BrowseNext => (533, 536),
            Service::TranslateBrowsePathsToNodeIds => (554, 557),
            Service::RegisterNodes => (560, 563),
            Service::UnregisterNodes => (566, 569),
        }
    }

    /// By the NodeId of the request's encoding. What has none is BadServiceUnsupported.
    pub fn of_request(encoding: u32) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.encodings().0 == encoding)
    }

    pub fn request(self) -> u32 {
        self.encodings().0
    }

    pub fn response(self) -> u32 {
        self.encodings().1
    }

    /// Answered without a session, and on a channel without security even where none is offered
    /// (OPC 10000-4, 5.5.1: so that a client can find out what is).
    pub fn is_discovery(self) -> bool {
        matches!(self, Service::FindServers | Service::GetEndpoints)
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::ObjectId;

    use super::*;

    #[test]
    fn numbers_are_the_standards() {
        for service in Service::ALL {
            let (request, response) = service.encodings();
            for (number, end) in [(request, "Request"), (response, "Response")] {
                let name = format!("{:?}", ObjectId::try_from(number).unwrap());
                assert_eq!(name, format!("{service:?}{end}_Encoding_DefaultBinary"));
            }
            assert_eq!(Service::of_request(request), Some(service));
        }
        assert_eq!(Service::of_request(488), None, "AddNodes");
    }
}
