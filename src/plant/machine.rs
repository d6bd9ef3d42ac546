//! How the machine side is at one moment: alarms, arming, forces, routes, times against their budgets. The page, the metrics and
//! `canvoy status` show the same.

use serde::Serialize;

use super::active::{self, ActiveAlarm};
use super::text;
use crate::dbc::Raw;
use crate::plan::{Plan, Timed};
use crate::store::Reader;
use crate::store::layout::{RouteWord, Word};

/// Everything but the buses and the signals.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub armed: bool,
    /// When that changed; `null`: never, or the clock was not set then.
    pub armed_since: Option<String>,
    /// Remote: the plant may write, arm and force.
    pub remote: bool,
    /// A time service keeps the clock; `null`: not known.
    pub clock_synchronized: Option<bool>,
    /// Seconds by which the clock may be wrong.
    pub clock_max_error: Option<f64>,
    /// Commands that were refused because they did not belong to the door that they came through.
    pub wrong_door: u64,
    /// Behind each what follows from it.
    pub alarms: Vec<ActiveAlarm>,
    pub forces: Vec<Force>,
    pub routes: Vec<Route>,
    /// Of what was used so far.
    pub times: Vec<Times>,
}

#[derive(Debug, Serialize)]
pub struct Force {
    pub tag: String,
    /// In the signal's unit; `null` for infinity and NaN.
    pub value: Option<f64>,
    pub seconds_left: f64,
}

#[derive(Debug, Serialize)]
pub struct Route {
    pub name: String,
    /// Not switched off by the storm detector or by command.
    pub on: bool,
    pub passed: u64,
    pub rate_limited: u64,
    /// Did not fit: format, length, identifier.
    pub unfit: u64,
    /// Came while the route was off.
    pub off: u64,
    /// Lost in the transmit queue.
    pub not_sent: u64,
}

impl Route {
    pub fn dropped(&self) -> u64 {
        self.rate_limited + self.unfit + self.off + self.not_sent
    }
}

/// Microseconds, but for the counts.
#[derive(Debug, Serialize)]
pub struct Times {
    /// `route`, `link`, `cycle`.
    pub kind: &'static str,
    pub name: String,
    pub budget_us: f64,
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// How many were above the budget.
    pub overruns: u64,
}

/// The kind and the name of what keeps a time.
pub fn timed(plan: &Plan, of: Timed) -> (&'static str, String) {
    match of {
        Timed::Route(route) => ("route", plan.routes[route].name.clone()),
        Timed::Link(link) => ("link", plan.links[link].name.clone()),
        Timed::Cycle(message) => ("cycle", plan.message_name(message, None)),
    }
}

impl Machine {
    /// `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn take(plan: &Plan, reader: &Reader, now: u64) -> Machine {
        let forces = reader.forces().filter(|force| force.tag < plan.tags.len()).map(|force| {
            let codec = &plan.signal(force.tag).codec;
            let value = codec.engineering(Raw::from_bits(codec.kind, force.bits));
            Force {
                tag: plan.tag_name(force.tag, None),
                value: value.is_finite().then_some(value),
                seconds_left: force.until.saturating_sub(now) as f64 / 1e9,
            }
        });
        let routes = plan.routes.iter().enumerate().map(|(index, route)| {
            let count = |word| reader.route(index, word);
            Route {
                name: route.name.clone(),
                on: count(RouteWord::Stopped) == 0,
                passed: count(RouteWord::Passed),
                rate_limited: count(RouteWord::RateLimited),
                unfit: count(RouteWord::Unfit),
                off: count(RouteWord::Off),
                not_sent: count(RouteWord::NotSent),
            }
        });
        Machine {
            armed: reader.get(Word::Armed) == 1,
            armed_since: text::known_time(reader.get(Word::ArmedSince)),
            remote: reader.get(Word::Remote) == 1,
            clock_synchronized: reader.clock().map(|clock| clock.synchronized),
            clock_max_error: reader.clock().map(|clock| clock.max_error as f64 / 1e9),
            wrong_door: reader.wrong_door(),
            alarms: active::take(plan, reader),
            forces: forces.collect(),
            routes: routes.collect(),
            times: times(plan, reader),
        }
    }
}

fn times(plan: &Plan, reader: &Reader) -> Vec<Times> {
    let contracts = plan.contracts.iter().enumerate().map(|(index, contract)| (contract, reader.contract(index)));
    let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    contracts
        .filter(|(_, times)| times.count > 0)
        .map(|(contract, times)| {
            let (kind, name) = timed(plan, contract.of);
            let quantile = |share| us(times.quantile(share).unwrap_or(times.max));
            Times {
                kind,
                name,
                budget_us: us(contract.budget),
                count: times.count,
                mean_us: us(times.sum) / times.count as f64,
                p50_us: quantile(0.5),
                p99_us: quantile(0.99),
                p999_us: quantile(0.999),
                max_us: us(times.max),
                overruns: times.overruns,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Alarm;
    use crate::plant::http::tests::{Example, NOW};
    use crate::store::layout::Latch;

    #[test]
    fn what_is_wrong_is_said_with_its_reason_and_time() {
        let mut example = Example::new();
        let plan = example.plan.clone();
        let take = |example: &Example| Machine::take(&plan, &example.plant.view().reader, NOW);
        assert!(take(&example).alarms.is_empty() && take(&example).times.is_empty());
        let message = plan.messages.iter().position(|m| m.message.name == "DriveCommand").unwrap();
        let alarm = plan.alarm(Alarm::Fallback(message)).unwrap();
        let latches = Latch::Vital as u64 | Latch::Lease as u64;
        example.writer.alarm(alarm, true, latches, 1_767_323_045_250_000_000);
        let tag = plan.messages[message].tags.start;
        example.writer.set_force(3, tag, NOW + 2_500_000_000, 20);
        let contract = plan.contract(Timed::Cycle(message)).unwrap();
        for time in [1_500, 1_500, 9_000_000] {
            example.writer.contract(contract, time, 1_000_000, 7);
        }
        let machine = take(&example);
        let [alarm] = &machine.alarms[..] else { panic!("{machine:?}") };
        assert_eq!(
            (alarm.subject.as_str(), alarm.since.as_deref()),
            ("line.DriveCommand", Some("2026-01-02T03:04:05.250Z"))
        );
        assert!(alarm.detail.contains("not good") && alarm.detail.contains("lease"), "{}", alarm.detail);
        let [force] = &machine.forces[..] else { panic!("{machine:?}") };
        assert_eq!(
            (force.tag.as_str(), force.value, force.seconds_left),
            ("line.DriveCommand.Setpoint", Some(10.0), 2.5)
        );
        let [times] = &machine.times[..] else { panic!("{machine:?}") };
        assert_eq!((times.kind, times.count, times.overruns, times.max_us), ("cycle", 3, 1, 9000.0));
        assert!((1.5..2.0).contains(&times.p50_us), "{}", times.p50_us);
        example.writer.alarm(plan.alarm(Alarm::Fallback(message)).unwrap(), false, 0, 9);
        assert!(take(&example).alarms.is_empty());
    }
}
