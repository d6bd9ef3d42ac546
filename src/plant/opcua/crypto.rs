//! Public-key cryptography and certificates of users, off the threads that answer everybody: a few at one time, and a bounded
//! line before them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opcua::types::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Jobs at one time. One takes some milliseconds of a core.
const JOBS: usize = 2;
/// Jobs that wait for their turn; more are refused.
const LINE: usize = 64;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where such work is done.
pub struct Work {
    turns: Semaphore,
    line: AtomicUsize,
    patience: Duration,
}

impl Default for Work {
    fn default() -> Work {
        Work { turns: Semaphore::new(JOBS), line: AtomicUsize::new(0), patience: PATIENCE }
    }
}

/// A place in the line; given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Work {
    /// Does a job on a thread that may block. `BadServerTooBusy`: too many wait already, or its turn did not come in time.
    pub async fn run<T, F>(&self, job: F) -> Result<T, StatusCode>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let waiting = self.line.fetch_add(1, Ordering::AcqRel);
        let place = Place(&self.line);
        if waiting >= LINE {
            return Err(StatusCode::BadServerTooBusy);
        }
        let turn = timeout(self.patience, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| StatusCode::BadServerTooBusy)?.map_err(|_| StatusCode::BadShutdown)?;
        drop(place);
        tokio::task::spawn_blocking(job).await.map_err(|_| StatusCode::BadInternalError)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_thread_that_answers_goes_on_and_the_line_is_bounded() {
        let work = Arc::new(Work { patience: Duration::from_millis(200), ..Work::default() });
        let holds: Vec<mpsc::Sender<()>> = (0..JOBS)
            .map(|_| {
                let (hold, held) = mpsc::channel::<()>();
                let work = work.clone();
                tokio::spawn(async move { work.run(move || held.recv().is_ok()).await });
                hold
            })
            .collect();
        // a runtime of one thread, and still here
        tokio::time::sleep(Duration::from_millis(20)).await;
        let waiting: Vec<_> = (0..LINE)
            .map(|_| {
                let work = work.clone();
                tokio::spawn(async move { work.run(|| ()).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(work.run(|| ()).await, Err(StatusCode::BadServerTooBusy), "the line is full");
        for one in waiting {
            assert_eq!(one.await.unwrap(), Err(StatusCode::BadServerTooBusy), "not in time");
        }
        drop(holds);
        assert_eq!(work.run(|| 5).await, Ok(5), "the line is empty again");
        assert_eq!(work.run(|| panic!("a job that fails")).await, Err::<(), _>(StatusCode::BadInternalError));
        assert_eq!(work.run(|| 6).await, Ok(6), "its turn was given back");
    }
}
