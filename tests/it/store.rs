//! The store between two real processes: a writer that is forked off, a reader on a read-only mapping of its memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use canvoy::can::MAX_LEN;
use canvoy::can::name::Name;
use canvoy::quality::Causes;
use canvoy::store::names::Holder;
use canvoy::store::{Layout, Memory, Reader, Record, Writer};

const LAYOUT: Layout =
    Layout { buses: 1, records: 2, messages: 1, tags: 3, routes: 1, links: 1, contracts: 1, alarms: 1, names: 1 };

/// A record in which every part says `n`.
fn of(n: u64) -> Record {
    let length = (n % 65) as usize;
    let mut record = Record {
        causes: Causes::from_bits(n as u32),
        id_bits: n as u32,
        source_time: n,
        received: n,
        count: n,
        length,
        payload: [0; MAX_LEN],
    };
    record.payload[..length].fill(n as u8);
    record
}

/// A process that writes record 1 without end; killed when dropped.
struct Child(libc::pid_t);

impl Child {
    fn start(mut writer: Writer, first: u64) -> Child {
        // SAFETY: the child makes only system calls and writes to shared memory: no lock, no allocation, no return.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: system calls on numbers. The child ends with the test.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let mut n = first;
                loop {
                    writer.record(1, &of(n));
                    writer.set_holder(0, 33, Some(Holder { name: Name(n), claimed: n }));
                    n += 1;
                    // a gap, as between frames: without one a reader hardly ever finds the record at rest
                    (0..64).for_each(|_| std::hint::spin_loop());
                }
            }
            pid => {
                assert!(pid > 0, "fork");
                Child(pid)
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: our own child, not yet waited for; no status is asked for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn store() -> (Arc<Memory>, Reader) {
    let (memory, descriptor) = Memory::shared(c"store", LAYOUT.words()).unwrap();
    let memory = Arc::new(memory);
    drop(Writer::new(memory.clone(), LAYOUT, 1));
    let reader = Reader::open(Arc::new(Memory::read_only(descriptor).unwrap()), LAYOUT, 1).unwrap();
    (memory, reader)
}

/// Different records that a reader looks at, with the sequence check and without it.
const ENOUGH: u64 = 100_000;

/// Reads beside a writing process until a record is torn, or until `enough` different ones have been read whole.
fn read_beside_a_writer(read: impl Fn(&Reader) -> Option<Record>, enough: u64) -> Result<(), Record> {
    let (memory, reader) = store();
    let _child = Child::start(Writer::new(memory, LAYOUT, 1), 1);
    let started = Instant::now();
    let (mut last, mut different) = (0, 0);
    while different < enough {
        assert!(started.elapsed() < Duration::from_secs(120), "{different} records in two minutes");
        let Some(record) = read(&reader) else { continue };
        if record.count == 0 {
            continue; // before the writer's first
        }
        if record != of(record.count) {
            return Err(record);
        }
        different += u64::from(record.count != last);
        last = record.count;
    }
    Ok(())
}

#[test]
fn a_reader_in_another_process_sees_whole_records_only() {
    assert_eq!(read_beside_a_writer(|reader| reader.record(1), ENOUGH), Ok(()));
}

#[test]
fn a_reader_in_another_process_sees_a_name_with_its_own_time() {
    let (memory, reader) = store();
    assert_eq!(reader.holder(0, 33), None);
    let _child = Child::start(Writer::new(memory, LAYOUT, 1), 1);
    let (started, mut last, mut different) = (Instant::now(), 0, 0);
    while different < ENOUGH {
        assert!(started.elapsed() < Duration::from_secs(120), "{different} names in two minutes");
        let Some(holder) = reader.holder(0, 33) else { continue };
        assert_eq!(holder.name.0, holder.claimed);
        different += u64::from(holder.claimed != last);
        last = holder.claimed;
    }
    assert_eq!((reader.holder(0, 32), reader.holder(0, 34), reader.holder(0, 254)), (None, None, None));
}

/// The same with the sequence check left out must see a torn record: otherwise the test above would show nothing.
/// (The fences can't be shown missing this way on x86, which orders these accesses by itself.)
#[test]
fn without_the_sequence_check_records_are_torn() {
    assert!(read_beside_a_writer(|reader| reader.record_unchecked(1), ENOUGH).is_err());
}

#[test]
fn a_writer_killed_at_any_point_leaves_whole_records_or_none() {
    for round in 1..=200 {
        let (memory, reader) = store();
        let child = Child::start(Writer::new(memory, LAYOUT, 1), round);
        while reader.record(1).is_none_or(|record| record.count < round + round % 7) {}
        drop(child);
        if let Some(record) = reader.record(1) {
            assert_eq!(record, of(record.count), "round {round}");
        }
        assert_eq!(reader.record(0), Some(Record::EMPTY), "a record that nobody wrote, round {round}");
    }
}
