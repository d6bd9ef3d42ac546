use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::config::{LoadOptions, Sources, load};
use crate::controller::Options;
use crate::notify::Notifier;

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Command: 8 Us
 SG_ Speed : 0|16@1- (0.5,0) [-1000|1000] "1/min" Drive
BO_ 512 Status: 8 Drive
 SG_ Actual : 0|16@1- (0.5,0) [0|0] "1/min" Us
"#;

/// `machine`: lines of it; `message`: of the message that we send.
fn plan(machine: &str, message: &str) -> Arc<Plan> {
    let toml = format!(
        "[machine]\n{machine}\n[bus.line]\nvirtual = true\ndbc = [\"x.dbc\"]\nnode = \"Us\"\ntransmit = \"all\"\n\
         message.Command = {{ cycle_ms = 10, {message} }}\n"
    );
    let sources = Sources::embedded("plant.toml", &toml, &[("x.dbc", DBC.as_bytes())]);
    let loaded = load(&sources, LoadOptions { simulate: true }).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    Arc::new(loaded.plan)
}

/// A controller whose turns are the test's, and whose configuration is what the test says, when it says it.
struct Bench {
    controller: Controller,
    plans: Sender<Arc<Plan>>,
    manager: UnixDatagram,
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str, first: &Arc<Plan>) -> Bench {
        let folder = std::env::temp_dir().join(format!("canvoy-reload-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::new(Some(folder.join("notify").as_os_str()), None);
        let (plans, incoming) = channel();
        let (incoming, before) = (Mutex::new(incoming), first.clone());
        let load: Arc<Load> = Arc::new(move |bytes: Option<&[u8]>| {
            let plan = match bytes {
                None => incoming.lock().unwrap().recv().map_err(|gone| gone.to_string())?,
                Some(_) => before.clone(),
            };
            Ok(Candidate { plan, bundle: b"a bundle".to_vec(), simulator: None })
        });
        let options = Options {
            plan: first.clone(),
            bundle: b"a bundle".to_vec(),
            simulator: None,
            socket: folder.join("command"),
            group: None,
            plant_socket: folder.join("plant"),
            plant_group: None,
            link: "/nowhere".into(),
            load: Some(load),
            state: None,
        };
        let controller = Controller::open(options, notifier).unwrap();
        let bench = Bench { controller, plans, manager, folder };
        assert_eq!(bench.told(), ["READY"]);
        bench
    }

    /// One turn of the main thread.
    fn turn(&mut self) {
        let now = clock::monotonic();
        self.controller.notices(now);
        self.controller.look_after_reload(now);
    }

    fn until(&mut self, what: &str, mut there: impl FnMut(&Controller) -> bool) {
        let start = Instant::now();
        while !there(&self.controller) {
            assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for: {what}");
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The configuration that is read next, or is being read, is this one; until it is in force.
    fn put_in_force(&mut self, plan: &Arc<Plan>) {
        self.plans.send(plan.clone()).unwrap();
        self.until("another plan in force", |controller| controller.plan.hash == plan.hash);
    }

    fn is_reading(&self) -> bool {
        self.controller.reload.reading.is_some()
    }

    /// What the service manager was told since it was asked last: ready, or reloading.
    fn told(&self) -> Vec<&'static str> {
        let mut buffer = [0; 4096];
        let next = || self.manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
        let texts = std::iter::from_fn(next);
        texts
            .filter_map(|text| match text {
                text if text.starts_with(b"READY=1") => Some("READY"),
                text if text.starts_with(b"RELOADING=1") => Some("RELOADING"),
                _ => None,
            })
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_signal_during_the_reading_has_it_read_once_more() {
    let (first, second, third) = (plan("", ""), plan("", "budget_ms = 5"), plan("", "budget_ms = 6"));
    let mut bench = Bench::new("again", &first);
    bench.controller.reload_by_signal();
    for _ in 0..3 {
        bench.controller.reload_by_signal();
        bench.turn();
    }
    assert!(bench.is_reading());
    assert_eq!(bench.told(), ["RELOADING"], "a second one does not end the first");
    bench.put_in_force(&second);
    bench.until("the next reading", |controller| controller.reload.reading.is_some());
    bench.put_in_force(&third);
    for _ in 0..50 {
        bench.turn();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!bench.is_reading(), "and once only");
    assert_eq!(bench.told().last(), Some(&"READY"));
}

#[test]
fn who_is_refused_does_not_end_the_reload_that_is_under_way() {
    let (first, second) = (plan("", ""), plan("", "budget_ms = 5"));
    let mut bench = Bench::new("refused", &first);
    bench.controller.reload(None, None);
    bench.controller.reload(None, None);
    assert_eq!(bench.told(), ["RELOADING"]);
    bench.put_in_force(&second);
    assert_eq!(bench.told(), ["READY"]);
    bench.turn();
    assert!(!bench.is_reading(), "who is answered tries again");
}

#[test]
fn what_is_being_read_can_be_cancelled() {
    let (first, second, third) = (plan("", ""), plan("", "budget_ms = 5"), plan("", "budget_ms = 6"));
    let mut bench = Bench::new("cancel", &first);
    bench.controller.reload_by_signal();
    bench.controller.reload_by_signal();
    bench.controller.cancel_reload(None);
    bench.plans.send(second).unwrap();
    bench.until("the end of the reading", |controller| controller.reload.reading.is_none());
    for _ in 0..50 {
        bench.turn();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!bench.is_reading() && bench.controller.reload.waiting.is_empty());
    assert_eq!((bench.controller.plan.hash, bench.told()), (first.hash, vec!["RELOADING", "READY"]));
    // the next one is as any other
    bench.controller.reload_by_signal();
    bench.put_in_force(&third);
}

/// One that waits may do so for hours: the plan in force is judged all the same.
#[test]
fn times_that_are_missed_while_another_plan_waits_bring_back_the_one_before() {
    let waits = "reload_trial_s = 60\nreload_when = \"line.Status.Actual == 0\"";
    // nobody keeps a microsecond
    let (first, hurried) = (plan("", ""), plan(waits, "budget_ms = 0.001"));
    let mut bench = Bench::new("trial", &first);
    bench.controller.reload(None, None);
    bench.put_in_force(&hurried);
    bench.controller.reload(None, None);
    bench.plans.send(plan(waits, "budget_ms = 7")).unwrap();
    bench.until("one that waits", |controller| controller.reload.waits());
    bench.until("the one before in its place", |controller| {
        controller.reload.waiting.iter().any(|waiting| waiting.back && waiting.ready.plan.hash == first.hash)
    });
    bench.until("the other one given up", |controller| controller.reload.waiting.len() == 1);
}
