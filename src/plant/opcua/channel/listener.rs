//! Accepts clients, and keeps the number of connections down (without keeping anybody out for long).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::trusted::{self, Opened};
use super::{Answers, Channel, Door, Request, connection};
use crate::plant::pulse::{BEAT, Pulse};

/// Connections of which nobody has shown a certificate yet.
const STRANGERS: usize = 64;
/// The same from one address.
const STRANGERS_PER_ADDRESS: usize = 32;
/// Certificates that are checked, and channels that are opened, at one time.
const CHECKS: usize = 2;

/// All connections, so that there are never too many.
#[derive(Default)]
pub struct Connections {
    next: u64,
    /// Oldest first, each with the call to end it.
    strangers: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    /// Who has shown a trusted certificate, or is let in without one.
    known: HashMap<u64, Known>,
}

/// A connection whose client is known.
struct Known {
    address: IpAddr,
    end: Arc<Notify>,
    opened: Option<Opened>,
}

impl Connections {
    /// Lets a new one in. Where there are too many strangers the oldest must go: a flood keeps nobody out.
    pub fn enter(&mut self, address: IpAddr) -> (u64, Arc<Notify>) {
        let same = |(_, (other, _)): &(&u64, &(IpAddr, Arc<Notify>))| *other == address;
        let oldest = if self.strangers.iter().filter(same).count() >= STRANGERS_PER_ADDRESS {
            self.strangers.iter().find(same).map(|(id, _)| *id)
        } else if self.strangers.len() >= STRANGERS {
            self.strangers.keys().next().copied()
        } else {
            None
        };
        if let Some((_, end)) = oldest.and_then(|id| self.strangers.remove(&id)) {
            end.notify_one();
        }
        self.next += 1;
        let end = Arc::new(Notify::new());
        self.strangers.insert(self.next, (address, end.clone()));
        (self.next, end)
    }

    /// A stranger has become known; whether there is room. `share`: of one address.
    pub fn know(&mut self, id: u64, most: usize, share: usize) -> bool {
        if self.known.contains_key(&id) {
            return true;
        }
        let Some((address, end)) = self.strangers.get(&id) else { return false };
        let (address, end) = (*address, end.clone());
        let share = match share {
            0 if address.is_loopback() => most,
            0 => most.div_ceil(2),
            share => share,
        };
        if self.known.len() >= most || self.known.values().filter(|other| other.address == address).count() >= share {
            return false;
        }
        self.strangers.remove(&id);
        self.known.insert(id, Known { address, end, opened: None });
        true
    }

    /// A known one has opened a channel with a certificate.
    pub fn open(&mut self, id: u64, opened: Opened) {
        if let Some(known) = self.known.get_mut(&id) {
            known.opened = Some(opened);
        }
    }

    /// All channels that were opened with a certificate, each with the call to end its connection.
    pub fn opened(&self) -> Vec<(u64, Opened, Arc<Notify>)> {
        let opened = |(id, known): (&u64, &Known)| Some((*id, known.opened.clone()?, known.end.clone()));
        self.known.iter().filter_map(opened).collect()
    }

    pub fn leave(&mut self, id: u64) {
        self.strangers.remove(&id);
        self.known.remove(&id);
    }

    pub fn len(&self) -> usize {
        self.strangers.len() + self.known.len()
    }
}

/// What all connections share.
pub struct Shared<S> {
    pub door: Door,
    pub answer: S,
    pub checks: Semaphore,
    connections: Mutex<Connections>,
}

impl<S> Shared<S> {
    pub fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Accepts clients until dropped; `answer` is given their requests. `pulse` beats while clients are, or could be, accepted.
pub async fn serve<S>(listener: TcpListener, door: Door, answer: S, pulse: &Pulse)
where
    S: Fn(&Arc<Channel>, &Answers, Request) + Send + Sync + 'static,
{
    let shared = Arc::new(Shared { door, answer, checks: Semaphore::new(CHECKS), connections: Mutex::default() });
    // dropped with this future, and then all connections end
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn({
        let shared = shared.clone();
        async move { trusted::watch(&shared).await }
    });
    pulse.beat();
    loop {
        let accepted = tokio::select! {
            accepted = timeout(BEAT, listener.accept()) => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            // nobody has come
            Err(_) => pulse.beat(),
            Ok(Ok((client, peer))) => {
                pulse.beat();
                let shared = shared.clone();
                tasks.spawn(async move { connection::serve(&shared, client, peer).await });
            }
            Ok(Err(error)) => {
                // out of descriptors: they come back when connections end
                tracing::warn!(%error, "OPC UA client not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_keeps_nobody_out() {
        let mut connections = Connections::default();
        let [flood, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let (visitor, _) = connections.enter(other);
        let ids: Vec<u64> = (0..1000).map(|_| connections.enter(flood).0).collect();
        assert_eq!(connections.strangers.len(), STRANGERS_PER_ADDRESS + 1);
        assert!(connections.strangers.contains_key(&visitor), "another address is left alone");
        assert!(connections.strangers.contains_key(&ids[999]), "the newest is in");
        assert!(!connections.know(ids[0], 50, 0), "who was put out stays out");
        for last in 3..=255 {
            connections.enter(IpAddr::from([10, 0, 0, last]));
        }
        assert_eq!(connections.strangers.len(), STRANGERS);
    }

    #[test]
    fn known_connections_are_counted() {
        let mut connections = Connections::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let ids: Vec<u64> = (0..6).map(|_| connections.enter(address).0).collect();
        let known = |connections: &mut Connections, id| connections.know(id, 8, 0);
        assert!(ids[..4].iter().all(|id| known(&mut connections, *id)));
        assert!(!known(&mut connections, ids[4]), "half of the room is one address's share");
        assert!(connections.know(ids[4], 8, 5), "unless the configuration says otherwise");
        assert!(known(&mut connections, ids[0]), "once known is enough");
        connections.leave(ids[0]);
        connections.leave(ids[4]);
        assert!(known(&mut connections, ids[5]));
        let local: Vec<u64> = (0..6).map(|_| connections.enter(IpAddr::from([127, 0, 0, 1])).0).collect();
        assert!(local[..4].iter().all(|id| known(&mut connections, *id)), "this machine may have all that is left");
        assert!(!known(&mut connections, local[4]));
    }
}
