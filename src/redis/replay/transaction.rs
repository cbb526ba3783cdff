//! One transaction: commands behind `MULTI`, run together or not at all.
//!
//! It must not leave a connection inside a transaction: what cannot be queued is discarded.

use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::resp::Value;

/// A transaction that gave no replies.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: RedisError,
    /// Whether its commands may have been run all the same: the reply to `EXEC` was lost.
    pub(super) perhaps_run: bool,
}

impl From<Failed> for RedisError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The replies of a transaction's commands, in order. A command that failed as it ran is an error among them.
#[derive(Debug)]
pub(super) struct Replies(Vec<Value>);

impl Replies {
    pub(super) fn at(&self, index: usize) -> Option<&Value> {
        self.0.get(index)
    }

    pub(super) fn int(&self, index: usize) -> Option<i64> {
        self.at(index)?.as_int()
    }

    /// Text, with a sign in place of each byte that is none.
    pub(super) fn text(&self, index: usize) -> Option<String> {
        match self.at(index)? {
            Value::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    pub(super) fn first_error(&self) -> Option<&str> {
        self.0.iter().find_map(|reply| match reply {
            Value::Error(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether every command did what it was for: no error, and no SET that found a key.
    pub(super) fn all_good(&self) -> bool {
        !self.0.iter().any(|reply| matches!(reply, Value::Error(_) | Value::Nil))
    }
}

/// A command of a transaction, of its words.
pub(super) fn words(args: &[&str]) -> Vec<Vec<u8>> {
    args.iter().map(|a| a.as_bytes().to_vec()).collect()
}

/// Runs commands as one transaction.
///
/// # Errors
/// What was refused or broke, and whether the commands may have been run: only where the reply to `EXEC` was lost.
pub(super) async fn run(conn: &mut Conn, commands: &[Vec<Vec<u8>>]) -> Result<Replies, Failed> {
    let not_run = |error| Failed { error, perhaps_run: false };
    conn.cmd_str(&["MULTI"]).await.map_err(not_run)?;
    for command in commands {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        if let Err(error) = conn.cmd(&words).await {
            // A connection that is gone took its queue with it; one that cannot be emptied is of no more use.
            if error.is_reply() && conn.cmd_str(&["DISCARD"]).await.is_err() {
                let _ = conn.protocol("DISCARD was refused");
            }
            return Err(not_run(error));
        }
    }
    match conn.cmd_str(&["EXEC"]).await {
        Ok(Value::Array(replies)) if replies.len() == commands.len() => Ok(Replies(replies)),
        Ok(_) => {
            let error = conn.protocol("EXEC gave another number of replies than commands");
            Err(Failed { error, perhaps_run: true })
        }
        Err(error) => Err(Failed { perhaps_run: !error.is_reply(), error }),
    }
}
