//! Work that goes on beside the faces for as long as the process lives. Nobody waits for it who would notice that it died of a bug: so it is begun
//! again, for every room above.
//!
//! It must not begin again what has ended by itself.

use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// From a bug to the next attempt.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Does work until it ends by itself, and again where a bug ends it, unless the process is to end by then. What the work held when it died is
/// dropped before, its leases too.
pub async fn kept_up<F: Future<Output = ()>>(name: &'static str, stop: CancellationToken, work: impl Fn() -> F) {
    again(name, stop, AGAIN_AFTER, work).await;
}

async fn again<F: Future<Output = ()>>(
    name: &'static str,
    stop: CancellationToken,
    after: Duration,
    work: impl Fn() -> F,
) {
    loop {
        let attempt = work();
        if AssertUnwindSafe(attempt).catch_unwind().await.is_ok() {
            return;
        }
        tracing::error!("{name} died of a bug in this program, and is begun again in {} s", after.as_secs());
        if stop.run_until_cancelled(tokio::time::sleep(after)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "what is tested is what becomes of it")]
mod tests {
    //! What dies of a bug is begun again until it ends by itself, or the process is to end.
    use super::again;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn what_dies_is_begun_again_until_it_ends_or_the_process_does() {
        let begun = AtomicU32::new(0);
        let dies_twice = || async {
            assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "a bug");
        };
        again("a test", CancellationToken::new(), Duration::from_millis(1), dies_twice).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        let stop = CancellationToken::new();
        stop.cancel();
        let dies = || async { panic!("a bug") };
        again("a test", stop, Duration::from_secs(3600), dies).await;
    }
}
