//! Tools: one verb a file, each with its arguments, its reply and `run`. The only room where guard and provider meet.
//!
//! A tool knows neither MCP nor the terminal: faces hand in a [`ToolCall`] and get a reply, a question, or a `Fault`.

pub mod arguments;
pub mod create_backup;
pub mod create_instance_from_backup;
pub mod delegated;
pub mod delete_backup;
pub mod describe_backup_policy;
pub mod describe_backups;
pub mod describe_instances;
pub mod describe_jobs;
pub mod destruction_rows;
pub mod download_backup;
pub mod estimates;
pub mod guarded;
pub mod key_rows;
pub mod log_row;
pub mod modify_backup_policy;
pub mod newest_rows;
pub mod plan_rows;
pub mod registry;
pub mod restore_instance;
pub mod rows;
pub mod verify_backup;

use crate::config::Config;
use crate::config::command::line;
use crate::guard::ledger::Confirmation;
use crate::guard::person::Answer;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobStatus};
use crate::model::text::{bytes, nearest, quoted};
use crate::model::time::written;
use crate::provider::Provider;
use crate::state::State;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The field of every reply that says when it was made, in UTC: whoever reads times in it need not guess how long ago they are.
pub const NOW: &str = "now";

/// What every tool works with: configuration, provider and state.
pub struct App {
    /// The configuration, checked.
    pub config: Config,
    /// The provider of all instances.
    pub provider: Arc<dyn Provider>,
    /// The store of jobs, confirmations and the audit.
    pub state: Arc<dyn State>,
}

/// Receives the progress of long work; a face shows it, as [`percent`](crate::model::estimate::percent) where the total is known.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Reports `done` of `total` bytes (0: unknown), and the work's stage. Called at least every few seconds.
    async fn report(&self, done: u64, total: u64, message: &str);
}

/// A stage with its bytes, for a reader. More than an expected total says nothing of the total.
#[must_use]
pub fn with_bytes(message: &str, done: u64, total: u64) -> String {
    match (done, total) {
        (0, _) => message.to_owned(),
        (done, total) if done >= total => format!("{message} ({})", bytes(done)),
        (done, total) => format!("{message} ({} of {})", bytes(done), bytes(total)),
    }
}

/// What asking the person resulted in.
#[derive(Debug)]
pub enum Asked {
    /// The person answered, or nobody can be asked.
    Answered(Answer),
    /// The face has to return to its client to ask; the same call will come again with the answer.
    Deferred,
}

/// The channel to the person that the called face has.
#[async_trait]
pub trait Person: Send + Sync {
    /// Whether this call will ask the person: the audit must not say that somebody was asked where nobody can be, nor again
    /// where the call already brings the answer.
    fn puts_the_question(&self) -> bool;

    /// Asks the person, and waits for the answer no longer than the confirmation is valid.
    async fn ask(&self, open: &Confirmation, question: &str) -> Asked;
}

/// One call of a tool: the caller, and how they can be reached while it runs.
pub struct ToolCall<'a> {
    /// What every tool works with.
    pub app: &'a App,
    /// Who calls; a token is bound to the caller's id.
    pub caller: &'a Caller,
    /// The channel to the person.
    pub person: &'a dyn Person,
    /// Receives the call's progress.
    pub progress: &'a dyn Progress,
}

/// The outcome of a call.
pub enum Outcome {
    /// The structured result: exactly what `--json` prints. An MCP client gets it in brief.
    Reply {
        /// The reply's fields.
        json: serde_json::Value,
        /// What a face that goes on by itself does next; the text is for readers.
        follow_up: FollowUp,
    },
    /// The face must ask the person and call again with the answer.
    AskPerson {
        /// Nonce of the confirmation that waits for the answer.
        nonce: String,
        /// The whole question, ready to be shown.
        question: String,
        /// Until when the question may be answered.
        until: Timestamp,
    },
}

/// What follows from a reply, for a face that goes on by itself, as the command line does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing: the call did what it could.
    Nothing,
    /// A plan was made: the call is made again with its token.
    Echo,
    /// Pre-checks are pending: the call is made again in a moment.
    CallAgain,
    /// This job of the call still runs.
    Job(String),
    /// It was not done, and why decides the exit code.
    Failed(Kind),
}

impl FollowUp {
    /// What follows from where a job of the call stands.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        match job.status {
            JobStatus::Running => Self::Job(job.id.clone()),
            JobStatus::Succeeded => Self::Nothing,
            JobStatus::Failed | JobStatus::Uncertain => Self::Failed(job.failure.unwrap_or(Kind::Unexpected)),
        }
    }
}

impl Outcome {
    /// Wraps a reply.
    ///
    /// # Errors
    /// `reply.failed`: a bug.
    pub fn reply(reply: &impl Serialize, follow_up: FollowUp) -> Result<Self, Fault> {
        let json = serde_json::to_value(reply).map_err(|e| {
            Fault::new(Kind::Unexpected, "reply.failed", "the reply could not be written as JSON").because(e)
        })?;
        Ok(Self::Reply { json, follow_up })
    }
}

/// Turns what a verb's `run` returns into an outcome: a reply, or the outcome itself of a guarded tool.
trait IntoOutcome {
    fn into_outcome(self) -> Result<Outcome, Fault>;
}

impl<R: Serialize> IntoOutcome for R {
    fn into_outcome(self) -> Result<Outcome, Fault> {
        Outcome::reply(&self, FollowUp::Nothing)
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Result<Outcome, Fault> {
        Ok(self)
    }
}

/// That there is no such tool, with the nearest one that there is.
#[must_use]
pub fn unknown_tool(name: &str) -> Fault {
    if name.len() > arguments::NAME_MAX {
        let message = format!("the name of the tool has {} bytes; at most {}", name.len(), arguments::NAME_MAX);
        return Fault::new(Kind::Usage, "tool.unknown", message)
            .hint(format!("The tools are {}.", registry::NAMES.join(", ")));
    }
    let near = nearest(name, registry::NAMES).map(|near| format!("Did you mean {near}? ")).unwrap_or_default();
    Fault::new(Kind::Usage, "tool.unknown", format!("there is no tool {}", quoted(name)))
        .hint(format!(
            "{near}The tools are {}. What no tool does, such as moving backups or pruning them, is a person's command: `{}` lists those.",
            registry::NAMES.join(", "),
            line("--help")
        ))
}

/// Runs a tool by its name with JSON arguments: the one door for MCP and the command line.
///
/// # Errors
/// `tool.unknown`, `arguments.invalid`, `mode.read_only`, and each tool's own.
pub async fn run(call: &ToolCall<'_>, name: &str, json: serde_json::Value) -> Result<Outcome, Fault> {
    let tool = registry::find(name).ok_or_else(|| unknown_tool(name))?;
    if call.app.config.read_only && tool.is_writer() {
        let message = format!("{name} is refused: this server runs with --read-only");
        return Err(Fault::new(Kind::Refused, "mode.read_only", message)
            .hint("Its operator can start it without --read-only.")
            .next(&["describe_instances"]));
    }
    let mut outcome = (tool.run)(call, json).await?;
    if let Outcome::Reply { json, .. } = &mut outcome {
        dated(json);
    }
    Ok(outcome)
}

/// Adds the time in UTC to a reply or a refusal: whoever reads of times in it knows how long ago they were.
pub fn dated(json: &mut serde_json::Value) {
    if let Some(fields) = json.as_object_mut() {
        fields.entry(NOW).or_insert_with(|| written(Timestamp::now()).into());
    }
}

impl App {
    /// Checks that an instance exists.
    ///
    /// # Errors
    /// `instance.bad_id`, `instance.not_found` with the nearest one there is.
    pub async fn known(&self, instance_id: &str) -> Result<(), Fault> {
        crate::model::ids::check_instance_id(instance_id)?;
        self.provider.check_instance(instance_id).await
    }
}

/// Interval at which a waiting call reports, so that a client does not take silence for an end.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs work and reports a heartbeat, so that a client does not take silence for an end.
pub async fn with_progress<T>(call: &ToolCall<'_>, what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_secs(2)) => call.progress.report(0, 0, what).await,
        }
    }
}

/// Runs work that changes something: once begun, it runs to its end, also when the client cancels the call that waits for
/// it.
///
/// # Errors
/// Its own; `job.crashed` where it died of a bug.
pub async fn run_detached<T: Send + 'static>(
    call: &ToolCall<'_>,
    what: &str,
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    with_progress(call, what, tokio::spawn(work))
        .await
        .map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the call died of a bug in this program").because(e))?
}

/// Follows a job until it ends or `wait` is over; reports its progress meanwhile.
///
/// # Errors
/// `state.failed`.
pub async fn follow(call: &ToolCall<'_>, mut job: Job, wait: Duration) -> Result<Job, Fault> {
    let deadline = Instant::now() + wait;
    let mut changes = call.app.state.changes();
    if job.status == JobStatus::Running {
        // The job may have changed before `changes` was taken, which `changes` does not report.
        job = call.app.state.job(&job.id).await?;
    }
    let mut reported = Instant::now().checked_sub(REPORT_INTERVAL).unwrap_or_else(Instant::now);
    while job.status == JobStatus::Running && Instant::now() < deadline {
        // Also where the wait ends first, the job is read once more.
        let _ = tokio::time::timeout_at(deadline.into(), changes.changed()).await;
        job = call.app.state.job(&job.id).await?;
        if reported.elapsed() >= REPORT_INTERVAL {
            reported = Instant::now();
            call.progress
                .report(job.done, job.total, &format!("{} {}: {}", job.kind.as_str(), job.id, job.stage))
                .await;
        }
    }
    Ok(job)
}
