//! Whose turn it is: what must be done one after the other, in the order in which it came.

use std::future::Future;
use std::sync::Mutex;

use tokio::sync::oneshot;

/// A queue; it keeps the end of whoever came last.
#[derive(Default)]
pub struct Turns {
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Held by whoever has his turn: the next one's begins when it is dropped.
pub type Turn = oneshot::Sender<()>;

impl Turns {
    /// A place in the queue, taken now. Waits until everybody who has one before is done.
    pub fn place(&self) -> impl Future<Output = Turn> + Send + use<> {
        let (turn, next) = oneshot::channel();
        let before = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).replace(next);
        async move {
            if let Some(before) = before {
                // dropped when that is done
                let _ = before.await;
            }
            turn
        }
    }

    /// Whether nobody has a turn or waits for one.
    pub fn are_over(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let over = last.as_mut().is_none_or(|end| !matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        if over {
            // a receiver that has told its end once panics when it is awaited
            *last = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_after_the_other_and_again_after_the_end() {
        let turns = Turns::default();
        for _ in 0..3 {
            assert!(turns.are_over() && turns.are_over());
            let (first, second) = (turns.place(), turns.place());
            assert!(!turns.are_over());
            let first = first.await;
            let second = tokio::spawn(second);
            tokio::task::yield_now().await;
            assert!(!second.is_finished() && !turns.are_over());
            drop(first);
            let turn = second.await.unwrap();
            assert!(!turns.are_over());
            drop(turn);
        }
        // who gives up waiting holds nobody up
        let (first, second) = (turns.place(), turns.place());
        drop(first);
        drop(second.await);
        assert!(turns.are_over());
    }
}
