//! The vault of a configuration, and who calls it where it is a bucket of Alibaba Cloud: whom the cloud's API is called by, found by the
//! same chain; and which manifests it must have, as this home remembers them. Touches nothing by itself.

mod check;
mod forget;
pub(in crate::provider::local) mod manifests;

use crate::config::Config;
use crate::config::blocking::blocking;
use crate::config::public_key::PublicKey;
use crate::config::tair::TairConfig;
use crate::config::vault::{Service, VaultPlace};
use crate::model::fault::Fault;
use crate::state::State;
use crate::tair::credentials::Chain;
use crate::tair::environment::Environment;
use crate::tair::http::Http;
use crate::vault::Vault;
use crate::vault::bucket::keys::{AccessKey, AccessKeys};
use crate::vault::signing::{Signers, Signing};
use async_trait::async_trait;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The vault of a configuration.
#[must_use]
pub fn of(config: &Config, state: &Arc<dyn State>) -> Vault {
    at(config, state, &config.vault)
}

/// A vault at another place, called as that of the configuration would be there.
#[must_use]
pub fn at(config: &Config, state: &Arc<dyn State>, place: &VaultPlace) -> Vault {
    let keys: Option<Arc<dyn AccessKeys>> = match place {
        VaultPlace::Bucket(place) if place.service == Service::Oss => {
            let cloud = config.tair.clone().unwrap_or_default();
            let region = place.region.clone();
            Some(Arc::new(CloudKeys { cloud, region, chain: OnceCell::new() }))
        }
        VaultPlace::Bucket(_) | VaultPlace::Directory(_) => None,
    };
    let signing = Signing::new(config.home.dir(), config.trusted_keys.clone(), config.guard.require_signed);
    let signing = if state.is_shared() { signing.beside(Arc::new(OfTheState(Arc::clone(state)))) } else { signing };
    Vault::at(place, config.home.dir().to_owned(), keys, config.encryption.as_ref()).signed(Arc::new(signing))
}

/// The keys of all homes whose processes share a state.
struct OfTheState(Arc<dyn State>);

impl fmt::Debug for OfTheState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfTheState")
    }
}

#[async_trait]
impl Signers for OfTheState {
    async fn of_all(&self, own: &PublicKey) -> Result<Vec<PublicKey>, Fault> {
        let lines = self.0.signers(&own.id(), &own.line()).await?;
        // One that is none was written by a later version.
        Ok(lines.iter().filter_map(|line| PublicKey::parse(line).ok()).collect())
    }
}

/// The access keys of the cloud's API.
#[derive(Debug)]
struct CloudKeys {
    cloud: TairConfig,
    /// The region, within whose VPC tokens are got.
    region: Option<String>,
    chain: OnceCell<Chain>,
}

impl CloudKeys {
    async fn begin(&self) -> Result<Chain, Fault> {
        let cloud = self.cloud.clone();
        let http = blocking(move || Http::new(&cloud).map_err(Fault::from)).await?;
        let chain = Chain::new(self.cloud.clone(), Environment::process(), http);
        Ok(match &self.region {
            Some(region) => chain.in_region(region),
            None => chain,
        })
    }
}

#[async_trait]
impl AccessKeys for CloudKeys {
    async fn get(&self) -> io::Result<AccessKey> {
        let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
        let chain = self.chain.get_or_try_init(|| self.begin()).await.map_err(|fault| refused(fault.message))?;
        let found = chain.get().await.map_err(|e| refused(e.to_string()))?;
        let (id, secret, token) = (found.access_key_id.clone(), found.secret.clone(), found.token.clone());
        Ok(AccessKey { id, secret, token })
    }
}
