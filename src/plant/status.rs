//! What a person watches in one line: frames a second of each bus, a few signals, clients, what is late.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::TagIndex;
use crate::plant::{Plant, text};
use crate::quality::Cause;
use crate::store::layout::{BusState, BusWord};

/// Rates, sampled once a second, and what the servers count.
#[derive(Debug, Default)]
pub struct Status {
    /// By bus, frames in tenths a second, received and sent; [`UNKNOWN`] before the first sample.
    rates: Vec<AtomicU64>,
    /// Signals to show.
    watched: Vec<TagIndex>,
}

const UNKNOWN: u64 = u64::MAX;

/// Counters at one moment, to compare with the next.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// CLOCK_MONOTONIC nanoseconds.
    now: u64,
    frames: Vec<u64>,
}

impl Status {
    /// `watched`: tags to show; names that the plan does not have come back as the error.
    pub fn new(plant: &Plant, watched: &[String]) -> Result<Status, Vec<String>> {
        let find = |name: &String| {
            let bare = |tag: &TagIndex| {
                let full = plant.plan.tag_name(*tag, None);
                full == *name || full.split_once('.').is_some_and(|(_, rest)| rest == name)
            };
            (0..plant.plan.tags.len()).find(bare).ok_or_else(|| name.clone())
        };
        let (found, missing): (Vec<_>, Vec<_>) = watched.iter().map(find).partition(Result::is_ok);
        if !missing.is_empty() {
            return Err(missing.into_iter().filter_map(Result::err).collect());
        }
        let rates = plant.plan.buses.iter().map(|_| AtomicU64::new(UNKNOWN)).collect();
        let watched = found.into_iter().flatten().collect();
        Ok(Status { rates, watched })
    }

    /// Takes the rates since `before`; what comes back is the next `before`. `now`: CLOCK_MONOTONIC.
    pub fn sample(&self, plant: &Plant, before: &Counters, now: u64) -> Counters {
        let reader = plant.reader();
        let of_bus = |bus| reader.bus(bus, BusWord::ReceivedFrames) + reader.bus(bus, BusWord::TransmittedFrames);
        let after = Counters { now, frames: (0..self.rates.len()).map(of_bus).collect() };
        let elapsed = now.saturating_sub(before.now);
        for ((rate, after), before) in self.rates.iter().zip(&after.frames).zip(&before.frames) {
            // a new controller counts from 0 again
            let frames = after.saturating_sub(*before) as u128;
            let tenths = (frames * 10_000_000_000 + u128::from(elapsed) / 2).checked_div(elapsed.into()).unwrap_or(0);
            rate.store(tenths as u64, Ordering::Relaxed);
        }
        after
    }

    /// Frames a second on a bus, both directions; `None` before two samples have been taken.
    pub fn rate(&self, bus: usize) -> Option<f64> {
        let tenths = self.rates.get(bus)?.load(Ordering::Relaxed);
        (tenths != UNKNOWN).then_some(tenths as f64 / 10.0)
    }

    /// `line 412 frames/s · DriveStatus.ActualSpeed 1480 rpm · OPC UA 2 sessions · 0 late`.
    pub fn line(&self, plant: &Plant, now: u64) -> String {
        if !plant.alive(now) {
            return "controller gone: every value is bad until it is back".into();
        }
        let reader = plant.reader();
        let mut line = String::new();
        for (index, bus) in plant.plan.buses.iter().enumerate() {
            let name = &bus.name;
            // writing into a String can't fail
            let rate = self.rate(index).map_or_else(|| "–".into(), |rate| format!("{rate:.0}"));
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
        for tag in &self.watched {
            let signal = plant.plan.signal(*tag);
            let sample = plant.sample(*tag, 0, now);
            let message = &plant.plan.messages[plant.plan.tags[*tag].message].message.name;
            let shown = text::value(signal, &sample);
            let _ = write!(line, "{message}.{} {shown} {}", signal.name, signal.unit);
            line.truncate(line.trim_end().len());
            line.push_str(" · ");
        }
        let sessions = plant.opcua_sessions.load(Ordering::Relaxed);
        let plural = if sessions == 1 { "" } else { "s" };
        let _ = write!(line, "OPC UA {sessions} session{plural} · {} late", late(plant));
        line
    }
}

/// Messages whose deadline has passed.
fn late(plant: &Plant) -> usize {
    let reader = plant.reader();
    let is_late = |record: usize| reader.record(record).is_some_and(|r| r.causes.contains(Cause::Late));
    let messages = plant.plan.messages.iter();
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
        let status = Status::new(&example.plant, &watched).unwrap();
        assert!(status.line(&example.plant, NOW).starts_with("line – frames/s · cell – frames/s · "));
        let before = status.sample(&example.plant, &Counters::default(), NOW);
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        example.writer.add_bus(0, BusWord::ReceivedFrames, 300);
        example.writer.add_bus(0, BusWord::TransmittedFrames, 112);
        example.writer.set_bus_state(1, BusState::BusOff, 1);
        status.sample(&example.plant, &before, NOW + 1_000_000_000);
        example.plant.opcua_sessions.store(1, Ordering::Relaxed);
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
    fn a_watched_tag_must_exist() {
        let example = Example::new();
        let watched = ["line.DriveStatus.Mode".to_owned(), "line.Nothing.Here".to_owned()];
        assert_eq!(Status::new(&example.plant, &watched).unwrap_err(), ["line.Nothing.Here"]);
    }
}
