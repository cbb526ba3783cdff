//! Reads an object of a bucket by ranges: in blocks, of which a few are kept, and the next is fetched while one is used.
//!
//! Memory is bounded, whatever is read and in whatever order. Readers of one object on several threads share its blocks.

use crate::vault::bucket::client::{Client, Found};
use crate::vault::bucket::thread::{start, wait};
use crate::vault::store::Ranges;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of a block: a request's delay is little beside its transfer.
const BLOCK: u64 = 1 << 20;
/// Blocks that are kept of an object: what each of two readers reads now and next.
const KEPT: usize = 4;
/// How many blocks are remembered as fetched lately: two who read parts in turn each come to the end of a part that the other has read.
const LATELY: usize = 24;

/// A block; without its bytes while it is on its way.
#[derive(Debug)]
struct Slot {
    number: u64,
    bytes: Option<Arc<Vec<u8>>>,
}

/// An object that is open.
#[derive(Debug)]
pub(super) struct Blocks(Arc<Object>);

#[derive(Debug)]
struct Object {
    client: Arc<Client>,
    name: String,
    found: Found,
    kept: Mutex<Kept>,
    /// Something has come, or will not come.
    came: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    /// Those used last come last.
    slots: Vec<Slot>,
    /// Numbers of those that were fetched last.
    lately: VecDeque<u64>,
}

impl Kept {
    /// Gives a block that is on its way a place. Those that were used longest ago lose theirs; not those on their way, for somebody waits for
    /// them. Whether there is room.
    fn give_place(&mut self, number: u64, however_full: bool) -> bool {
        while self.slots.len() >= KEPT
            && let Some(oldest) = self.slots.iter().position(|slot| slot.bytes.is_some())
        {
            self.slots.remove(oldest);
        }
        if self.slots.len() >= KEPT && !however_full {
            return false;
        }
        self.slots.push(Slot { number, bytes: None });
        self.lately.push_back(number);
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
        true
    }
}

impl Blocks {
    pub fn new(client: Arc<Client>, name: &str, found: Found) -> Self {
        Self(Arc::new(Object { client, name: name.to_owned(), found, kept: Mutex::default(), came: Condvar::new() }))
    }
}

impl Ranges for Blocks {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.found.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.0.found.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let block = block(&self.0, at / BLOCK)?;
            let from = usize::try_from(at % BLOCK).unwrap_or(usize::MAX);
            let there = block.get(from..).filter(|there| !there.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let (now, later) = rest.split_at_mut(there.len().min(rest.len()));
            now.copy_from_slice(there.get(..now.len()).unwrap_or_default());
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

/// The block of that number, fetched where it is not kept.
fn block(object: &Arc<Object>, number: u64) -> io::Result<Arc<Vec<u8>>> {
    let mut kept = object.kept();
    let bytes = loop {
        let Some(at) = kept.slots.iter().position(|slot| slot.number == number) else {
            kept.give_place(number, true);
            drop(kept);
            let coming = Coming { object: Arc::clone(object), number };
            break wait(coming.fetch())?;
        };
        if let Some(bytes) = kept.slots.get(at).and_then(|slot| slot.bytes.clone()) {
            let used = kept.slots.remove(at);
            kept.slots.push(used);
            drop(kept);
            break bytes;
        }
        kept = object.came.wait(kept).unwrap_or_else(PoisonError::into_inner);
    };
    read_ahead(object, number);
    Ok(bytes)
}

/// Fetches the block behind one, where the object is read in its order.
fn read_ahead(object: &Arc<Object>, number: u64) {
    let next = number + 1;
    let mut kept = object.kept();
    let has = |number: u64| kept.slots.iter().any(|slot| slot.number == number);
    let in_order = number == 0 || has(number - 1);
    if !in_order || has(next) || kept.lately.contains(&next) || next * BLOCK >= object.found.size {
        return;
    }
    let has_room = kept.give_place(next, false);
    drop(kept);
    if has_room {
        let coming = Coming { object: Arc::clone(object), number: next };
        // What fails is fetched again, and told, when it is read.
        let _ = start(async move {
            let _ = coming.fetch().await;
        });
    }
}

impl Object {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block on its way. Dropped, whatever happened, its place is given free unless it has come, and who waits looks again.
struct Coming {
    object: Arc<Object>,
    number: u64,
}

impl Coming {
    async fn fetch(self) -> io::Result<Arc<Vec<u8>>> {
        let Object { client, name, found, .. } = &*self.object;
        let from = self.number * BLOCK;
        let len = BLOCK.min(found.size.saturating_sub(from));
        let bytes = Arc::new(client.range(name, found, from, len).await?);
        if let Some(slot) = self.object.kept().slots.iter_mut().find(|slot| slot.number == self.number) {
            slot.bytes = Some(Arc::clone(&bytes));
        }
        Ok(bytes)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.object.kept().slots.retain(|slot| slot.number != self.number || slot.bytes.is_some());
        self.object.came.notify_all();
    }
}
