//! How often a session has called each service (OPC 10000-5, 12.11).

use std::sync::atomic::{AtomicU32, Ordering};

use opcua::types::ServiceCounterDataType;

use crate::plant::opcua::service::Service;

/// Calls and failures of each service, and of all of them.
#[derive(Debug, Default)]
pub struct Counts {
    services: [Count; Service::ALL.len()],
    total: Count,
    unauthorized: AtomicU32,
}

#[derive(Debug, Default)]
struct Count {
    calls: AtomicU32,
    errors: AtomicU32,
}

impl Count {
    fn read(&self) -> ServiceCounterDataType {
        let read = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        ServiceCounterDataType { total_count: read(&self.calls), error_count: read(&self.errors) }
    }
}

impl Counts {
    pub fn call(&self, service: Service) {
        for count in [&self.services[service as usize], &self.total] {
            count.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The service as a whole was refused.
    pub fn error(&self, service: Service) {
        for count in [&self.services[service as usize], &self.total] {
            count.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn unauthorized(&self) {
        self.unauthorized.fetch_add(1, Ordering::Relaxed);
    }

    pub fn of(&self, service: Service) -> ServiceCounterDataType {
        self.services[service as usize].read()
    }

    pub fn total(&self) -> ServiceCounterDataType {
        self.total.read()
    }

    pub fn unauthorized_requests(&self) -> u32 {
        self.unauthorized.load(Ordering::Relaxed)
    }
}
