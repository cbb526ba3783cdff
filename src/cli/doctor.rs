//! `doctor`: checks the home, configuration and instances.

use crate::model::fault::Fault;
use crate::tools::App;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {}

/// Checks.
pub async fn run(_app: &App, _args: Args) -> Result<u8, Fault> {
    Ok(0)
}
