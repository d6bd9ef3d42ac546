//! Frame routes: which route takes a frame, what becomes of it on the way, rate limit and storm detector.

use super::{Key, Now, Outgoing, Transmit};
use crate::can::{Frame, FrameId, MAX_CLASSIC_LEN};
use crate::plan::{
    Alarm, AlarmIndex, BusIndex, ContractIndex, Edit, Filter, Format, IdChange, Plan, RouteIndex, Timed,
};
use crate::store::Writer;
use crate::store::layout::RouteWord;

/// Nanoseconds over which frames are counted to find a storm.
const STORM_WINDOW: u64 = 1_000_000_000;

pub(super) struct Routes {
    /// By bus that frames come from; `None` where no route begins.
    dispatch: Box<[Option<Dispatch>]>,
    routes: Box<[Running]>,
}

/// A frame that was received.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub now: Now,
    pub bus: BusIndex,
    pub frame: &'a Frame,
    /// CLOCK_REALTIME, nanoseconds.
    pub source_time: u64,
}

/// From an identifier to the routes that take it.
struct Dispatch {
    /// By 11-bit identifier: the list in `lists`. Ranges and masks are worked out beforehand.
    standard: Box<[u16]>,
    /// 29-bit identifiers that a route names, sorted, each with its list in `lists`.
    extended: Box<[(u32, u16)]>,
    /// Routes for other 29-bit identifiers: those that take more than named ones.
    wide: Box<[u16]>,
    /// The first is empty.
    lists: Vec<Box<[u16]>>,
}

/// A route at work.
struct Running {
    filters: Box<[Filter]>,
    except: Box<[Filter]>,
    to: BusIndex,
    /// Nothing but the bus changes.
    plain: bool,
    /// FD frames may go there.
    to_fd: bool,
    id: IdChange,
    format: Format,
    edits: Box<[Edit]>,
    limit: Option<Limit>,
    /// Most frames within [`STORM_WINDOW`].
    storm: u32,
    window_start: u64,
    window_frames: u32,
    stopped: bool,
    stale: u64,
    contract: Option<ContractIndex>,
    alarm: Option<AlarmIndex>,
}

impl Routes {
    pub fn new(plan: &Plan) -> Routes {
        let routes = plan.routes.iter().enumerate().map(|(index, route)| Running {
            filters: route.filters.clone().into(),
            except: route.except.clone().into(),
            to: route.to,
            plain: route.id == IdChange::Keep && route.format == Format::Keep && route.edits.is_empty(),
            to_fd: plan.buses[route.to].fd,
            id: route.id,
            format: route.format,
            edits: route.edits.clone().into(),
            limit: route.shortest_interval.map(Limit::new),
            storm: route.storm,
            window_start: 0,
            window_frames: 0,
            stopped: false,
            stale: route.stale,
            contract: plan.contract(Timed::Route(index)),
            alarm: plan.alarm(Alarm::Storm(index)),
        });
        let dispatch = (0..plan.buses.len()).map(|bus| Dispatch::new(plan, bus));
        Routes { dispatch: dispatch.collect(), routes: routes.collect() }
    }

    /// Goes on with the routes that both plans have.
    pub fn adopt(&mut self, old: &mut Routes, heirs: &[Option<RouteIndex>]) {
        for (route, heir) in self.routes.iter_mut().zip(heirs) {
            let Some(before) = heir.and_then(|at| old.routes.get_mut(at)) else { continue };
            std::mem::swap(&mut route.limit, &mut before.limit);
            (route.window_start, route.window_frames) = (before.window_start, before.window_frames);
            route.stopped = before.stopped;
        }
    }

    /// Passes a received frame on; whether a route takes its identifier.
    pub fn receive(&mut self, arrival: Arrival<'_>, store: &mut Writer, transmit: &mut Transmit) -> bool {
        let Some(dispatch) = &self.dispatch[arrival.bus] else { return false };
        let mut taken = false;
        match dispatch.list(arrival.frame.id) {
            Some(list) => {
                for route in list {
                    let index = usize::from(*route);
                    self.routes[index].pass(index, arrival, store, transmit);
                    taken = true;
                }
            }
            None => {
                for route in &dispatch.wide {
                    let index = usize::from(*route);
                    if self.routes[index].takes(arrival.frame.id) {
                        self.routes[index].pass(index, arrival, store, transmit);
                        taken = true;
                    }
                }
            }
        }
        taken
    }

    /// Switches a route on or off by command; on also ends a storm.
    pub fn switch(&mut self, index: RouteIndex, on: bool, now: Now, store: &mut Writer) {
        let Some(route) = self.routes.get_mut(index) else { return };
        route.stopped = !on;
        (route.window_start, route.window_frames) = (now.monotonic, 0);
        store.set_route(index, RouteWord::Stopped, u64::from(!on));
        if let Some(alarm) = route.alarm {
            store.alarm(alarm, false, 0, now.realtime);
        }
    }
}

impl Dispatch {
    fn new(plan: &Plan, bus: BusIndex) -> Option<Dispatch> {
        let from: Vec<usize> = (0..plan.routes.len()).filter(|route| plan.routes[*route].from == bus).collect();
        if from.is_empty() {
            return None;
        }
        let mut lists: Vec<Box<[u16]>> = vec![Box::default()];
        let mut list_of = |id: FrameId| {
            // the configuration allows fewer routes than 16 bits count
            let list: Box<[u16]> =
                from.iter().filter(|route| plan.routes[**route].takes(id)).map(|route| *route as u16).collect();
            let at = lists.iter().position(|known| *known == list).unwrap_or_else(|| {
                lists.push(list);
                lists.len() - 1
            });
            at as u16
        };
        let standard = (0..=FrameId::MAX_STANDARD).map(|number| FrameId::standard(number).map_or(0, &mut list_of));
        let standard = standard.collect();
        let filters = || from.iter().flat_map(|route| &plan.routes[*route].filters);
        let mut named: Vec<FrameId> = filters()
            .filter_map(|filter| match filter {
                Filter::Id(id) if id.is_extended() => Some(*id),
                _ => None,
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        let extended = named.into_iter().map(|id| (id.bits(), list_of(id))).collect();
        let is_wide = |filter: &Filter| match *filter {
            Filter::Id(_) => false,
            Filter::Any | Filter::Pgn(_) => true,
            Filter::Range(id, _) | Filter::Mask { value: id, .. } => id.is_extended(),
        };
        let wide = from.iter().filter(|route| plan.routes[**route].filters.iter().any(is_wide));
        let wide = wide.map(|route| *route as u16).collect();
        Some(Dispatch { standard, extended, wide, lists })
    }

    /// The routes that take an identifier; `None`: to be found among `wide`.
    #[inline]
    fn list(&self, id: FrameId) -> Option<&[u16]> {
        let list = if !id.is_extended() {
            self.standard[id.number() as usize]
        } else if let Ok(at) = self.extended.binary_search_by_key(&id.bits(), |(bits, _)| *bits) {
            self.extended[at].1
        } else {
            return None;
        };
        Some(&self.lists[usize::from(list)])
    }
}

impl Running {
    fn takes(&self, id: FrameId) -> bool {
        self.filters.iter().any(|filter| filter.matches(id)) && !self.except.iter().any(|filter| filter.matches(id))
    }

    fn pass(&mut self, index: RouteIndex, arrival: Arrival<'_>, store: &mut Writer, transmit: &mut Transmit) {
        let Arrival { now, frame, source_time, .. } = arrival;
        if self.stopped {
            return store.add_route(index, RouteWord::Off, 1);
        }
        if now.monotonic.saturating_sub(self.window_start) >= STORM_WINDOW {
            (self.window_start, self.window_frames) = (now.monotonic, 0);
        }
        self.window_frames += 1;
        if self.window_frames > self.storm {
            self.stopped = true;
            store.set_route(index, RouteWord::Stopped, 1);
            if let Some(alarm) = self.alarm {
                store.alarm(alarm, true, u64::from(self.storm), now.realtime);
            }
            return store.add_route(index, RouteWord::Off, 1);
        }
        let mut outgoing = Outgoing {
            frame: *frame,
            key: Key::Route(index),
            stale: now.monotonic.saturating_add(self.stale),
            contract: self.contract,
            began: now.moment_of(source_time),
        };
        // the flag tells about the sender of a frame, and that is us
        outgoing.frame.error_state = false;
        let fits = (self.plain || self.change(&mut outgoing.frame)) && (self.to_fd || !outgoing.frame.fd);
        if !fits {
            return store.add_route(index, RouteWord::Unfit, 1);
        }
        if let Some(limit) = &mut self.limit
            && !limit.take(frame.id, now.monotonic)
        {
            return store.add_route(index, RouteWord::RateLimited, 1);
        }
        transmit.push(self.to, &outgoing, now, store);
    }

    /// Whether the frame can be what the route makes of it; never cut, never half changed.
    fn change(&self, frame: &mut Frame) -> bool {
        let Some(id) = self.id.apply(frame.id) else { return false };
        frame.id = id;
        match self.format {
            Format::Keep => {}
            Format::Classic if frame.fd && frame.len() > MAX_CLASSIC_LEN => return false,
            Format::Classic => (frame.fd, frame.bit_rate_switch) = (false, false),
            // there are no remote frames in the FD format
            Format::Fd { .. } if frame.remote => return false,
            Format::Fd { bit_rate_switch } => (frame.fd, frame.bit_rate_switch) = (true, bit_rate_switch),
        }
        let payload = frame.payload_mut();
        self.edits.iter().all(|edit| match payload.get_mut(usize::from(edit.byte)) {
            Some(byte) => {
                *byte = *byte & !edit.mask | edit.value & edit.mask;
                true
            }
            None => false,
        })
    }
}

/// When each identifier may pass again.
struct Limit {
    interval: u64,
    /// By 11-bit identifier, CLOCK_MONOTONIC nanoseconds.
    standard: Box<[u64]>,
    /// Identifier (bits) and moment: a table of fixed size for the 29-bit identifiers.
    extended: Box<[(u32, u64)]>,
}

/// Places for 29-bit identifiers with a rate limit. Where more come than that within an interval, the limit holds for
/// those that share a place together.
const EXTENDED_PLACES: usize = 4096;
/// Places that are looked at for one identifier.
const PROBES: usize = 8;

impl Limit {
    fn new(interval: u64) -> Limit {
        Limit {
            interval,
            standard: vec![0; FrameId::MAX_STANDARD as usize + 1].into(),
            extended: vec![(0, 0); EXTENDED_PLACES].into(),
        }
    }

    /// Whether a frame may pass now.
    fn take(&mut self, id: FrameId, now: u64) -> bool {
        let due = if id.is_extended() {
            let home = (u64::from(id.number()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as usize;
            let places = (0..PROBES).map(|step| (home + step) % EXTENDED_PLACES);
            // its own place, else the one that is free soonest
            let place = places.min_by_key(|at| {
                let (known, due) = self.extended[*at];
                if known == id.bits() { (0, 0) } else { (1, due) }
            });
            let (known, due) = &mut self.extended[place.unwrap_or(home)];
            if *due <= now {
                *known = id.bits();
            }
            due
        } else {
            &mut self.standard[id.number() as usize]
        };
        let free = *due <= now;
        if free {
            *due = now.saturating_add(self.interval);
        }
        free
    }
}
