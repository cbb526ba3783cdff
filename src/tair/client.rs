//! The client of `r-kvstore`: signs, sends, repeats what may be repeated, and reads replies.
//!
//! Whether a call is sent again is decided by the error's code, never by the HTTP status. A write is sent again only when
//! it is certain that nothing was done; otherwise the answer is [`TairError::Uncertain`], and who called reads the state.

mod after_failure;

use crate::config::tair::TairConfig;
use crate::guard::grant::Grant;
use crate::model::access::Access;
use crate::tair::access_key::Credentials;
use crate::tair::attempt::{ApiCall, Failure, attempt};
use crate::tair::client::after_failure::Next;
use crate::tair::credentials::Chain;
use crate::tair::endpoint;
use crate::tair::environment::Environment;
use crate::tair::error::TairError;
use crate::tair::http::Http;
use crate::tair::limiter::Limiter;
use crate::tair::params::first;
use crate::tair::wire::{Action, Harmless, read_success};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use url::Url;

/// The version of the API.
pub const VERSION: &str = "2015-01-01";

/// How long a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often a call is attempted at most.
    pub attempts: u32,
    /// Wait before the second attempt where the cloud names none; doubled for each further one.
    pub first: Duration,
    /// Longest single wait. When the cloud asks for more, its error is the answer.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 4, first: Duration::from_millis(500), longest: Duration::from_secs(60) }
    }
}

/// What a clock is ahead by that no reply has dated yet.
const UNDATED: i64 = i64::MIN;
/// By so many seconds the dates of replies differ from a clock that is right.
const CLOCK_GRAIN: i64 = 2;

/// Account and principal.
type Identity = (String, String);

/// What all clients of one account share.
#[derive(Debug)]
struct Account {
    http: Http,
    chain: Chain,
    limiter: Limiter,
    retries: RetryPolicy,
    config: TairConfig,
    /// Seconds by which the cloud's clock is ahead of ours, as the latest reply has shown; [`UNDATED`] before the first.
    clock: AtomicI64,
    /// The access key that was asked about last, and who calls by it.
    identity: tokio::sync::Mutex<Option<(String, Identity)>>,
}

/// Calls actions in one region.
#[derive(Debug, Clone)]
pub struct Client {
    account: Arc<Account>,
    region: String,
    endpoint: Url,
    /// Whose writes these are; `None`: those of who was asked about last.
    begun_by: Option<Identity>,
}

/// A client that holds a grant.
#[derive(Debug)]
pub struct Granted<'a, Kind> {
    client: &'a Client,
    grant: Grant<Kind>,
}

impl<Kind> Granted<'_, Kind> {
    /// Calls an action that takes this kind of grant, on the instance that the grant is for, and on the set where it is for
    /// one. A new instance is ordered by a grant for its source.
    ///
    /// # Errors
    /// [`TairError::NotGranted`], and as [`Client::call`].
    pub async fn call<A: Action<Needs = Kind>>(&self, request: &A) -> Result<A::Reply, TairError> {
        let params = request.params();
        let instance = first(&params, "InstanceId").or_else(|| first(&params, "SrcDBInstanceId"));
        if instance != Some(self.grant.instance_id()) {
            return Err(TairError::NotGranted {
                action: A::NAME,
                instance: instance.unwrap_or("no instance").to_owned(),
            });
        }
        if let Some(set) = self.grant.backup_id() {
            let named = first(&params, "BackupId");
            if named != Some(set) {
                return Err(TairError::NotGranted {
                    action: A::NAME,
                    instance: format!("{} of {}", named.unwrap_or("no backup"), self.grant.instance_id()),
                });
            }
        }
        self.client.send(request).await
    }
}

impl Client {
    /// A client for the configured region. Reads files, makes no connection.
    ///
    /// # Errors
    /// [`TairError::NoRegion`], [`TairError::Setup`].
    pub fn new(config: TairConfig, env: &Environment) -> Result<Self, TairError> {
        Self::with(config, env, RetryPolicy::default())
    }

    /// As [`Client::new`], with another retry policy.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with(config: TairConfig, env: &Environment, retries: RetryPolicy) -> Result<Self, TairError> {
        let http = Http::new(&config)?;
        let chain = Chain::new(config.clone(), env.clone(), http.clone());
        let region = endpoint::region(&config, chain.profile_region().as_deref(), env)?;
        let chain = chain.in_region(&region);
        let endpoint = endpoint::kvstore(&config, &region)?;
        let limiter = Limiter::new(config.requests_per_second);
        let clock = AtomicI64::new(UNDATED);
        let account = Account { http, chain, limiter, retries, config, clock, identity: tokio::sync::Mutex::default() };
        Ok(Self { account: Arc::new(account), region, endpoint, begun_by: None })
    }

    /// The same client for what an access has begun: keys that have become somebody else's send no write of it.
    #[must_use]
    pub fn begun_by(&self, access: &Access) -> Self {
        Self { begun_by: Some((access.account.clone(), access.principal.clone())), ..self.clone() }
    }

    /// The region whose instances this client calls.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The endpoint that calls go to.
    #[must_use]
    pub const fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Now, by the cloud's clock as far as a reply has shown it: what is asked about the cloud's times is asked in them.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clouds_now().unwrap_or_else(Timestamp::now)
    }

    /// Now, by the cloud's clock; `None` before a reply has shown it.
    #[must_use]
    pub fn clouds_now(&self) -> Option<Timestamp> {
        let ahead = self.account.clock.load(Ordering::Relaxed);
        let now = Timestamp::now();
        (ahead != UNDATED).then(|| now.saturating_add(SignedDuration::from_secs(ahead)).unwrap_or(now))
    }

    /// Takes over the clock of a reply.
    fn keep_clock(&self, date: Option<Timestamp>) {
        let Some(date) = date else { return };
        let ahead = date.as_second().saturating_sub(Timestamp::now().as_second());
        // A reply's date has no fractions and has travelled.
        let ahead = if ahead.abs() <= CLOCK_GRAIN { 0 } else { ahead };
        if matches!(self.account.clock.swap(ahead, Ordering::Relaxed), 0 | UNDATED) && ahead != 0 {
            tracing::warn!(seconds = ahead, "this machine's clock is off; the cloud's is used");
        }
    }

    pub(super) fn http(&self) -> &Http {
        &self.account.http
    }

    /// Whether files are fetched within the region's network.
    #[must_use]
    pub fn is_in_vpc(&self) -> bool {
        self.account.config.vpc
    }

    /// The credentials in use, for a report of where they come from.
    ///
    /// # Errors
    /// [`TairError::NoCredentials`].
    pub async fn credentials(&self) -> Result<Arc<Credentials>, TairError> {
        self.account.chain.get().await
    }

    /// As whom and where this client calls. Who that is stays known; what could not be asked is asked again.
    ///
    /// # Errors
    /// [`TairError::NoCredentials`], and as [`Chain::identity`].
    pub async fn access(&self) -> Result<Access, TairError> {
        let (account, principal) = self.identity(self.credentials().await?.as_ref()).await?;
        Ok(Access { account, principal, region: self.region.clone(), endpoint: self.endpoint.to_string() })
    }

    async fn identity(&self, of: &Credentials) -> Result<Identity, TairError> {
        let mut known = self.account.identity.lock().await;
        if let Some((_, identity)) = known.as_ref().filter(|(key, _)| *key == of.access_key_id) {
            return Ok(identity.clone());
        }
        let identity = self.account.chain.identity(of, self.now()).await?;
        Ok(known.insert((of.access_key_id.clone(), identity)).1.clone())
    }

    /// Calls an action that destroys nothing and costs nothing.
    ///
    /// One that does needs a grant, and does not compile without. None of what overwrites, costs or deletes does:
    ///
    /// ```compile_fail,E0271
    /// use tair_backup_mcp::tair::{client::Client, wire::restore::RestoreInstance};
    /// async fn restore(client: &Client, request: &RestoreInstance) {
    ///     let _ = client.call(request).await;
    /// }
    /// ```
    ///
    /// ```compile_fail,E0271
    /// use tair_backup_mcp::tair::{client::Client, wire::clone::CreateInstance};
    /// async fn order(client: &Client, request: &CreateInstance) {
    ///     let _ = client.call(request).await;
    /// }
    /// ```
    ///
    /// ```compile_fail,E0271
    /// use tair_backup_mcp::tair::{client::Client, wire::clone::CreateTairInstance};
    /// async fn order(client: &Client, request: &CreateTairInstance) {
    ///     let _ = client.call(request).await;
    /// }
    /// ```
    ///
    /// ```compile_fail,E0271
    /// use tair_backup_mcp::tair::{client::Client, wire::backups::DeleteBackup};
    /// async fn delete(client: &Client, request: &DeleteBackup) {
    ///     let _ = client.call(request).await;
    /// }
    /// ```
    ///
    /// # Errors
    /// Any [`TairError`]; [`TairError::Uncertain`] only for actions that write.
    pub async fn call<A: Action<Needs = Harmless>>(&self, request: &A) -> Result<A::Reply, TairError> {
        self.send(request).await
    }

    /// Uses a grant up on calls of its kind: one call, or the same one again while it is not known whether it arrived.
    ///
    /// ```
    /// use tair_backup_mcp::guard::grant::{Delete, Grant, Order, Overwrite};
    /// use tair_backup_mcp::tair::client::Client;
    /// use tair_backup_mcp::tair::wire::{backups::DeleteBackup, clone::CreateInstance, clone::CreateTairInstance, restore::RestoreInstance};
    /// async fn restore(client: &Client, grant: Grant<Overwrite>, request: &RestoreInstance) {
    ///     let _ = client.granted(grant).call(request).await;
    /// }
    /// async fn order(client: &Client, grant: Grant<Order>, request: &CreateInstance) {
    ///     let _ = client.granted(grant).call(request).await;
    /// }
    /// async fn order_tair(client: &Client, grant: Grant<Order>, request: &CreateTairInstance) {
    ///     let _ = client.granted(grant).call(request).await;
    /// }
    /// async fn delete(client: &Client, grant: Grant<Delete>, request: &DeleteBackup) {
    ///     let _ = client.granted(grant).call(request).await;
    /// }
    /// ```
    ///
    /// ```compile_fail,E0061
    /// use tair_backup_mcp::tair::{client::Client, wire::restore::RestoreInstance};
    /// async fn restore(client: &Client, request: &RestoreInstance) {
    ///     let _ = client.granted().call(request).await;
    /// }
    /// ```
    #[must_use]
    pub const fn granted<Kind>(&self, grant: Grant<Kind>) -> Granted<'_, Kind> {
        Granted { client: self, grant }
    }

    async fn send<A: Action>(&self, request: &A) -> Result<A::Reply, TairError> {
        let mut params = request.params();
        // Two regions may share an endpoint; the official tools name the region on every call.
        if first(&params, "RegionId").is_none() {
            params.push(("RegionId".to_owned(), self.region.clone()));
        }
        let call =
            ApiCall { endpoint: &self.endpoint, version: VERSION, action: A::NAME, method: A::METHOD, params: &params };
        let body = self.send_with_retries(call, A::WRITES).await?;
        read_success(A::NAME, &body).map_err(|why| unreadable(A::NAME, A::WRITES, why))
    }

    async fn send_with_retries(&self, call: ApiCall<'_>, writes: bool) -> Result<Vec<u8>, TairError> {
        let account = &self.account;
        let (mut attempts, mut clock_set, mut renewed) = (0, false, false);
        let begun_by = match &self.begun_by {
            _ if !writes => None,
            Some(who) => Some(who.clone()),
            None => account.identity.lock().await.clone().map(|(_, who)| who),
        };
        loop {
            account.limiter.acquire().await;
            let credentials = account.chain.get().await?;
            // Keys renewed since may be somebody else's: what one was permitted another does not send.
            if let Some(who) = &begun_by
                && self.identity(&credentials).await? != *who
            {
                return Err(TairError::OtherCaller { action: call.action.to_owned() });
            }
            let failure = match attempt(&account.http, call, &credentials, self.now()).await {
                Ok(answer) => {
                    self.keep_clock(answer.date);
                    return Ok(answer.body);
                }
                Err(failure) => failure,
            };
            if let Failure::Cloud(_, date) = &failure {
                self.keep_clock(*date);
            }
            attempts += 1;
            match self.after_failure(failure, call.action, writes, attempts) {
                Next::GiveUp(e) => return Err(e),
                Next::Again(wait) => {
                    tracing::debug!(action = call.action, attempts, ?wait, "the call is sent again");
                    tokio::time::sleep(wait).await;
                }
                Next::Clock(e) if clock_set => return Err(e),
                Next::Clock(_) => clock_set = true,
                Next::Renew(e) if renewed => return Err(e),
                Next::Renew(e) => {
                    renewed = true;
                    if account.chain.renew(&credentials).await?.is_same(&credentials) {
                        return Err(e);
                    }
                }
            }
        }
    }
}

/// A reply that cannot be read: a write behind it may well have taken effect.
pub(super) fn unreadable(action: &str, writes: bool, why: String) -> TairError {
    let action = action.to_owned();
    if writes { TairError::Uncertain { action, why } } else { TairError::BadReply { action, why } }
}
