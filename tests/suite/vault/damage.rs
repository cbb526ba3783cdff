//! Damage by name, done from outside to every kind of object, on a disk and in a bucket, plain and encrypted: it is told with the object's
//! place, what is damaged is never given out as whole, and nothing else is kept back or touched for it.

use super::contract::{content, upload};
use super::copy::objects;
use super::encrypted::key_in;
use super::metadata;
use crate::archive::{FIRST, T0, at, base, limits, new_timeline, put, seal, select, set};
use crate::redis::values::{entry, rdb, string};
use crate::support::s3;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::sync::Arc;
use tair_backup_mcp::archive::{Archive, CutAt, NoCut, Timeline};
use tair_backup_mcp::config::encryption::{Encryption, KeySource};
use tair_backup_mcp::config::vault::VaultPlace;
use tair_backup_mcp::model::backup::{DamagedSet, Origin};
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::model::log::{Gap, GapCause};
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::IngestError;
use tair_backup_mcp::vault::signing::Signing;
use tair_backup_mcp::vault::store::Store;
use tempfile::TempDir;

const ID: &str = "b-20260101T000000Z-aaaaaa";
const OTHER: &str = "b-20260102T000000Z-bbbbbb";
const DATA: &str = "orders/b-20260101T000000Z-aaaaaa/data.rdb.zst";
const MANIFEST: &str = "orders/b-20260101T000000Z-aaaaaa/manifest.json";
const SIGNATURE: &str = "orders/b-20260101T000000Z-aaaaaa/manifest.json.minisig";
/// The log has three segments; this one is in the middle.
const SEGMENT: &str = "segment 1";
const LAST_SEGMENT: &str = "segment 2";
const TIMELINE: &str = "timeline.json";
const GAP: &str = "gap-";

/// What is done to an object.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// A bit of the byte so far from the end is another.
    Flip(usize),
    /// The second half is gone.
    Halve,
    /// So many bytes are left.
    Leave(usize),
    /// The letter so far behind these bytes is another one, which is as good.
    Misspell(&'static [u8], usize),
    /// It is gone.
    Remove,
    /// Another object's bytes lie there.
    Replace(&'static str),
    /// The bytes of another history lie there, under the very name.
    Rewrite,
}

/// Its name, the object, what is done to it, and the code of what is told, with some of its words; `None` where nobody could tell.
type Damage = (&'static str, &'static str, Does, Option<(&'static str, &'static str)>);

const DAMAGES: [Damage; 28] = [
    ("data_bit_flipped", DATA, Does::Flip(40), Some(("backup.damaged", ""))),
    ("data_cut", DATA, Does::Halve, Some(("backup.damaged", ""))),
    ("data_emptied", DATA, Does::Leave(0), Some(("backup.damaged", "has 0 bytes"))),
    ("data_gone", DATA, Does::Remove, Some(("backup.damaged", ""))),
    (
        "data_of_another_set",
        DATA,
        Does::Replace("orders/b-20260102T000000Z-bbbbbb/data.rdb.zst"),
        Some(("backup.damaged", "")),
    ),
    ("manifest_bit_flipped", MANIFEST, Does::Flip(40), Some(("backup.damaged", ""))),
    ("manifest_cut", MANIFEST, Does::Halve, Some(("backup.damaged", ""))),
    ("manifest_emptied", MANIFEST, Does::Leave(0), Some(("backup.damaged", ""))),
    ("manifest_gone", MANIFEST, Does::Remove, Some(("backup.damaged", "data without a manifest"))),
    (
        "manifest_of_another_set",
        MANIFEST,
        Does::Replace("orders/b-20260102T000000Z-bbbbbb/manifest.json"),
        Some(("backup.damaged", "says it is")),
    ),
    ("signature_bit_flipped", SIGNATURE, Does::Flip(20), Some(("backup.tampered", ""))),
    ("signature_cut", SIGNATURE, Does::Halve, Some(("backup.tampered", "no signature of minisign"))),
    ("signature_emptied", SIGNATURE, Does::Leave(0), Some(("backup.tampered", "no signature of minisign"))),
    ("signature_gone", SIGNATURE, Does::Remove, Some((UNSIGNED, ""))),
    (
        "signature_of_another_set",
        SIGNATURE,
        Does::Replace("orders/b-20260102T000000Z-bbbbbb/manifest.json.minisig"),
        Some(("backup.tampered", "of another manifest")),
    ),
    ("segment_bit_flipped", SEGMENT, Does::Flip(40), Some(("log.damaged", ""))),
    ("segment_cut", SEGMENT, Does::Halve, Some(("log.damaged", ""))),
    ("segment_emptied", SEGMENT, Does::Leave(0), Some(("log.damaged", ""))),
    ("segment_gone", SEGMENT, Does::Remove, Some(("log.damaged", "which is not there"))),
    ("segment_of_its_neighbour", SEGMENT, Does::Replace("segment 0"), Some(("log.damaged", ""))),
    ("segment_of_another_history", SEGMENT, Does::Rewrite, Some(("log.damaged", "follows on another"))),
    ("timeline_bit_flipped", TIMELINE, Does::Flip(20), Some(("log.damaged", ""))),
    ("timeline_cut", TIMELINE, Does::Halve, Some(("log.damaged", ""))),
    ("timeline_gone", TIMELINE, Does::Remove, Some(("log.damaged", "is not there"))),
    ("gap_bit_flipped", GAP, Does::Flip(20), Some(("log.damaged", ""))),
    ("gap_cut", GAP, Does::Halve, Some(("log.damaged", ""))),
    // Nothing that is there names these two. A log without its end is a shorter one: the home's state tells (`archive::heads`). And this gap lies
    // between no two segments: moments without commands, as of a clock that was set or a timeline that ended, are a gap by its record alone.
    // Where segments do not meet, a look at the whole log names the hole whose record is gone (`archive::spool`).
    ("segment_gone_from_the_end", LAST_SEGMENT, Does::Remove, None),
    ("gap_gone", GAP, Does::Remove, None),
];

/// What can be done to an age file besides. It does not name whose key it takes, so that a changed recipient may be another one.
const OF_HEADERS: [Damage; 6] = [
    ("data_header_cut", DATA, Does::Leave(60), Some(("backup.damaged", "header"))),
    ("data_mac_misspelt", DATA, Does::Misspell(b"\n--- ", 5), Some(("backup.damaged", "age file"))),
    (
        "data_recipient_misspelt",
        DATA,
        Does::Misspell(b"-> X25519 ", 50),
        Some(("vault.failed", "its header was changed")),
    ),
    ("segment_header_cut", SEGMENT, Does::Leave(60), Some(("log.damaged", "header"))),
    ("segment_mac_misspelt", SEGMENT, Does::Misspell(b"\n--- ", 5), Some(("log.damaged", "age file"))),
    (
        "segment_recipient_misspelt",
        SEGMENT,
        Does::Misspell(b"-> X25519 ", 50),
        Some(("log.failed", "its header was changed")),
    ),
];

/// In the place of a code: a set that is none of the damaged, and has no signature.
const UNSIGNED: &str = "unsigned";

type Objects = BTreeMap<String, Vec<u8>>;

/// The name of an object, by the number of a segment or a part of it.
fn named(all: &Objects, what: &str) -> String {
    let found = match what.strip_prefix("segment ") {
        Some(number) => all.keys().filter(|name| name.ends_with(".seg")).nth(number.parse().unwrap()),
        None => all.keys().find(|name| name.contains(what)),
    };
    found.unwrap_or_else(|| panic!("no {what} in {:?}", all.keys())).clone()
}

impl Does {
    /// The bytes that are there then.
    fn done_to(self, name: &str, all: &Objects, foreign: &Objects) -> Option<Vec<u8>> {
        let mut bytes = all[name].clone();
        match self {
            Self::Flip(from_end) => {
                let at = bytes.len() - from_end;
                bytes[at] ^= 1;
            }
            Self::Halve => bytes.truncate(bytes.len() / 2),
            Self::Leave(left) => bytes.truncate(left),
            Self::Misspell(behind, by) => {
                let found = bytes.windows(behind.len()).position(|part| part == behind).unwrap();
                let letter = &mut bytes[found + behind.len() + by];
                *letter = if *letter == b'A' { b'B' } else { b'A' };
            }
            Self::Remove => return None,
            Self::Replace(other) => bytes.clone_from(&all[&named(all, other)]),
            Self::Rewrite => bytes.clone_from(&foreign[name]),
        }
        Some(bytes)
    }
}

/// A vault somewhere, with a directory of this machine.
struct Ground<'a> {
    place: VaultPlace,
    encryption: Option<&'a Encryption>,
    signing: Arc<Signing>,
    dir: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Ground<'a> {
    fn at(place: impl FnOnce(&Path) -> VaultPlace, encryption: Option<&'a Encryption>, signing: &Arc<Signing>) -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { place: place(dir.path()), encryption, signing: Arc::clone(signing), dir, runtime }
    }

    fn on_disk(encryption: Option<&'a Encryption>, signing: &Arc<Signing>) -> Self {
        Self::at(|dir| VaultPlace::Directory(dir.join("vault")), encryption, signing)
    }

    fn in_bucket(encryption: Option<&'a Encryption>, signing: &Arc<Signing>) -> Self {
        Self::at(|_| VaultPlace::Bucket(s3::place_at(s3::port(), &s3::prefix())), encryption, signing)
    }

    fn seen_with(&self, encryption: Option<&Encryption>) -> Vault {
        Vault::at(&self.place, self.dir.path().to_owned(), Some(Arc::new(s3::key())), encryption)
    }

    /// As a process sees it that has just begun.
    fn vault(&self) -> Vault {
        self.seen_with(self.encryption).signed(Arc::clone(&self.signing))
    }

    /// What lies there, as it lies there.
    fn raw(&self) -> Arc<dyn Store> {
        self.seen_with(None).store()
    }

    fn archive(&self) -> Archive {
        Archive::new(&self.vault(), self.dir.path().join("spool"))
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn ingest(&self, id: &str) -> Result<(), IngestError> {
        let (vault, from) = (self.vault(), Cursor::new(rdb_of(id)));
        let origin = Origin::Import { file: "a.rdb".into(), sha256: String::new() };
        let staged = self.run(vault.ingest("orders", id, origin, from, |_, rest| rest.is_empty()))?;
        self.run(staged.commit(metadata())).unwrap();
        Ok(())
    }

    /// All names of sets and log.
    fn names(&self) -> Vec<String> {
        let raw = self.raw();
        let mut names: Vec<String> = ["orders", ".log"].iter().flat_map(|folder| raw.list(folder).unwrap()).collect();
        names.sort();
        names
    }
}

/// The data of a set, as long as every other's.
fn rdb_of(id: &str) -> Vec<u8> {
    let mut value: Vec<u8> = (0..=255).collect();
    if id == OTHER {
        value.reverse();
    }
    rdb("REDIS0010", &entry(0, "k", &string(&value)), true)
}

/// Writes a log of three segments, a second apart.
pub fn write_log(archive: &Archive, timeline: &Timeline, values: [&str; 3]) {
    let mut writer = archive.writer(timeline, limits(1 << 20)).unwrap();
    for (ms, value) in [T0, T0 + 1000, T0 + 2000].into_iter().zip(values) {
        put(&mut writer, &[select(0), set("a", value)].concat(), ms);
        seal(&mut writer);
    }
}

/// Two sets and a log with a gap, and a log of another history whose segments have the same names.
fn made(encryption: Option<&Encryption>, signing: &Arc<Signing>) -> (Objects, Objects) {
    let here = Ground::on_disk(encryption, signing);
    for id in [ID, OTHER] {
        here.ingest(id).unwrap();
    }
    let archive = here.archive();
    let timeline = archive.open_timeline(new_timeline(FIRST, Some(0))).unwrap();
    let gap = Gap {
        timeline: timeline.id.clone(),
        shard: 0,
        after_offset: FIRST,
        from: at(T0 - 10_000),
        to: at(T0 - 9_000),
        cause: GapCause::SpoolFull,
        source_run_id: "r".into(),
        detail: String::new(),
    };
    archive.record_gap("orders", &gap).unwrap();
    write_log(&archive, &timeline, ["one", "two", "six"]);
    let all = objects(&*here.raw());
    let other = Ground::on_disk(encryption, signing);
    let record = named(&all, TIMELINE);
    upload(&*other.raw(), &record, &all[&record]).unwrap();
    write_log(&other.archive(), &timeline, ["one", "TWO", "six"]);
    (all, objects(&*other.raw()))
}

type Told = Vec<(&'static str, String)>;

/// What is told of the sets. Those of which nothing is told are whole.
fn told_of_sets(ground: &Ground) -> Told {
    let (vault, mut told) = (ground.vault(), Told::new());
    let listed = ground.run(vault.list("orders", &())).unwrap();
    for id in [ID, OTHER] {
        let set = match ground.run(vault.find("orders", id, &())) {
            Ok(set) => set,
            Err(fault) => {
                let reason = listed.iter().find_map(|set| match set {
                    Err(DamagedSet { id: of, reason, .. }) if of == id => Some(reason),
                    _ => None,
                });
                assert_eq!(reason, Some(&fault.message), "it is listed as something else");
                told.push((fault.code, fault.message));
                continue;
            }
        };
        assert!(listed.iter().any(|set| set.as_ref().is_ok_and(|set| set.id == id)), "{id}: {listed:?}");
        if set.manifest.as_ref().is_none_or(|manifest| manifest.signed_by.is_none()) {
            told.push((UNSIGNED, vault.manifest_place(&set)));
        }
        let mut data = Vec::new();
        let read = ground.run(vault.open_data(&set)).is_ok_and(|mut from| from.read_to_end(&mut data).is_ok());
        match ground.run(vault.verify(&set)) {
            Ok(_) => assert!(read && data == rdb_of(id), "{id} is called whole and is not"),
            Err(fault) => told.push((fault.code, fault.message)),
        }
    }
    told
}

/// What the log gives for its last moment; `None` where it says that it does not have that.
fn recovered(archive: &Archive) -> Result<Option<Vec<u8>>, Fault> {
    let coverage = archive.coverage("orders", 0)?;
    match coverage.cut(&[base(FIRST, T0 - 1)], &CutAt::Moment(at(T0 + 2000))) {
        Err(NoCut::Outside(_)) => Ok(None),
        Err(NoCut::Fault(fault)) => Err(fault),
        Ok(cut) => Ok(Some(archive.read(&cut)?.collect::<Result<Vec<_>, _>>()?.concat())),
    }
}

/// What is told of the log. What it gives is what was written.
fn told_of_log(ground: &Ground, written: &[u8]) -> Told {
    let archive = ground.archive();
    let mut told: Told = match archive.check("orders", 0) {
        Ok((_, wrong)) => wrong.into_iter().map(|why| ("log.damaged", why)).collect(),
        Err(fault) => vec![(fault.code, fault.message)],
    };
    match recovered(&archive) {
        Ok(given) => assert!(given.is_none_or(|given| given == written), "something else is given than was written"),
        Err(fault) => told.push((fault.code, fault.message)),
    }
    told
}

/// Does each damage, looks at what is told of it, and takes it back.
fn play(kind: &str, ground: &Ground, (all, foreign): &(Objects, Objects), damages: &[Damage]) {
    let raw = ground.raw();
    all.iter().for_each(|(name, bytes)| upload(&*raw, name, bytes).unwrap());
    let written = recovered(&ground.archive()).unwrap().unwrap();
    let nothing = || assert_eq!((told_of_sets(ground), told_of_log(ground, &written)), (vec![], vec![]), "{kind}");
    nothing();
    for (what, object, does, wanted) in damages {
        let name = named(all, object);
        raw.delete(&name).unwrap();
        if let Some(bytes) = does.done_to(&name, all, foreign) {
            assert!(bytes != all[&name], "{what} changes nothing");
            upload(&*raw, &name, &bytes).unwrap();
        }
        let before = ground.names();
        let told = if name.starts_with(".log/") { told_of_log(ground, &written) } else { told_of_sets(ground) };
        assert_eq!(ground.names(), before, "{kind}, {what}");
        // A signature is told of at its manifest.
        let place = name.trim_end_matches(".minisig");
        match wanted {
            None => assert!(told.is_empty(), "{kind}, {what}: {told:?}"),
            Some((code, words)) => {
                assert!(!told.is_empty(), "{kind}, {what}: nothing is told");
                for (of, why) in &told {
                    assert!(of == code && why.contains(words), "{kind}, {what}: {of}: {why}");
                    assert!(why.contains(place.rsplit('/').next().unwrap()), "{kind}, {what}: {why}");
                    assert!(!why.contains(OTHER) || why.contains(ID), "{kind}, {what}: {why}");
                }
            }
        }
        raw.delete(&name).unwrap();
        upload(&*raw, &name, &all[&name]).unwrap();
    }
    assert!(objects(&*raw) == *all, "{kind}: something was touched");
    nothing();
}

/// The same objects on a disk and in a bucket.
fn on_each(encryption: Option<&Encryption>, damages: &[Damage]) {
    let home = TempDir::new().unwrap();
    let signing = Arc::new(Signing::new(home.path(), Vec::new(), false));
    let made = made(encryption, &signing);
    std::thread::scope(|scope| {
        scope.spawn(|| play("disk", &Ground::on_disk(encryption, &signing), &made, damages));
        scope.spawn(|| play("bucket", &Ground::in_bucket(encryption, &signing), &made, damages));
    });
}

#[test]
fn what_is_damaged_is_named() {
    on_each(None, &DAMAGES);
}

#[test]
fn what_is_damaged_and_encrypted_is_named() {
    let dir = TempDir::new().unwrap();
    on_each(Some(&key_in(dir.path())), &[&DAMAGES[..], &OF_HEADERS[..]].concat());
}

/// The vault's own key, where there is a passphrase: changed or gone, it is named, no set is called damaged for it, and nothing is written that
/// nobody could read. With the key put back all is as it was.
#[test]
fn a_key_that_is_damaged_is_named() {
    const KEY: &str = "key.age";
    let home = TempDir::new().unwrap();
    let signing = Arc::new(Signing::new(home.path(), Vec::new(), false));
    let phrase = home.path().join("phrase");
    std::fs::write(&phrase, "some words\n").unwrap();
    let encryption = Encryption { recipients: Vec::new(), key: KeySource::PassphraseFile(phrase) };
    let disk = Ground::on_disk(Some(&encryption), &signing);
    disk.ingest(ID).unwrap();
    let (all, key) = (objects(&*disk.raw()), content(&*disk.raw(), KEY));
    let bucket = Ground::in_bucket(Some(&encryption), &signing);
    all.iter().for_each(|(name, bytes)| upload(&*bucket.raw(), name, bytes).unwrap());
    upload(&*bucket.raw(), KEY, &key).unwrap();
    let names = disk.names();
    let flipped = || [&key[..key.len() - 1], &[key[key.len() - 1] ^ 1]].concat();
    for (what, ground, damaged, said) in [
        ("key_age_cut on a disk", &disk, Some(key[..60].to_vec()), "cannot be decrypted"),
        ("key_age_bit_flipped on a disk", &disk, Some(flipped()), "cannot be decrypted"),
        ("key_age_gone from a disk", &disk, None, "is not there"),
        ("key_age_cut in a bucket", &bucket, Some(key[..60].to_vec()), "cannot be decrypted"),
        ("key_age_gone from a bucket", &bucket, None, "is not there"),
    ] {
        let (raw, vault) = (ground.raw(), ground.vault());
        raw.delete(KEY).unwrap();
        damaged.iter().for_each(|bytes| upload(&*raw, KEY, bytes).unwrap());
        let listed = ground.run(vault.list("orders", &())).unwrap();
        let [Ok(set)] = &listed[..] else { panic!("{what}: {listed:?}") };
        let fault = ground.run(vault.verify(set)).unwrap_err();
        assert!(fault.code == "vault.failed" && fault.message.contains(KEY), "{what}: {fault:?}");
        assert!(fault.message.contains(said), "{what}: {fault:?}");
        // Where it is gone the next one that writes makes another, as in a new vault; and a passphrase is tried for a second each time.
        if what.starts_with("key_age_cut") {
            ground.ingest(OTHER).unwrap_err();
        }
        raw.delete(KEY).unwrap();
        upload(&*raw, KEY, &key).unwrap();
        assert_eq!(ground.names(), names, "{what}");
    }
    for ground in [&disk, &bucket] {
        let vault = ground.vault();
        let set = ground.run(vault.find("orders", ID, &())).unwrap();
        ground.run(vault.verify(&set)).unwrap();
    }
}
