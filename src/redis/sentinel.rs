//! A Sentinel that was named where a server is meant: it has no data, and knows who has.
//!
//! Plain data for errors; nothing here talks to a server.

use std::fmt;

/// Most masters that are told by name.
const SHOWN: usize = 8;

/// A Sentinel, and the masters that it watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// The Sentinel's address, without credentials.
    pub address: String,
    /// Name and url of each master; `None` where the Sentinel does not tell this user.
    pub masters: Option<Vec<(String, String)>>,
}

impl std::error::Error for Sentinel {}

impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a Sentinel, which has no data; ", self.address)?;
        match self.masters.as_deref() {
            None => f.write_str("its user may not ask for its masters"),
            Some([]) => f.write_str("it watches no master"),
            Some(masters) => {
                let named: Vec<String> = masters.iter().map(|(name, url)| format!("{name} = {url}")).collect();
                write!(f, "its masters are: {}", shortened(&named))
            }
        }
    }
}

impl Sentinel {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.masters.as_deref() {
            None | Some([]) => {
                "name the master that holds the data; SENTINEL MASTERS, sent to a Sentinel that watches it, has its address"
                    .to_owned()
            }
            Some([(_, url)]) => format!("name the master instead of the Sentinel: {url}; after a failover, the new one"),
            Some(masters) => {
                let urls: Vec<&str> = masters.iter().map(|(_, url)| url.as_str()).collect();
                format!(
                    "name the masters instead of the Sentinel, each as an instance of its own: {}; after a failover, the new one",
                    shortened(&urls)
                )
            }
        }
    }
}

/// The first of many, and how many more there are.
fn shortened<T: AsRef<str>>(all: &[T]) -> String {
    let shown: Vec<&str> = all.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    //! What is told of a Sentinel names its masters, or says that they are not known.
    use super::*;

    #[test]
    fn masters_are_named() {
        let told = |masters: Option<Vec<(String, String)>>| {
            let sentinel = Sentinel { address: "redis://127.0.0.1:26379".into(), masters };
            (sentinel.to_string(), sentinel.hint())
        };
        let master = |n: usize| (format!("m{n}"), format!("redis://10.0.0.{n}:6379"));
        let (message, hint) = told(Some(vec![master(1)]));
        assert!(message.ends_with("its masters are: m1 = redis://10.0.0.1:6379"), "{message}");
        assert!(hint.contains("instead of the Sentinel: redis://10.0.0.1:6379;"), "{hint}");
        let (message, hint) = told(Some((1..=10).map(master).collect()));
        assert!(message.ends_with("m8 = redis://10.0.0.8:6379 and 2 more"), "{message}");
        assert!(hint.contains("redis://10.0.0.1:6379, redis://10.0.0.2:6379"), "{hint}");
        for masters in [None, Some(Vec::new())] {
            let (message, hint) = told(masters);
            assert!(message.contains("is a Sentinel") && hint.contains("SENTINEL MASTERS"), "{message} {hint}");
        }
    }
}
