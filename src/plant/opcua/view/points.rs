//! Browses of a session that wait to be continued: where each stands, no copies of what it found.

use std::collections::VecDeque;

use super::Filter;
use crate::plant::opcua::space::Node;

/// Where a Browse stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Number of the scene that the node belongs to.
    pub scene: u64,
    pub node: Node,
    pub filter: Filter,
    /// References in one answer.
    pub most: usize,
    /// Of the node's references, the first that was not told.
    pub position: usize,
    /// How many references the node had at first.
    pub count: Option<usize>,
}

/// The points of one session. `default()` has none.
#[derive(Debug, Default)]
pub struct ContinuationPoints {
    /// The oldest first, by number.
    open: VecDeque<(u64, Point)>,
    /// The last number that was given.
    last: u64,
    /// The last number that was given before this request.
    before: u64,
    most: usize,
}

impl ContinuationPoints {
    /// A request begins: what was left open before may go if there is no room (OPC 10000-4, 7.9).
    pub(super) fn begin(&mut self, most: usize) {
        self.before = self.last;
        self.most = most;
    }

    /// Keeps a point; its bytes. `None` where this request alone takes all the room.
    pub(super) fn put(&mut self, point: Point) -> Option<[u8; 8]> {
        if self.open.len() >= self.most {
            let (oldest, _) = self.open.front()?;
            if *oldest > self.before {
                return None;
            }
            self.open.pop_front();
        }
        self.last += 1;
        self.open.push_back((self.last, point));
        Some(self.last.to_le_bytes())
    }

    /// Takes out a point: it is good for once.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Point> {
        let number = u64::from_le_bytes(bytes.try_into().ok()?);
        let place = self.open.iter().position(|(open, _)| *open == number)?;
        self.open.remove(place).map(|(_, point)| point)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
