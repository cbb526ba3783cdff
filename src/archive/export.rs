//! A cut as an append-only file of the server's own, which a bare server loads: recovery without this program.
//!
//! It must not give a byte that the log's reader has not verified, nor hold more than that reader does. It writes nothing itself: where
//! the bytes go, and when they are whole, its caller knows.

use crate::archive::{Archive, Cut};
use crate::model::fault::Fault;

/// How a server keeps an append-only file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofForm {
    /// A manifest, a base, and a file of commands with their times, in a directory: Redis since 7.0, and every Valkey.
    Directory,
    /// One file, an RDB with the commands behind it: Redis before 7.0, which knows no times in such a file.
    SingleFile,
}

/// The manifest of a directory that holds one base and one file of commands: in one file the server's own tool finds any second.
const MANIFEST: &str = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";

impl AofForm {
    /// The form that a server of a version writes and reads, for engine and version as a set has them.
    #[must_use]
    pub fn of(engine: &str, version: &str) -> Self {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if engine == "redis" && major.is_some_and(|major| major < 7) { Self::SingleFile } else { Self::Directory }
    }

    /// Where the base lies in the server's directory, as a server calls it that is told no names.
    #[must_use]
    pub const fn base(self) -> &'static str {
        match self {
            Self::Directory => "appendonlydir/appendonly.aof.1.base.rdb",
            Self::SingleFile => "appendonly.aof",
        }
    }

    /// Where the commands lie; behind the base where that is the same file.
    #[must_use]
    pub const fn commands(self) -> &'static str {
        match self {
            Self::Directory => "appendonlydir/appendonly.aof.1.incr.aof",
            Self::SingleFile => "appendonly.aof",
        }
    }

    /// Where the manifest lies, and what it says.
    #[must_use]
    pub const fn manifest(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Directory => Some(("appendonlydir/appendonly.aof.manifest", MANIFEST)),
            Self::SingleFile => None,
        }
    }
}

impl Archive {
    /// Gives the commands of a cut as they stand behind its base in an append-only file: a SELECT, then whole transactions, with their
    /// times where the form knows them; where not, with when they had been received, in milliseconds since 1970.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`; what `out` fails with.
    pub fn export(
        &self,
        cut: &Cut,
        form: AofForm,
        mut out: impl FnMut(&[u8], i64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // In front of all times: a file that is cut at one before its first has something left.
        let database = cut.database.unwrap_or_default().to_string();
        out(format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{database}\r\n", database.len()).as_bytes(), 0)?;
        let log = self.read(cut)?;
        let mut log = if form == AofForm::Directory { log.dated() } else { log.timed() };
        while let Some(commands) = log.next() {
            out(&commands?, log.received_ms())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! The form follows from the version alone.
    use super::AofForm;

    #[test]
    fn one_file_before_seven() {
        for (engine, version, form) in [
            ("redis", "6.2.14", AofForm::SingleFile),
            ("redis", "7.0.0", AofForm::Directory),
            ("redis", "8.2.3", AofForm::Directory),
            ("redis", "10.0.0", AofForm::Directory),
            ("valkey", "7.2.5", AofForm::Directory),
            ("redis", "", AofForm::Directory),
        ] {
            assert_eq!(AofForm::of(engine, version), form, "{engine} {version}");
        }
    }
}
