//! An application that writes without a pause: it counts, and keeps what the server answered. Where the numbers go on tells exactly
//! which of its writes the data has, whoever did what to the data meanwhile.

use super::{data, failed};
use crate::config::home::Home;
use crate::model::fault::Fault;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The key that is counted in.
pub const KEY: &str = "demo:count";
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(1);
/// How long something is waited for: the numbers to go on somewhere else.
const WAIT: Duration = Duration::from_secs(30);

/// Numbers that followed each other: the first and the last.
type Runs = Vec<(i64, i64)>;

/// The application, until it is dropped.
pub struct Writer {
    runs: Arc<Mutex<Runs>>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Begins to write.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn start(home: &Home) -> Result<Self, Fault> {
        let mut conn = data::connect(home).await?;
        let runs = Arc::<Mutex<Runs>>::default();
        let kept = Arc::clone(&runs);
        let task = tokio::spawn(async move {
            loop {
                // While the server is being restored it refuses writes, as to any application.
                if let Some(n) = conn.cmd_str(&["INCR", KEY]).await.ok().and_then(|reply| reply.as_int()) {
                    let mut runs = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    match runs.last_mut() {
                        Some((_, last)) if *last + 1 == n => *last = n,
                        _ => runs.push((n, n)),
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { runs, task })
    }

    fn runs(&self) -> Runs {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last number before the numbers went on elsewhere for the `nth` time, and the number they went on with. Waits for that.
    ///
    /// # Errors
    /// `demo.failed`, where the numbers do not.
    pub async fn jump(&self, nth: usize) -> Result<(i64, i64), Fault> {
        let jumped = async {
            loop {
                if let [(_, last), (next, _), ..] = self.runs().get(nth..).unwrap_or_default() {
                    return (*last, *next);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(WAIT, jumped)
            .await
            .map_err(|_| failed("the application's numbers go on as if nothing had been"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
