//! A vault is copied to another place: all that belongs to a set, and the log, read back there; whatever lies there already stays, whatever is
//! damaged here is named, and whenever a copy is broken off the next one goes on.

use super::Place;
use super::contract::{content, large_rdb, large_set};
use crate::support::s3::{self, Fate, Line};
use crate::support::{Bench, finish, text, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tair_backup_mcp::archive::{Archive, NewTimeline, SealLimits, Timeline};
use tair_backup_mcp::model::log::{Gap, GapCause};
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::copy::SetCopy;
use tair_backup_mcp::vault::store::Store;

const FIRST: &str = "b-20260101T000000Z-aaaaaa";
const SECOND: &str = "b-20260102T000000Z-bbbbbb";
const LONG: Duration = Duration::from_secs(60);

/// A bench whose instance nobody reaches: a copy asks none.
fn bench(more: &str) -> Bench {
    let mut bench = Bench::new(&config(more));
    bench.env = s3::environment(s3::KEY.1);
    bench
}

fn config(more: &str) -> String {
    format!("{more}\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n")
}

/// The vault of a bench, to lay sets there.
fn place(bench: &Bench) -> Place {
    Place::on(|_| Vault::new(bench.home().join("vault")))
}

/// All objects of a store, by their names.
pub fn objects(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let mut folders = store.folders("").unwrap();
    folders.retain(|folder| folder != ".probe");
    let names = folders.into_iter().flat_map(|folder| {
        let listed = store.list(&folder).unwrap();
        listed.into_iter().map(move |name| format!("{folder}/{name}"))
    });
    names.map(|name| (name.clone(), content(store, &name))).collect()
}

/// A log of so many segments, with a gap, a mark of pruning and what a later version may put there.
pub(super) fn log(vault: &Vault, dir: &Path, segments: i64) -> (Archive, Timeline) {
    let (archive, at) = (Archive::new(vault, dir.join("spool")), Timestamp::from_second(1_790_000_000).unwrap());
    let new = NewTimeline {
        instance_id: "orders".into(),
        shard: 0,
        opened_at: at,
        replid: "i".into(),
        offset: 0,
        database: Some(0),
        restored_from: None,
    };
    let timeline = archive.open_timeline(new).unwrap();
    go_on(&archive, &timeline, 0..segments);
    let gap = Gap {
        timeline: timeline.id.clone(),
        shard: 0,
        after_offset: 31 * u64::try_from(segments).unwrap(),
        from: at,
        to: at,
        cause: GapCause::ArchiverDown,
        source_run_id: "run".into(),
        detail: String::new(),
    };
    archive.record_gap("orders", &gap).unwrap();
    let prefix = format!(".log/orders/0/{}", timeline.id);
    for (name, bytes) in [("pruned-00000000000000000000.json", "{}\n"), ("of-a-later-version", "?")] {
        vault.store().put_new(&format!("{prefix}/{name}"), bytes.as_bytes()).unwrap();
    }
    (archive, timeline)
}

/// More segments of a log, each of one command.
pub(super) fn go_on(archive: &Archive, timeline: &Timeline, numbers: std::ops::Range<i64>) {
    let limits = SealLimits { bytes: 1, age: Duration::from_secs(3600) };
    let mut writer = archive.writer(timeline, limits).unwrap();
    for n in numbers {
        let command = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n{n:02}\r\n");
        let at = timeline.opened_at + SignedDuration::from_secs(n);
        writer.append(command.as_bytes(), at, SignedDuration::ZERO).unwrap();
    }
    writer.seal_now().unwrap();
    writer.sealer().seal().unwrap();
}

/// What becomes of each request.
type Fates = Box<dyn FnMut(&s3::Request) -> Fate + Send>;

fn copy(bench: &Bench, to: &str, more: &[&str]) -> (i32, Value) {
    let done = bench.run(&[&["vault", "copy", "--to", to, "--json"][..], more].concat());
    (done.code, done.json())
}

/// The status of each set in a reply.
fn statuses(reply: &Value) -> Vec<(String, String)> {
    let sets = reply["sets"].as_array().unwrap();
    sets.iter().map(|set| (text(&set["backup_id"]), text(&set["status"]))).collect()
}

fn of(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(id, status)| ((*id).to_owned(), (*status).to_owned())).collect()
}

/// From a disk to a bucket and from there to another disk everything is the same to the byte: both sets, what lies beside a manifest, the log. The
/// program works on each.
#[test]
fn there_and_back() {
    let bench = bench("");
    let here = place(&bench);
    large_set(&here, &large_rdb());
    here.set(SECOND);
    let signature = format!("orders/{SECOND}/beside.json");
    here.vault.store().put_new(&signature, b"a signature").unwrap();
    let (archive, _) = log(&here.vault, here.dir.path(), 40);
    let mut beside = here.vault.store().upload_whole(".keys/0011223344556677.pub").unwrap();
    beside.write_all(b"beside them").unwrap();
    beside.finish().unwrap();
    let (prefix, all) = (s3::prefix(), objects(&*here.vault.store()));
    assert_eq!(all.len(), 2 * 2 + 1 + 1 + 40 + 4, "{:?}", all.keys());
    let (url, bucket) = (s3::url(&prefix), s3::store_at(s3::port(), &prefix));

    let (code, told) = copy(&bench, &url, &["--dry-run"]);
    assert_eq!((code, statuses(&told)), (0, of(&[(SECOND, "to_copy"), (FIRST, "to_copy")])), "{told}");
    assert_eq!((&told["logs"][0]["to_copy"], objects(&*bucket).len()), (&44.into(), 0), "{told}");
    let (code, told) = copy(&bench, &url, &[]);
    assert_eq!((code, statuses(&told)), (0, of(&[(SECOND, "copied"), (FIRST, "copied")])), "{told}");
    assert_eq!(told["logs"][0]["copied"], 44, "{told}");
    assert!(objects(&*bucket) == all, "{:?}", objects(&*bucket).keys());
    // Again, with a signature that has come since: that alone is copied.
    here.vault.store().put_new(&format!("orders/{FIRST}/beside.json"), b"another").unwrap();
    let (code, told) = copy(&bench, &url, &["--instance-id", "orders"]);
    assert_eq!((code, statuses(&told)), (0, of(&[(SECOND, "there"), (FIRST, "copied")])), "{told}");
    assert_eq!((&told["logs"][0]["copied"], &told["logs"][0]["there"]), (&0.into(), &44.into()), "{told}");
    let all = objects(&*here.vault.store());
    assert!(objects(&*bucket) == all);

    // Moved: the program has it all there, and takes it on to another disk.
    bench.configure(&config(&format!("vault = \"{url}\"")));
    let listed = bench.json(&["describe-backups", "--instance-id", "orders", "--start-time", "1970-01-01T00:00Z"]);
    let sets = listed["backups"].as_array().unwrap();
    assert!(sets.len() == 2 && sets.iter().all(|set| set["status"] == "unverified"), "{sets:?}");
    let verify = ["verify-backup", "--instance-id", "orders", "--backup-id", FIRST, "--level", "structure"];
    assert_eq!(bench.json(&verify)["status"], "succeeded");
    let back = bench.dir.path().join("back");
    let shown = bench.run(&["vault", "copy", "--to", back.to_str().unwrap()]);
    assert!(shown.code == 0 && shown.out.contains("2 copied"), "{shown:?}");
    let back = Vault::new(back);
    assert!(objects(&*back.store()) == all, "{:?}", objects(&*back.store()).keys());
    let covered = |of: &Archive| format!("{:?}", of.coverage("orders", 0).unwrap().runs);
    assert_eq!(covered(&Archive::new(&back, here.dir.path().join("none"))), covered(&archive));
    assert!(objects(&*here.vault.store()) == all, "something was changed at the source");
}

/// What is no place, or the vault itself, is refused; so is a copy with `--read-only`, and an instance that nobody knows.
#[test]
fn what_is_no_other_vault() {
    let bench = bench("");
    let here = place(&bench);
    here.set(FIRST);
    let within = bench.home().join("vault/orders");
    for to in [bench.home().join("vault").to_str().unwrap(), within.to_str().unwrap(), "", "gs://b", "s3://"] {
        let done = bench.run(&["vault", "copy", "--to", to, "--json"]);
        assert!(done.code == 2 && done.err.contains("--to"), "{to}: {done:?}");
    }
    let to = bench.dir.path().join("to");
    let done = bench.run(&["--read-only", "vault", "copy", "--to", to.to_str().unwrap()]);
    assert!(done.code == 3 && done.err.contains("mode.read_only"), "{done:?}");
    let done = bench.run(&["vault", "copy", "--to", to.to_str().unwrap(), "--instance-id", "ordres"]);
    assert!(done.code == 4 && done.err.contains("orders"), "{done:?}");
    assert!(!to.exists());
    bench.configure(&config("vault = \"sets\"\ncopy_to = \"sets\""));
    let done = bench.run(&["describe-backups", "--instance-id", "orders"]);
    assert!(done.code == 2 && done.err.contains("the vault itself; name another place"), "{done:?}");
}

/// Killed at whatever moment, a copy leaves no set that is not whole, and the next one leaves nothing else.
#[test]
fn a_killed_copy_is_gone_on_with() {
    let bench = bench("");
    let here = place(&bench);
    let set = large_set(&here, &large_rdb());
    let all = objects(&*here.vault.store());
    for megabytes in [0, 3, 9, 17] {
        let to = bench.dir.path().join(format!("to-{megabytes}"));
        let mut child = bench.spawn(&["vault", "copy", "--to", to.to_str().unwrap()]);
        let folder = to.join("orders").join(&set.id);
        let written = || -> u64 {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
        };
        wait("so much to be there", LONG, || {
            (folder.exists() && written() >= megabytes << 20 || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let there = Vault::new(to.clone());
        if folder.join("manifest.json").exists() {
            here.run(there.verify(&set)).unwrap();
        }
        // A crash of another kind: what was being written lies there still.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(".data.rdb.zst.0011223344556677.new"), b"cut off").unwrap();
        let (code, told) = copy(&bench, to.to_str().unwrap(), &[]);
        assert_eq!(code, 0, "{told}");
        assert!(objects(&*there.store()) == all, "{megabytes}: {:?}", objects(&*there.store()).keys());
    }
}

/// Killed between the data and the manifest, the next copy finds the data, reads it, and puts the manifest alone.
#[test]
fn data_that_is_there_is_not_put_again() {
    let bench = bench("");
    let here = place(&bench);
    large_set(&here, &large_rdb());
    let (prefix, met, open) = (s3::prefix(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (meets, opens) = (Arc::clone(&met), Arc::clone(&open));
    let line = Line::to(s3::port(), move |request| {
        if request.is("PUT", "manifest.json") && !opens.load(Ordering::SeqCst) {
            // It is not answered before its process is killed.
            meets.store(true, Ordering::SeqCst);
            wait("the copy to be killed", LONG, || opens.load(Ordering::SeqCst).then_some(()));
            return Fate::error(403, "AccessDenied");
        }
        Fate::Pass
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let mut child = bench.spawn(&["vault", "copy", "--to", &url]);
    wait("the manifest to be put", LONG, || met.load(Ordering::SeqCst).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let bucket = s3::store_at(s3::port(), &prefix);
    assert_eq!(objects(&*bucket).keys().collect::<Vec<_>>(), [&format!("orders/{FIRST}/data.rdb.zst")]);
    open.store(true, Ordering::SeqCst);
    let before = line.seen().len();
    let (code, told) = copy(&bench, &url, &[]);
    assert_eq!((code, statuses(&told)), (0, of(&[(FIRST, "copied")])), "{told}");
    let again = line.seen().split_off(before);
    assert!(
        !again.iter().any(|r| r.method != "GET" && r.method != "HEAD" && r.target.contains("data.rdb.zst")),
        "{again:?}"
    );
    assert!(objects(&*bucket) == objects(&*here.vault.store()));
}

/// Ctrl-C ends a copy at once and takes back what it has put.
#[test]
fn an_interrupted_copy_takes_back_what_it_has_put() {
    let bench = bench("");
    let here = place(&bench);
    large_set(&here, &large_rdb());
    let (prefix, met, open) = (s3::prefix(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (meets, opens) = (Arc::clone(&met), Arc::clone(&open));
    let line = Line::to(s3::port(), move |request| {
        if request.is("GET", "data.rdb.zst") && !meets.swap(true, Ordering::SeqCst) {
            // Until it has been asked to end it waits for what it reads back.
            wait("the copy to be interrupted", LONG, || opens.load(Ordering::SeqCst).then_some(()));
        }
        Fate::Pass
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let child = bench.spawn(&["vault", "copy", "--to", &url, "--json"]);
    wait("the data to be read back", LONG, || met.load(Ordering::SeqCst).then_some(()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    open.store(true, Ordering::SeqCst);
    let done = finish(child);
    assert_eq!((done.code, &done.json()["interrupted"]), (130, &true.into()), "{done:?}");
    assert_eq!(objects(&*s3::store_at(s3::port(), &prefix)).len(), 0);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn segments(dir: &Path, timeline: &Timeline) -> Vec<PathBuf> {
    let folder = dir.join(".log/orders/0").join(&timeline.id);
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    all.sort();
    all
}

/// What is damaged here is named, with file and reason, and not copied; the rest is. Of a set that is being deleted nothing is said.
#[test]
fn what_is_damaged_is_named_and_the_rest_is_copied() {
    const THIRD: &str = "b-20260103T000000Z-cccccc";
    const FOURTH: &str = "b-20260104T000000Z-dddddd";
    let bench = bench("");
    let here = place(&bench);
    for id in [FIRST, SECOND, THIRD, FOURTH] {
        here.set(id);
    }
    let vault = bench.home().join("vault");
    let (_, timeline) = log(&here.vault, here.dir.path(), 3);
    flip(&vault.join("orders").join(FIRST).join("data.rdb.zst"), 20);
    flip(&vault.join("orders").join(SECOND).join("manifest.json"), 20);
    let fourth = vault.join("orders").join(FOURTH);
    std::fs::rename(fourth.join("manifest.json"), fourth.join("manifest.json.deleting")).unwrap();
    let bad = segments(&vault, &timeline).swap_remove(1);
    flip(&bad, 12);
    let to = bench.dir.path().join("to");
    let (code, told) = copy(&bench, to.to_str().unwrap(), &[]);
    let all = of(&[(THIRD, "copied"), (SECOND, "damaged"), (FIRST, "damaged")]);
    assert_eq!((code, statuses(&told)), (6, all), "{told}");
    let why: Vec<String> = told["sets"].as_array().unwrap()[1..].iter().map(|set| text(&set["why"])).collect();
    assert!(why[0].contains(SECOND) && why[0].contains("manifest.json") && why[1].contains("data.rdb.zst"), "{why:?}");
    assert_eq!((&told["logs"][0]["damaged"], &told["logs"][0]["copied"]), (&1.into(), &6.into()), "{told}");
    assert!(text(&told["logs"][0]["why"][0]).contains(bad.file_name().unwrap().to_str().unwrap()), "{told}");
    let there = Vault::new(to.clone());
    let sets: Vec<String> = there.store().folders("orders").unwrap();
    assert_eq!(sets, [THIRD]);
    assert_eq!(segments(&to, &timeline).len(), 2);
}

/// Whatever has a name there stays, and what would have that name is named.
#[test]
fn nothing_is_put_over_what_is_there() {
    let bench = bench("");
    let here = place(&bench);
    let ids: Vec<String> = (1..=5).map(|n| format!("b-2026010{n}T000000Z-aaaaaa")).collect();
    ids.iter().for_each(|id| drop(here.set(id)));
    let signature = |id: &str| format!("orders/{id}/beside.json");
    here.vault.store().put_new(&signature(&ids[2]), b"ours").unwrap();
    for beside in [".keys/0011223344556677.pub", ".snapshot/nightly"] {
        let mut beside = here.vault.store().upload_whole(beside).unwrap();
        beside.write_all(b"ours").unwrap();
        beside.finish().unwrap();
    }
    let (_, timeline) = log(&here.vault, here.dir.path(), 3);
    let segment = segments(&bench.home().join("vault"), &timeline).swap_remove(0);
    let segment = format!(".log/orders/0/{}/{}", timeline.id, segment.file_name().unwrap().to_str().unwrap());
    let prefix = s3::prefix();
    let bucket = s3::store_at(s3::port(), &prefix);
    let taken = [
        format!("orders/{}/data.rdb.zst", ids[0]),
        format!("orders/{}/manifest.json", ids[1]),
        signature(&ids[2]),
        format!("orders/{}/manifest.json.deleting", ids[3]),
        segment.clone(),
        ".keys/0011223344556677.pub".to_owned(),
    ];
    taken.iter().for_each(|name| bucket.put_new(name, b"theirs").unwrap());
    let (code, told) = copy(&bench, &s3::url(&prefix), &[]);
    assert_eq!(code, 3, "{told}");
    let mut found = statuses(&told);
    found.reverse();
    assert_eq!(found[4..], of(&[(ids[4].as_str(), "copied"), ("", "conflict")]));
    assert_eq!(bucket.list(".snapshot").unwrap(), Vec::<String>::new(), "it is none of ours");
    for (set, name) in told["sets"].as_array().unwrap().iter().rev().zip(&taken[..4]) {
        let folder = name.rsplit_once('/').unwrap().0;
        assert!(set["status"] == "conflict" && text(&set["why"]).contains(folder), "{name}: {set}");
    }
    assert_eq!((&told["logs"][0]["conflicts"], &told["logs"][0]["copied"]), (&1.into(), &6.into()), "{told}");
    assert!(text(&told["logs"][0]["why"][0]).contains(&segment), "{told}");
    taken.iter().for_each(|name| assert_eq!(content(&*bucket, name), b"theirs", "{name}"));
    // Nothing of the four was left there.
    for id in &ids[..4] {
        assert_eq!(bucket.list(&format!("orders/{id}")).unwrap().len(), 1, "{id}");
    }
}

/// A set that is deleted while it is copied does not come to be there; and of one that is read back as something else, or whose source gives
/// out, there is no manifest and nothing left.
#[test]
fn what_does_not_get_there_leaves_nothing() {
    let copied = |here: &Place, fate: &dyn Fn(PathBuf) -> Fates| {
        let (set, prefix) = (here.set(FIRST), s3::prefix());
        let line = Line::to(s3::port(), fate(here.path(FIRST, "manifest.json")));
        let to = Place::on(|spill| s3::vault_at(line.port, &prefix, spill));
        let done = here.run(here.vault.copy_set(&to.vault, "orders", &set.id, &Arc::default()));
        assert_eq!(objects(&*s3::store_at(s3::port(), &prefix)).len(), 0, "{done:?}");
        done
    };
    let here = Place::new();
    let gone = copied(&here, &|manifest| {
        Box::new(move |request: &s3::Request| {
            if request.is("GET", "data.rdb.zst") {
                let _ = std::fs::rename(&manifest, manifest.with_file_name("manifest.json.deleting"));
            }
            Fate::Pass
        })
    });
    assert_eq!(gone.unwrap(), SetCopy::Gone);
    let size = std::fs::metadata(here.path(FIRST, "data.rdb.zst")).unwrap().len();
    let here = Place::new();
    let another = copied(&here, &|_| {
        Box::new(move |request: &s3::Request| {
            if !request.is("GET", "data.rdb.zst") {
                return Fate::Pass;
            }
            let range = format!("bytes 0-{}/{size}", size - 1);
            let body = vec![b'x'; usize::try_from(size).unwrap()];
            Fate::Answer { status: 206, headers: vec![("content-range", range)], body }
        })
    });
    let fault = another.unwrap_err();
    assert!(fault.code == "vault.failed" && fault.message.contains("read back"), "{fault:?}");
    // Nobody is there to ask.
    let none = here.run(here.vault.copy_set(&Place::new().vault, "orders", SECOND, &Arc::default()));
    assert_eq!(none.unwrap(), SetCopy::Gone);
}
