//! The settings of a server's persistence: read, and set one by one, each read back.
//!
//! What protects less is set with a permit alone. A change that is refused halfway is put back, as far as that can be done, and what it left
//! is told. What cannot be read is absent, and said.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::conn::Conn;
use super::error::RedisError;
use super::facts::{field, info};
use super::prefix::ErrorPrefix;
use super::settings::get;
use crate::guard::permit::Permit;
use crate::model::persistence::{Persistence, PersistenceSettings, PersistenceState};
use crate::model::text::clean;

/// How long the first file is waited for while a server writes it, and the wait between two.
const LOOKS: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a change came to.
#[derive(Debug)]
pub struct Set {
    /// What was changed; empty where all was so already.
    pub changed: PersistenceSettings,
    /// Whether the server wrote it into its configuration file; else why not.
    pub kept: Result<(), String>,
    /// How the first append-only file of a server stands that had none before.
    pub begun: Option<PersistenceState>,
}

/// Why settings were not changed.
#[derive(Debug)]
pub enum NotSet {
    /// They would protect less, and there is no permit.
    Lowers,
    /// The server refused one.
    Refused {
        /// Name of the setting.
        name: &'static str,
        /// What the server said.
        why: String,
        /// Those that had been set before it and were put back.
        put_back: Vec<&'static str>,
        /// Those that are not as they were, or of which that is not known.
        left: Vec<&'static str>,
    },
}

/// Reads all that there is to tell. What the server refuses to tell is said in the reply.
///
/// # Errors
/// What broke on the way.
pub async fn read(conn: &mut Conn) -> Result<Persistence, RedisError> {
    let mut all = Persistence::default();
    let mut unread = Vec::new();
    match read_settings(conn).await {
        Ok(settings) => all.settings = settings,
        Err(error) if is_refusal(&error) => unread.push(format!("the settings (CONFIG GET): {error}")),
        Err(error) => return Err(error),
    }
    match info(conn, Some("persistence")).await {
        Ok(text) => {
            all.state = state_of(&text);
            all.settings.appendonly = all.settings.appendonly.or_else(|| flag(&text, "aof_enabled"));
        }
        Err(error) if is_refusal(&error) => unread.push(format!("the state (INFO persistence): {error}")),
        Err(error) => return Err(error),
    }
    all.unread = unread.join("; ");
    Ok(all)
}

/// Reads the settings, all of them.
///
/// # Errors
/// What broke on the way, or the refusal of the server.
pub async fn read_settings(conn: &mut Conn) -> Result<PersistenceSettings, RedisError> {
    let mut settings = PersistenceSettings::default();
    for name in PersistenceSettings::NAMES {
        if let Some(value) = get(conn, name).await? {
            settings.put(name, &value);
        }
    }
    Ok(settings)
}

/// Whether the server refused to run a command for us, rather than that something broke.
#[must_use]
pub fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error,
        RedisError::Denied { .. }
            | RedisError::Server { prefix: ErrorPrefix::UnknownCommand | ErrorPrefix::Err | ErrorPrefix::Other, .. }
    )
}

/// Sets what `then` has otherwise than `now`, which was just read. What protects less takes a permit.
///
/// # Errors
/// [`NotSet`]: then all is as it was, but for what it names.
pub async fn set(
    conn: &mut Conn,
    now: &PersistenceSettings,
    then: &PersistenceSettings,
    permit: Option<&Permit>,
) -> Result<Set, NotSet> {
    if permit.is_none() && !now.lowered_by(then).is_empty() {
        return Err(NotSet::Lowers);
    }
    let changed = now.changed_to(then);
    let mut done = Vec::new();
    for (name, value) in changed.named() {
        if let Err(why) = set_one(conn, name, &value).await {
            let mut left = Vec::new();
            // The one that was refused may have been taken all the same: a reply can be lost.
            if !is_as(conn, now, name).await && !put_back(conn, now, name).await {
                left.push(name);
            }
            let mut back = Vec::new();
            for name in done.into_iter().rev() {
                if put_back(conn, now, name).await { back.push(name) } else { left.push(name) }
            }
            return Err(NotSet::Refused { name, why, put_back: back, left });
        }
        done.push(name);
    }
    if changed.is_empty() {
        return Ok(Set { changed, kept: Ok(()), begun: None });
    }
    let kept = match conn.cmd_str(&["CONFIG", "REWRITE"]).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let begun = match changed.appendonly {
        Some(true) => first_file(conn).await,
        _ => None,
    };
    Ok(Set { changed, kept, begun })
}

/// Sets one setting and reads it back; else why not.
async fn set_one(conn: &mut Conn, name: &'static str, value: &str) -> Result<(), String> {
    conn.cmd_str(&["CONFIG", "SET", name, value]).await.map_err(|error| error.to_string())?;
    let mut wanted = PersistenceSettings::default();
    wanted.put(name, value);
    // Some services answer OK and change nothing.
    match found(conn, name).await {
        Ok(found) if found == wanted.value(name) => Ok(()),
        Ok(found) => {
            let found = found.map_or_else(|| "unknown".to_owned(), |found| format!("\"{}\"", clean(&found)));
            Err(format!("it was taken, and is {found} all the same"))
        }
        Err(error) => Err(format!("it cannot be read back: {error}")),
    }
}

/// The value of a setting, in our own form.
async fn found(conn: &mut Conn, name: &str) -> Result<Option<String>, RedisError> {
    let mut found = PersistenceSettings::default();
    if let Some(value) = get(conn, name).await? {
        found.put(name, &value);
    }
    Ok(found.value(name))
}

async fn is_as(conn: &mut Conn, before: &PersistenceSettings, name: &str) -> bool {
    found(conn, name).await.is_ok_and(|found| found.is_some() && found == before.value(name))
}

async fn put_back(conn: &mut Conn, before: &PersistenceSettings, name: &'static str) -> bool {
    match before.value(name) {
        Some(value) => set_one(conn, name, &value).await.is_ok(),
        None => false,
    }
}

/// Waits a little for the first append-only file, which a child of the server writes.
async fn first_file(conn: &mut Conn) -> Option<PersistenceState> {
    let deadline = Instant::now() + LOOKS;
    loop {
        let state = state_of(&info(conn, Some("persistence")).await.ok()?);
        if !state.rewriting || Instant::now() >= deadline {
            return Some(state);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Reads INFO's section on persistence.
fn state_of(text: &str) -> PersistenceState {
    let number = |name: &str| field(text, name).and_then(|value| value.parse::<u64>().ok());
    let went_well = |name: &str| field(text, name).map(|status| status == "ok");
    let is = |name: &str| flag(text, name) == Some(true);
    let saved_at = field(text, "rdb_last_save_time").and_then(|at| at.parse().ok());
    PersistenceState {
        saved: went_well("rdb_last_bgsave_status"),
        saved_at: saved_at.and_then(|at| Timestamp::from_second(at).ok()),
        saving: is("rdb_bgsave_in_progress"),
        changes_since_save: number("rdb_changes_since_last_save"),
        rewritten: went_well("aof_last_bgrewrite_status"),
        rewriting: is("aof_rewrite_in_progress") || is("aof_rewrite_scheduled"),
        written: went_well("aof_last_write_status"),
        current_size: number("aof_current_size"),
        base_size: number("aof_base_size"),
    }
}

fn flag(text: &str, name: &str) -> Option<bool> {
    field(text, name).map(|value| value == "1")
}
