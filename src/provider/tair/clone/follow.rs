//! Following a new instance by its status until it serves. Whatever happens, it is billed, and that is said.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd};
use crate::model::text::clean;
use crate::provider::tair::Inner;
use crate::provider::tair::poller::{LOOKS, Poller, StatusLook, Steady};
use crate::tair::wire::instances::InstanceState;

impl Inner {
    /// Follows a new instance until it serves.
    pub(super) async fn follow_clone(&self, job: &Job, new: &str) -> JobEnd {
        let billed = format!("{} is billed (PostPaid) until somebody releases it", clean(new));
        let mut poller = Poller::new(&self.polling, self.polling.clone_timeout, &self.jobs.stop);
        let mut steady = Steady::default();
        loop {
            // A new instance may not be listed at once, and what cannot be read says nothing.
            let StatusLook { status, state, looks, is_gone } = self.look_at(new, &mut poller, &mut steady).await;
            match state {
                InstanceState::Normal if looks >= LOOKS => {
                    return Ok(format!("new instance {} is ready; {billed}", clean(new)));
                }
                InstanceState::Lost if looks >= LOOKS => {
                    let message = format!("new instance {} became {status}", clean(new));
                    return Err(with_hint(Fault::new(Kind::Provider, "clone.failed", message), &billed).into());
                }
                _ => {}
            }
            if is_gone {
                let message = format!("there is no instance {} any more: it may have been released", clean(new));
                return Err(with_hint(Fault::new(Kind::Uncertain, "clone.uncertain", message), &billed).into());
            }
            let shown = if status.is_empty() { "ordered".into() } else { clean(&status) };
            let stage = format!("{} is {shown}, {} s", clean(new), poller.seconds());
            self.report_progress(job, &stage).await?;
            let waited = poller.wait(&format!("the making of {}", clean(new))).await;
            waited.map_err(|end| end.map(|fault| with_hint(fault, &billed)))?;
        }
    }
}

/// Adds to a fault's hint what a person must know of the new instance.
fn with_hint(fault: Fault, more: &str) -> Fault {
    let hint = format!("{} {more}: look with describe_instances, release it in the console.", fault.hint);
    fault.hint(hint.trim())
}
