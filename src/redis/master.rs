//! Restore by playing master: the target follows us for as long as it takes to load the data, and then no longer.
//!
//! It must never write a byte that the supplier has not verified, and never the end of the data before the supplier says
//! that all of it is good: with `repl-diskless-load swapdb` a transfer that breaks off leaves the old data in place, while a
//! complete but bad one makes the target exit. Whatever goes wrong after REPLICAOF, it takes the target off us again and puts
//! its settings back, or says that it could not.
//!
//! A crash leaves a target that follows a dead address. Whoever starts a restore writes [`Stage::switch`] down before
//! [`Stage::run`], and hands it to [`settle`] at the next start. Dropping the future of `run` is such a crash.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;

use super::conn::Conn;
use super::endpoint::Endpoint;
use super::facts::ServerFacts;
use super::listener::Listener;
use super::serve::{self, Served};
use super::settings::{self, Settings};
use super::{RedisError, settle};
use crate::model::secret::Secret;

pub use super::settings::{Refusal, can_replicate_from_us, put_back, read_settings};
pub use super::settle::{Found, Settled, settle};

/// What the supplier of the data sends. Chunks may have any size; a megabyte is good.
#[derive(Debug)]
pub enum Supply {
    /// The next bytes, verified.
    Chunk(Vec<u8>),
    /// That was all, and all of it was good. Without it the target never gets the last chunk.
    Done,
    /// The data turned out bad or could not be read: the target keeps what it has. A closed channel means the same.
    Failed(String),
}

/// What has just happened, or, where noted, is just about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// About to change the target's settings.
    SettingsSaved,
    /// About to send REPLICAOF: from here on a crash needs [`settle`].
    Switched,
    /// The target came and proved itself.
    Connected,
    /// Data is on its way.
    Streaming {
        /// Bytes written so far.
        sent: u64,
        /// Bytes expected in all, where the caller said so.
        total: Option<u64>,
    },
    /// The target has loaded the data: the old data is gone.
    Loaded,
    /// The target is its own master again.
    Promoted,
    /// Its settings are as they were.
    Restored,
}

/// What a target holds after a restore failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Its old data.
    Untouched,
    /// The new data, whole.
    Replaced,
    /// It could not be asked, or has been restarted since.
    Unknown,
}

impl std::fmt::Display for TargetState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Untouched => "the target still has its old data",
            Self::Replaced => "the target has the new data",
            Self::Unknown => "what the target holds now is not known",
        })
    }
}

/// How to play master.
#[derive(Debug, Clone)]
pub struct MasterOptions {
    /// Address to listen on. By default the one that the target sees us under on our connection to it.
    pub bind: Option<IpAddr>,
    /// Port to listen on; 0 takes a random free one.
    pub port: u16,
    /// Host and port to tell the target, where address translation is between us. Visitors are then not checked by address.
    pub announce: Option<(String, Option<u16>)>,
    /// For our connections to the target, and each command.
    pub command_within: Duration,
    /// The target must have come within this.
    pub connect_within: Duration,
    /// Longest time without progress while sending, and without a sign of life while it loads.
    pub stall: Duration,
    /// How long to try, when all is over, to take the target off us and put its settings back.
    pub settle_within: Duration,
    /// Size of the data, for progress only.
    pub total: Option<u64>,
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self {
            bind: None,
            port: 0,
            announce: None,
            command_within: Duration::from_secs(15),
            connect_within: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            settle_within: Duration::from_secs(60),
            total: None,
        }
    }
}

/// All that must be known to take a target off us and put it back as it was. Plain, so that it can be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The target's own settings.
    pub settings: Settings,
    /// The host that the target is told to follow.
    pub host: String,
    /// The port that the target is told to follow.
    pub port: u16,
    /// The replication id under which it gets the data: a target that has it has loaded the data.
    pub replid: String,
    /// The target's process, as `run_id`. Another one means that it has been restarted.
    pub run_id: String,
}

/// A restore that has read all it needs and changed nothing yet.
#[derive(Debug)]
pub struct Stage {
    target: Endpoint,
    options: MasterOptions,
    conn: Conn,
    listener: Listener,
    only: Option<IpAddr>,
    password: Secret,
    switch: Switch,
}

/// A restore that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Bytes sent, without the end mark.
    pub sent: u64,
    /// Where the target came from.
    pub peer: SocketAddr,
}

impl Stage {
    /// Connects to the target, asks whether it can be done, reads its settings, and opens the port. Changes nothing.
    ///
    /// # Errors
    /// [`RedisError::Refused`] with the reason why not, or what the connection or the system refused.
    pub async fn prepare(target: &Endpoint, options: MasterOptions) -> Result<Self, RedisError> {
        let mut conn = Conn::open(target, options.command_within).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        settings::can_replicate_from_us(&facts, &mut conn).await?;
        let settings = settings::read_settings(&mut conn).await?;
        // A target on a socket file is on this machine.
        let seen = conn.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip().to_canonical());
        let listener = Listener::bind(options.bind.unwrap_or(seen), options.port).await?;
        let bound = listener.addr();
        let (host, port) = match &options.announce {
            Some((host, port)) => (host.clone(), port.unwrap_or(bound.port())),
            None if bound.ip().is_unspecified() => (seen.to_string(), bound.port()),
            None => (bound.ip().to_string(), bound.port()),
        };
        let only = match &options.announce {
            Some(_) => None,
            None => conn.peer_addr().map(|a| a.ip()),
        };
        let switch = Switch { settings, host, port, replid: random_hex(20)?, run_id: facts.run_id };
        Ok(Self {
            target: target.clone(),
            options,
            conn,
            listener,
            only,
            password: Secret::new(random_hex(16)?),
            switch,
        })
    }

    /// What [`settle`] needs after a crash. Write it down before [`Stage::run`].
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Where we listen.
    #[must_use]
    pub fn listening_on(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Restores. `on_step` is told each step, so that it can be written down.
    ///
    /// # Errors
    /// [`RedisError::Restore`] with the state in which the target was left. It has been taken off us and its settings put
    /// back, unless `unsettled` says otherwise.
    pub async fn run(
        self,
        mut supply: mpsc::Receiver<Supply>,
        mut on_step: impl FnMut(Step),
    ) -> Result<Restored, RedisError> {
        let Self { target, options, mut conn, listener, only, password, switch } = self;
        on_step(Step::SettingsSaved);
        let attempt = async {
            settings::prepare(&mut conn, &password).await?;
            on_step(Step::Switched);
            conn.cmd_str(&["REPLICAOF", &switch.host, &switch.port.to_string()]).await?;
            let link = listener.accept(&password, only, &switch.replid, options.connect_within).await?;
            on_step(Step::Connected);
            let served = serve::serve(link, &mut supply, &options, &target, &switch, &mut on_step).await?;
            on_step(Step::Loaded);
            Ok(served)
        };
        let served: Result<Served, RedisError> = attempt.await;
        // The link (in `served`) and the port stay open until the target has left us: were the link closed first, the target
        // would look for us again; were the port free, it might find somebody else there.
        let settled = settle::settle_at(&target, conn, &switch, &options).await;
        drop(listener);
        let state = settle::state_after(&settled, served.is_ok());
        match (served, settled) {
            (Ok(_), Ok(Settled { found: Found::FollowsAnother { master }, problem, .. })) => {
                let what = format!("it was told meanwhile to follow {master}, which is not our doing");
                let source = Box::new(RedisError::Unsettled { what });
                Err(RedisError::Restore { state, unsettled: problem, source })
            }
            (Ok(served), Ok(settled)) if settled.problem.is_none() => {
                on_step(Step::Promoted);
                on_step(Step::Restored);
                Ok(Restored { sent: served.sent, peer: served.peer })
            }
            (Ok(_), Ok(settled)) => {
                let what = settled.problem.unwrap_or_default();
                let source = RedisError::Unsettled { what: what.clone() };
                Err(RedisError::Restore { state, unsettled: Some(what), source: Box::new(source) })
            }
            (Ok(_), Err(error)) => {
                let unsettled = Some(format!("it may still follow us ({error})"));
                Err(RedisError::Restore { state, unsettled, source: Box::new(error) })
            }
            (Err(source), Ok(settled)) => {
                Err(RedisError::Restore { state, unsettled: settled.problem, source: Box::new(source) })
            }
            (Err(source), Err(error)) => {
                let unsettled = Some(format!("it may still follow us ({error})"));
                Err(RedisError::Restore { state, unsettled, source: Box::new(source) })
            }
        }
    }
}

/// `n` random bytes as hexadecimal digits.
pub(super) fn random_hex(n: usize) -> Result<String, RedisError> {
    let mut bytes = vec![0; n];
    getrandom::fill(&mut bytes).map_err(|e| RedisError::System {
        what: "no random numbers".to_owned(),
        source: std::io::Error::other(e.to_string()),
    })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
