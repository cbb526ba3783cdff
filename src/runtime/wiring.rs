//! Wiring: from a configuration to the application that a face works with. No disk or server is touched yet.

use crate::config::Config;
use crate::model::fault::Fault;
use crate::notify::Notifier;
use crate::provider::Provider;
use crate::provider::local::Local;
use crate::provider::local::vault_copy::Copier;
use crate::provider::routed::Routed;
use crate::provider::tair::Tair;
use crate::schedule::copies::Copies;
use crate::schedule::runner::Schedule;
use crate::state::State;
use crate::state::postgres::Postgres;
use crate::state::sqlite::Sqlite;
use crate::tair::client::Client;
use crate::tair::environment::Environment;
use crate::tools::App;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Makes the state store: a file under the home, or the PostgreSQL that the configuration names.
fn state(config: &Config) -> Arc<dyn State> {
    match &config.state {
        None => Arc::new(Sqlite::new(config.home.dir())),
        Some(url) => Arc::new(Postgres::new(url, config.home.dir())),
    }
}

/// Makes the application of a configuration.
///
/// # Errors
/// Those of the cloud's client: an invalid region or endpoint.
pub fn app(config: Config) -> Result<Arc<App>, Fault> {
    let state = state(&config);
    let local = Local::new(&config, Arc::clone(&state));
    let provider: Arc<dyn Provider> = match &config.tair {
        None => Arc::new(local),
        Some(tair) => {
            let client = Client::new(tair.clone(), &Environment::process())?;
            Arc::new(Routed::new(local, Tair::new(client, Arc::clone(&state), config.read_only)))
        }
    };
    Ok(Arc::new(App { config, provider, state }))
}

/// What takes the backups that are due.
#[must_use]
pub fn schedule(app: &App) -> Schedule {
    Schedule { provider: Arc::clone(&app.provider), state: Arc::clone(&app.state), stop: CancellationToken::new() }
}

/// What copies the sets and logs of instances to their second place; `None` where none has one. Ends when `stop` is cancelled.
#[must_use]
pub fn copies(app: &App, stop: &CancellationToken) -> Option<Copies> {
    let of = |id: String| Copier::of(&app.config, &app.state, &id).map(|copier| (id, copier));
    let copiers: Vec<_> = app.config.instance_ids().into_iter().filter_map(of).collect();
    let (provider, state, stop) = (Arc::clone(&app.provider), Arc::clone(&app.state), stop.clone());
    let seal_after = app.config.backup_log.seal_after();
    (!copiers.is_empty()).then_some(Copies { provider, state, copiers, seal_after, stop })
}

/// What tells of what failed, where somebody is to be told; it ends with the schedule.
#[must_use]
pub fn notifier(app: &App, schedule: &Schedule) -> Option<Notifier> {
    Some(Notifier {
        provider: Arc::clone(&app.provider),
        state: Arc::clone(&app.state),
        config: app.config.notify.clone()?,
        instances: app.config.instance_ids(),
        stop: schedule.stop.clone(),
    })
}

/// Seconds after which the emulator's logs are sealed: a moment is asked for as soon as it has passed.
const EMULATOR_SEALS_AFTER: u32 = 1;

/// Makes the application without the cloud, for the emulator: what stands in for the cloud must not call it.
///
/// # Errors
/// None today; as [`app`].
pub fn app_without_cloud(mut config: Config) -> Result<Arc<App>, Fault> {
    config.tair = None;
    config.backup_log.seal_seconds = EMULATOR_SEALS_AFTER;
    app(config)
}
