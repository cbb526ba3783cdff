//! A bucket whose replies are lost, or which refuses for now: what has a name decides, and not what was answered. And what is sent to OSS,
//! by a server that records it.

use super::contract::{content, large, large_rdb, large_set, upload};
use super::{GivenUp, Place, expired, metadata};
use crate::support::s3::{self, Fate, Line, Request};
use std::io::{ErrorKind, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tair_backup_mcp::config::vault::{BucketPlace, CloudDefaults};
use tair_backup_mcp::vault::bucket::Bucket;
use tair_backup_mcp::vault::signing::Signing;
use tair_backup_mcp::vault::store::Store;

const ID: &str = "b-20260101T000000Z-aaaaaa";
const CONFLICT: &str = "ConditionalRequestConflict";

/// Strikes the first so many requests that are meant.
fn first(
    times: u32,
    meant: impl Fn(&Request) -> bool + Send + 'static,
    fate: Fate,
) -> impl FnMut(&Request) -> Fate + Send {
    let mut left = times;
    move |request| {
        if left > 0 && meant(request) {
            left -= 1;
            return fate.clone();
        }
        Fate::Pass
    }
}

/// A store behind a line on which something happens, and the same store without it.
fn behind(rule: impl FnMut(&Request) -> Fate + Send + 'static) -> (Line, Arc<dyn Store>, Arc<dyn Store>) {
    let (server, prefix) = (s3::port(), s3::prefix());
    let line = Line::to(server, rule);
    let store = s3::store_at(line.port, &prefix);
    (line, store, s3::store_at(server, &prefix))
}

fn count(line: &Line, method: &str, part: &str) -> usize {
    line.seen().iter().filter(|request| request.is(method, part)).count()
}

/// A put that took effect and whose reply was lost is a success, in one piece and in parts; where another has the name, that is said, and the
/// other stays.
#[test]
fn a_lost_reply_is_looked_into() {
    let (line, store, direct) = behind(first(1, |r| r.is("PUT", "/a/small"), Fate::Lose));
    store.put_new("a/small", b"ours").unwrap();
    assert_eq!(content(&*direct, "a/small"), b"ours");
    assert!(count(&line, "PUT", "/a/small") > 1 && count(&line, "HEAD", "/a/small") > 0, "{:?}", line.seen());

    let (line, store, direct) = behind(first(1, |r| r.is("POST", "uploadId="), Fate::Lose));
    upload(&*store, "a/large", &large(0)).unwrap();
    assert!(content(&*direct, "a/large") == large(0));
    assert_eq!(count(&line, "DELETE", "uploadId="), 0, "what is complete was aborted");

    let (_line, store, direct) = behind(first(1, |r| r.is("PUT", "/a/taken"), Fate::Lose));
    direct.put_new("a/taken", b"theirs").unwrap();
    assert_eq!(store.put_new("a/taken", b"ours").unwrap_err().kind(), ErrorKind::AlreadyExists);
    // The very same bytes are another's all the same.
    assert_eq!(store.put_new("a/taken", b"theirs").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(content(&*direct, "a/taken"), b"theirs");
}

/// Two at one name at the same moment: where the bucket refuses both (409), ours is put again; where one has it (412), it stays. An upload that
/// met another begins anew, for its parts are gone: nothing has the name, and nothing of it stays.
#[test]
fn a_conflict_is_not_taken_for_a_name_that_is_taken() {
    let (line, store, _) = behind(first(1, |r| r.is("PUT", "/a/small"), Fate::error(409, CONFLICT)));
    store.put_new("a/small", b"ours").unwrap();
    assert_eq!(content(&*store, "a/small"), b"ours");
    assert!(count(&line, "PUT", "/a/small") > 1);

    let (line, store, _) = behind(first(9, |r| r.is("POST", "uploadId="), Fate::error(409, CONFLICT)));
    let failed = upload(&*store, "a/large", &large(0)).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ResourceBusy, "{failed}");
    assert!(!store.has("a/large").unwrap());
    assert!(count(&line, "DELETE", "uploadId=") > 0, "the upload was left behind");

    // The server's own word for it.
    let (line, store, _) = behind(|_| Fate::Pass);
    store.put_new("a/taken", b"theirs").unwrap();
    assert_eq!(upload(&*store, "a/taken", &large(0)).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(count(&line, "DELETE", "uploadId=") > 0, "the upload was left behind");
    assert_eq!(content(&*store, "a/taken"), b"theirs");
}

/// What fails in passing is tried again; what does not pass is told in the store's words, and nothing has the name. An upload of which a part
/// did not go up is none, whatever its writer does then.
#[test]
fn what_fails_in_passing_is_tried_again() {
    let (_line, store, _) = behind(first(3, |_| true, Fate::error(503, "SlowDown")));
    store.put_new("a/small", b"ours").unwrap();
    assert_eq!(content(&*store, "a/small"), b"ours");

    let (_line, store, direct) = behind(first(u32::MAX, |r| r.is("PUT", "/a/"), Fate::error(403, "AccessDenied")));
    let denied = store.put_new("a/small", b"ours").unwrap_err();
    assert!(denied.kind() == ErrorKind::PermissionDenied && denied.to_string().contains("AccessDenied"), "{denied}");
    let mut large_one = store.upload_whole("a/large").unwrap();
    // Some parts are on their way before it is known.
    let failed = (0..4).filter(|n| large_one.write_all(&large(*n)).is_err()).count();
    assert!((1..4).contains(&failed), "{failed} times it was said that a part did not go up");
    large_one.finish().unwrap_err();
    assert_eq!(direct.list("a").unwrap(), [""; 0]);
}

/// Whether an object of that name is put.
fn puts(request: &Request, name: &str) -> bool {
    request.method == "PUT" && request.target.split('?').next().is_some_and(|path| path.ends_with(name))
}

/// A vault behind a line on which something happens, whose manifests are signed, and its store without the line.
fn vault_behind(rule: impl FnMut(&Request) -> Fate + Send + 'static) -> (Line, Place, Arc<dyn Store>) {
    let (server, prefix) = (s3::port(), s3::prefix());
    let line = Line::to(server, rule);
    let place =
        Place::on(|dir| s3::vault_at(line.port, &prefix, dir).signed(Arc::new(Signing::new(dir, Vec::new(), false))));
    (line, place, s3::store_at(server, &prefix))
}

/// Each put of a commit may lose its reply, be refused for a while, or meet another at the same moment: the set is there, once, and is ours.
#[test]
fn a_commit_goes_through_whatever_passes() {
    std::thread::scope(|scope| {
        for name in ["/data.rdb.zst", "/manifest.json.minisig", "/manifest.json"] {
            for (what, times, fate) in [
                ("the reply is lost", 1, Fate::Lose),
                ("503 for a while", 2, Fate::error(503, "SlowDown")),
                ("409", 1, Fate::error(409, CONFLICT)),
            ] {
                scope.spawn(move || {
                    let (line, place, direct) = vault_behind(first(times, move |r| puts(r, name), fate));
                    let set = place.set(ID);
                    assert_eq!(place.list(&[]), [(ID.to_owned(), true)], "{name}: {what}");
                    place.run(place.vault.verify(&set)).unwrap();
                    let mut names = direct.list(&format!("orders/{ID}")).unwrap();
                    names.sort();
                    assert_eq!(names, ["data.rdb.zst", "manifest.json", "manifest.json.minisig"], "{name}: {what}");
                    let put = line.seen().iter().filter(|r| puts(r, name)).count();
                    assert!(put > times as usize, "{name}: {what}: put {put} times");
                });
            }
        }
    });
}

/// What may not be put makes no set, and nothing of it stays; where another's manifest is there by then, nothing of that folder is taken away.
#[test]
fn a_commit_that_is_refused_makes_no_set() {
    for name in ["/manifest.json.minisig", "/manifest.json"] {
        let denied = first(u32::MAX, move |r| puts(r, name), Fate::error(403, "AccessDenied"));
        let (_line, place, direct) = vault_behind(denied);
        let fault = place.run(place.staged(ID).unwrap().commit(metadata())).unwrap_err();
        assert!(fault.code == "vault.failed" && fault.message.contains("AccessDenied"), "{name}: {fault:?}");
        // A manifest may come to be there later, whatever was answered, so that its data stays for the sweep of jobs that failed.
        place.run(place.vault.sweep("orders", &GivenUp(vec![ID.to_owned()]))).unwrap();
        assert!(place.list(&[]).is_empty(), "{name}");
        assert_eq!(direct.list("orders").unwrap(), [""; 0], "{name}");
    }
    let (_line, place, direct) = vault_behind(|_| Fate::Pass);
    let staged = place.staged(ID).unwrap();
    let [data, manifest] = ["data.rdb.zst", "manifest.json"].map(|name| format!("orders/{ID}/{name}"));
    direct.put_new(&manifest, b"theirs").unwrap();
    let fault = place.run(staged.commit(metadata())).unwrap_err();
    assert!(fault.code == "vault.failed" && fault.message.contains("another object has this name"), "{fault:?}");
    assert!(content(&*direct, &manifest) == b"theirs" && direct.has(&data).unwrap());
}

/// A reply that breaks off, and a store that is away for a while, is asked again; one that is shorter than what was asked for is not taken for
/// the end of the object, and says nothing of the set.
#[test]
fn a_reply_that_is_short_is_no_damage() {
    let prefix = s3::prefix();
    let set = Place::on(|spill| s3::vault_at(s3::port(), &prefix, spill)).set(ID);
    let answer = |length: u64, body: &[u8]| {
        let range = format!("bytes 0-{}/{}", set.stored_bytes - 1, set.stored_bytes);
        let headers = vec![("content-length", length.to_string()), ("content-range", range)];
        Fate::Answer { status: 206, headers, body: body.to_vec() }
    };
    for (what, times, fate, passes) in [
        ("breaks off", 2, answer(set.stored_bytes, b""), true),
        ("503 for a while", 2, Fate::error(503, "SlowDown"), true),
        ("is short", u32::MAX, answer(4, b"half"), false),
    ] {
        let line = Line::to(s3::port(), first(times, |r| r.is("GET", "data.rdb.zst"), fate));
        let place = Place::on(|spill| s3::vault_at(line.port, &prefix, spill));
        match place.run(place.vault.verify(&set)) {
            Ok(_) => assert!(passes, "{what}"),
            Err(fault) => assert!(!passes && fault.code == "vault.failed", "{what}: {fault:?}"),
        }
        assert!(count(&line, "GET", "data.rdb.zst") > if passes { 2 } else { 0 }, "{what}: {:?}", line.seen());
    }
}

/// A set that its bucket does not give for now is not called damaged, whenever that begins: its data may be as good as ever.
#[test]
fn what_is_out_of_reach_is_not_damaged() {
    let denied = Arc::new(AtomicBool::new(false));
    let denies = Arc::clone(&denied);
    let line = Line::to(s3::port(), move |request| {
        let of_a_set = request.target.contains("manifest.json") || request.target.contains("data.rdb.zst");
        if denies.load(Ordering::SeqCst) && of_a_set { Fate::error(403, "AccessDenied") } else { Fate::Pass }
    });
    let place = Place::on(|spill| s3::vault(line.port, spill));
    let set = large_set(&place, &large_rdb());
    let mut data = place.run(place.vault.open_data(&set)).unwrap();
    denied.store(true, Ordering::SeqCst);
    let broken_off = std::io::copy(&mut data, &mut std::io::sink()).unwrap_err();
    let faults = [
        place.vault.unreadable(&set, broken_off),
        place.run(place.vault.list("orders", &())).unwrap_err(),
        place.run(place.vault.find("orders", &set.id, &())).unwrap_err(),
        place.run(place.vault.open_data(&set)).unwrap_err(),
        place.run(place.vault.verify(&set)).unwrap_err(),
        place.run(place.vault.stored_digest(&set)).unwrap_err(),
    ];
    for fault in faults {
        assert_eq!(fault.code, "vault.failed", "{fault:?}");
        assert!(fault.message.contains("AccessDenied") || fault.message.contains("denied"), "{fault:?}");
        assert!(fault.hint.contains("credentials"), "{fault:?}");
    }
    denied.store(false, Ordering::SeqCst);
    assert_eq!(place.list(&[]), [(set.id, true)]);
}

/// A look at what is wrong there asks for no manifest, and no signature, more often than a listing of the sets does.
#[test]
fn a_look_reads_manifests_once() {
    let (line, place, _) = vault_behind(|_| Fate::Pass);
    place.set(ID);
    place.set("b-20260102T000000Z-bbbbbb");
    let asked = || ["/manifest.json", "/manifest.json.minisig"].map(|name| count(&line, "GET", name));
    let put = asked();
    assert_eq!(place.list(&[]).len(), 2);
    let listed = asked();
    assert_eq!(place.run(place.vault.examine("orders")).unwrap().len(), 2);
    let looked = asked();
    for (n, (put, listed)) in put.into_iter().zip(listed).enumerate() {
        assert!(listed > put, "{:?}", line.seen());
        assert_eq!(looked[n] - listed, listed - put, "{:?}", line.seen());
    }
}

/// Every object is put create-only and with a checksum, without which a bucket with locks takes nothing; nothing is asked before something is wanted.
#[test]
fn what_is_sent_to_s3() {
    let (line, store, _) = behind(|_| Fate::Pass);
    assert_eq!(store.place("a/b"), format!("{}/a/b", store.place("")));
    assert!(line.seen().is_empty(), "{:?}", line.seen());
    store.put_new("a/small", b"ours").unwrap();
    upload(&*store, "a/large", &large(0)).unwrap();
    let (mut decisive, mut parts) = (0, 0);
    for request in line.seen() {
        let part = request.is("PUT", "partNumber=");
        let decides = request.is("PUT", "/a/small") || request.is("POST", "uploadId=");
        assert_eq!(request.header("if-none-match"), decides.then_some("*"), "{request:?}");
        if request.method == "PUT" {
            assert!(request.header("x-amz-checksum-crc32c").is_some(), "{request:?}");
        }
        decisive += u32::from(decides);
        parts += u32::from(part);
    }
    assert_eq!((decisive, parts), (2, 4));
}

/// OSS spells create-only in its own way, on the request that begins an upload and on the one that completes it; its 409 says that a name is taken.
#[test]
fn what_is_sent_to_oss() {
    const BEGUN: &str = "<InitiateMultipartUploadResult><Bucket>backups</Bucket><Key>k</Key><UploadId>1</UploadId></InitiateMultipartUploadResult>";
    const DONE: &str = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
    let ok = |body: &str| Fate::Answer {
        status: 200,
        headers: vec![("etag", "\"e\"".into()), ("last-modified", "Fri, 27 Nov 2026 00:00:00 GMT".into())],
        body: body.into(),
    };
    let taken = Arc::new(AtomicBool::new(false));
    let is_taken = Arc::clone(&taken);
    let line = Line::to(0, move |request| match request.method.as_str() {
        "POST" if request.target.contains("uploads") => ok(BEGUN),
        "POST" => ok(DONE),
        "PUT" if is_taken.load(Ordering::SeqCst) => Fate::error(409, "FileAlreadyExists"),
        _ => ok(""),
    });
    let url = format!("oss://backups/redis?endpoint=http://127.0.0.1:{}&addressing=path", line.port);
    let place = BucketPlace::parse(&url, CloudDefaults::default()).unwrap();
    let store = Bucket::new(place, Some(Arc::new(s3::key())));
    store.put_new("a/small", b"ours").unwrap();
    upload(&store, "a/large", &large(0)).unwrap();
    taken.store(true, Ordering::SeqCst);
    assert_eq!(store.put_new("a/small", b"ours").unwrap_err().kind(), ErrorKind::AlreadyExists);
    let mut parts = 0;
    for request in line.seen() {
        let authorization = request.header("authorization").unwrap_or_default();
        assert!(authorization.starts_with("OSS") && authorization.contains(s3::KEY.0), "{request:?}");
        assert!(request.target.starts_with("/backups/redis/a/"), "{request:?}");
        if request.is("PUT", "partNumber") {
            parts += 1;
        } else if request.method != "HEAD" {
            assert_eq!(request.header("x-oss-forbid-overwrite"), Some("true"), "{request:?}");
        }
    }
    assert_eq!(parts, 4);
}

/// A sweep asks nothing of sets that are whole: one listing tells that of all.
#[test]
fn a_sweep_asks_nothing_of_whole_sets() {
    let (prefix, left) = (s3::prefix(), "b-20260109T000000Z-bbbbbb".to_owned());
    let direct = Place::on(|dir| s3::vault_at(s3::port(), &prefix, dir));
    let whole = [2, 1].map(|n| (direct.set(&format!("b-2026010{n}T000000Z-aaaaaa")).id, true));
    std::mem::forget(direct.staged(&left).unwrap());
    let line = Line::to(s3::port(), |_| Fate::Pass);
    let place = Place::on(|dir| s3::vault_at(line.port, &prefix, dir));
    place.run(place.vault.sweep("orders", &GivenUp(vec![left]))).unwrap();
    assert_eq!(direct.list(&[]), whole);
    assert!(!line.seen().iter().any(|request| request.target.contains("aaaaaa")), "{:?}", line.seen());
}

/// A set whose manifest was deleted is deleted, also where the reply to that was lost and nothing more is answered.
#[test]
fn a_deletion_whose_reply_is_lost_took_place() {
    let (prefix, mut asked) = (s3::prefix(), 0);
    let of_the_manifest = |request: &Request| {
        request.method == "DELETE" && request.target.split('?').next().unwrap().ends_with("/manifest.json")
    };
    let line = Line::to(s3::port(), move |request| {
        if !of_the_manifest(request) {
            return Fate::Pass;
        }
        asked += 1;
        if asked == 1 { Fate::Lose } else { Fate::error(403, "AccessDenied") }
    });
    let place = Place::on(|spill| s3::vault_at(line.port, &prefix, spill));
    let set = place.set("b-20260101T000000Z-aaaaaa");
    place.run(place.vault.delete(expired(&set), "orders", &set.id)).unwrap();
    assert!(line.seen().iter().any(of_the_manifest), "{:?}", line.seen());
    assert_eq!(s3::store_at(s3::port(), &prefix).list("orders").unwrap(), Vec::<String>::new());
}
