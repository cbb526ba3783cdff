//! `vault`: what a person does with the vault as a whole.

mod copy;
mod forget;
mod verify;

use crate::model::fault::Fault;
use crate::tools::App;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Look for sets that are damaged, edited, swapped or removed, and logs whose end is gone; deletes nothing, and exits with 6 where there is one. Notes what was put back
    Verify(verify::Args),
    /// Copy backup sets and logs to another vault, or go on with a copy; nothing is deleted here, and nothing put over anything there
    Copy(copy::Args),
    /// Accept that a set, or the end of a log, is gone which this home has not deleted, at a terminal: `verify` does not name it any more; deletes nothing
    Forget(forget::Args),
}

/// Runs the subcommand.
///
/// # Errors
/// Those of the verb.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    match args.verb {
        Verb::Verify(args) => verify::run(app, args).await,
        Verb::Copy(args) => copy::run(app, args).await,
        Verb::Forget(args) => forget::run(app, args).await,
    }
}
