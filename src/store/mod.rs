//! The down door: shared memory in which the real-time thread keeps the last frame of each message and the state of each bus.
//!
//! One writer that never waits, any number of readers in other processes. All memory is `AtomicU64` words; a record is
//! guarded by a sequence lock (`record`), counters are single words. `memory` makes and maps it, `layout` says what is where.

mod adopt;
pub mod clock;
pub mod events;
mod latch;
pub mod layout;
pub mod memory;
pub mod names;
pub mod reader;
pub mod record;
pub mod ring;
pub mod trouble;
mod writer;

pub use events::{AlarmEvent, EventLost};
pub use layout::Layout;
pub use memory::Memory;
pub use reader::Reader;
pub use record::Record;
pub use writer::{MainWriter, Writer};
