//! Routes that go in a circle: an identifier that comes back to the bus it came from as itself.

use super::identifiers::Set;
use super::report::Report;
use super::route::written_name;
use crate::can::FrameId;
use crate::plan::{IdChange, Plan, Route};

/// Steps after which the search gives up; the storm detector of each route is the net behind it.
const MOST_STEPS: usize = 100_000;

/// Reports every circle once, at one of its routes. The two directions of one route are none: frames that this controller
/// has sent are not received by it.
pub fn check(plan: &Plan, routes: &[Route], report: &mut Report<'_>) {
    let taken = routes.iter().map(|route| Set::taken(&route.filters, &route.except)).collect();
    let mut search = Search { routes, taken, path: Vec::new(), steps: 0 };
    for first in 0..routes.len() {
        search.path = vec![first];
        let start = After { of: search.taken[first].clone(), change: IdChange::Keep };
        let Some(start) = start.then(&search.taken[first], routes[first].id) else { continue };
        let Some(id) = search.circle(first, &start) else { continue };
        let mut text = format!("frames would go round: {} {id}", plan.buses[routes[first].from].name);
        let mut now = id;
        for route in search.path.iter().map(|index| &routes[*index]) {
            now = route.id.apply(now).unwrap_or(now);
            text.push_str(&format!(" -> {} {now} (route \"{}\")", plan.buses[route.to].name, written_name(route)));
        }
        text.push_str("; take it out of one of them");
        if search.path.len() == 2 {
            text.push_str(", or write both = true in one and leave out the other");
        }
        report.error(&["route", written_name(&routes[first])], text);
    }
}

struct Search<'a> {
    routes: &'a [Route],
    taken: Vec<Set>,
    path: Vec<usize>,
    steps: usize,
}

/// What the routes so far take on the first bus, and what they make of it.
struct After {
    of: Set,
    change: IdChange,
}

impl After {
    /// One more route; `None` where it takes none of it.
    fn then(&self, taken: &Set, id: IdChange) -> Option<After> {
        let here = self.of.changed(self.change).common(taken);
        let there = here.changed(id);
        let after = match (self.change, id) {
            (IdChange::To(_), _) => {
                let new = there.first()?;
                After { of: self.of.clone(), change: IdChange::To(new) }
            }
            (_, IdChange::To(new)) => After { of: self.before(&here, 0), change: IdChange::To(new) },
            (_, id) => {
                let by = added(id);
                let of = self.before(&there, by);
                After { of, change: IdChange::Add(added(self.change).saturating_add(by)) }
            }
        };
        (!after.of.is_empty() && !there.is_empty()).then_some(after)
    }

    /// What becomes these identifiers by the change so far and adding `by`.
    fn before(&self, set: &Set, by: i64) -> Set {
        set.changed(IdChange::Add(added(self.change).saturating_add(by).saturating_neg())).common(&self.of)
    }

    /// An identifier that became itself.
    fn round(&self) -> Option<FrameId> {
        match self.change {
            IdChange::Keep | IdChange::Add(0) => self.of.first(),
            IdChange::To(id) => self.of.contains(id).then_some(id),
            IdChange::Add(_) => None,
        }
    }
}

fn added(change: IdChange) -> i64 {
    match change {
        IdChange::Add(n) => n,
        IdChange::Keep | IdChange::To(_) => 0,
    }
}

impl Search<'_> {
    /// An identifier that goes round from the first route of the path through later ones; `path` is then the circle.
    fn circle(&mut self, last: usize, after: &After) -> Option<FrameId> {
        let (first, bus) = (self.path[0], self.routes[last].to);
        let both = |a: usize, b: usize| written_name(&self.routes[a]) == written_name(&self.routes[b]);
        if bus == self.routes[first].from
            && (self.path.len() == 1 || !both(first, last))
            && let Some(id) = after.round()
        {
            return Some(id);
        }
        // circles with an earlier route were found from that one
        for next in first + 1..self.routes.len() {
            let there_and_back = written_name(&self.routes[next]) == written_name(&self.routes[last]);
            if self.routes[next].from != bus || there_and_back || self.path.contains(&next) {
                continue;
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return None;
            }
            let Some(after) = after.then(&self.taken[next], self.routes[next].id) else { continue };
            self.path.push(next);
            if let Some(id) = self.circle(next, &after) {
                return Some(id);
            }
            self.path.pop();
        }
        None
    }
}
