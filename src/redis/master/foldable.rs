//! Which commands of a stream may be folded, and what each does to its key.
//!
//! It must take none for a command of one key that reads or writes another, or whose effect depends on chance.

/// Longest name of a command that may be folded.
const NAME_BYTES_MAX: usize = 16;

/// What a command does to its only key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever the key held is gone.
    Replaces,
    /// Two in a row are one with the elements of both.
    Joins(Joined),
    /// It depends on what the key holds.
    Changes,
}

/// Commands that take any number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    Hdel,
    Hset,
    Lpush,
    Rpush,
    Sadd,
    Srem,
    Zadd,
    Zrem,
}

impl Kind {
    /// What a command does that has so many arguments, its name included; `None` where it may be for more than its first argument, or
    /// is not known.
    pub(super) fn of<'a>(name: &[u8], arguments: u64, argument: impl Fn(usize) -> &'a [u8]) -> Option<Self> {
        let mut upper = [0; NAME_BYTES_MAX];
        let upper = upper.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        let elements = arguments.checked_sub(2)?;
        let in_pairs = elements >= 2 && elements.is_multiple_of(2);
        Some(match &*upper {
            // A time to live takes two arguments; any other option depends on what is there.
            b"SET" if elements == 1 || elements == 3 && is_time(argument(3)) => Self::Replaces,
            b"SETEX" | b"PSETEX" if elements == 2 => Self::Replaces,
            b"DEL" | b"UNLINK" if elements == 0 => Self::Replaces,
            b"HSET" if in_pairs => Self::Joins(Joined::Hset),
            b"HDEL" if elements > 0 => Self::Joins(Joined::Hdel),
            b"LPUSH" if elements > 0 => Self::Joins(Joined::Lpush),
            b"RPUSH" if elements > 0 => Self::Joins(Joined::Rpush),
            b"SADD" if elements > 0 => Self::Joins(Joined::Sadd),
            b"SREM" if elements > 0 => Self::Joins(Joined::Srem),
            b"ZREM" if elements > 0 => Self::Joins(Joined::Zrem),
            // Options begin with a letter, as some spellings of infinity do.
            b"ZADD" if in_pairs && argument(2).first().is_some_and(|first| !first.is_ascii_alphabetic()) => {
                Self::Joins(Joined::Zadd)
            }
            b"APPEND" | b"BITFIELD" | b"DECR" | b"DECRBY" | b"EXPIRE" | b"EXPIREAT" | b"GEOADD" | b"GETDEL"
            | b"GETEX" | b"GETSET" | b"HDEL" | b"HEXPIRE" | b"HEXPIREAT" | b"HGETDEL" | b"HINCRBY"
            | b"HINCRBYFLOAT" | b"HMSET" | b"HPERSIST" | b"HPEXPIRE" | b"HPEXPIREAT" | b"HSET" | b"HSETEX"
            | b"HSETNX" | b"INCR" | b"INCRBY" | b"INCRBYFLOAT" | b"LINSERT" | b"LPOP" | b"LPUSH" | b"LPUSHX"
            | b"LREM" | b"LSET" | b"LTRIM" | b"PERSIST" | b"PEXPIRE" | b"PEXPIREAT" | b"PFADD" | b"PSETEX"
            | b"RESTORE" | b"RPOP" | b"RPUSH" | b"RPUSHX" | b"SADD" | b"SET" | b"SETBIT" | b"SETEX" | b"SETNX"
            | b"SETRANGE" | b"SREM" | b"XACK" | b"XADD" | b"XCLAIM" | b"XDEL" | b"XSETID" | b"XTRIM" | b"ZADD"
            | b"ZINCRBY" | b"ZPOPMAX" | b"ZPOPMIN" | b"ZREM" | b"ZREMRANGEBYLEX" | b"ZREMRANGEBYRANK"
            | b"ZREMRANGEBYSCORE" => Self::Changes,
            _ => return None,
        })
    }
}

fn is_time(option: &[u8]) -> bool {
    [b"PXAT".as_slice(), b"EXAT", b"PX", b"EX"].iter().any(|time| option.eq_ignore_ascii_case(time))
}
