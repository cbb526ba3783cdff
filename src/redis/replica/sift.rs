//! Sifts a kept stream for a replay: what changes no data goes, what stays is counted and named.
//!
//! It must hold no more of a command than its name, and must not change a byte of what stays.

use std::collections::BTreeSet;

use super::scan::Scan;

/// Reads a stream in any pieces.
#[derive(Debug)]
pub struct Sift {
    scan: Scan,
}

impl Default for Sift {
    fn default() -> Self {
        let mut scan = Scan::behind(0);
        scan.replayed = Some(BTreeSet::new());
        Self { scan }
    }
}

impl Sift {
    /// Reads the next bytes, and appends those that a replay sends.
    ///
    /// # Errors
    /// What is no command.
    pub fn feed(&mut self, bytes: &[u8], kept: &mut Vec<u8>) -> Result<(), &'static str> {
        self.scan.feed(bytes, kept).map(|_| ())
    }

    /// Commands so far that change data, removals included.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.scan.seen.writes + self.scan.seen.removals
    }

    /// Whether what was read so far ends where a command ends.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.scan.is_between()
    }

    /// Names of the commands that stay, in upper case.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let names = self.scan.replayed.iter().flatten();
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! However a stream is cut into pieces, the same commands stay, and are counted and named.
    use super::Sift;
    use crate::redis::resp::encode;

    #[test]
    fn what_changes_no_data_goes() {
        let command = |words: &str| {
            let mut out = Vec::new();
            encode(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            out
        };
        let stays = ["SELECT 0", "MULTI", "set a 1", "DEL b", "EXEC", "Set ping 2"];
        let all = [
            "ping",
            "SELECT 0",
            "PUBLISH c m",
            "MULTI",
            "set a 1",
            "DEL b",
            "EXEC",
            "REPLCONF GETACK *",
            "Set ping 2",
            "CLUSTER X",
        ];
        let stream: Vec<u8> = all.iter().flat_map(|words| command(words)).collect();
        let expected: Vec<u8> = stays.iter().flat_map(|words| command(words)).collect();
        for piece in [1, 7, stream.len()] {
            let (mut sift, mut kept) = (Sift::default(), Vec::new());
            assert!(sift.is_between_commands());
            for bytes in stream.chunks(piece) {
                sift.feed(bytes, &mut kept).unwrap();
            }
            assert_eq!((kept, sift.commands(), sift.is_between_commands()), (expected.clone(), 3, true));
            assert_eq!(sift.names().into_iter().collect::<Vec<_>>(), ["DEL", "EXEC", "MULTI", "SELECT", "SET"]);
            sift.feed(b"*1\r\n$4\r\nPI", &mut Vec::new()).unwrap();
            assert!(!sift.is_between_commands());
        }
    }
}
