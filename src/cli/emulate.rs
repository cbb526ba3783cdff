//! `emulate`: the cloud's API over the configured instances, for tests without a cloud.

use crate::cli::{INTERRUPTED, print};
use crate::emulator::auth::AccessKey;
use crate::emulator::faults;
use crate::emulator::serve::{Options, serve};
use crate::model::fault::{Fault, Kind};
use crate::model::secret::Secret;
use crate::tools::App;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = after())]
pub struct Args {
    /// Where to listen; port 0 takes one that is free, and the line printed names it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Access key id that calls are signed with
    #[arg(long, value_name = "ID", env = "ALIBABA_CLOUD_ACCESS_KEY_ID")]
    access_key_id: String,
    /// Its secret; in the environment it does not stand in the list of processes
    #[arg(long, value_name = "SECRET", env = "ALIBABA_CLOUD_ACCESS_KEY_SECRET", hide_env_values = true)]
    access_key_secret: String,
    /// STS token that every call must carry; of several, joined by commas, any
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ALIBABA_CLOUD_SECURITY_TOKEN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    security_token: Vec<String>,
    /// The one region there is [default: every region that is asked for]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// How long download URLs work
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    url_seconds: u64,
    /// A fault to inject; see below. May be repeated
    #[arg(long, alias = "mishap", value_name = "KIND[,KEY=VALUE]...")]
    fault: Vec<String>,
    /// Let faults be set over HTTP from this machine
    #[arg(long, alias = "mishap-control")]
    fault_control: bool,
    /// Listen where other machines can connect. It is plain HTTP, and a signed call overwrites data unasked
    #[arg(long)]
    listen_beyond_loopback: bool,
}

const ABOUT: &str = "Every configured instance, or the sandbox, is emulated under its own id; a client needs the endpoint \
http://ADDRESS:PORT, any region, and the key. Backups and restores are real: a signed call overwrites the server's data, \
recorded by `audit` as delegated by a signed caller, with nobody asked. The server's kind in the cloud is chosen in the \
configuration:
  emulate = { generation = \"classic\" | \"cloud_native\", architecture = \"standard\" | \"cluster\",
              flashback = false, single = false, spare = false }
By default classic and standard. flashback: data flashback can be switched on, and then every second restored. single: no replica, \
so no backups. spare: hidden until CreateInstance or CreateTairInstance with SrcDBInstanceId gets it, and overwritten then; without \
spares those make clones: servers of our own, which end by themselves.

Served: DescribeRegions, DescribeInstances, DescribeInstanceAttribute, CreateBackup, DescribeBackups, DescribeBackupTasks, \
DescribeClusterBackupList, DeleteBackup, ModifyBackupExpireTime, DescribeBackupPolicy, ModifyBackupPolicy, RestoreInstance, \
CreateInstance, CreateTairInstance, DescribeHistoryMonitorValues, LockDBInstanceWrite, UnlockDBInstanceWrite, \
DescribeInstanceConfig, DescribeParameters, ModifyInstanceConfig, DescribeHistoryTasks.";

fn after() -> String {
    format!("{ABOUT}\n\n{}", faults::HELP)
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Those of the emulator.
pub async fn run(app: Arc<App>, args: Args) -> Result<u8, Fault> {
    if args.access_key_id.is_empty() || args.access_key_secret.is_empty() {
        return Err(Fault::new(Kind::Usage, "emulator.no_key", "the access key id or its secret is empty")
            .hint("Make up a pair and give the same to the client."));
    }
    let options = Options {
        listen: args.listen,
        beyond_loopback: args.listen_beyond_loopback,
        access_key: AccessKey {
            access_key_id: args.access_key_id,
            access_key_secret: Secret::new(args.access_key_secret),
            security_tokens: args.security_token.into_iter().filter(|t| !t.is_empty()).map(Secret::new).collect(),
        },
        region: args.region,
        url_lifetime: Duration::from_secs(args.url_seconds),
        faults: faults::read_all(&args.fault)?,
        fault_control: args.fault_control,
    };
    let stop = CancellationToken::new();
    let announce = |at: SocketAddr, n: usize| print(&format!("emulating {n} instances at http://{at}"));
    let serving = serve(app, options, announce, stop.clone());
    tokio::pin!(serving);
    let mut signals = crate::runtime::signals::Signals::new()?;
    tokio::select! {
        ended = &mut serving => return ended.map(|()| 0),
        () = signals.asked_to_end() => stop.cancel(),
    }
    tokio::select! {
        ended = serving => ended.map(|()| 0),
        // A second signal. Jobs that run are reconciled at the next start.
        () = signals.asked_to_end() => Ok(INTERRUPTED),
    }
}
