//! Downloads: a set as a plain file that the server's own check accepts, and nothing outside the directories that are allowed.

use crate::support::disk::SmallDisk;
use crate::support::{Bench, Redis, files_under, finish, program, text, unattended, wait};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tair_backup_mcp::provider::part::{Part, parts};

/// Downloads go only where they may, over nothing that is there, and end as a file that the server's own check accepts.
#[test]
fn downloads() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let allowed = bench.dir.path().join("allowed");
    let outside = bench.dir.path().join("outside");
    std::fs::create_dir_all(&allowed).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    let config = format!("download_roots = [{:?}]\n{}", allowed.to_str().unwrap(), unattended(&redis, ""));
    bench.configure(&config);
    let backup = bench.backup();
    let get = |more: &[&str]| {
        bench.run(&[&["download-backup", "--json", "--instance-id", "orders", "--backup-id", &backup], more].concat())
    };
    let (allowed_text, outside_text) = (allowed.to_str().unwrap(), outside.to_str().unwrap());
    let first = get(&[]).json();
    let file = PathBuf::from(text(&first["path"]));
    let rdb = std::fs::read(&file).unwrap();
    assert_eq!((first["bytes"].as_u64(), rdb.starts_with(b"REDIS0010")), (Some(rdb.len() as u64), true), "{first}");
    let check = Command::new(program("redis-7.0", "check-rdb")).arg(&file).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert_eq!(get(&[]).json()["already_there"], true);
    assert_eq!(get(&["--directory", allowed_text, "--file-name", "a.rdb"]).code, 0);
    assert_eq!(get(&["--directory", &format!("{allowed_text}/new/deep")]).code, 0);

    std::os::unix::fs::symlink(&outside, allowed.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("victim"), allowed.join("file.rdb")).unwrap();
    std::os::unix::fs::symlink(outside.join("victim"), allowed.join(".p.rdb.part")).unwrap();
    std::os::unix::fs::symlink(&file, allowed.join("same.rdb")).unwrap();
    for (dir, code) in [
        (outside_text.to_owned(), "download.outside_roots"),
        ("/etc".into(), "download.outside_roots"),
        ("..".into(), "download.outside_roots"),
        ("a/../../x".into(), "download.outside_roots"),
        (format!("{allowed_text}/../outside"), "download.outside_roots"),
        (format!("{allowed_text}/link"), "download.outside_roots"),
        (format!("{allowed_text}/link/new"), "download.outside_roots"),
    ] {
        let done = get(&["--directory", &dir]);
        assert_eq!((done.code, text(&done.json()["code"])), (3, code.into()), "{dir}: {done:?}");
    }
    for name in ["../x.rdb", "/tmp/x.rdb", "a/b.rdb", "..", ".", "", ".hidden", "a\nb", &"x".repeat(201)] {
        let done = get(&["--file-name", name]);
        assert_eq!((done.code, &done.json()["code"]), (2, &"download.bad_name".into()), "{name:?}: {done:?}");
    }
    std::fs::write(allowed.join("other.rdb"), "something else").unwrap();
    std::fs::create_dir(allowed.join("dir.rdb")).unwrap();
    for name in ["other.rdb", "file.rdb", "same.rdb", "dir.rdb"] {
        let done = get(&["--directory", allowed_text, "--file-name", name]);
        assert_eq!((done.code, &done.json()["code"]), (3, &"download.exists".into()), "{name}: {done:?}");
    }
    assert_eq!(std::fs::read(allowed.join("other.rdb")).unwrap(), b"something else");
    // A link under the name that its part file would have is somebody else's, and another name is free.
    assert_eq!(get(&["--directory", allowed_text, "--file-name", "p.rdb"]).code, 0);
    assert_eq!(std::fs::read(allowed.join("p.rdb")).unwrap(), rdb);
    assert!(allowed.join(".p.rdb.part").is_symlink());
    assert!(files_under(&outside).is_empty(), "{:?}", files_under(&outside));

    // A part of it is gone on with; one with wrong content, or too long, is written anew from the first difference.
    let half = rdb.len() / 2;
    let wrong = [&rdb[..half], b"wrong", &rdb[half..]].concat();
    let long = [&rdb[..], b"and more"].concat();
    for (n, part) in [&rdb[..half], &rdb[..], b"", b"nothing of it", &wrong, &long].into_iter().enumerate() {
        let name = format!("resumed-{n}.rdb");
        let mut left = Part::open(&parts(&bench.home()), &allowed.join(&name)).unwrap();
        left.file.write_all(part).unwrap();
        drop(left);
        let done = get(&["--directory", allowed_text, "--file-name", &name]);
        assert_eq!(done.code, 0, "part {n}: {done:?}");
        assert_eq!(std::fs::read(allowed.join(&name)).unwrap(), rdb, "part {n}");
        assert!(!allowed.join(format!(".{name}.part")).exists(), "part {n}");
    }
    assert!(files_under(&parts(&bench.home())).is_empty());
    // The same bytes under the same name, and no call of ours that wrote them: they are left alone.
    std::fs::write(allowed.join(".theirs.rdb.part"), &rdb[..half]).unwrap();
    assert_eq!(get(&["--directory", allowed_text, "--file-name", "theirs.rdb"]).code, 0);
    assert_eq!(std::fs::read(allowed.join(".theirs.rdb.part")).unwrap(), &rdb[..half]);
    assert_eq!(std::fs::read(allowed.join("theirs.rdb")).unwrap(), rdb);
}

/// Who takes the name while a download runs keeps it, and nothing of the download is left; who kills the download leaves what the
/// next one goes on with.
#[test]
fn a_lost_race_and_a_killed_download_leave_nothing_to_mend() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(60, 3);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let downloads = bench.home().join("downloads");
    let call = |name: &str| {
        let (id, file) = ("--instance-id", "--file-name");
        bench.spawn(&["download-backup", "--json", id, "orders", "--backup-id", &backup, file, name])
    };
    let begun = |name: &str| {
        wait("the download to begin", Duration::from_secs(60), || {
            let part = std::fs::metadata(downloads.join(format!(".{name}.part"))).ok();
            part.filter(|part| part.len() > 1 << 20).map(|_| ())
        });
    };
    let race = call("race.rdb");
    begun("race.rdb");
    std::fs::write(downloads.join("race.rdb"), "another's").unwrap();
    let lost = finish(race);
    assert_eq!((lost.code, &lost.json()["code"]), (3, &"download.exists".into()), "{lost:?}");
    assert_eq!(std::fs::read(downloads.join("race.rdb")).unwrap(), b"another's");
    assert_eq!(files_under(&downloads), [downloads.join("race.rdb")]);

    let mut killed = call("killed.rdb");
    begun("killed.rdb");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(downloads.join(".killed.rdb.part").exists());
    assert_eq!(finish(call("killed.rdb")).code, 0);
    let mut left = files_under(&downloads);
    left.sort();
    assert_eq!(left, [downloads.join("killed.rdb"), downloads.join("race.rdb")]);
    assert!(files_under(&parts(&bench.home())).is_empty());
}

/// A home without room keeps nothing from another disk: the file is written without a record of its part, and nothing else is left.
#[test]
fn a_full_home_keeps_no_file_from_another_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (records, to) = (dir.path().join("home/parts"), dir.path().join("set.rdb"));
    let Some(disk) = SmallDisk::at(&records, 1) else { return };
    disk.fill_but(0);
    let mut part = Part::open(&records, &to).unwrap();
    part.file.write_all(b"REDIS0011").unwrap();
    part.place(&to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"REDIS0011");
    let mut left = files_under(dir.path());
    left.sort();
    assert_eq!(left, [records.join("filler"), to]);
}
