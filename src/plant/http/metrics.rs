//! The plant's data as Prometheus text, format 0.0.4, written from the store at the moment of the scrape.
//!
//! A signal has exactly one series: its value while it can be trusted, else the reason why not. A value that is late or
//! bad is left out rather than repeated, so that no graph and no alert runs on a frozen number.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::machine;
use crate::plan::{Direction, Interface, Plan, TagIndex};
use crate::plant::View;
use crate::quality::{Cause, Causes, GOOD, Trust};
use crate::sample;
use crate::store::layout::{BusState, BusWord, FLAG_FIFO, FLAG_LOCKED, FLAG_SIMULATED, LATENESS_BUCKETS, Word};
use crate::store::{Reader, Record};

/// Most series of signals in one scrape.
pub const MAX_SIGNAL_SERIES: usize = 10_000;

/// The parts of the series' names that never change in a plan, rendered once.
pub struct Metrics {
    /// Of this one.
    plan: Arc<Plan>,
    /// By bus: `{bus="…"`.
    buses: Vec<String>,
    /// By message: `{bus="…",message="…`, open at the end for `@SA`.
    messages: Vec<String>,
    /// By tag: `",signal="…"`.
    signals: Vec<String>,
    /// By tag: `,unit="…"} `.
    units: Vec<String>,
    /// What overlay tables say about a tag: `,alias="…",area="…"} 1`. A family of its own, to be joined: as labels of the
    /// value each new text would begin a new series.
    info: BTreeMap<TagIndex, String>,
}

/// One family while it grows: its samples are written in one go, several families side by side.
struct Family {
    text: String,
}

impl Family {
    fn new(name: &str, kind: &str, help: &str) -> Family {
        let mut text = String::new();
        header(&mut text, name, kind, help);
        Family { text }
    }
}

impl Metrics {
    pub fn new(plan: &Arc<Plan>) -> Metrics {
        let bus = |index: usize| format!("{{bus=\"{}\"", Escaped(&plan.buses[index].name));
        let signals = plan.tags.iter().enumerate();
        let known = (0..plan.tags.len()).filter(|tag| plan.alias(*tag).or(plan.area(*tag)).is_some());
        Metrics {
            plan: plan.clone(),
            buses: (0..plan.buses.len()).map(bus).collect(),
            messages: plan
                .messages
                .iter()
                .map(|m| format!("{},message=\"{}", bus(m.bus), Escaped(&m.message.name)))
                .collect(),
            signals: signals
                .clone()
                .map(|(tag, _)| format!("\",signal=\"{}\"", Escaped(&plan.signal(tag).name)))
                .collect(),
            units: signals.map(|(tag, _)| format!(",unit=\"{}\"}} ", Escaped(&plan.signal(tag).unit))).collect(),
            info: known
                .map(|tag| {
                    let (alias, area) = (plan.alias(tag).unwrap_or_default(), plan.area(tag).unwrap_or_default());
                    (tag, format!(",alias=\"{}\",area=\"{}\"}} 1", Escaped(alias), Escaped(area)))
                })
                .collect(),
        }
    }

    /// Whether they are of the view's plan; only then it can be rendered with them.
    pub fn fit(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.plan, &view.plan)
    }

    /// Everything. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn render(&self, view: &View, now: u64) -> String {
        self.render_at_most(view, now, MAX_SIGNAL_SERIES)
    }

    fn render_at_most(&self, view: &View, now: u64, limit: usize) -> String {
        let View { plan, reader, .. } = view;
        let causes: Vec<Causes> = (0..plan.buses.len()).map(|bus| view.bus_causes(bus, now)).collect();
        let mut out = String::with_capacity(64 * 1024);
        self.signals(&mut out, plan, reader, &causes, now, limit);
        let alive = view.alive(now);
        self.buses(&mut out, plan, reader, alive);
        self.loads(&mut out, reader, now);
        configuration(&mut out, view);
        controller(&mut out, plan, reader, alive);
        machine::write(&mut out, plan, reader, alive);
        out
    }

    fn signals(&self, out: &mut String, plan: &Plan, reader: &Reader, outer: &[Causes], now: u64, limit: usize) {
        let mut value = Family::new(
            "can_signal_value",
            "gauge",
            "Engineering value of a signal, in the unit of its label, while it can be trusted. Never sum over it.",
        );
        let mut quality = Family::new(
            "can_signal_quality",
            "gauge",
            "1 for each signal that has no trusted value, with the reason; it has no can_signal_value then.",
        );
        let mut info =
            Family::new("can_signal_info", "gauge", "1; name for people and area of a signal that has them.");
        let mut age = Family::new("can_message_age_seconds", "gauge", "Time since the last frame of a message.");
        let mut received = Family::new("can_message_received_total", "counter", "Frames received of a message.");
        let mut sent = Family::new("can_message_transmitted_total", "counter", "Frames that we sent of a message.");
        let mut counts = vec![[0u64; Cause::ALL.len() + 1]; plan.buses.len()];
        let (mut series, mut left_out) = (0, 0u64);
        for (index, message) in plan.messages.iter().enumerate() {
            for source in 0..message.sources {
                let (first, first_causes) = record(reader, message.record(source, 0), outer[message.bus]);
                // J1939: slots that no source has taken say nothing, but a message must not vanish
                if source > 0 && first.count == 0 {
                    continue;
                }
                let address = first.source_address().filter(|_| message.message.has_sources() && first.count > 0);
                let head = Head { open: &self.messages[index], address };
                if first.count > 0 {
                    let seconds = now.saturating_sub(first.received) as f64 / 1e9;
                    let _ = writeln!(age.text, "can_message_age_seconds{head}\"}} {}", Number(seconds));
                }
                let _ = match message.direction {
                    Direction::Input(_) => {
                        writeln!(received.text, "can_message_received_total{head}\"}} {}", first.count)
                    }
                    Direction::Output(_) => {
                        writeln!(sent.text, "can_message_transmitted_total{head}\"}} {}", first.count)
                    }
                };
                let groups: Vec<_> = (1..message.message.groups.len())
                    .map(|group| record(reader, message.record(source, group), outer[message.bus]))
                    .collect();
                for tag in message.tags.clone() {
                    let signal = plan.tags[tag].signal;
                    let group = message.message.signals[signal].group;
                    let (record, causes) =
                        if group == 0 { (&first, first_causes) } else { (&groups[group - 1].0, groups[group - 1].1) };
                    let marks = reader.marks(tag).causes();
                    let sample = sample::decode(&message.message, signal, record, causes.and(marks));
                    let worst = sample.causes.worst();
                    counts[message.bus][worst.map_or(Cause::ALL.len(), |cause| cause as usize)] += 1;
                    if series == limit {
                        left_out += 1;
                        continue;
                    }
                    series += 1;
                    let meaning = sample.causes.meaning();
                    let name = &self.signals[tag];
                    if let Some(words) = self.info.get(&tag) {
                        let _ = writeln!(info.text, "can_signal_info{head}{name}{words}");
                    }
                    let _ = match sample.value {
                        Some(number) if meaning.trust == Trust::Good => {
                            let unit = &self.units[tag];
                            writeln!(value.text, "can_signal_value{head}{name}{unit}{}", Number(number))
                        }
                        _ => writeln!(quality.text, "can_signal_quality{head}{name},quality=\"{}\"}} 1", meaning.label),
                    };
                }
            }
        }
        for family in [value, quality, age, received, sent] {
            out.push_str(&family.text);
        }
        if !self.info.is_empty() {
            out.push_str(&info.text);
        }
        header(out, "can_bus_signals", "gauge", "Signals of a bus by quality; each counts once, with its worst cause.");
        for (bus, counts) in self.buses.iter().zip(&counts) {
            let labels = Cause::ALL.iter().map(|cause| cause.meaning().label).chain([GOOD.label]);
            for (label, count) in labels.zip(counts) {
                let _ = writeln!(out, "can_bus_signals{bus},quality=\"{label}\"}} {count}");
            }
        }
        single(
            out,
            "canvoy_signal_series_left_out",
            "gauge",
            "Signals without a series in this scrape, because there are more than the limit of 10000.",
            left_out as f64,
        );
    }

    fn buses(&self, out: &mut String, plan: &Plan, reader: &Reader, alive: bool) {
        header(out, "can_bus_info", "gauge", "1; the Linux interface behind a bus.");
        for (bus, labels) in plan.buses.iter().zip(&self.buses) {
            let interface = match &bus.interface {
                Interface::SocketCan(name) => name,
                Interface::Virtual => "virtual",
            };
            let _ = writeln!(out, "can_bus_info{labels},interface=\"{}\",fd=\"{}\"}} 1", Escaped(interface), bus.fd);
        }
        header(
            out,
            "can_bus_state",
            "gauge",
            "1 for the state that a bus is in, 0 for the others; all 0 while the controller is gone.",
        );
        for (bus, labels) in self.buses.iter().enumerate() {
            let state = reader.bus_state(bus);
            for one in BusState::ALL {
                let set = u8::from(alive && one == state);
                let _ = writeln!(out, "can_bus_state{labels},state=\"{}\"}} {set}", one.word());
            }
        }
        for (name, kind, word, help) in BUS_FAMILIES {
            header(out, name, kind, help);
            for (bus, labels) in self.buses.iter().enumerate() {
                let _ = writeln!(out, "{name}{labels}}} {}", reader.bus(bus, *word));
            }
        }
    }

    fn loads(&self, out: &mut String, reader: &Reader, now: u64) {
        let buses = || self.buses.iter().enumerate();
        let name = "can_bus_load_ratio";
        header(out, name, "gauge", "Share of the last second that frames had the bus; none while that is not known.");
        for (bus, labels) in buses() {
            if let Ok(load) = reader.load(bus, now) {
                let _ = writeln!(out, "{name}{labels}}} {}", Number(load));
            }
        }
        let name = "can_bus_load_peak_ratio";
        header(out, name, "gauge", "Highest load of a second since the start of the controller.");
        for (bus, labels) in buses() {
            if let Some((load, _)) = reader.load_peak(bus) {
                let _ = writeln!(out, "{name}{labels}}} {}", Number(load));
            }
        }
        let name = "can_bus_busy_seconds_total";
        header(out, name, "counter", "Time that frames had the bus, as far as its bit rate was known.");
        for (bus, labels) in buses() {
            let busy = reader.bus(bus, BusWord::BusyTime) as f64 / 1e9;
            let _ = writeln!(out, "{name}{labels}}} {}", Number(busy));
        }
    }
}

/// One word of the store each: name, type, word, help.
const BUS_FAMILIES: &[(&str, &str, BusWord, &str)] = &[
    ("can_bus_received_frames_total", "counter", BusWord::ReceivedFrames, "Frames received."),
    ("can_bus_received_bytes_total", "counter", BusWord::ReceivedBytes, "Payload bytes received."),
    ("can_bus_transmitted_frames_total", "counter", BusWord::TransmittedFrames, "Frames sent."),
    ("can_bus_transmitted_bytes_total", "counter", BusWord::TransmittedBytes, "Payload bytes sent."),
    (
        "can_bus_transmit_dropped_total",
        "counter",
        BusWord::TransmitDropped,
        "Frames due that were not sent, for any reason; the reasons are counted apart.",
    ),
    ("can_bus_transmit_stale_total", "counter", BusWord::TransmitStale, "Not sent: waited too long."),
    ("can_bus_transmit_overflow_total", "counter", BusWord::TransmitOverflow, "Not sent: our queue was full."),
    (
        "can_bus_transmit_no_bus_total",
        "counter",
        BusWord::TransmitNoBus,
        "Not sent: bus down, off, gone or in quarantine.",
    ),
    ("can_bus_transmit_refused_total", "counter", BusWord::TransmitRefused, "Not sent: refused by the kernel."),
    (
        "can_bus_transmit_busy_total",
        "counter",
        BusWord::TransmitBusy,
        "Times the interface's queue was full (ENOBUFS).",
    ),
    (
        "can_bus_transmit_replaced_total",
        "counter",
        BusWord::TransmitReplaced,
        "Waiting frames that a newer one of the same message replaced; not a loss.",
    ),
    (
        "can_bus_transmit_withdrawn_total",
        "counter",
        BusWord::TransmitWithdrawn,
        "Waiting frames whose message was stopped or went silent; not a loss.",
    ),
    ("can_bus_transmit_waiting", "gauge", BusWord::TransmitWaiting, "Frames that wait to be sent."),
    ("can_bus_restarts_total", "counter", BusWord::Restarts, "Restarts after bus-off."),
    (
        "can_bus_lost_frames_total",
        "counter",
        BusWord::LostFrames,
        "Received frames that the kernel dropped because the socket's buffer was full.",
    ),
    (
        "can_bus_controller_overflows_total",
        "counter",
        BusWord::ControllerOverflows,
        "Times the CAN controller reported lost frames.",
    ),
    (
        "can_bus_unknown_frames_total",
        "counter",
        BusWord::UnknownFrames,
        "Frames that no DBC file of the bus describes.",
    ),
    ("can_bus_short_frames_total", "counter", BusWord::ShortFrames, "Frames shorter than their DBC file says."),
    ("can_bus_error_frames_total", "counter", BusWord::ErrorFrames, "Error frames received."),
    ("can_bus_off_total", "counter", BusWord::BusOffs, "Times the CAN controller left the bus (bus off)."),
    (
        "can_bus_interface_losses_total",
        "counter",
        BusWord::InterfaceLosses,
        "Times the interface went down or was removed.",
    ),
    (
        "can_bus_transmit_errors",
        "gauge",
        BusWord::TransmitErrors,
        "Transmit error counter of the CAN controller, where its driver tells.",
    ),
    (
        "can_bus_receive_errors",
        "gauge",
        BusWord::ReceiveErrors,
        "Receive error counter of the CAN controller, where its driver tells.",
    ),
];

/// Which configuration is in force, and since when.
fn configuration(out: &mut String, view: &View) {
    header(out, "canvoy_configuration_info", "gauge", "1; first digits of the hash of the configuration in force.");
    let _ = writeln!(out, "canvoy_configuration_info{{hash=\"{}\"}} 1", view.plan.short_hash());
    single(
        out,
        "canvoy_configuration_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in force was put in force, in seconds since 1970.",
        // below 2^53, so that it is the decimal that was meant
        (view.since / 1000) as f64 / 1e6,
    );
}

fn controller(out: &mut String, plan: &Plan, reader: &Reader, alive: bool) {
    let flags = reader.get(Word::Flags);
    let flag = |bit: u64| if flags & bit != 0 { 1.0 } else { 0.0 };
    let any_virtual = plan.buses.iter().any(|bus| bus.interface == Interface::Virtual);
    let simulated = plan.simulated || any_virtual || flags & FLAG_SIMULATED != 0;
    single(
        out,
        "canvoy_controller_up",
        "gauge",
        "1 while the controller process is connected and its real-time loop turns.",
        if alive { 1.0 } else { 0.0 },
    );
    single(
        out,
        "canvoy_controller_start_time_seconds",
        "gauge",
        "Start of the controller process, in seconds since 1970.",
        reader.get(Word::StartedRealtime) as f64 / 1e9,
    );
    single(
        out,
        "canvoy_simulated",
        "gauge",
        "1 when devices on any bus are simulated: there is no machine behind their values.",
        if simulated { 1.0 } else { 0.0 },
    );
    single(
        out,
        "canvoy_controller_fifo",
        "gauge",
        "1 when the real-time thread runs under SCHED_FIFO.",
        flag(FLAG_FIFO),
    );
    single(
        out,
        "canvoy_controller_memory_locked",
        "gauge",
        "1 when the controller's memory is locked.",
        flag(FLAG_LOCKED),
    );
    for (name, word, help) in [
        ("canvoy_loop_turns_total", Word::Turns, "Turns of the controller's real-time loop."),
        ("canvoy_transmit_overruns_total", Word::Overruns, "Cyclic frames that left later than half of their period."),
        ("canvoy_writes_total", Word::Writes, "Writes from the plant that the controller applied."),
        (
            "canvoy_sources_dropped_total",
            Word::SourcesDropped,
            "J1939 frames of a source address for which no record was left.",
        ),
    ] {
        single(out, name, "counter", help, reader.get(word) as f64);
    }
    let name = "canvoy_timer_lateness_seconds";
    header(out, name, "histogram", "How late the real-time thread served a deadline.");
    let mut total = 0;
    for (bucket, count) in reader.lateness().into_iter().enumerate() {
        total += count;
        // the last bucket has no upper end
        if bucket + 1 < LATENESS_BUCKETS {
            // bucket n ends at 2^(n+1) microseconds
            let end = (1u64 << (bucket + 1)) as f64 / 1e6;
            let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {total}", Number(end));
        }
    }
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum {}", Number(reader.get(Word::LatenessSum) as f64 / 1e9));
    let _ = writeln!(out, "{name}_count {total}");
}

/// A record and its causes. One that the writer left half written has no content.
fn record(reader: &Reader, index: usize, outer: Causes) -> (Record, Causes) {
    match reader.record(index) {
        Some(record) => (record, outer),
        None => (Record::EMPTY, outer.with(Cause::ControllerGone)),
    }
}

pub(super) fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    // writing into a String can't fail
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(super) fn single(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    header(out, name, kind, help);
    let _ = writeln!(out, "{name} {}", Number(value));
}

/// `{bus="…",message="…`, with the source address of a J1939 message.
struct Head<'a> {
    open: &'a str,
    address: Option<u8>,
}

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.open)?;
        self.address.map_or(Ok(()), |address| write!(f, "@{address}"))
    }
}

/// The shortest text that reads back as the same number.
pub(super) struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            x if x == f64::INFINITY => f.write_str("+Inf"),
            x if x == f64::NEG_INFINITY => f.write_str("-Inf"),
            x if x.is_nan() => f.write_str("NaN"),
            // `{}` writes large numbers without an exponent, up to 300 digits
            x if x.abs() < 1e15 && (x.abs() >= 1e-4 || x == 0.0) => write!(f, "{x}"),
            x => write!(f, "{x:e}"),
        }
    }
}

/// A label's value: backslash, quote and line feed escaped (exposition formats, "Comments, help text, and type information").
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Example, NOW};
    use super::*;

    fn check(page: &str, want: &[&str], never: &[&str]) {
        for line in want {
            assert!(page.lines().any(|l| l == *line), "no line {line} in\n{page}");
        }
        for part in never {
            assert!(!page.contains(part), "{part} in\n{page}");
        }
    }

    #[test]
    fn a_signal_has_its_value_or_the_reason_why_not() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        example.frame("line.EEC1", 0, 0, 0x8CF0_0421, &[0x10]);
        example.frame("line.EEC1", 1, 0, 0x8CF0_0422, &[0xFF]);
        let page = Metrics::new(&example.plan).render(&example.plant.view(), NOW);
        check(
            &page,
            &[
                r#"can_signal_value{bus="line",message="DriveStatus",signal="ActualSpeed",unit="1/min"} 1500"#,
                r#"can_signal_value{bus="line",message="DriveStatus",signal="Mode",unit=""} 2"#,
                r#"can_signal_quality{bus="line",message="Odd",signal="Quoted",quality="never_received"} 1"#,
                r#"can_signal_value{bus="line",message="EEC1@33",signal="Load",unit="%"} 16"#,
                r#"can_signal_quality{bus="line",message="EEC1@34",signal="Load",quality="not_available"} 1"#,
                r#"can_signal_quality{bus="cell",message="Robot",signal="Axis",quality="never_received"} 1"#,
                r#"can_signal_info{bus="line",message="DriveStatus",signal="ActualSpeed",alias="Drive <1>",area="Hall \"2\""} 1"#,
                r#"can_signal_info{bus="line",message="EEC1@34",signal="Load",alias="",area="Cellar"} 1"#,
                r#"can_message_age_seconds{bus="line",message="DriveStatus"} 0.25"#,
                r#"can_message_received_total{bus="line",message="DriveStatus"} 1"#,
                r#"can_message_received_total{bus="line",message="Odd"} 0"#,
                r#"can_message_transmitted_total{bus="line",message="DriveCommand"} 0"#,
                r#"can_bus_info{bus="line",interface="can0",fd="false"} 1"#,
                r#"can_bus_info{bus="cell",interface="virtual",fd="true"} 1"#,
                r#"can_bus_state{bus="line",state="active"} 1"#,
                r#"can_bus_state{bus="line",state="bus_off"} 0"#,
                r#"can_bus_signals{bus="line",quality="good"} 3"#,
                "canvoy_controller_up 1",
                r#"canvoy_configuration_info{hash="abababababab"} 1"#,
                "canvoy_configuration_last_reload_success_timestamp_seconds 1767323045.25",
                "canvoy_signal_series_left_out 0",
            ],
            &["can_message_age_seconds{bus=\"line\",message=\"Odd\"}"],
        );
    }

    #[test]
    fn late_and_bad_values_are_left_out() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        example.causes("line.DriveStatus", Causes::of(Cause::Late));
        let metrics = Metrics::new(&example.plan);
        let late = r#"can_signal_quality{bus="line",message="DriveStatus",signal="ActualSpeed",quality="late"} 1"#;
        check(&metrics.render(&example.plant.view(), NOW), &[late], &["can_signal_value{"]);
        // 40000 * 0.5 is above the DBC's maximum
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0x40, 0x9C, 2]);
        let range = late.replace("late", "out_of_range");
        check(&metrics.render(&example.plant.view(), NOW), &[&range], &["signal=\"ActualSpeed\",unit"]);
        example.plant.disconnect();
        let gone = late.replace("late", "controller_gone");
        let page = metrics.render(&example.plant.view(), NOW);
        let state = r#"can_bus_state{bus="line",state="active"} 0"#;
        check(&page, &[&gone, "canvoy_controller_up 0", state], &["can_signal_value{"]);
    }

    #[test]
    fn a_load_is_shown_while_it_is_known() {
        let mut example = Example::new();
        let metrics = Metrics::new(&example.plan);
        let never = ["can_bus_load_ratio{", "can_bus_load_peak_ratio{"];
        let idle = r#"can_bus_busy_seconds_total{bus="line"} 0"#;
        check(&metrics.render(&example.plant.view(), NOW), &[idle], &never);
        example.writer.set_bus_state(0, BusState::Active, 1);
        let words =
            [(BusWord::Load, 342_500), (BusWord::LoadAt, 7), (BusWord::LoadPeak, 1_020_000), (BusWord::LoadPeakAt, 8)];
        words.into_iter().for_each(|(word, value)| example.writer.set_bus(0, word, value));
        example.writer.set_bus(0, BusWord::BusyTime, 12_500_000_000);
        let load = r#"can_bus_load_ratio{bus="line"} 0.3425"#;
        let peak = r#"can_bus_load_peak_ratio{bus="line"} 1.02"#;
        let busy = r#"can_bus_busy_seconds_total{bus="line"} 12.5"#;
        check(&metrics.render(&example.plant.view(), NOW), &[load, peak, busy], &["ratio{bus=\"cell\""]);
        example.writer.set_bus_state(0, BusState::BusOff, 2);
        check(&metrics.render(&example.plant.view(), NOW), &[peak, busy], &never[..1]);
    }

    #[test]
    fn labels_are_escaped() {
        let mut example = Example::new();
        example.frame("line.Odd", 0, 0, 0x10, &[7]);
        let page = Metrics::new(&example.plan).render(&example.plant.view(), NOW);
        check(&page, &[r#"can_signal_value{bus="line",message="Odd",signal="Quoted",unit="\"<b>\\\n°"} 7"#], &[]);
    }

    #[test]
    fn names_are_made_anew_for_another_plan() {
        let example = Example::new();
        let metrics = Metrics::new(&example.plan);
        let mut view = crate::plant::View::clone(&example.plant.view());
        assert!(metrics.fit(&view));
        view.plan = Arc::new(Plan::clone(&example.plan));
        assert!(!metrics.fit(&view));
    }

    #[test]
    fn simulated_values_are_values() {
        let mut example = Example::new();
        example.frame("cell.Robot", 0, 0, 0x20, &[1]);
        let page = Metrics::new(&example.plan).render(&example.plant.view(), NOW);
        let value = r#"can_signal_value{bus="cell",message="Robot",signal="Axis",unit="°"} 1"#;
        check(&page, &[value, r#"can_bus_signals{bus="cell",quality="simulated"} 1"#], &[]);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let example = Example::new();
        let page = Metrics::new(&example.plan).render_at_most(&example.plant.view(), NOW, 2);
        let series = |line: &&str| line.starts_with("can_signal_value") || line.starts_with("can_signal_quality");
        assert_eq!(page.lines().filter(series).count(), 2);
        check(&page, &["canvoy_signal_series_left_out 4"], &[]);
    }

    #[test]
    fn lateness_is_a_histogram() {
        let mut example = Example::new();
        for nanoseconds in [0, 1_500, 3_000, 70_000_000_000] {
            example.writer.lateness(nanoseconds);
        }
        let page = Metrics::new(&example.plan).render(&example.plant.view(), NOW);
        check(
            &page,
            &[
                r#"canvoy_timer_lateness_seconds_bucket{le="2e-6"} 2"#,
                r#"canvoy_timer_lateness_seconds_bucket{le="4e-6"} 3"#,
                r#"canvoy_timer_lateness_seconds_bucket{le="+Inf"} 4"#,
                "canvoy_timer_lateness_seconds_sum 70.0000045",
                "canvoy_timer_lateness_seconds_count 4",
            ],
            &[],
        );
    }

    #[test]
    fn numbers_read_back() {
        for (number, text) in
            [(0.0, "0"), (-1.5, "-1.5"), (1e300, "1e300"), (2e-6, "2e-6"), (0.1 + 0.2, "0.30000000000000004")]
        {
            assert_eq!(Number(number).to_string(), text);
            assert_eq!(text.parse::<f64>(), Ok(number));
        }
        assert_eq!(Number(f64::INFINITY).to_string(), "+Inf");
    }
}
