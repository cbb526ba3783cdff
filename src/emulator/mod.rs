//! The emulator: the cloud's API (`r-kvstore`, 2015-01-01) over local instances, for tests without a cloud.
//!
//! A face like MCP and the command line: it translates, and what it does is done by the rooms below. Its backups and
//! restores are real. What the local provider cannot do it refuses in the words in which the cloud refuses an instance
//! without the feature.

mod acts;
pub mod answer;
mod backups;
mod call;
mod clone;
mod clusters;
mod downloads;
pub mod gate;
mod http;
mod ids;
mod instances;
mod locks;
mod memory;
pub mod mishaps;
mod monitor;
mod policy;
mod restore;
mod settings;
mod spares;
mod world;

use crate::model::fault::{Fault, Kind};
use crate::tools::App;
use gate::{Account, Gate};
use http::{Faces, MAX_HEAD, PATIENCE};
use hyper_util::rt::{TokioIo, TokioTimer};
use mishaps::Mishap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once; more wait.
const CONNECTIONS: usize = 128;
/// How long open calls are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether that may be reachable from other machines.
    pub beyond_loopback: bool,
    /// Who may call.
    pub account: Account,
    /// The one region; whatever is asked for without it.
    pub region: Option<String>,
    /// How long download URLs work.
    pub url_lifetime: Duration,
    /// What goes wrong.
    pub mishaps: Vec<Mishap>,
    /// Whether that can be changed over HTTP.
    pub mishap_control: bool,
}

/// Serves until `stop`. `listening` hears the address and the number of instances.
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
    let memory = memory::Memory::open(app.config.home.dir())?;
    let listener = TcpListener::bind(at).await.map_err(|e| {
        Fault::new(Kind::Usage, "emulator.listen", format!("cannot listen on {at}: {e}"))
            .hint("Choose another port; port 0 takes one that is free.")
    })?;
    let at = listener.local_addr().unwrap_or(at);
    app.provider.recover().await?;
    let signer = downloads::Signer::new(options.url_lifetime)?;
    let world = Arc::new(world::World::new(Arc::clone(&app), memory, signer, options.region));
    world.settle().await.map_err(|r| Fault::new(Kind::Unexpected, "emulator.memory", r.message))?;
    let too_many = |why| Fault::new(Kind::Usage, "emulator.mishap", why).hint("Name fewer; one can strike many times.");
    world.mishaps.add(options.mishaps).map_err(too_many)?;
    locks::remind(&world);
    let watch = tokio::spawn(monitor::watch(Arc::clone(&world)));
    let gate = Gate::new(options.account);
    let faces = Arc::new(Faces { world: Arc::clone(&world), gate, control: options.mishap_control });
    listening(at, world.instances().len());
    accept(listener, faces, &stop).await;
    watch.abort();
    // A restore that was accepted is begun and seen to its end; backups are cancelled by the provider's own end.
    world.tasks.close();
    world.tasks.wait().await;
    locks::remind(&world);
    world.rest().await;
    app.provider.shut_down(true).await;
    Ok(())
}

async fn accept(listener: TcpListener, faces: Arc<Faces>, stop: &CancellationToken) {
    let (room, open) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, most likely: it passes.
                tracing::warn!("a connection could not be taken: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let (faces, stop) = (Arc::clone(&faces), stop.clone());
        open.spawn(async move {
            converse(stream, peer, faces, stop).await;
            drop(place);
        });
    }
    open.close();
    // A download of an hour is no reason to stay.
    let _ = tokio::time::timeout(GRACE, open.wait()).await;
}

async fn converse(stream: TcpStream, peer: SocketAddr, faces: Arc<Faces>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let faces = Arc::clone(&faces);
        async move {
            // In a task of its own: a client that hangs up must not stop half way what it has begun.
            let answer = tokio::spawn(async move { faces.answer(peer.ip().is_loopback(), request).await });
            answer.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
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
