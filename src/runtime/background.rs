//! What a process does by itself, beside its face: the backups that policies ask for, the copies, the figures, telling of what failed, and a trial
//! of the buckets that all of it relies on.
//!
//! The logs are none of it: they are the provider's, and end with it.

use crate::config::kept_up::kept_up;
use crate::runtime::drain::Ended;
use crate::runtime::{buckets, metrics, wiring};
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
    trying: Option<JoinHandle<()>>,
}

/// Begins work that is kept up.
fn begun<F>(name: &'static str, stop: &CancellationToken, work: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(kept_up(name, stop.clone(), work))
}

impl Background {
    /// Begins all that the configuration asks for.
    #[must_use]
    pub fn begin(app: &Arc<App>) -> Self {
        let schedule = wiring::schedule(app);
        let (stop, ids) = (schedule.stop.clone(), app.config.instance_ids());
        let notifying = wiring::notifier(app, &schedule)
            .map(|notifier| begun("the notifier", &stop, move || notifier.clone().run()));
        let copying =
            wiring::copies(app, &stop).map(|copies| begun("what copies", &stop, move || copies.clone().run()));
        let figures = app.config.metrics_file.clone().map(|path| {
            let app = Arc::clone(app);
            begun("what writes the figures", &stop, move || metrics::keep(Arc::clone(&app), path.clone()))
        });
        let tried = buckets::of(&app.config);
        let trying = (!tried.is_empty()).then(|| {
            let (app, stopping) = (Arc::clone(app), stop.clone());
            let try_all = move || buckets::try_all(Arc::clone(&app), tried.clone(), stopping.clone());
            begun("what tries the buckets", &stop, try_all)
        });
        let scheduled = begun("the schedule", &stop, move || schedule.clone().run(ids.clone()));
        Self { stop, scheduled: Some(scheduled), copying, notifying, figures, trying }
    }

    /// Begins nothing more, and takes back what copies have put. What a bucket keeps waiting is left: it begins nothing any more, and the next copies
    /// go on from what these have put.
    pub async fn end(&mut self) {
        self.stop.cancel();
        let (scheduled, copying, trying) = (self.scheduled.take(), self.copying.take(), self.trying.take());
        let ends = async {
            for work in [scheduled, copying, trying].into_iter().flatten() {
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
