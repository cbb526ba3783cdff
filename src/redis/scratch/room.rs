//! What this machine has left for a scratch server. Figures alone; what cannot be read is `None`.

use crate::config::durable;
use std::path::Path;

/// Bytes of memory that a new process can have: what the system calls available, and what is left of the limit of our own group.
#[must_use]
pub fn memory_free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.saturating_mul(1024);
    let number =
        |name| std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?.trim().parse::<u64>().ok();
    let left = number("max").map(|most| most.saturating_sub(number("current").unwrap_or_default()));
    Some(left.map_or(available, |left| left.min(available)))
}

/// Bytes that can be written under a directory, which may not be there yet.
#[must_use]
pub fn disk_free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    durable::free(there).ok()
}
