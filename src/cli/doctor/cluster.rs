//! The check of a cluster's node: which of the other shards are no instances here, and what to write so that they are.

use super::Findings;
use crate::config::instance::{InstanceConfig, Password};
use crate::model::fault::Fault;
use crate::provider::local::shards::{Unconfigured, unconfigured};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::slots::{SLOTS, shards};
use crate::tools::App;

const NAME: &str = "cluster shards";
/// Most shards of which the lines are told.
const SHOWN: usize = 10;

/// Checks that every shard of the cluster is an instance here.
pub async fn check(
    app: &App,
    config: &InstanceConfig,
    endpoint: &Endpoint,
    (conn, user): (&mut Conn, &str),
    findings: &mut Findings,
) -> Result<(), Fault> {
    let all = match shards(conn).await {
        Ok(all) => all,
        Err(RedisError::Denied { command, .. }) => {
            let detail = format!("not known: user {user} may not run {command}");
            findings.warn(NAME, detail, format!("ACL SETUSER {user} +cluster|myid +cluster|slots +cluster|nodes"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (number, mine) = (all.len(), all.iter().find(|shard| shard.nodes.iter().any(|node| node.myself)));
    let slots: u32 =
        mine.map_or(0, |shard| shard.slots.iter().map(|(from, to)| u32::from(to.saturating_sub(*from)) + 1).sum());
    let missing = unconfigured(endpoint, all, &app.config.instances).await;
    if missing.is_empty() {
        findings.pass(NAME, format!("each of the {number} is an instance here; this one has {slots} of {SLOTS} slots"));
        return Ok(());
    }
    let urls: Vec<&str> = missing.iter().map(|shard| shard.url.as_str()).collect();
    let detail = format!(
        "{} of {number} are no instance here, so nothing backs them up: {}; this one has {slots} of {SLOTS} slots",
        missing.len(),
        urls.join(", ")
    );
    findings.warn(NAME, detail, lines(config, &missing));
    Ok(())
}

/// What to write so that each shard is an instance, with the login of this one.
fn lines(config: &InstanceConfig, missing: &[Unconfigured]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut login =
        config.username.as_deref().map_or_else(String::new, |user| format!("\nusername = {}", quoted(user)));
    login += &match &config.password {
        Password::None => String::new(),
        Password::Given(_) => format!("\n# and the password of {}", config.id),
        Password::Env(name) => format!("\npassword_env = {}", quoted(name)),
        Password::File(path) => format!("\npassword_file = {}", quoted(&path.to_string_lossy())),
    };
    let shown = missing.iter().take(SHOWN).map(|shard| {
        let id = format!("{}-shard-{}", config.id, shard.number);
        format!("\n[[instance]]\nid = {}\nurl = {}{login}", quoted(&id), quoted(&shard.url))
    });
    format!("add to the configuration file:{}", shown.collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Unconfigured, lines};
    use crate::config::instance::Password;
    use crate::config::named_url::{URL_OPTION, instance};

    /// The lines are a configuration, with the login that is no secret.
    #[test]
    fn the_lines_are_a_configuration() {
        let mut config = instance("orders=redis://10.0.0.1:6379", URL_OPTION).unwrap();
        config.username = Some("backup".into());
        config.password = Password::Env("ORDERS".into());
        let missing = [2, 3].map(|number| Unconfigured { number, url: format!("redis://10.0.0.{number}:6379") });
        let told = lines(&config, &missing);
        let (_, text) = told.split_once(":\n").unwrap();
        let read: toml::Table = text.parse().unwrap();
        let second = &read["instance"][1];
        assert_eq!(second["id"].as_str(), Some("orders-shard-3"), "{text}");
        assert_eq!(second["url"].as_str(), Some("redis://10.0.0.3:6379"), "{text}");
        assert_eq!((second["username"].as_str(), second["password_env"].as_str()), (Some("backup"), Some("ORDERS")));
    }
}
