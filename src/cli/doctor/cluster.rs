//! The check of a cluster's node: which of the other shards are no instances here, and what to write so that they are.

use super::Findings;
use crate::config::instance::{InstanceConfig, Password, Tls};
use crate::model::fault::Fault;
use crate::provider::local::shards::{Unconfigured, unconfigured};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::slots::{SLOTS, shards};
use crate::tools::App;
use std::collections::BTreeSet;

const NAME: &str = "cluster shards";
/// Most shards of which the lines are told: with all that there may be, as many as a finding has room for.
const SHOWN: usize = 5;
/// What to do where it is not told where the shards are.
const NOT_TOLD: &str = "give this node's host and port as its url, or set cluster-announce-ip on the nodes";
/// What to do where another node's finding has all of the lines.
const OFFERED: &str = "add what the finding of the cluster's node before this one says";
/// Characters of an id that the ids of other shards begin with: those have up to 64.
const ID_BEGINNING: usize = 48;

/// Checks that every shard of the cluster is an instance here. `offered`: the urls of shards whose lines another node's finding has.
pub async fn check(
    app: &App,
    config: &InstanceConfig,
    endpoint: &Endpoint,
    (conn, user): (&mut Conn, &str),
    offered: &mut BTreeSet<String>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let all = match shards(conn).await {
        Ok(all) => all,
        Err(RedisError::Denied { command, .. }) => {
            let detail = format!("not known: user {user} may not run {command}");
            findings.warn(NAME, detail, format!("ACL SETUSER {user} +cluster|myid +cluster|slots +cluster|nodes"));
            return Ok(());
        }
        // A proxy may say that it is a cluster, and know no more of one.
        Err(error @ RedisError::Server { .. }) => {
            findings.pass(NAME, format!("not known: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (number, mine) = (all.len(), all.iter().find(|shard| shard.nodes.iter().any(|node| node.myself)));
    let slots: u32 =
        mine.map_or(0, |shard| shard.slots.iter().map(|(from, to)| u32::from(to.saturating_sub(*from)) + 1).sum());
    let (missing, unknown) = unconfigured(endpoint, all, &app.config.instances).await;
    if unknown > 0 {
        let detail = format!(
            "it is not known whether {unknown} of {number} shards are configured here: the cluster does not tell their hosts, and this node is reached \
             by a socket"
        );
        findings.warn(NAME, detail, NOT_TOLD);
    } else if missing.is_empty() {
        findings.pass(NAME, format!("each of the {number} is an instance here; this one has {slots} of {SLOTS} slots"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let urls: Vec<&str> = missing.iter().map(|shard| shard.url.as_str()).collect();
    let detail = format!(
        "{} of {number} shards are not configured at the addresses that the cluster tells: {}; unless you reach them under others, nothing backs \
         them up; this one has {slots} of {SLOTS} slots",
        missing.len(),
        urls.join(", ")
    );
    findings.warn(NAME, detail, next_step(config, endpoint, missing, offered));
    Ok(())
}

/// The lines of the shards that no finding has offered yet, which are offered by this one.
fn next_step(
    config: &InstanceConfig,
    endpoint: &Endpoint,
    mut missing: Vec<Unconfigured>,
    offered: &mut BTreeSet<String>,
) -> String {
    missing.retain(|shard| !offered.contains(&shard.url));
    missing.truncate(SHOWN);
    offered.extend(missing.iter().map(|shard| shard.url.clone()));
    if missing.is_empty() { OFFERED.to_owned() } else { lines(config, endpoint, &missing) }
}

/// What to write so that each shard is an instance, with the login and the TLS of this one.
fn lines(config: &InstanceConfig, endpoint: &Endpoint, missing: &[Unconfigured]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let line = |key: &str, value: &str| format!("\n{key} = {}", quoted(value));
    let mut more = endpoint.username.as_deref().map_or_else(String::new, |user| line("username", user));
    more += &match &config.password {
        Password::None if endpoint.password.is_none() => String::new(),
        // In the url, or beside it: not to be shown.
        Password::None | Password::Given(_) => format!("\n# and the password of {}", config.id),
        Password::Env(name) => line("password_env", name),
        Password::File(path) => line("password_file", &path.to_string_lossy()),
    };
    let Tls { ca_file, cert_file, key_file, server_name, insecure } = &config.tls;
    for (key, file) in [("tls_ca_file", ca_file), ("tls_cert_file", cert_file), ("tls_key_file", key_file)] {
        if let Some(file) = file {
            more += &line(key, &file.to_string_lossy());
        }
    }
    if let Some(name) = server_name {
        more += &line("tls_server_name", name);
    }
    if *insecure {
        more += "\ntls_insecure = true";
    }
    // Short enough to be an id with what stands behind it.
    let name: String = config.id.chars().take(ID_BEGINNING).collect();
    let shown = missing.iter().map(|shard| {
        let id = format!("{name}-shard-{}", shard.number);
        format!("\n[[instance]]\nid = {}\nurl = {}{more}", quoted(&id), quoted(&shard.url))
    });
    format!("add to the configuration file:{}", shown.collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{OFFERED, Unconfigured, lines, next_step};
    use crate::config::instance::Password;
    use crate::config::named_url::{URL_OPTION, instance};
    use crate::redis::endpoint::Endpoint;
    use std::collections::BTreeSet;

    /// Each shard is offered once, by the first node that tells of it.
    #[test]
    fn a_shard_is_offered_once() {
        let config = instance("orders=redis://10.0.0.1:6379", URL_OPTION).unwrap();
        let endpoint = Endpoint::parse(&config.url).unwrap();
        let shard = |number| Unconfigured { number, url: format!("redis://10.0.0.{number}:6379") };
        let mut offered = BTreeSet::new();
        let mut told = |missing: &[usize]| {
            next_step(&config, &endpoint, missing.iter().map(|number| shard(*number)).collect(), &mut offered)
        };
        assert!(told(&[2]).contains("id = \"orders-shard-2\""));
        assert_eq!(told(&[2]), OFFERED);
        let more = told(&[2, 3]);
        assert!(more.contains("orders-shard-3") && !more.contains("orders-shard-2"), "{more}");
    }

    /// The lines are a configuration, with the TLS and the login, but for what is a secret.
    #[test]
    fn the_lines_are_a_configuration() {
        let mut config = instance("orders=rediss://backup:s3cret@10.0.0.1:6379", URL_OPTION).unwrap();
        let endpoint = Endpoint::parse(&config.url).unwrap();
        let missing = [2, 3].map(|number| Unconfigured { number, url: format!("redis://10.0.0.{number}:6379") });
        let told = lines(&config, &endpoint, &missing);
        assert!(told.contains("\n# and the password of orders") && !told.contains("s3cret"), "{told}");
        config.password = Password::Env("ORDERS".into());
        config.tls.ca_file = Some("/etc/ca.pem".into());
        let told = lines(&config, &endpoint, &missing);
        let (_, text) = told.split_once(":\n").unwrap();
        let read: toml::Table = text.parse().unwrap();
        let second = &read["instance"][1];
        assert_eq!(second["id"].as_str(), Some("orders-shard-3"), "{text}");
        assert_eq!(second["url"].as_str(), Some("redis://10.0.0.3:6379"), "{text}");
        assert_eq!((second["username"].as_str(), second["password_env"].as_str()), (Some("backup"), Some("ORDERS")));
        assert_eq!(second["tls_ca_file"].as_str(), Some("/etc/ca.pem"), "{text}");
    }
}
