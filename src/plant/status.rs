//! What a person watches in one line: frames a second of each bus, a few signals, clients, what is late.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use crate::plan::{Message, Plan, TagIndex};
use crate::plant::figure::Figure;
use crate::plant::{Plant, View, text};
use crate::quality::Cause;
use crate::store::layout::{BusState, BusWord};

/// Rates, sampled once a second, and what the servers count.
#[derive(Debug, Default)]
pub struct Status {
    /// Frames a second of each bus, received and sent; none before two samples. By name: a reload moves indices.
    rates: Mutex<Arc<HashMap<String, f64>>>,
    /// Names of the signals to show.
    watched: Vec<String>,
}

/// Counters at one moment, to compare with the next.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// CLOCK_MONOTONIC nanoseconds.
    now: u64,
    /// By bus.
    frames: HashMap<String, u64>,
}

impl Status {
    /// `watched`: tags to show; names that the plan does not have come back as the error.
    pub fn new(plan: &Plan, watched: &[String]) -> Result<Status, Vec<String>> {
        let missing: Vec<String> = watched.iter().filter(|name| find(plan, name).is_none()).cloned().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(Status { rates: Mutex::default(), watched: watched.to_vec() })
    }

    /// Takes the rates since `before`; what comes back is the next `before`. `now`: CLOCK_MONOTONIC.
    pub fn sample(&self, view: &View, before: &Counters, now: u64) -> Counters {
        let View { plan, reader, .. } = view;
        let of_bus = |bus| reader.bus(bus, BusWord::ReceivedFrames) + reader.bus(bus, BusWord::TransmittedFrames);
        let frames: HashMap<String, u64> =
            plan.buses.iter().enumerate().map(|(index, bus)| (bus.name.clone(), of_bus(index))).collect();
        let elapsed = now.saturating_sub(before.now);
        let rates = frames.iter().filter_map(|(name, after)| {
            // a new controller counts from 0 again
            let frames = after.saturating_sub(*before.frames.get(name)?) as u128;
            let tenths = (frames * 10_000_000_000 + u128::from(elapsed) / 2).checked_div(elapsed.into()).unwrap_or(0);
            Some((name.clone(), tenths as f64 / 10.0))
        });
        *self.rates.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(rates.collect());
        Counters { now, frames }
    }

    fn rates(&self) -> Arc<HashMap<String, f64>> {
        self.rates.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Frames a second on a bus, both directions; `None` before two samples have been taken.
    pub fn rate(&self, bus: &str) -> Option<f64> {
        self.rates().get(bus).copied()
    }

    /// `line 412 frames/s · DriveStatus.ActualSpeed 1480 rpm · OPC UA 2 sessions · 0 late`.
    pub fn line(&self, plant: &Plant, now: u64) -> String {
        let view = plant.view();
        if !view.alive(now) {
            return "controller gone: every value is bad until it is back".into();
        }
        let View { plan, reader, .. } = &*view;
        let mut line = String::new();
        for (index, bus) in plan.buses.iter().enumerate() {
            let name = &bus.name;
            // writing into a String can't fail
            let rate = self.rate(name).map_or_else(|| "–".into(), |rate| format!("{rate:.0}"));
            let _ = match reader.bus_state(index) {
                BusState::Active => write!(line, "{name} {rate} frames/s · "),
                state @ (BusState::Warning | BusState::Passive) => {
                    write!(line, "{name} {rate} frames/s, error-{} · ", state.word())
                }
                BusState::Gone => write!(line, "{name} interface gone · "),
                BusState::Down => write!(line, "{name} interface down · "),
                BusState::BusOff => write!(line, "{name} BUS OFF · "),
            };
        }
        for name in &self.watched {
            let Some(tag) = find(plan, name) else {
                // since a reload
                let _ = write!(line, "{name} not configured · ");
                continue;
            };
            let signal = plan.signal(tag);
            let sample = view.sample(tag, 0, now);
            let message = &plan.messages[plan.tags[tag].message].message.name;
            let shown = text::value(signal, &sample);
            let _ = write!(line, "{message}.{} {shown} {}", signal.name, signal.unit);
            line.truncate(line.trim_end().len());
            line.push_str(" · ");
        }
        let sessions = plant.figures.get(Figure::Sessions);
        let plural = if sessions == 1 { "" } else { "s" };
        let _ = write!(line, "OPC UA {sessions} session{plural} · {} late", late(&view));
        line
    }
}

/// The tag `bus.Message.Signal`, or `Message.Signal` of the first bus that has one.
fn find(plan: &Plan, name: &str) -> Option<TagIndex> {
    let (path, signal) = name.rsplit_once('.')?;
    let (bus, message) = path.split_once('.').map_or((None, path), |(bus, message)| (Some(bus), message));
    let of_message = |candidate: &&Message| {
        candidate.message.name == message && bus.is_none_or(|bus| plan.buses[candidate.bus].name == bus)
    };
    plan.messages
        .iter()
        .filter(of_message)
        .flat_map(|candidate| candidate.tags.clone())
        .find(|tag| plan.signal(*tag).name == signal)
}

/// Messages whose deadline has passed.
fn late(view: &View) -> usize {
    let is_late = |record: usize| view.reader.record(record).is_some_and(|r| r.causes.contains(Cause::Late));
    let messages = view.plan.messages.iter();
    messages.map(|m| (0..m.sources).filter(|source| is_late(m.record(*source, 0))).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::http::tests::{Example, NOW};
    use crate::quality::Causes;

    #[test]
    fn one_line_says_what_is_going_on() {
        let mut example = Example::new();
        let watched = ["line.DriveStatus.ActualSpeed".to_owned(), "DriveStatus.Mode".to_owned()];
        let status = Status::new(&example.plan, &watched).unwrap();
        assert!(status.line(&example.plant, NOW).starts_with("line – frames/s · cell – frames/s · "));
        let before = status.sample(&example.plant.view(), &Counters::default(), NOW);
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        example.writer.add_bus(0, BusWord::ReceivedFrames, 300);
        example.writer.add_bus(0, BusWord::TransmittedFrames, 112);
        example.writer.set_bus_state(1, BusState::BusOff, 1);
        status.sample(&example.plant.view(), &before, NOW + 1_000_000_000);
        example.plant.figures.set(Figure::Sessions, 1);
        assert_eq!(
            status.line(&example.plant, NOW),
            "line 412 frames/s · cell BUS OFF · DriveStatus.ActualSpeed 1500.0 1/min · \
             DriveStatus.Mode Running <fast> (2) · OPC UA 1 session · 0 late"
        );
        example.causes("line.DriveStatus", Causes::of(Cause::Late));
        assert!(status.line(&example.plant, NOW).ends_with("1 late"));
        example.plant.disconnect();
        assert!(status.line(&example.plant, NOW).starts_with("controller gone"));
    }

    #[test]
    fn rates_go_on_over_a_reload_that_moves_buses() {
        let (mut before, mut after) = (Example::new(), Example::new());
        let status = Status::new(&before.plan, &["line.DriveStatus.Mode".into()]).unwrap();
        before.writer.add_bus(0, BusWord::ReceivedFrames, 300);
        let counted = status.sample(&before.plant.view(), &Counters::default(), NOW);
        let mut view = View::clone(&after.plant.view());
        let mut plan = Plan::clone(&after.plan);
        plan.buses.swap(0, 1);
        view.plan = Arc::new(plan);
        // `line`, which counted 300 as bus 0
        after.writer.add_bus(1, BusWord::ReceivedFrames, 312);
        status.sample(&view, &counted, NOW + 1_000_000_000);
        assert_eq!((status.rate("line"), status.rate("cell"), status.rate("new")), (Some(12.0), Some(0.0), None));
        view.plan = Arc::new(Plan::default());
        before.plant.connect(view);
        assert!(status.line(&before.plant, NOW).starts_with("line.DriveStatus.Mode not configured · "));
    }

    #[test]
    fn a_watched_tag_must_exist() {
        let example = Example::new();
        let watched = ["line.DriveStatus.Mode".to_owned(), "line.Nothing.Here".to_owned()];
        assert_eq!(Status::new(&example.plan, &watched).unwrap_err(), ["line.Nothing.Here"]);
    }
}
