//! Child processes, temporary folders, free ports and polling with a limit: what every test here is made of.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Time for anything to happen on a busy machine of two cores or in a guest; nothing waits this long that goes well.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A folder for the files of this run, kept under target/ (a guest shares it with the host, unlike /tmp).
pub fn target_folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).expect("create the folder for test files");
    folder
}

/// A folder of its own, removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("canvoy-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("create a temporary folder");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// When nobody could run, whatever his priority: told by a thread above the real-time thread of Canvoy, which wants to run every
/// few milliseconds.
pub struct Stalls {
    thread: std::thread::JoinHandle<Vec<(f64, f64)>>,
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Stalls {
    pub fn watch() -> Stalls {
        use std::sync::atomic::Ordering;
        let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let parameter = libc::sched_param { sched_priority: 60 };
            // SAFETY: `parameter` is valid during the call; 0 is the calling thread. Without the right it stays an ordinary one.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) };
            let now = || std::time::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64());
            let (mut stalls, mut last) = (Vec::new(), now());
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                let time = now();
                if time - last > 0.03 {
                    stalls.push((last, time));
                }
                last = time;
            }
            stalls
        });
        Stalls { thread, end }
    }

    /// From and to, in seconds since 1970.
    pub fn end(self) -> Vec<(f64, f64)> {
        self.end.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().expect("the watching thread")
    }
}

/// Asks again and again until there is an answer; panics, saying what it waited for, after `limit`.
pub fn poll<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < limit, "waited {} s for: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program in a process group of its own, what it writes in files; killed with all its children at the end of the
/// test, which shows what it wrote when it fails.
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    folder: TempDir,
}

impl Process {
    /// Starts `program` with arguments; standard input is empty.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Process {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).stdin(Stdio::null());
        Process::spawn(command)
    }

    /// Starts a command, standard input as it says.
    pub fn spawn(mut command: Command) -> Process {
        let folder = TempDir::new();
        let file = |name: &str| File::create(folder.path().join(name)).expect("create a file for the output");
        command.stdout(file("stdout")).stderr(file("stderr"));
        own_group(&mut command, libc::SIGKILL);
        let name = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Process { name, child, ended: None, folder }
    }

    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// What it has written to standard output so far.
    pub fn output(&self) -> String {
        self.read("stdout")
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// Writes to its standard input, which the command has as a pipe.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("standard input is a pipe");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until its output satisfies `found`; a process that ends before is a failure.
    pub fn wait_output<T>(&mut self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        poll(what, LIMIT, || {
            let ended = self.ended().is_some();
            let answer = found(&self.output());
            assert!(answer.is_some() || !ended, "{} ended before: {what}", self.name);
            answer
        })
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for a child");
        }
        self.ended
    }

    /// The processes that it has started and that live, by their command lines.
    pub fn children(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // after the name in parentheses: state, parent
            let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
            let (state, parent) = (fields.next(), fields.next().and_then(|parent| parent.parse().ok()));
            if parent == Some(self.id()) && state != Some("Z") {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Sends a signal to this process alone.
    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: a system call on numbers; the child is not yet waited for, so its id is still its own.
            unsafe { libc::kill(self.id(), signal) };
        }
    }

    /// Waits for the end: exit code, or minus the signal that ended it.
    pub fn wait_end(&mut self) -> i32 {
        let status = poll(&format!("the end of {}", self.name), LIMIT, || self.ended());
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group is named after the child, which is only waited for below; other members may outlive it.
        // SAFETY: a system call on numbers.
        unsafe { libc::kill(-self.id(), libc::SIGKILL) };
        if self.ended.is_none() {
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let (output, errors) = (self.output(), self.errors());
            eprintln!("--- {}\n--- its output:\n{}--- its errors:\n{}", self.name, tail(&output), tail(&errors));
        }
    }
}

/// The child in a process group of its own, so that all of it can be killed; and when this test run is killed, with `signal`.
pub fn own_group(command: &mut Command, signal: i32) {
    command.process_group(0);
    // SAFETY: between fork and exec only a system call on numbers is made.
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, signal) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Runs a program to its end: standard output; panics when it fails or takes longer than `LIMIT`.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let mut process = Process::start(program, arguments);
    let code = process.wait_end();
    assert_eq!(code, 0, "{program} {arguments:?}");
    process.output()
}

/// Sends a signal to a process by its id.
pub fn signal(pid: i32, signal: i32) {
    // SAFETY: a system call on numbers.
    unsafe { libc::kill(pid, signal) };
}

/// A TCP port of this machine that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Bytes of memory that a process holds.
pub fn resident(pid: i32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap_or_else(|_| panic!("no memory of {pid}"));
    kilobytes * 1024
}

/// The last part of a long text: whole lines, at most some thousand characters.
pub fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(6_000);
    match text.bytes().skip(start).position(|byte| byte == b'\n') {
        Some(line) if start > 0 => &text[start + line + 1..],
        _ => text,
    }
}
