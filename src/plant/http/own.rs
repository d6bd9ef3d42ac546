//! Metrics of this process itself: build, CPU, memory, descriptors, requests.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{AtomicU64, GenericCounterVec, GenericGauge};
use prometheus::{Counter, Encoder, Gauge, IntCounter, IntGauge, Opts, Registry, TextEncoder};

use crate::plant::figure::{Figure, Figures};

/// A figure of another protocol as a metric.
struct Shown {
    figure: Figure,
    metric: Metric,
}

enum Metric {
    Gauge(IntGauge),
    Counter(IntCounter),
}

impl Shown {
    fn new(figure: Figure) -> prometheus::Result<Shown> {
        let (name, help) = figure.metric();
        let metric = if figure.is_counter() {
            Metric::Counter(IntCounter::new(name, help)?)
        } else {
            Metric::Gauge(IntGauge::new(name, help)?)
        };
        Ok(Shown { figure, metric })
    }

    fn collector(&self) -> Box<dyn prometheus::core::Collector> {
        match &self.metric {
            Metric::Gauge(gauge) => Box::new(gauge.clone()),
            Metric::Counter(counter) => Box::new(counter.clone()),
        }
    }

    fn update(&self, figures: &Figures) {
        let value = figures.get(self.figure);
        match &self.metric {
            Metric::Gauge(gauge) => gauge.set(i64::try_from(value).unwrap_or(i64::MAX)),
            // a counter goes up only
            Metric::Counter(counter) => counter.inc_by(value.saturating_sub(counter.get())),
        }
    }
}

/// Kept by the HTTP listener, rendered after the plant's data.
pub struct Own {
    registry: Registry,
    requests: GenericCounterVec<AtomicU64>,
    refused: Counter,
    figures: Vec<Shown>,
    cpu: Counter,
    resident: GenericGauge<AtomicU64>,
    descriptors: GenericGauge<AtomicU64>,
}

impl Own {
    /// `restarts`: how often a supervisor has started this process again.
    pub fn new(restarts: u64) -> prometheus::Result<Own> {
        let registry = Registry::new();
        let build = Gauge::with_opts(
            Opts::new("canvoy_build_info", "1; the version in a label.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1.0);
        // not from /proc/stat: ProcSubset=pid hides it
        let start = Gauge::new("process_start_time_seconds", "Start of the plant process, in seconds since 1970.")?;
        start.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()));
        let restarted = Counter::new(
            "canvoy_plant_restarts_total",
            "Times that `canvoy run` has started the plant process again. Under systemd: see its NRestarts.",
        )?;
        restarted.inc_by(restarts as f64);
        let own = Own {
            requests: GenericCounterVec::new(
                Opts::new("canvoy_http_requests_total", "HTTP requests by path and status."),
                &["path", "status"],
            )?,
            refused: Counter::new(
                "canvoy_http_connections_refused_total",
                "HTTP connections closed at once because there were too many.",
            )?,
            figures: Figure::ALL.into_iter().map(Shown::new).collect::<prometheus::Result<_>>()?,
            cpu: Counter::new("process_cpu_seconds_total", "CPU time of the plant process, user and system.")?,
            resident: GenericGauge::new("process_resident_memory_bytes", "Resident memory of the plant process.")?,
            descriptors: GenericGauge::new("process_open_fds", "Open file descriptors of the plant process.")?,
            registry,
        };
        for collector in [Box::new(build) as Box<dyn prometheus::core::Collector>, Box::new(start), Box::new(restarted)]
        {
            own.registry.register(collector)?;
        }
        own.registry.register(Box::new(own.requests.clone()))?;
        own.registry.register(Box::new(own.refused.clone()))?;
        for shown in own.figures.iter().filter(|shown| !shown.figure.is_absent_at_zero()) {
            own.registry.register(shown.collector())?;
        }
        own.registry.register(Box::new(own.cpu.clone()))?;
        own.registry.register(Box::new(own.resident.clone()))?;
        own.registry.register(Box::new(own.descriptors.clone()))?;
        Ok(own)
    }

    /// Counts an answer. `path`: one of a fixed set.
    pub fn request(&self, path: &str, status: u16) {
        self.requests.with_label_values(&[path, &status.to_string()]).inc();
    }

    /// Counts a connection beyond the limit.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Adds everything to a page.
    pub fn render(&self, figures: &Figures, page: &mut String) {
        for shown in &self.figures {
            shown.update(figures);
            if shown.figure.is_absent_at_zero() && figures.get(shown.figure) > 0 {
                // an error says that it is there already
                let _ = self.registry.register(shown.collector());
            }
        }
        if let Some(usage) = Usage::read() {
            // a counter goes up only
            self.cpu.inc_by((usage.cpu_seconds - self.cpu.get()).max(0.0));
            self.resident.set(usage.resident_bytes);
            self.descriptors.set(usage.descriptors);
        }
        let mut bytes = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut bytes) {
            Ok(()) => page.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => tracing::error!(%error, "the service's own metrics can't be written"),
        }
    }
}

/// What /proc/self says.
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    descriptors: u64,
}

impl Usage {
    fn read() -> Option<Usage> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let memory = std::fs::read_to_string("/proc/self/statm").ok()?;
        // the listing itself holds one open
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64;
        let (cpu_ticks, resident_pages) = (cpu_ticks(&stat)?, memory.split(' ').nth(1)?.parse::<u64>().ok()?);
        let setting = |name| nix::unistd::sysconf(name).ok().flatten().filter(|n| *n > 0);
        let ticks_per_second = setting(nix::unistd::SysconfVar::CLK_TCK)?;
        let page_size = setting(nix::unistd::SysconfVar::PAGE_SIZE)?;
        Some(Usage {
            cpu_seconds: cpu_ticks as f64 / ticks_per_second as f64,
            resident_bytes: resident_pages * page_size as u64,
            descriptors,
        })
    }
}

/// utime and stime, fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold anything, also parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_behind_a_nasty_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 3 4 20 0 1 0 1000 1 1 18446744073709551615";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_page_has_them_all() {
        let own = Own::new(3).unwrap();
        own.request("/metrics", 200);
        let mut page = String::new();
        let figures = Figures::default();
        figures.set(Figure::Sessions, 2);
        figures.set(Figure::ValuesLost, 7);
        own.render(&figures, &mut page);
        for start in [
            concat!("canvoy_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "canvoy_plant_restarts_total 3",
            "canvoy_http_requests_total{path=\"/metrics\",status=\"200\"} 1",
            "canvoy_opcua_sessions 2",
            "canvoy_opcua_values_lost_total 7",
            "process_start_time_seconds ",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(page.lines().any(|line| line.starts_with(start)), "no {start} in\n{page}");
        }
        assert!(!page.contains("process_resident_memory_bytes 0\n"));
    }
}
