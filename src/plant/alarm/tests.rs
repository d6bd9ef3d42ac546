use std::path::PathBuf;
use std::sync::Arc;

use super::follow::Follower;
use super::journal::{self, Told};
use super::*;
use crate::command::{Generation, Place, VERSION};
use crate::plan::Alarm;
use crate::plant::View;
use crate::plant::figure::Figure;
use crate::plant::http::tests::Example;
use crate::store::events::SLOTS;
use crate::store::layout::Word;
use crate::store::{Layout, Memory, Reader, Writer};

const SECOND: u64 = 1_000_000_000;
/// CLOCK_REALTIME of the tests.
const BEGIN: u64 = 1_767_323_045 * SECOND;

/// A plant with a controller whose alarms a test switches, and a follower with files.
struct Bench {
    example: Example,
    folder: PathBuf,
    follower: Follower,
    now: u64,
    monotonic: u64,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let example = Example::new();
        let folder = std::env::temp_dir().join(format!("canvoy-alarms-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Bench::on(example, folder)
    }

    fn on(example: Example, folder: PathBuf) -> Bench {
        let follower = Follower::new(&example.plant.alarms, example.plant.view(), &folder, BEGIN, 0);
        Bench { example, folder, follower, now: BEGIN, monotonic: 0 }
    }

    fn set(&mut self, alarm: Alarm, active: bool) {
        let at = self.example.plan.alarm(alarm).unwrap();
        self.example.writer.alarm(at, active, 0, self.now);
    }

    fn step(&mut self) {
        while self.follower.step(&self.example.plant, self.now, self.monotonic) {}
    }

    /// A second later.
    fn later(&mut self) {
        self.now += SECOND;
        self.monotonic += SECOND;
        self.step();
    }

    /// The process is killed and begins again: nothing in memory is left.
    fn kill(&mut self) {
        let alarms = Arc::new(Alarms::default());
        // the plant belongs to the bench alone
        Arc::get_mut(&mut self.example.plant).unwrap().alarms = alarms;
        let (plant, view) = (&self.example.plant, self.example.plant.view());
        self.follower = Follower::new(&plant.alarms, view, &self.folder, self.now, self.monotonic);
    }

    /// A reload: another plan, and a store that goes on where the one before ended.
    fn reload(&mut self, change: impl FnOnce(&mut crate::plan::Plan), shown: bool) {
        let mut plan = crate::plan::Plan::clone(&self.example.plan);
        change(&mut plan);
        plan.number();
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut writer = Writer::new(memory.clone(), layout, 7);
        writer.adopt(&self.example.writer, &crate::plan::Succession::new(&self.example.plan, &plan));
        writer.set(Word::StartedRealtime, self.example.plant.view().reader.get(Word::StartedRealtime));
        self.example.plan = Arc::new(plan);
        self.example.writer = writer;
        if shown {
            let reader = Reader::open(memory, layout, 7).unwrap();
            let (plan, before) = (self.example.plan.clone(), self.example.plant.view());
            let generation = Generation {
                version: VERSION,
                number: 2,
                pid: 1,
                hash: String::new(),
                since: BEGIN,
                door: Place::Plant,
            };
            self.example.plant.connect(View::new(plan, reader, &generation, before.requests.clone()));
        }
    }

    /// Numbers of the lines of the journal, those that stand for several as all of them.
    fn numbers(&self) -> Vec<u64> {
        let entries = journal::read(&self.folder, 0).unwrap();
        entries.iter().flat_map(|entry| entry.from.unwrap_or(entry.number)..=entry.number).collect()
    }

    fn figure(&self, figure: Figure) -> u64 {
        self.example.plant.figures.get(figure)
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

#[test]
fn without_a_folder_alarms_go_on_and_are_kept_once_there_is_one() {
    let example = Example::new();
    let folder = std::env::temp_dir().join(format!("canvoy-alarms-none-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    // nobody can make a folder where a file is
    std::fs::write(&folder, "").unwrap();
    let mut bench = Bench::on(example, folder);
    bench.set(Alarm::BusOff(0), true);
    bench.later();
    let raised = bench.state(Alarm::BusOff(0));
    assert!(raised.is_active());
    assert_eq!(bench.figure(Figure::AlarmsUnkept), 1, "and it is said");
    bench.operate(Alarm::BusOff(0), &Operation::Acknowledge { number: raised.number, comment: None }).unwrap();
    bench.later();
    std::fs::remove_file(&bench.folder).unwrap();
    bench.later();
    assert_eq!(bench.figure(Figure::AlarmsUnkept), 0);
    let own: Vec<Told> =
        bench.told().into_iter().filter(|(_, key)| key == "bus_off:line").map(|(what, _)| what).collect();
    assert_eq!(own, [Told::Raised, Told::Acknowledged], "nothing of it is lost");
    bench.kill();
    bench.step();
    assert!(bench.state(Alarm::BusOff(0)).acknowledged);
}

#[test]
fn what_was_kept_comes_back_when_the_folder_can_be_read_only_later() {
    let mut bench = Bench::new("mounted");
    let late = Alarm::Late(bench.message("DriveStatus"));
    for alarm in [Alarm::BusOff(1), late] {
        bench.set(alarm, true);
    }
    bench.step();
    let number = bench.state(late).number;
    let comment = Some(Said { text: "seen".into(), locale: String::new() });
    bench.operate(late, &Operation::Acknowledge { number, comment }).unwrap();
    bench.operate(Alarm::Forced, &Operation::Disable).unwrap();
    bench.operate(Alarm::Overrun, &Operation::TimedShelve(3600 * SECOND)).unwrap();
    bench.later();
    let lines = bench.numbers().len();
    let aside = bench.folder.with_extension("aside");
    std::fs::rename(&bench.folder, &aside).unwrap();
    std::fs::write(&bench.folder, "").unwrap();
    bench.set(Alarm::BusOff(1), false);
    bench.kill();
    bench.later();
    // of this run
    bench.set(Alarm::Forced, true);
    bench.step();
    let state = bench.state(late);
    assert!(state.is_active() && !state.acknowledged, "nobody knows yet");
    std::fs::remove_file(&bench.folder).unwrap();
    std::fs::rename(&aside, &bench.folder).unwrap();
    bench.later();
    bench.later();
    let state = bench.state(late);
    assert!(state.acknowledged && state.comment.text == "seen", "{state:?}");
    let forced = bench.state(Alarm::Forced);
    assert!(!forced.enabled && forced.is_active(), "{forced:?}");
    assert!(bench.state(Alarm::Overrun).shelf != Shelf::Unshelved && !bench.state(Alarm::BusOff(1)).is_active());
    let numbers = bench.numbers();
    assert!(numbers.len() > lines);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    // what the ring brought a second time is told once
    let raised =
        bench.told().iter().filter(|(what, key)| *what == Told::Raised && key == "late:line.DriveStatus").count();
    assert_eq!(raised, 1, "{:?}", bench.told());
    bench.operate(late, &Operation::Disable).unwrap();
}

#[test]
fn what_a_full_disk_did_not_take_is_written_later_or_told_as_lost() {
    for (changes, lost) in [(100, 0), (disk::MOST_WAITING + 100, 101)] {
        let mut bench = Bench::new(&format!("full-{changes}"));
        bench.set(Alarm::Overrun, true);
        bench.later();
        let whole = bench.follower.disk.journal.as_mut().unwrap().refuse();
        for change in 0..changes {
            bench.set(Alarm::Forced, change % 2 == 0);
        }
        bench.later();
        assert_eq!(bench.figure(Figure::AlarmsUnkept), 1, "{changes}");
        assert_eq!(bench.numbers(), [1], "{changes}");
        bench.later();
        // once more, so that the line about the lost ones is among others
        bench.follower.disk.journal.as_mut().unwrap().accept(whole);
        bench.set(Alarm::Overrun, false);
        bench.later();
        let numbers = bench.numbers();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{changes}");
        let told: Vec<_> =
            journal::read(&bench.folder, 0).unwrap().into_iter().filter(|entry| entry.lost.is_some()).collect();
        assert_eq!(told.iter().filter_map(|entry| entry.lost).sum::<u64>(), lost, "{changes}: {told:?}");
        assert_eq!(bench.figure(Figure::AlarmLinesLost), lost, "{changes}");
        if let [entry] = &told[..] {
            assert_eq!((entry.from, entry.number), (Some(2), 1 + lost), "{}", entry.text);
        }
        assert_eq!(bench.figure(Figure::AlarmsUnkept), 0, "{changes}");
    }
}

#[test]
fn lines_that_waited_when_it_was_killed_are_told_as_lost() {
    let mut bench = Bench::new("waited");
    bench.set(Alarm::Overrun, true);
    bench.later();
    bench.follower.disk.journal.as_mut().unwrap().refuse();
    for _ in 0..5 {
        bench.set(Alarm::Forced, true);
        bench.set(Alarm::Forced, false);
    }
    // the states can be written
    bench.later();
    bench.kill();
    bench.later();
    let entries = journal::read(&bench.folder, 0).unwrap();
    let lost: Vec<_> = entries.iter().filter_map(|entry| Some((entry.from?, entry.number, entry.lost?))).collect();
    assert_eq!(lost, [(2, 11, 10)], "{entries:?}");
    bench.set(Alarm::Forced, true);
    bench.later();
    assert_eq!(bench.numbers(), (1..=12).collect::<Vec<_>>());
}

#[test]
fn states_that_are_kept_are_not_ahead_of_the_journal() {
    let mut bench = Bench::new("ahead");
    bench.set(Alarm::BusOff(0), true);
    bench.step();
    let number = bench.state(Alarm::BusOff(0)).number;
    bench.now += 2 * SECOND;
    bench.monotonic += 2 * SECOND;
    // somebody does something after the lines were taken and before the states are
    bench.operate(Alarm::BusOff(0), &Operation::Acknowledge { number, comment: None }).unwrap();
    bench.follower.disk.touch();
    bench.follower.disk.keep(&bench.example.plant.alarms, bench.now, bench.monotonic);
    assert!(kept::read(&bench.folder).unwrap().alarms["bus_off:line"].state.acknowledged);
    bench.kill();
    bench.step();
    let own: Vec<Told> =
        bench.told().into_iter().filter(|(_, key)| key == "bus_off:line").map(|(what, _)| what).collect();
    assert_eq!(own, [Told::Raised, Told::Acknowledged]);
    assert!(bench.told().iter().all(|(what, _)| *what != Told::Lost));
}

#[test]
fn what_a_reload_takes_out_of_the_configuration_ends() {
    let mut bench = Bench::new("removed");
    let late = Alarm::Late(bench.message("DriveStatus"));
    bench.set(Alarm::BusOff(0), true);
    bench.set(late, true);
    bench.set(Alarm::Forced, true);
    bench.step();
    let mut changes = bench.example.plant.alarms.changes();
    let was = bench.example.plan.clone();
    bench.reload(|plan| plan.buses[0].name = "other".into(), true);
    bench.later();
    assert!(bench.state(Alarm::Forced).is_active(), "it is still there");
    let kept = kept::read(&bench.folder).unwrap().alarms;
    for key in ["bus_off:line", "late:line.DriveStatus"] {
        let entries = journal::read(&bench.folder, 0).unwrap();
        let last = entries.iter().rfind(|entry| entry.key == key).unwrap();
        assert_eq!((last.what, last.level, last.before), (Told::Ended, 0, 1), "{last:?}");
        assert!(last.text.ends_with("ended: no longer in the configuration"), "{}", last.text);
        assert!(!kept[key].state.retain() && kept[key].text == last.text, "{:?}", kept[key]);
    }
    // whoever shows it is told, with the plan that it was in
    let mut told = Vec::new();
    while let Ok(batch) = changes.try_recv() {
        told.extend(batch.iter().filter(|change| change.removed).cloned());
    }
    assert_eq!(told.len(), 2, "{told:?}");
    for change in &told {
        assert!(Arc::ptr_eq(&change.plan, &was) && change.what == What::Ended && !change.state.retain());
    }
    // it was taken out while nobody ran
    bench.reload(|plan| plan.buses[0].name = "line".into(), true);
    bench.set(Alarm::BusOff(0), true);
    bench.later();
    bench.later();
    assert!(bench.state(Alarm::BusOff(0)).is_active());
    bench.reload(|plan| plan.buses[0].name = "third".into(), true);
    bench.kill();
    bench.later();
    assert!(!kept::read(&bench.folder).unwrap().alarms["bus_off:line"].state.retain());
    assert_eq!(bench.told().iter().rfind(|(_, key)| key == "bus_off:line").unwrap().0, Told::Ended);
}

#[test]
fn a_configuration_that_nobody_saw_leaves_a_line() {
    let mut bench = Bench::new("unseen");
    bench.set(Alarm::Forced, true);
    bench.step();
    bench.reload(|_| {}, false);
    bench.set(Alarm::Forced, false);
    bench.set(Alarm::Forced, true);
    bench.set(Alarm::Forced, false);
    bench.reload(|_| {}, true);
    bench.set(Alarm::Overrun, true);
    bench.later();
    bench.later();
    let entries = journal::read(&bench.folder, 0).unwrap();
    assert_eq!(entries.iter().filter_map(|entry| entry.lost).sum::<u64>(), 3, "{entries:?}");
    let state = bench.state(Alarm::Forced);
    assert!(!state.is_active() && bench.state(Alarm::Overrun).is_active(), "{state:?}");
}

#[test]
fn the_oldest_of_too_many_go_in_time() {
    let mut book = Book::default();
    let most = 10_000;
    let of = |at: u64| {
        let state = State { enabled: false, ..State::default() };
        (format!("late:{at}"), kept::Kept { seen: BEGIN - at / 2 * SECOND, state, ..kept::Kept::default() })
    };
    let alarms = (0..150_000).map(of).collect();
    book.recall(kept::Snapshot { alarms, ..kept::Snapshot::default() }, &[], Vec::new(), 0, BEGIN);
    book.adopt(&Example::new().plan, BEGIN);
    let left = book.snapshot(BEGIN).alarms;
    assert_eq!(left.len(), most);
    // two are of each age
    assert!((0..most as u64).all(|at| left.contains_key(&format!("late:{at}"))));
}

#[test]
fn a_clock_that_is_set_shelves_nothing_longer_or_shorter() {
    const HOUR: u64 = 3600 * SECOND;
    for (name, step) in [("forward", 2 * HOUR as i64), ("back", -(2 * HOUR as i64)), ("decades", 400_000 * HOUR as i64)]
    {
        let mut bench = Bench::new(&format!("clock-{name}"));
        let late = Alarm::Late(bench.message("DriveStatus"));
        bench.set(Alarm::BusOff(0), true);
        bench.set(late, true);
        bench.step();
        bench.operate(Alarm::Overrun, &Operation::TimedShelve(HOUR)).unwrap();
        bench.set(Alarm::BusOff(0), false);
        bench.step();
        bench.now = bench.now.saturating_add_signed(step);
        bench.later();
        assert!(bench.state(Alarm::Overrun).shelf != Shelf::Unshelved, "{name}");
        assert!(bench.state(late).suppressed, "{name}: a second of three is over");
        bench.later();
        bench.later();
        assert!(!bench.state(late).suppressed, "{name}");
        bench.now += HOUR - 10 * SECOND;
        bench.monotonic += HOUR - 10 * SECOND;
        bench.step();
        assert!(bench.state(Alarm::Overrun).shelf != Shelf::Unshelved, "{name}");
        // over a restart by the clock
        bench.kill();
        bench.step();
        assert!(bench.state(Alarm::Overrun).shelf != Shelf::Unshelved, "{name}");
        bench.now += 10 * SECOND;
        bench.monotonic += 10 * SECOND;
        bench.step();
        assert_eq!(bench.state(Alarm::Overrun).shelf, Shelf::Unshelved, "{name}");
    }
}
