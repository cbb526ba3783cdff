//! One restore by replication from its preparation to its end: settings, REPLICAOF, transfer, roll-back.
//!
//! It must change nothing before [`Session::run`] has its grant, and must not return from there before the target's role and
//! settings are rolled back or known not to be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::sync::mpsc;

use super::cutover::{BeforeStream, loaded_keys, nothing_to_evict, switched, unchanged};
use super::listener::{Asked, Listener};
use super::rollback::{self, Found, RolledBack};
use super::stream::replay;
use super::transfer::{self, Transferred};
use super::types::{MasterOptions, Replayed, Restored, RollbackRecord, Step, Supply, Switched};
use crate::guard::grant::{Grant, Overwrite};
use crate::model::ids::{hex, random};
use crate::model::secret::Secret;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::settings::{self, SetByUs};
use crate::redis::target::{Refusal, TargetState};

/// A restore that has read all it needs and changed nothing yet.
#[derive(Debug)]
pub struct Session {
    target: Endpoint,
    options: MasterOptions,
    conn: Conn,
    listener: Listener,
    /// The only address that the target can connect from, where known.
    only: Option<IpAddr>,
    password: Secret,
    record: RollbackRecord,
}

impl Session {
    /// Connects to the target, checks that replication can restore it, reads its settings, and opens the port. Changes
    /// nothing on the target.
    ///
    /// # Errors
    /// [`RedisError::Refused`] with the reason why not, or what the connection or the system refused.
    pub async fn prepare(target: &Endpoint, options: MasterOptions) -> Result<Self, RedisError> {
        if target.tls.is_some() && !options.allow_plain {
            return Err(Refusal::InClear.into());
        }
        let mut conn = Conn::open(target, options.command_within).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        settings::can_replicate_from_us(&facts, &mut conn).await?;
        let settings = settings::read_settings(&mut conn).await?;
        // A target on a socket file is on this machine.
        let own_address = conn.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip().to_canonical());
        let listener = Listener::bind(options.bind.unwrap_or(own_address), options.port).await?;
        let bound = listener.addr();
        let (host, port) = match &options.announce {
            Some((host, port)) => (host.clone(), port.unwrap_or(bound.port())),
            None if bound.ip().is_unspecified() => (own_address.to_string(), bound.port()),
            None => (bound.ip().to_string(), bound.port()),
        };
        let only = match &options.announce {
            Some(_) => None,
            None => conn.peer_addr().map(|a| a.ip()),
        };
        let replid = hex(&random::<20>().map_err(RedisError::no_randomness)?);
        let password = Secret::new(hex(&random::<16>().map_err(RedisError::no_randomness)?));
        let set_by_us = SetByUs::of(&password);
        let record = RollbackRecord { settings, set_by_us, host, port, replid, run_id: facts.run_id };
        Ok(Self { target: target.clone(), options, conn, listener, only, password, record })
    }

    /// What [`roll_back`](rollback::roll_back) needs after a crash. To be stored before [`Session::run`].
    #[must_use]
    pub fn rollback_record(&self) -> &RollbackRecord {
        &self.record
    }

    /// The connection that acts on the target. Only to ask which one it is.
    pub fn connection(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// The address on which this program awaits the target.
    #[must_use]
    pub fn listening_on(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Restores: all data of the target is replaced by the supply. `before` is asked once the target refuses writes and before
    /// anything is sent; `on_step` is called with each step, so that a step can be stored.
    ///
    /// Without a grant there is no restore:
    ///
    /// ```
    /// use tair_backup_mcp::{guard::grant::*, redis::master::{cutover::OwnServer, session::Session, types::Supply}};
    /// async fn restore(scratch: &Scratch, session: Session, supply: tokio::sync::mpsc::Receiver<Supply>) {
    ///     let _ = session.run(scratch.overwrite(), supply, &mut OwnServer::of(scratch), |_| ()).await;
    /// }
    /// ```
    ///
    /// ```compile_fail,E0061
    /// use tair_backup_mcp::{guard::grant::*, redis::master::{cutover::OwnServer, session::Session, types::Supply}};
    /// async fn restore(scratch: &Scratch, session: Session, supply: tokio::sync::mpsc::Receiver<Supply>) {
    ///     let _ = session.run(supply, &mut OwnServer::of(scratch), |_| ()).await;
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RedisError::Restore`] with the state in which the target was left. Its role and settings have been rolled back,
    /// unless `not_rolled_back` says otherwise. [`RedisError::Stopped`]: `before` left that to another.
    pub async fn run(
        self,
        grant: Grant<Overwrite>,
        mut supply: mpsc::Receiver<Supply>,
        before: &mut impl BeforeStream,
        mut on_step: impl FnMut(Step),
    ) -> Result<Restored, RedisError> {
        let Self { target, options, mut conn, listener, only, password, mut record } = self;
        tracing::debug!(instance = grant.instance_id(), "replaces all data by replication");
        on_step(Step::SettingsSaved);
        let attempt = async {
            settings::prepare(&mut conn, &password).await?;
            before.switching().await.map_err(|fault| RedisError::Withheld { fault })?;
            on_step(Step::Switched);
            conn.cmd_str(&["REPLICAOF", &record.host, &record.port.to_string()]).await?;
            // From here on the target takes no write of a client: what is read now is its last state under its old data.
            let seen = switched(&mut conn, &record).await?;
            on_step(Step::Refusing);
            before.allow(&seen).await.map_err(|fault| RedisError::Withheld { fault })?;
            let asked = Asked { replication_id: seen.replication_id.clone(), next: seen.offset.saturating_add(1) };
            let mut link = listener.accept(&password, only, &asked, options.connect_within).await?;
            unchanged(&seen, &switched(&mut conn, &record).await?)?;
            link.full_resync(&record.replid).await?;
            on_step(Step::Connected);
            let mut transferred =
                transfer::transfer(link, &mut supply, &options, &target, &record.replid, &mut on_step).await?;
            on_step(Step::Loaded);
            before.loaded().await;
            let replayed = match transferred.stream_follows {
                true => Some(replay(&mut transferred, &mut supply, &options, &target, &mut on_step).await?),
                false => None,
            };
            nothing_to_evict(&target, &options, &mut record, before).await;
            // Counted before anybody can write again.
            let loaded = loaded_keys(&target).await;
            Ok((transferred, replayed, seen, loaded))
        };
        let transferred: Result<(Transferred, Option<Replayed>, Switched, _), RedisError> = attempt.await;
        before.rolling_back().await.map_err(|fault| RedisError::Stopped { fault })?;
        // The link (in `transferred`) and the port stay open until the target follows nobody: were the link closed first, the
        // target would connect again; were the port free, somebody else might be listening there.
        let rolled_back = rollback::roll_back_with_retries(&target, conn, &record, &options).await;
        drop(listener);
        let rolled_back = match rolled_back {
            Ok(done) if transferred.is_ok() && !matches!(done.found, Found::FollowsAnother { .. }) => {
                on_step(Step::Promoted);
                Ok(rollback::limit_back(&target, &record, &options, done).await)
            }
            rolled_back => rolled_back,
        };
        let state = match rollback::state_after(&rolled_back, transferred.is_ok()) {
            TargetState::Replaced if matches!(transferred, Err(RedisError::Stream { .. })) => TargetState::Unfinished,
            state => state,
        };
        match (transferred, rolled_back) {
            (Ok(_), Ok(RolledBack { found: Found::FollowsAnother { master }, problem, .. })) => {
                let what = format!("it was told meanwhile to follow {master}, which is not our doing");
                let source = Box::new(RedisError::RollbackIncomplete { what });
                Err(RedisError::Restore { state, not_rolled_back: problem, source })
            }
            (Ok((transferred, replayed, switched, loaded)), Ok(RolledBack { problem: None, .. })) => {
                on_step(Step::Restored);
                Ok(Restored { sent: transferred.sent, replayed, peer: transferred.peer, switched, loaded })
            }
            (Ok(_), Ok(RolledBack { problem: Some(what), .. })) => {
                let source = Box::new(RedisError::RollbackIncomplete { what: what.clone() });
                Err(RedisError::Restore { state, not_rolled_back: Some(what), source })
            }
            (Ok(_), Err(error)) => {
                let not_rolled_back = Some(format!("it may still follow us ({error})"));
                Err(RedisError::Restore { state, not_rolled_back, source: Box::new(error) })
            }
            (Err(source), Ok(RolledBack { problem, .. })) => {
                Err(RedisError::Restore { state, not_rolled_back: problem, source: Box::new(source) })
            }
            (Err(source), Err(error)) => {
                let not_rolled_back = Some(format!("it may still follow us ({error})"));
                Err(RedisError::Restore { state, not_rolled_back, source: Box::new(source) })
            }
        }
    }
}
