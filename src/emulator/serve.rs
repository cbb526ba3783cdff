//! Serving: listens, takes connections up to a limit, and drains when stopped.
//!
//! The router answers requests. An accepted restore is awaited here at the end; the provider cancels backups when it shuts down.

use crate::emulator::account::Account;
use crate::emulator::account::monitor;
use crate::emulator::account::records_file::RecordsFile;
use crate::emulator::actions::locks;
use crate::emulator::auth::{AccessKey, Authenticator};
use crate::emulator::faults::InjectedFault;
use crate::emulator::http::{MAX_HEAD, READ_TIMEOUT};
use crate::emulator::router::Router;
use crate::emulator::signed_url::Signer;
use crate::model::fault::{Fault, Kind};
use crate::provider::LogScope;
use crate::tools::App;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most connections at once; further ones wait.
const CONNECTIONS: usize = 128;
/// How long open requests are awaited at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Options of the emulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Whether that address may be reachable from other machines.
    pub beyond_loopback: bool,
    /// The key that calls are signed with.
    pub access_key: AccessKey,
    /// The one region that exists; `None`: every region asked for.
    pub region: Option<String>,
    /// How long download URLs work.
    pub url_lifetime: Duration,
    /// Faults to inject into the first calls.
    pub faults: Vec<InjectedFault>,
    /// Whether faults can be set over HTTP.
    pub fault_control: bool,
}

/// Serves until `stop`. `listening` is called with the address and the number of instances.
///
/// # Errors
/// `emulator.not_loopback`, `emulator.listen`, `emulator.running`, `emulator.memory`, and those of the state store.
pub async fn serve(
    app: Arc<App>,
    options: Options,
    listening: impl FnOnce(SocketAddr, usize),
    stop: CancellationToken,
) -> Result<(), Fault> {
    let at = options.listen;
    if !at.ip().is_loopback() && !options.beyond_loopback {
        let message = format!("{at} can be reached from other machines, and whoever has the secret can overwrite data");
        return Err(Fault::new(Kind::Refused, "emulator.not_loopback", message)
            .hint("Listen on 127.0.0.1, or say --listen-beyond-loopback if that is what you want. It is plain HTTP."));
    }
    let records = RecordsFile::open(app.config.home.dir())?;
    let listener = TcpListener::bind(at).await.map_err(|e| {
        Fault::new(Kind::Usage, "emulator.listen", format!("cannot listen on {at}: {e}"))
            .hint("Choose another port; port 0 takes one that is free.")
    })?;
    let at = listener.local_addr().unwrap_or(at);
    app.provider.recover().await?;
    let signer = Signer::new(options.url_lifetime)?;
    let account = Arc::new(Account::new(Arc::clone(&app), records, signer, options.region));
    account.reconcile().await.map_err(|r| Fault::new(Kind::Unexpected, "emulator.memory", r.message))?;
    let too_many = |why| Fault::new(Kind::Usage, "emulator.mishap", why).hint("Name fewer; one can have times=N.");
    account.faults.add(options.faults).map_err(too_many)?;
    locks::warn_of_locks(&account);
    if !app.config.read_only {
        app.provider.keep_logs(LogScope::All).await?;
    }
    let watch = tokio::spawn(monitor::watch(Arc::clone(&account)));
    let router = Arc::new(Router {
        account: Arc::clone(&account),
        authenticator: Authenticator::new(options.access_key),
        fault_control: options.fault_control,
    });
    listening(at, account.instances().len());
    accept(listener, router, &stop).await;
    watch.abort();
    account.tasks.close();
    account.tasks.wait().await;
    locks::warn_of_locks(&account);
    app.provider.shut_down(true).await;
    Ok(())
}

async fn accept(listener: TcpListener, router: Arc<Router>, stop: &CancellationToken) {
    let (room, open) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Most likely no free file descriptor, which passes.
                tracing::warn!("a connection could not be taken: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let (router, stop) = (Arc::clone(&router), stop.clone());
        open.spawn(async move {
            serve_connection(stream, peer, router, stop).await;
            drop(permit);
        });
    }
    open.close();
    // A long download must not keep the process.
    let _ = tokio::time::timeout(GRACE, open.wait()).await;
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Arc<Router>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let router = Arc::clone(&router);
        async move {
            // In a task of its own: a client that hangs up must not stop its request half way.
            let answer = tokio::spawn(async move { router.answer(peer.ip().is_loopback(), request).await });
            answer.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(e) = ended {
                    tracing::debug!(%peer, "the connection ended: {e}");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
