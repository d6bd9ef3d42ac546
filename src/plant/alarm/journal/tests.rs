use super::*;
use crate::plant::scratch::Scratch;

impl Journal {
    /// The disk refuses from now on; what is to be given back.
    pub fn refuse(&mut self) -> File {
        let only_read = File::open(path(&self.folder, 0)).unwrap();
        std::mem::replace(&mut self.file, only_read)
    }

    pub fn accept(&mut self, file: File) {
        self.file = file;
    }
}

fn entry(number: u64) -> Entry {
    let position = Position { controller: 7, next: number };
    Entry::of(number, position, "late:line.Oven", What::Raised, &State::default(), 1_767_323_045_250_000_000 + number)
}

fn numbers(folder: &Scratch, after: u64) -> Vec<u64> {
    read(folder, after).unwrap().iter().map(|entry| entry.number).collect()
}

#[test]
fn what_was_written_is_read() {
    let folder = Scratch::new("journal-read");
    let mut journal = Journal::open(&folder, (BYTES, FILES)).unwrap();
    let mut state = State { severity: 650, level: 1, value: Some(1.5), ..State::default() };
    state.comment = Comment { text: "a \"b\"\n".into(), locale: "en".into(), who: "anna".into(), time: 5 };
    let mut commented = Entry::of(1, Position::default(), "alarm:a", What::Commented, &state, 5);
    commented.who = "anna".into();
    let lost = Entry::lost(2, Position { controller: 7, next: 99 }, 12, 6);
    journal.write(&[commented.clone(), lost.clone()]).unwrap();
    assert_eq!(read(&folder, 0).unwrap(), [commented.clone(), lost]);
    assert_eq!(read(&folder, 1).unwrap().len(), 1);
    let mut restored = State::default();
    commented.restore(&mut restored, What::Commented);
    assert_eq!((restored.comment.text.as_str(), restored.comment.who.as_str()), ("a \"b\"\n", "anna"));
    assert_eq!((restored.level, restored.severity, restored.value, restored.number), (1, 650, Some(1.5), 1));
}

#[test]
fn the_worst_that_is_not_acknowledged_is_known_again() {
    let mut restored = State::default();
    for (number, severity, acknowledged, want) in
        [(1, 900, false, 900), (2, 500, false, 900), (3, 500, true, 900), (4, 500, false, 500), (5, 700, false, 700)]
    {
        let state = State { level: 1, severity, acknowledged, ..State::default() };
        Entry::of(number, Position::default(), "alarm:a", What::Changed, &state, number)
            .restore(&mut restored, What::Changed);
        assert_eq!(restored.worst, want, "{number}");
    }
}

#[test]
fn files_are_bounded_and_read_as_one() {
    let folder = Scratch::new("journal-rotate");
    let line = serde_json::to_vec(&entry(10)).unwrap().len() as u64 + 1;
    let mut journal = Journal::open(&folder, (2 * line, 3)).unwrap();
    (10..20).for_each(|number| journal.write(&[entry(number)]).unwrap());
    assert_eq!(numbers(&folder, 0), [14, 15, 16, 17, 18, 19], "three files of two lines, the oldest go");
    assert_eq!(numbers(&folder, 16), [17, 18, 19]);
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 3);
    // a rotation that was interrupted leaves a gap between the files
    fs::rename(path(&folder, 0), path(&folder, 5)).unwrap();
    let mut journal = Journal::open(&folder, (2 * line, 3)).unwrap();
    journal.write(&[entry(20)]).unwrap();
    assert!(numbers(&folder, 0).contains(&20));
}

#[test]
fn half_a_line_at_the_end_goes() {
    let folder = Scratch::new("journal-torn");
    let file = path(&folder, 0);
    for (tail, what) in [(&b"{\"number\":3,\"wh"[..], "half a line"), (b"\xFF\xFE", "no text"), (b"", "nothing")] {
        let _ = fs::remove_file(&file);
        let mut journal = Journal::open(&folder, (BYTES, FILES)).unwrap();
        journal.write(&[entry(1), entry(2)]).unwrap();
        drop(journal);
        OpenOptions::new().append(true).open(&file).unwrap().write_all(tail).unwrap();
        assert_eq!(numbers(&folder, 0), [1, 2], "{what}");
        Journal::open(&folder, (BYTES, FILES)).unwrap().write(&[entry(3)]).unwrap();
        assert_eq!(numbers(&folder, 0), [1, 2, 3], "{what}");
    }
}

#[test]
fn a_full_disk_leaves_no_half_line() {
    let folder = Scratch::new("journal-full");
    let mut journal = Journal::open(&folder, (BYTES, FILES)).unwrap();
    journal.write(&[entry(1)]).unwrap();
    let whole = std::mem::replace(&mut journal.file, File::open(path(&folder, 0)).unwrap());
    assert!(journal.write(&[entry(2)]).is_err(), "it can't be written");
    // some bytes of it got there
    (&whole).write_all(b"{\"num").unwrap();
    journal.file = whole;
    journal.write(&[entry(3)]).unwrap();
    assert_eq!(numbers(&folder, 0), [1, 3]);
}
