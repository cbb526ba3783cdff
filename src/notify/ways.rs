//! The ways by which somebody is told: a POST, a program, a ping. One try each; what went wrong is said without the address.

use crate::config::blocking::blocking;
use crate::config::notify::{COMMAND, NotifyConfig, PING, Place, Program, WEBHOOK};
use crate::config::tair::TairConfig;
use crate::model::fault::Fault;
use crate::model::secret::Secret;
use crate::notify::event::Notification;
use crate::tair::http::{Http, Request};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What requests are sent by.
#[derive(Debug, Clone)]
pub struct Client(Http);

impl Client {
    /// Sets up connections; makes none.
    ///
    /// # Errors
    /// `tair.invalid_setup` where this machine has no TLS.
    pub async fn new() -> Result<Self, Fault> {
        // Whose agent skills call the cloud is no webhook's business.
        let config = TairConfig { user_agent: String::new(), ..TairConfig::default() };
        blocking(move || Ok(Self(Http::new(&config)?))).await
    }

    /// Sends a request, which has to be answered with a success. Redirects are not followed: the address was given to one host.
    async fn send(&self, to: &Place, request: Request) -> Result<(), String> {
        match self.0.send(request).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
            Ok(reply) => Err(format!("{} answers with HTTP {}", to.host, reply.status)),
            Err(trouble) => Err(format!("{}: {}", to.host, trouble.why())),
        }
    }
}

/// One way.
#[derive(Debug, Clone)]
pub enum Way {
    /// Each event by POST, as JSON.
    Webhook(Place),
    /// A program for each event.
    Command(Program),
    /// A monitor that hears of successes, and of failures at another address.
    Ping(Place),
}

impl Way {
    /// The ways of a configuration.
    #[must_use]
    pub fn of(config: &NotifyConfig) -> Vec<Self> {
        let webhook = config.webhook.clone().map(Self::Webhook);
        let command = config.command.clone().map(Self::Command);
        webhook.into_iter().chain(command).chain(config.ping.clone().map(Self::Ping)).collect()
    }

    /// The way's name in the state store.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => WEBHOOK,
            Self::Command(_) => COMMAND,
            Self::Ping(_) => PING,
        }
    }

    /// Where it leads, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(to) | Self::Ping(to) => to.host.clone(),
            Self::Command(program) => program.name(),
        }
    }

    /// Tells it, once. A monitor hears whether something is wrong by the address.
    ///
    /// # Errors
    /// What went wrong, as part of a sentence.
    pub async fn tell(&self, client: &Client, told: &Notification, is_failure: bool) -> Result<(), String> {
        match self {
            Self::Webhook(to) => {
                let body = told.body();
                client.send(to, Request::plain(to.url.expose(), Some(("application/json", &body)))).await
            }
            Self::Ping(to) if is_failure => {
                let (url, line) = (to.failing(), told.line());
                client.send(to, Request::plain(url.expose(), Some(("text/plain; charset=utf-8", &line)))).await
            }
            Self::Ping(to) => client.send(to, Request::plain(to.url.expose(), None)).await,
            Self::Command(program) => run(program, told).await,
        }
    }
}

/// Ends a program, and what it has started, unless it has ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            // It may have ended at this very moment; it is not reaped yet, so the number is nobody else's.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs a program that gets the event on its standard input and in its environment; when this is dropped it is killed.
async fn run(program: &Program, told: &Notification) -> Result<(), String> {
    let name = program.name();
    let mut command = Command::new(&program.path);
    command.args(program.arguments.iter().map(Secret::expose));
    // Standard output is this process's wire to its client: a child never inherits it.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
    for (variable, value) in [
        ("EVENT", told.event.as_str().to_owned()),
        ("INSTANCE_ID", told.instance_id.clone()),
        ("JOB_ID", told.job_id.clone().unwrap_or_default()),
        ("CODE", told.code.clone().unwrap_or_default()),
        ("MESSAGE", told.message.clone()),
        ("AT", told.at.clone()),
        ("SINCE", told.since.clone().unwrap_or_default()),
    ] {
        command.env(format!("TAIR_BACKUP_{variable}"), value);
    }
    // Starting a program reads it from its disk.
    let spawned = tokio::task::spawn_blocking(move || command.spawn()).await;
    let mut child = spawned
        .map_err(std::io::Error::other)
        .and_then(|spawned| spawned)
        .map_err(|e| format!("{name} cannot be started: {e}"))?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    if let Some(mut stdin) = child.stdin.take() {
        // A program may read nothing.
        let _ = stdin.write_all(told.body().as_bytes()).await;
    }
    let ended = child.wait().await;
    group.0 = None;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed ({status})")),
        Err(e) => Err(format!("{name} cannot be waited for: {e}")),
    }
}
