//! What other processes use: memory and processor time, from /proc.

use std::fs;
use std::time::Instant;

/// Processes to watch: `--pid name=1234`, as often as there are.
pub fn watched() -> Vec<(String, u32)> {
    let arguments: Vec<String> = std::env::args().collect();
    let pids = arguments.windows(2).filter(|pair| pair[0] == "--pid");
    pids.filter_map(|pair| {
        let (name, pid) = pair[1].split_once('=')?;
        Some((name.to_owned(), pid.parse().ok()?))
    })
    .collect()
}

/// Proportional set size in MB.
pub fn pss(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
}

/// Processor time of a process and that of its thread `change`, in seconds.
pub fn cpu(pid: u32) -> (f64, f64) {
    let mut change = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        if fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "change") {
            change += ticks(&task.path().join("stat").to_string_lossy());
        }
    }
    (ticks(&format!("/proc/{pid}/stat")), change)
}

/// utime and stime, proc(5).
fn ticks(file: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // SAFETY: reads a number
    (field(11) + field(12)) / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

/// Processor time of all watched processes over a window.
pub struct Window {
    begin: Instant,
    before: Vec<(String, u32, f64, f64)>,
}

impl Window {
    pub fn open() -> Window {
        let read = |(name, pid): (String, u32)| {
            let (all, change) = cpu(pid);
            (name, pid, all, change)
        };
        Window { begin: Instant::now(), before: watched().into_iter().map(read).collect() }
    }

    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Of each process: its name, seconds of processor time, and of these what its thread `change` took.
    pub fn close(self) -> Vec<(String, f64, f64)> {
        let used = self.before.into_iter().map(|(name, pid, all, change)| {
            let (all_now, change_now) = cpu(pid);
            (name, all_now - all, change_now - change)
        });
        used.collect()
    }
}
