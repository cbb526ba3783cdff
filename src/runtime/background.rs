//! What a process does by itself, beside its face: the backups that policies ask for, the copies, the figures, and telling of what failed.
//!
//! The logs are none of it: they are the provider's, and end with it.

use crate::runtime::drain::Ended;
use crate::runtime::{metrics, wiring};
use crate::tools::App;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long what was told to end may take: a look at what is due, and copies that take back what they have put.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How long a notifier that was asked to end may take: what it is at is not told twice.
const NOTIFIER_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The work in the background; by default there is none.
#[derive(Default)]
pub struct Background {
    stop: CancellationToken,
    scheduled: Option<JoinHandle<()>>,
    copying: Option<JoinHandle<()>>,
    notifying: Option<JoinHandle<()>>,
    figures: Option<JoinHandle<()>>,
}

impl Background {
    /// Begins all that the configuration asks for.
    #[must_use]
    pub fn begin(app: &Arc<App>) -> Self {
        let schedule = wiring::schedule(app);
        let figures = |path| tokio::spawn(metrics::keep(Arc::clone(app), path));
        Self {
            stop: schedule.stop.clone(),
            notifying: wiring::notifier(app, &schedule).map(|notifier| tokio::spawn(notifier.run())),
            copying: wiring::copies(app, &schedule.stop).map(|copies| tokio::spawn(copies.run())),
            figures: app.config.metrics_file.clone().map(figures),
            scheduled: Some(tokio::spawn(schedule.run(app.config.instance_ids()))),
        }
    }

    /// Begins nothing more, and takes back what copies have put. What a bucket keeps waiting is left: it begins nothing any more, and the next copies
    /// go on from what these have put.
    pub async fn end(&mut self) {
        self.stop.cancel();
        let (scheduled, copying) = (self.scheduled.take(), self.copying.take());
        let ends = async {
            for work in [scheduled, copying].into_iter().flatten() {
                let _ = work.await;
            }
        };
        let _ = tokio::time::timeout(ENDS_WITHIN, ends).await;
    }

    /// Waits until the end of the jobs, too, was told; a notifier that does not end is left. Figures are written until then.
    pub async fn told(self, ended: Ended) {
        if let Some(figures) = self.figures {
            figures.abort();
        }
        if let Some(notifying) = self.notifying
            && ended != Ended::Abandoned
            && tokio::time::timeout(NOTIFIER_ENDS_WITHIN, notifying).await.is_err()
        {
            tracing::debug!("the notifier did not end");
        }
    }
}
