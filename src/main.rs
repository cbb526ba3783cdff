//! `tair-backup-mcp`: the program. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tair_backup_mcp::cli::main()
}
