use std::path::PathBuf;
use std::sync::Arc;

use super::follow::Follower;
use super::journal::{self, Told};
use super::*;
use crate::plan::Alarm;
use crate::plant::http::tests::Example;
use crate::store::events::SLOTS;

const SECOND: u64 = 1_000_000_000;
/// CLOCK_REALTIME of the tests.
const BEGIN: u64 = 1_767_323_045 * SECOND;

/// A plant with a controller whose alarms a test switches, and a follower with files.
struct Bench {
    example: Example,
    folder: PathBuf,
    follower: Follower,
    now: u64,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let example = Example::new();
        let folder = std::env::temp_dir().join(format!("canvoy-alarms-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let follower = Follower::new(&example.plant.alarms, example.plant.view(), &folder).unwrap();
        Bench { example, folder, follower, now: BEGIN }
    }

    fn set(&mut self, alarm: Alarm, active: bool) {
        let at = self.example.plan.alarm(alarm).unwrap();
        self.example.writer.alarm(at, active, 0, self.now);
    }

    fn step(&mut self) {
        while self.follower.step(&self.example.plant, self.now) {}
    }

    /// A second later.
    fn later(&mut self) {
        self.now += SECOND;
        self.step();
    }

    /// The process is killed and begins again: nothing in memory is left.
    fn kill(&mut self) {
        let alarms = Arc::new(Alarms::default());
        // the plant belongs to the bench alone
        Arc::get_mut(&mut self.example.plant).unwrap().alarms = alarms;
        self.follower = Follower::new(&self.example.plant.alarms, self.example.plant.view(), &self.folder).unwrap();
    }

    fn state(&self, alarm: Alarm) -> State {
        self.example.plant.alarms.state(&alarm.key(&self.example.plan))
    }

    fn operate(&self, alarm: Alarm, operation: &Operation) -> Result<(), Refused> {
        let key = alarm.key(&self.example.plan);
        self.example.plant.alarms.operate_now(&key, operation, "anna", self.now).map(drop)
    }

    fn told(&self) -> Vec<(Told, String)> {
        journal::read(&self.folder, 0).unwrap().into_iter().map(|entry| (entry.what, entry.key)).collect()
    }

    fn message(&self, name: &str) -> usize {
        self.example.plan.messages.iter().position(|message| message.message.name == name).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_kill_loses_nothing_and_tells_nothing_twice() {
    let mut bench = Bench::new("kill");
    let alarm = Alarm::BusOff(0);
    bench.set(alarm, true);
    bench.step();
    let raised = bench.state(alarm);
    assert!(raised.is_active() && !raised.acknowledged);
    // told, but the states are kept only once a second: only the journal has it
    let comment = Some(Said { text: "seen".into(), locale: String::new() });
    bench.operate(alarm, &Operation::Acknowledge { number: raised.number, comment }).unwrap();
    bench.step();
    bench.kill();
    bench.step();
    let state = bench.state(alarm);
    assert!(state.acknowledged && !state.confirmed && state.comment.text == "seen", "{state:?}");
    // what happens while it is dead is in the ring
    bench.kill();
    bench.set(alarm, false);
    bench.set(alarm, true);
    bench.set(alarm, false);
    bench.kill();
    bench.later();
    bench.kill();
    bench.later();
    let key = "bus_off:line";
    let own: Vec<Told> = bench.told().into_iter().filter(|(_, of)| of == key).map(|(what, _)| what).collect();
    assert_eq!(own, [Told::Raised, Told::Acknowledged, Told::Ended, Told::Raised, Told::Ended]);
    let numbers: Vec<u64> = journal::read(&bench.folder, 0).unwrap().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn one_bus_off_is_one_alarm() {
    let mut bench = Bench::new("consequence");
    let late = Alarm::Late(bench.message("DriveStatus"));
    bench.set(Alarm::BusOff(0), true);
    bench.set(late, true);
    bench.step();
    let state = bench.state(late);
    assert!(state.is_active() && state.suppressed && state.acknowledged, "{state:?}");
    bench.set(Alarm::BusOff(0), false);
    bench.later();
    assert!(bench.state(late).suppressed, "the first frame must come");
    bench.later();
    bench.later();
    let state = bench.state(late);
    assert!(!state.suppressed && !state.acknowledged, "it has outlasted its cause: {state:?}");
    // that of alarms that are of no interest is not written
    assert!(
        bench.told().iter().all(|(_, key)| key == "bus_off:line" || key == "late:line.DriveStatus"),
        "{:?}",
        bench.told()
    );
}

#[test]
fn what_is_overwritten_is_counted_and_said() {
    let mut bench = Bench::new("lost");
    for _ in 0..SLOTS {
        bench.set(Alarm::Forced, true);
        bench.set(Alarm::Forced, false);
    }
    bench.set(Alarm::Forced, true);
    bench.step();
    let entries = journal::read(&bench.folder, 0).unwrap();
    let lost: u64 = entries.iter().filter_map(|entry| entry.lost).sum();
    assert!(lost > SLOTS as u64 && bench.example.plant.alarms.counts.lost.load(Relaxed) == lost, "{lost}");
    let read = entries.iter().filter(|entry| entry.lost.is_none()).count() as u64;
    // the first one that is read may bring what was so before
    assert!((2 * SLOTS as u64..=2 * SLOTS as u64 + 1).contains(&(lost + read)), "{lost} {read}");
    assert!(bench.state(Alarm::Forced).is_active());
}

#[test]
fn another_controller_begins_anew_and_the_states_agree() {
    let mut bench = Bench::new("controller");
    bench.set(Alarm::BusOff(0), true);
    bench.set(Alarm::Forced, true);
    bench.step();
    assert!(bench.state(Alarm::Forced).is_active());
    // the next one knows of no force, and the bus is off again
    let mut next = Example::new();
    next.writer.set(crate::store::layout::Word::StartedRealtime, BEGIN + SECOND);
    let bus_off = next.plan.alarm(Alarm::BusOff(0)).unwrap();
    next.writer.alarm(bus_off, true, 0, BEGIN + SECOND);
    bench.example.plant.connect(crate::plant::View::clone(&next.plant.view()));
    bench.later();
    bench.later();
    assert!(bench.state(Alarm::BusOff(0)).is_active() && !bench.state(Alarm::Forced).is_active());
    let ended = journal::read(&bench.folder, 0).unwrap().into_iter().find(|entry| entry.what == Told::Ended).unwrap();
    assert!(ended.inferred && ended.key == "forced:machine", "{ended:?}");
}

#[test]
fn a_state_that_nobody_can_read_does_not_keep_the_plant_from_serving() {
    let mut bench = Bench::new("unreadable");
    bench.set(Alarm::BusOff(0), true);
    bench.later();
    std::fs::write(bench.folder.join(kept::FILE), b"{ not JSON").unwrap();
    bench.kill();
    bench.step();
    assert!(bench.state(Alarm::BusOff(0)).is_active());
    assert!(bench.folder.join("states.unreadable.json").exists());
}
