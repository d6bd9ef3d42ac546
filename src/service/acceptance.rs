//! An acceptance run: what the machine side did in a stretch of time, against its budgets, on this computer, as a report.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::plan::{Direction, Interface, Plan, Timed};
use crate::plant::machine::timed;
use crate::plant::text;
use crate::store::Reader;
use crate::store::layout::{BUCKETS, BusWord, FLAG_FIFO, FLAG_LOCKED, Word, bucket_end};
use crate::store::reader::Times;

/// Counters of the store at one moment.
pub struct Counters {
    /// CLOCK_REALTIME and CLOCK_MONOTONIC nanoseconds.
    realtime: u64,
    monotonic: u64,
    contracts: Vec<Times>,
    buses: Vec<[u64; BUS.len()]>,
}

/// What is compared of a bus. Those marked true must not grow.
const BUS: [(BusWord, &str, bool); 12] = [
    (BusWord::ReceivedFrames, "received", false),
    (BusWord::TransmittedFrames, "sent", false),
    (BusWord::LostFrames, "lost: socket full", true),
    (BusWord::ControllerOverflows, "lost: controller overflow", true),
    (BusWord::TransmitStale, "not sent: waited too long", true),
    (BusWord::TransmitOverflow, "not sent: queue full", true),
    (BusWord::TransmitNoBus, "not sent: bus down or off", true),
    (BusWord::TransmitRefused, "not sent: refused by the kernel", true),
    (BusWord::TransmitBusy, "interface queue full (ENOBUFS)", false),
    (BusWord::ErrorFrames, "error frames", false),
    (BusWord::BusOffs, "bus off", true),
    (BusWord::InterfaceLosses, "interface lost", true),
];

impl Counters {
    pub fn take(plan: &Plan, reader: &Reader, realtime: u64, monotonic: u64) -> Counters {
        Counters {
            realtime,
            monotonic,
            contracts: (0..plan.contracts.len()).map(|index| reader.contract(index)).collect(),
            buses: (0..plan.buses.len()).map(|bus| BUS.map(|(word, _, _)| reader.bus(bus, word))).collect(),
        }
    }
}

/// The computer that it was measured on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Computer {
    pub host: String,
    pub kernel: String,
    /// The kernel says that it is PREEMPT_RT.
    pub preempt_rt: bool,
    pub cpu: String,
    pub cpus: usize,
    /// Frequency governor of the first CPU; empty where the kernel tells none.
    pub governor: String,
    pub clock_source: String,
    /// The processor says that it belongs to a virtual machine.
    pub virtual_machine: bool,
}

impl Computer {
    /// Read from /proc and /sys below `root`.
    pub fn look(root: &Path) -> Computer {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let version = read("proc/sys/kernel/version");
        Computer {
            host: read("proc/sys/kernel/hostname"),
            kernel: format!("{} {version}", read("proc/sys/kernel/osrelease")),
            preempt_rt: read("sys/kernel/realtime") == "1" || version.contains("PREEMPT_RT"),
            cpu: field("model name"),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            governor: read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            virtual_machine: field("flags").split(' ').any(|flag| flag == "hypervisor"),
        }
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    /// The configuration file, and the first digits of the hash of what it means.
    pub file: String,
    pub configuration: String,
    /// RFC 3339.
    pub began: String,
    pub seconds: f64,
    /// Less than was asked for: why.
    pub ended_early: Option<String>,
    pub computer: Computer,
    /// Of the real-time thread: `SCHED_FIFO 45`, `SCHED_OTHER`.
    pub scheduling_class: &'static str,
    pub memory_locked: bool,
    /// Why this says nothing about a machine; empty on hardware.
    pub not_hardware: Vec<String>,
    pub times: Vec<Line>,
    pub buses: Vec<BusLine>,
    /// Everything passed, for the whole time.
    pub passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    /// Nothing happened that could be measured.
    NotUsed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::NotUsed => "NOT USED",
        }
    }
}

/// One route, link or cycle; times in microseconds.
#[derive(Debug, PartialEq, Serialize)]
pub struct Line {
    pub kind: &'static str,
    pub name: String,
    pub verdict: Verdict,
    pub budget_us: f64,
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub overruns: u64,
    /// A cycle: its period and how far the mean of the real ones is from it.
    pub period_ms: Option<f64>,
    pub period_deviation_percent: Option<f64>,
}

/// One bus: what was counted, and what must not have been.
#[derive(Debug, PartialEq, Serialize)]
pub struct BusLine {
    pub name: String,
    pub verdict: Verdict,
    pub counts: Vec<(&'static str, u64)>,
}

/// What is written down about one run, besides its counters.
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub reader: &'a Reader,
    pub file: String,
    pub computer: Computer,
    pub ended_early: Option<String>,
}

/// Compares two moments.
pub fn report(run: Run<'_>, before: &Counters, after: &Counters) -> Report {
    let Run { plan, reader, file, computer, ended_early } = run;
    let flags = reader.get(Word::Flags);
    let elapsed = after.monotonic.saturating_sub(before.monotonic);
    let contracts = before.contracts.iter().zip(&after.contracts).enumerate();
    let times: Vec<Line> = contracts
        .map(|(index, (old, new))| {
            let contract = plan.contracts[index];
            let period = match contract.of {
                Timed::Cycle(message) => match &plan.messages[message].direction {
                    Direction::Output(transmission) => transmission.period,
                    Direction::Input(_) => None,
                },
                Timed::Route(_) | Timed::Link(_) => None,
            };
            let (kind, name) = timed(plan, contract.of);
            line(kind, name, contract.budget, &difference(old, new), period, elapsed)
        })
        .collect();
    let buses: Vec<BusLine> = plan
        .buses
        .iter()
        .enumerate()
        .map(|(index, bus)| {
            let grown = |at: usize| after.buses[index][at].saturating_sub(before.buses[index][at]);
            let bad = (0..BUS.len()).any(|at| BUS[at].2 && grown(at) > 0);
            let verdict = match (bad, grown(0) + grown(1)) {
                (true, _) => Verdict::Fail,
                (false, 0) => Verdict::NotUsed,
                (false, _) => Verdict::Pass,
            };
            let counts = (0..BUS.len()).map(|at| (BUS[at].1, grown(at))).collect();
            BusLine { name: bus.name.clone(), verdict, counts }
        })
        .collect();
    let verdicts = times.iter().map(|line| line.verdict).chain(buses.iter().map(|bus| bus.verdict));
    let passed = ended_early.is_none() && verdicts.clone().all(|verdict| verdict == Verdict::Pass);
    Report {
        version: env!("CARGO_PKG_VERSION"),
        file,
        configuration: plan.short_hash(),
        began: text::time(before.realtime),
        seconds: elapsed as f64 / 1e9,
        ended_early,
        not_hardware: not_hardware(plan, &computer),
        computer,
        scheduling_class: if flags & FLAG_FIFO != 0 { "SCHED_FIFO 45" } else { "SCHED_OTHER" },
        memory_locked: flags & FLAG_LOCKED != 0,
        times,
        buses,
        passed,
    }
}

fn not_hardware(plan: &Plan, computer: &Computer) -> Vec<String> {
    let mut reasons = Vec::new();
    if computer.virtual_machine {
        reasons.push("this computer is a virtual machine".to_owned());
    }
    for bus in &plan.buses {
        match &bus.interface {
            Interface::Virtual => reasons.push(format!("bus {} is simulated", bus.name)),
            Interface::SocketCan(name) if name.starts_with("vcan") || name.starts_with("vxcan") => {
                reasons.push(format!("bus {} is the virtual interface {name}", bus.name));
            }
            Interface::SocketCan(_) => {}
        }
    }
    reasons
}

/// What came between two looks. The maximum is known exactly where it is above the old one, else as the end of its bucket.
fn difference(old: &Times, new: &Times) -> Times {
    let buckets: [u64; BUCKETS] = std::array::from_fn(|i| new.buckets[i].saturating_sub(old.buckets[i]));
    let highest = buckets.iter().rposition(|count| *count > 0);
    let max = match highest {
        None => 0,
        Some(_) if new.max > old.max => new.max,
        Some(bucket) => bucket_end(bucket).min(new.max),
    };
    Times {
        count: new.count.saturating_sub(old.count),
        sum: new.sum.saturating_sub(old.sum),
        max,
        max_at: new.max_at,
        overruns: new.overruns.saturating_sub(old.overruns),
        overrun_at: new.overrun_at,
        buckets,
    }
}

fn line(kind: &'static str, name: String, budget: u64, times: &Times, period: Option<u64>, elapsed: u64) -> Line {
    let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let quantile = |share| us(times.quantile(share).unwrap_or(0));
    let deviation = period.filter(|_| times.count > 1).map(|period| {
        // the first and the last moment are not at the ends of the time: a frame more or less is no deviation
        let expected = elapsed as f64 / period as f64;
        let off = (times.count as f64 - expected).abs() - 1.0;
        if off <= 0.0 { 0.0 } else { off / expected * 100.0 }
    });
    let verdict = match times.count {
        0 => Verdict::NotUsed,
        _ if times.overruns > 0 || deviation.is_some_and(|percent| percent > 0.1) => Verdict::Fail,
        _ => Verdict::Pass,
    };
    Line {
        kind,
        name,
        verdict,
        budget_us: us(budget),
        count: times.count,
        mean_us: if times.count > 0 { us(times.sum) / times.count as f64 } else { 0.0 },
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: us(times.max),
        overruns: times.overruns,
        period_ms: period.map(|period| period as f64 / 1e6),
        period_deviation_percent: deviation,
    }
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // writing into a String can't fail
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Computer { host, kernel, preempt_rt, cpu, cpus, governor, clock_source, .. } = &self.computer;
        writeln!(out, "Canvoy {} acceptance: {}", self.version, if self.passed { "PASS" } else { "FAIL" })?;
        writeln!(out, "configuration     {} ({})", self.file, self.configuration)?;
        writeln!(out, "began             {}, measured {:.3} h", self.began, self.seconds / 3600.0)?;
        if let Some(reason) = &self.ended_early {
            writeln!(out, "ENDED EARLY       {reason}")?;
        }
        writeln!(out, "computer          {host}: {cpus} x {cpu}")?;
        writeln!(out, "kernel            {kernel}{}", if *preempt_rt { " (PREEMPT_RT)" } else { "" })?;
        if !governor.is_empty() || !clock_source.is_empty() {
            writeln!(out, "governor, clock   {}, {clock_source}", if governor.is_empty() { "none" } else { governor })?;
        }
        let locked = if self.memory_locked { "memory locked" } else { "memory not locked" };
        writeln!(out, "real-time thread  {}, {locked}", self.scheduling_class)?;
        if !self.not_hardware.is_empty() {
            writeln!(out, "NOT MEASURED ON HARDWARE: {}", self.not_hardware.join("; "))?;
        }
        writeln!(
            out,
            "\n{:<9} {:<40} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>5}  period",
            "", "times in ms", "budget", "p50", "p99", "p99.9", "max", "count", "over"
        )?;
        for line in &self.times {
            let ms = |us: f64| format!("{:.3}", us / 1e3);
            let period = match (line.period_ms, line.period_deviation_percent) {
                (Some(period), Some(percent)) => format!("{period} ms, off by {percent:.3} %"),
                (Some(period), None) => format!("{period} ms"),
                _ => String::new(),
            };
            let text = format!(
                "{:<9} {:<40} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>5}  {period}",
                line.verdict.word(),
                format!("{} {}", line.kind, line.name),
                ms(line.budget_us),
                ms(line.p50_us),
                ms(line.p99_us),
                ms(line.p999_us),
                ms(line.max_us),
                line.count,
                line.overruns,
            );
            writeln!(out, "{}", text.trim_end())?;
        }
        writeln!(out)?;
        for bus in &self.buses {
            let counts = bus.counts.iter().enumerate();
            // received and sent always, the rest where there is something
            let shown = counts.filter(|(at, (_, count))| *at < 2 || *count > 0);
            let shown: Vec<String> = shown.map(|(_, (what, count))| format!("{what} {count}")).collect();
            writeln!(out, "{:<9} bus {}: {}", bus.verdict.word(), bus.name, shown.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::http::tests::Example;

    const HOUR: u64 = 3_600_000_000_000;

    /// One hour of a 10 ms cycle in which `count` frames were sent, each this late; the verdict and the text.
    fn check(count: u64, late: u64, lost: u64, ended: Option<&str>, passed: bool, words: &[&str]) {
        let mut example = Example::new();
        let plan = example.plan.clone();
        let reader = example.plant.view().reader.clone();
        let contract = plan.contracts.len() - 1;
        // from before the run
        example.writer.contract(contract, 50_000_000, 1_000_000, 5);
        let before = Counters::take(&plan, &reader, 1_767_323_045_000_000_000, 7);
        for _ in 0..count {
            example.writer.contract(contract, late, plan.contracts[contract].budget, 1_767_323_046_000_000_000);
        }
        for bus in 0..plan.buses.len() {
            example.writer.add_bus(bus, BusWord::ReceivedFrames, 9);
        }
        example.writer.add_bus(0, BusWord::LostFrames, lost);
        let after = Counters::take(&plan, &reader, 1_767_323_045_000_000_000 + HOUR, 7 + HOUR);
        let computer = Computer { virtual_machine: true, ..Computer::default() };
        let ended_early = ended.map(str::to_owned);
        let run = Run { plan: &plan, reader: &reader, file: "plant.toml".into(), computer, ended_early };
        let report = report(run, &before, &after);
        let text = report.text();
        assert_eq!(report.passed, passed, "{text}");
        for word in words {
            assert!(text.contains(word), "no {word} in\n{text}");
        }
        assert!(serde_json::to_string(&report).unwrap().contains("\"times\""));
    }

    #[test]
    fn verdicts() {
        check(360_000, 20_000, 0, None, true, &["acceptance: PASS", "NOT MEASURED ON HARDWARE", "off by 0.000 %"]);
        check(359_999, 20_000, 0, None, true, &["off by 0.000 %"]);
        check(358_000, 20_000, 0, None, false, &["FAIL      cycle line.DriveCommand", "off by 0.555 %"]);
        check(360_000, 2_000_000, 0, None, false, &["FAIL      cycle line.DriveCommand", "360000 360000"]);
        check(360_000, 20_000, 1, None, false, &["FAIL      bus line: received 9, sent 0, lost: socket full 1"]);
        check(360_000, 20_000, 0, Some("Ctrl-C"), false, &["ENDED EARLY       Ctrl-C"]);
        check(0, 0, 0, None, false, &["NOT USED  cycle line.DriveCommand"]);
    }

    #[test]
    fn this_computer() {
        let computer = Computer::look(Path::new("/"));
        assert!(!computer.kernel.trim().is_empty() && computer.cpus > 0, "{computer:?}");
        assert_eq!(Computer::look(Path::new("/nowhere")).kernel, " ");
    }
}
