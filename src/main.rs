//! `tair-backup-mcp`: parses, wires up, prints, and ends with an exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tair_backup_mcp::cli::main()
}
