//! Which J1939 device holds which address, from the claims that pass (SAE J1939-81). Nothing is ever sent or asked for.

use super::Now;
use super::due::Due;
use crate::can::Frame;
use crate::can::name::{ADDRESSES, Claim, Name};
use crate::plan::{BusIndex, Plan};
use crate::store::Writer;
use crate::store::names::{Holder, NameWord};

/// Nanoseconds that a claim can be answered within: nobody who claims uses the address before (SAE J1939-81, address claim).
const ANSWER: u64 = 250_000_000;

pub(super) struct Names {
    /// By bus: its table.
    tables: Box<[Option<usize>]>,
    /// By table and address: when a claim counts that the holder has not answered.
    due: Due,
    /// By the same: that claim.
    challengers: Box<[Holder]>,
}

impl Names {
    pub fn new(plan: &Plan) -> Names {
        let tables: Box<[Option<usize>]> = plan.buses.iter().map(|bus| bus.names).collect();
        let rows = tables.iter().flatten().count() * ADDRESSES;
        let nobody = Holder { name: Name(0), claimed: 0 };
        Names { tables, due: Due::new(rows), challengers: vec![nobody; rows].into() }
    }

    /// A frame of a bus; whether it was one that tells a NAME.
    pub fn receive(&mut self, now: Now, bus: BusIndex, frame: &Frame, source_time: u64, store: &mut Writer) -> bool {
        let Some(table) = self.tables[bus] else { return false };
        let Some(claim) = Claim::of(frame) else { return false };
        match claim {
            Claim::Short => store.count_name(table, NameWord::Short),
            Claim::Cannot(name) => {
                store.count_name(table, NameWord::CannotClaims);
                self.leave(table, name, None, store);
            }
            Claim::Address(address, name) => {
                store.count_name(table, NameWord::Claims);
                self.leave(table, name, Some(address), store);
                self.claim(now, table, address, Holder { name, claimed: source_time }, store);
            }
        }
        true
    }

    /// A device that claims an address has no other one any more, and wants no other.
    fn leave(&mut self, table: usize, name: Name, except: Option<u8>, store: &mut Writer) {
        let challenged = self.due.next() != u64::MAX;
        for address in 0..ADDRESSES as u8 {
            if Some(address) == except {
                continue;
            }
            if store.holder(table, address).is_some_and(|holder| holder.name == name) {
                store.set_holder(table, address, None);
                if except.is_some() {
                    store.count_name(table, NameWord::Moves);
                }
            }
            let at = table * ADDRESSES + usize::from(address);
            if challenged && self.challengers[at].name == name {
                self.due.set(at, u64::MAX);
            }
        }
    }

    /// The lower NAME has the address (SAE J1939-81, address claim prioritization). The holder of the lower one says so
    /// again; if nobody does, he is gone: another device has taken his place.
    fn claim(&mut self, now: Now, table: usize, address: u8, by: Holder, store: &mut Writer) {
        let at = table * ADDRESSES + usize::from(address);
        let holder = store.holder(table, address);
        if holder.is_some_and(|holder| holder.name != by.name) {
            store.count_name(table, NameWord::Contentions);
        }
        match holder {
            Some(holder) if holder.name < by.name => {
                let challenged = self.due.get(at) != u64::MAX;
                if !challenged || by.name <= self.challengers[at].name {
                    self.challengers[at] = by;
                    self.due.set(at, now.monotonic.saturating_add(ANSWER));
                }
            }
            _ => {
                self.due.set(at, u64::MAX);
                store.set_holder(table, address, Some(by));
            }
        }
    }

    /// Claims that the holder has not answered.
    pub fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some((at, _)) = self.due.take(now.monotonic) {
            // less than 254
            store.set_holder(at / ADDRESSES, (at % ADDRESSES) as u8, Some(self.challengers[at]));
        }
    }

    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    /// Goes on from the plan before; the store has done so already. By table: what it was there.
    pub fn adopt(&mut self, old: &Names, tables: &[Option<usize>]) {
        for (table, heir) in tables.iter().enumerate() {
            let Some(before) = *heir else { continue };
            for address in 0..ADDRESSES {
                let (at, from) = (table * ADDRESSES + address, before * ADDRESSES + address);
                self.challengers[at] = old.challengers[from];
                self.due.set(at, old.due.get(from));
            }
        }
    }
}
