//! Following a restore by the instance's status until the instance serves again, and counting its keys after that.

use crate::guard::facts::restore::CountedKeys;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::model::text::clean;
use crate::model::time::written;
use crate::provider::tair::architecture::{Architecture, Shape};
use crate::provider::tair::poller::{LOOKS, Poller, StatusLook, Steady};
use crate::provider::tair::restore::record::Record;
use crate::provider::tair::{Inner, traffic};
use crate::provider::way_back::with_way_back;
use crate::tair::wire::instances::{InstanceState, is_released};
use jiff::Timestamp;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The effect of a call which was taken is waited for so many times longer than any effect needs to be seen.
const LATE: u32 = 3;

/// How the following of a restore ended well.
pub struct Followed {
    /// Seconds that the restore took.
    pub seconds: u64,
    /// What the reader has to know beside the end, as parts of a sentence; empty where there is nothing.
    pub caveat: String,
}

impl Inner {
    /// The instance's shape, as key counts need it.
    pub(super) async fn shape(&self, instance_id: &str) -> Shape {
        // Only for counting keys: the restore does not depend on the shape.
        self.attribute(instance_id).await.map_or(Shape::Standard, |a| Architecture::of(&a).shape)
    }

    /// Follows the status until the instance is known to serve again, or to be lost. `Normal` counts once the effect of the call
    /// was seen, and then only where several looks in a row show it; what cannot be read says nothing.
    pub(super) async fn follow_restore(
        &self,
        job: &Job,
        record: &mut Record,
        resumed: bool,
    ) -> Result<Followed, Unfinished> {
        let id = &job.instance_id;
        // With the fence up this process stays until the fence can be lifted.
        let stop = if record.fence { CancellationToken::new() } else { self.jobs.stop.clone() };
        let mut poller = Poller::new(&self.polling, self.polling.restore_timeout, &stop);
        let sent_at = record.sent_at.unwrap_or(job.created_at);
        let since_sent = || Duration::try_from(self.client.now().duration_since(sent_at)).unwrap_or_default();
        let visible = self.polling.visibility_delay.saturating_mul(if record.taken { LATE } else { 1 });
        let mut steady = Steady::default();
        loop {
            let StatusLook { status, state, looks, is_gone } = self.look_at(id, &mut poller, &mut steady).await;
            match state {
                InstanceState::Normal if record.seen && looks >= LOOKS => break,
                InstanceState::Normal if !record.seen && looks >= LOOKS && since_sent() >= visible => {
                    return Err(with_way_back(not_seen(record, sent_at, resumed), &record.back).into());
                }
                InstanceState::Lost if looks >= LOOKS => {
                    let message = format!("the instance became {} during the restore", clean(&status));
                    let is_gone = is_released(&status);
                    // Of one that is released no lock is left.
                    record.fence &= !is_gone;
                    // One that is down may go on with the restore, and one that was not seen to begin may still begin it.
                    let is_over = is_gone || (record.seen && InstanceState::of(&status) == InstanceState::Lost);
                    let end = if is_over {
                        Fault::new(Kind::Provider, "restore.failed", message)
                    } else {
                        Fault::new(Kind::Uncertain, "cloud.uncertain", message)
                            .hint("Look at the instance in the console, and with describe_instances.")
                            .next(&["describe_instances"])
                    };
                    return Err(with_way_back(end, &record.back).into());
                }
                InstanceState::Recovering if !record.seen => {
                    record.seen = true;
                    self.keep_recovery(job, record).await;
                }
                // A change may be somebody else's doing.
                _ => {}
            }
            if is_gone {
                let message = "there is no such instance any more: it may have been released during the restore";
                let gone = Fault::new(Kind::Uncertain, "cloud.uncertain", message);
                let gone = gone.hint("Look with describe_instances, and in the console.").next(&["describe_instances"]);
                return Err(with_way_back(gone, &record.back).into());
            }
            let stage = if status.is_empty() { "status unknown".into() } else { clean(&status) };
            self.report_progress(job, &format!("{stage}, {} s", poller.seconds())).await?;
            let waited = poller.wait("the restore").await;
            waited.map_err(|end| end.map(|fault| with_way_back(fault, &record.back)))?;
        }
        let caveat = if record.taken { "" } else { "; the reply to the call was lost, its effect was seen" };
        Ok(Followed { seconds: if resumed { since_sent().as_secs() } else { poller.seconds() }, caveat: caveat.into() })
    }

    /// Whether several looks in a row show the instance `Normal`, or lost: then no restore is at work on it. One that is
    /// down may be in the middle of it.
    pub(super) async fn is_at_rest(&self, instance_id: &str) -> Result<bool, Fault> {
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout, &CancellationToken::new());
        let mut steady = Steady::default();
        loop {
            let state = self.attribute_raw(instance_id).await?.map_or(InstanceState::Untold, |a| a.state());
            if !matches!(state, InstanceState::Normal | InstanceState::Lost) {
                return Ok(false);
            }
            if steady.saw(state) >= LOOKS {
                return Ok(true);
            }
            poller.wait("the restore").await.map_err(Unfinished::into_fault)?;
        }
    }

    /// The key count measured after the restore, and `true`; the latest earlier one where the cloud measures too late.
    pub(super) async fn count_after(&self, job: &Job) -> Option<(CountedKeys, bool)> {
        let done_at = self.client.now();
        let shape = self.shape(&job.instance_id).await;
        let mut poller = Poller::new(&self.polling, self.polling.restore_timeout, &self.jobs.stop);
        let mut last = None;
        loop {
            if let Ok(Some(counted)) = traffic::keys(&self.client, &job.instance_id, shape).await {
                if counted.at.is_some_and(|at| at >= done_at) {
                    return Some((counted, true));
                }
                last = Some((counted, false));
            }
            if poller.elapsed() >= self.polling.metrics_delay {
                return last;
            }
            let ours = self.report_progress(job, "restored; waiting for the key count").await;
            if ours.is_err() || poller.wait("the key count").await.is_err() {
                return last;
            }
        }
    }
}

/// The end of a restore whose effect nobody has seen: it may have been over between two looks, come late, or never have been.
fn not_seen(record: &Record, sent_at: Timestamp, resumed: bool) -> Fault {
    let at = written(sent_at);
    let message = match (record.taken, resumed) {
        (true, false) => format!(
            "the cloud took the restore of {at}, and the instance was never seen BackupRecovering since: it is not known whether its data was restored"
        ),
        (true, true) => format!(
            "the cloud took the restore of {at}, and nobody looked while the process was dead: it is not known whether the data was restored meanwhile"
        ),
        (false, true) => format!(
            "the process died around the restore of {at}, before it had a reply, and the instance is Normal now: it is not known whether the restore took place meanwhile"
        ),
        (false, false) => format!(
            "the reply to the restore of {at} was lost, and the instance was not seen BackupRecovering since: most likely it never arrived"
        ),
    };
    Fault::new(Kind::Uncertain, "cloud.uncertain", message)
        .hint("Look at the instance's data, and at its status with describe_instances. If it is the old data, make a new plan.")
        .next(&["describe_instances"])
}

/// What came of a restore, for the reader. `after`: what the cloud counts now; `None` where that was not asked.
pub fn outcome(record: &Record, after: Option<Option<(CountedKeys, bool)>>, done: &Followed) -> String {
    let before = record.keys_before.map_or("an unknown number of".into(), |n| n.to_string());
    let Followed { seconds, caveat } = done;
    let what = if record.what.is_empty() { String::new() } else { format!("{} ", record.what) };
    let Some(after) = after else { return format!("{what}restored in {seconds} s, {before} keys before{caveat}") };
    let after = match after {
        Some((CountedKeys { keys, .. }, true)) => format!("{keys} keys after it"),
        Some((CountedKeys { keys, at }, false)) => {
            let at = at.map(|at| format!(" of {}", written(at))).unwrap_or_default();
            format!("{keys} keys in the cloud's last figure{at}, which lags")
        }
        None => "the cloud has not counted its keys yet".into(),
    };
    format!("{what}restored in {seconds} s: {before} keys before, {after}{caveat}")
}
