//! The checks of Alibaba Cloud: region, endpoint, credentials, and whether a call that reads gets an answer.

use super::Findings;
use crate::model::fault::Fault;
use crate::tair::client::Client;
use crate::tair::environment::Environment;
use crate::tair::wire::regions::DescribeRegions;
use crate::tools::App;

/// Checks the cloud; no findings where the configuration has no `[tair]`.
pub async fn check(app: &App) -> Findings {
    let mut findings = Findings::of("");
    let Some(config) = app.config.tair.clone() else { return findings };
    let client = match Client::new(config, &Environment::process()) {
        Ok(client) => client,
        Err(e) => {
            findings.fail("tair", &Fault::from(e));
            return findings;
        }
    };
    findings.pass("tair", format!("region {} at {}", client.region(), client.endpoint()));
    match client.credentials().await {
        Ok(credentials) => findings.pass("credentials", format!("from {}", credentials.source)),
        Err(e) => {
            findings.fail("credentials", &Fault::from(e));
            return findings;
        }
    }
    match client.call(&DescribeRegions { accept_language: None }).await {
        Ok(reply) => findings.pass("cloud", format!("it answers and names {} regions", reply.region_ids.len())),
        Err(e) => findings.fail("cloud", &Fault::from(e)),
    }
    findings
}
