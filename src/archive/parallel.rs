//! Requests of the log to a store that takes several at once.
//!
//! It must not know what they are about, nor end any of them.

/// Does the same for several, some at once; what came of each, in their order.
pub(super) fn in_parallel<T: Sync, R: Send>(all: &[T], at_once: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if at_once <= 1 {
        return all.iter().map(each).collect();
    }
    let each = &each;
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(at_once).max(1));
        let threads: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<R>>())).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|dead| std::panic::resume_unwind(dead)))
            .collect()
    })
}
