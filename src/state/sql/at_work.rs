//! What this process works on: names of leases, and ids of jobs. A row that bears its name and is not here is of work that is over, whose end
//! could not be written down: the process may take that itself, as any other would that found it dead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The leases under which this process works, each with its epoch; 0 while it is being acquired.
#[derive(Default)]
pub(super) struct LeasesAtWork(Mutex<HashMap<String, u64>>);

impl LeasesAtWork {
    fn all(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others of this process out while one acquires a lease. `None`: one works under it, or acquires it.
    pub(super) fn acquiring(&self, name: &str) -> Option<Acquiring<'_>> {
        let mut all = self.all();
        if all.contains_key(name) {
            return None;
        }
        all.insert(name.to_owned(), 0);
        Some(Acquiring { of: self, name: name.to_owned() })
    }

    /// The work under a lease is over.
    pub(super) fn give_up(&self, name: &str, epoch: u64) {
        let mut all = self.all();
        if all.get(name) == Some(&epoch) {
            all.remove(name);
        }
    }
}

/// A lease that is being acquired, until this is dropped.
pub(super) struct Acquiring<'a> {
    of: &'a LeasesAtWork,
    name: String,
}

impl Acquiring<'_> {
    /// From here on there is work under the lease.
    pub(super) fn acquired(self, epoch: u64) {
        self.of.all().insert(self.name.clone(), epoch);
    }
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        self.of.give_up(&self.name, 0);
    }
}

/// The jobs that this process works on, and how many parts of it do.
#[derive(Default)]
pub(super) struct JobsAtWork(Mutex<HashMap<String, u32>>);

impl JobsAtWork {
    fn all(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of this process takes a job on.
    pub(super) fn take_on(&self, id: &str) -> TakingOn<'_> {
        *self.all().entry(id.to_owned()).or_default() += 1;
        TakingOn { of: self, id: id.to_owned(), taken: false }
    }

    /// The same where no other part works on it.
    pub(super) fn take_on_alone(&self, id: &str) -> Option<TakingOn<'_>> {
        let mut all = self.all();
        if all.contains_key(id) {
            return None;
        }
        all.insert(id.to_owned(), 1);
        Some(TakingOn { of: self, id: id.to_owned(), taken: false })
    }

    /// A part of this process works on a job no more.
    pub(super) fn leave(&self, id: &str) {
        let mut all = self.all();
        match all.get_mut(id) {
            Some(parts) if *parts > 1 => *parts -= 1,
            _ => {
                all.remove(id);
            }
        }
    }
}

/// A job that is being taken on; when this is dropped it was not.
pub(super) struct TakingOn<'a> {
    of: &'a JobsAtWork,
    id: String,
    taken: bool,
}

impl TakingOn<'_> {
    /// From here on it is worked on, until it is left.
    pub(super) fn taken(mut self) {
        self.taken = true;
    }
}

impl Drop for TakingOn<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.of.leave(&self.id);
        }
    }
}
