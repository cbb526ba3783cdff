//! Following a new instance by its status until it serves. Whatever happens, it is billed, and that is said.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd};
use crate::model::text::clean;
use crate::provider::tair::Inner;
use crate::provider::tair::poller::Poller;
use crate::tair::error::CloudError;
use crate::tair::wire::instances::InstanceState;

impl Inner {
    /// Follows a new instance until it serves.
    pub(super) async fn follow_clone(&self, job: &Job, new: &str) -> JobEnd {
        let billed = format!("{} is billed (PostPaid) until somebody releases it", clean(new));
        let mut poller = Poller::new(&self.polling, self.polling.clone_timeout, &self.jobs.stop);
        loop {
            let read = self.attribute_raw(new).await;
            let unknown = read.as_ref().is_err_and(|e| e.is_cloud(CloudError::says_no_such_instance));
            let status = match read {
                // A new instance may not be listed at once.
                Err(_) if unknown && poller.elapsed() < self.polling.visibility_delay => "ordered".to_owned(),
                read => match poller.tolerate(read).map_err(|f| with_hint(f, &billed))? {
                    Some(found) => found.and_then(|a| a.facts.instance_status).unwrap_or_default(),
                    None => String::new(),
                },
            };
            match InstanceState::of(&status) {
                InstanceState::Normal => return Ok(format!("new instance {} is ready; {billed}", clean(new))),
                InstanceState::Lost => {
                    let message = format!("new instance {} became {status}", clean(new));
                    return Err(with_hint(Fault::new(Kind::Provider, "clone.failed", message), &billed).into());
                }
                InstanceState::Recovering | InstanceState::Changing | InstanceState::Untold => {}
            }
            let stage = format!("{} is {}, {} s", clean(new), clean(&status), poller.seconds());
            self.report_progress(job, &stage).await;
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
