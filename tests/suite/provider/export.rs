//! Moments of a log as files: a bare server of the same kind loads them and holds what their source held then, on every engine, and the
//! server's own tool takes them, and cuts a range at any second of it. Nothing is replaced, and what is not whole has no name.

use crate::provider::moment_log::{now, work, written};
use crate::support::disk::SmallDisk;
use crate::support::recorder::{Recorder, position_of};
use crate::support::{Bench, Dice, Done, MATRIX, Redis, Reply, files_under, finish, program, text, wait};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn call<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["download-backup", "--instance-id", "orders", "--json"][..], more].concat()
}

fn export(bench: &Bench, at: Timestamp, more: &[&str]) -> Done {
    bench.run(&call(&[&["--restore-time", &written(at)], more].concat()))
}

/// A moment of the log behind a backup, between two writes.
fn recorded(redis: &Redis, bench: &Bench) -> Timestamp {
    let recorder = Recorder::behind(bench, redis, &bench.backup());
    redis.run(&["SET", "n", "1"]);
    recorder.catch_up(redis);
    let at = now();
    redis.run(&["SET", "later", "1"]);
    recorder.catch_up(redis);
    recorder.stop();
    at
}

/// The next whole second, when it is over: nothing that is sent later is received at or before it.
fn second() -> i64 {
    let second = Timestamp::now().as_second() + 1;
    wait("the second to be over", Duration::from_secs(3), || {
        (Timestamp::now().as_millisecond() > second * 1000).then_some(())
    });
    second
}

/// A copy of files, for whoever loads them goes on writing there.
fn copied(of: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files_under(of) {
        let to = copy.path().join(file.strip_prefix(of).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    copy
}

/// Runs the server's own tool for append-only files, which is the server under another name.
fn check_aof(kind: &str, args: &[&str]) -> Output {
    let (server, name) = (program(kind, "server"), kind.split('-').next().unwrap());
    let mut tool = match std::fs::read_to_string(&server) {
        // A wrapper around a server that is unpacked elsewhere.
        Ok(script) => {
            let mut shell = Command::new("sh");
            let script = script.replace(&format!("/{name}-server\""), &format!("/{name}-check-aof\""));
            shell.arg("-c").arg(script).arg(&server);
            shell
        }
        Err(_) => {
            let mut tool = Command::new(server);
            std::os::unix::process::CommandExt::arg0(&mut tool, format!("{name}-check-aof"));
            tool
        }
    };
    tool.args(args).stdin(Stdio::null()).output().unwrap()
}

/// The files that the tool is to look at: all of them, where it reads them.
fn told_to_check(dir: &Path) -> String {
    let (single, commands) = (dir.join("appendonly.aof"), commands_of(dir));
    let base = std::fs::read(dir.join("appendonlydir/appendonly.aof.1.base.rdb")).unwrap_or_default();
    let file = if single.exists() {
        single
    } else if base.starts_with(b"VALKEY") {
        // Valkey 9 does not take its own bases for such.
        commands
    } else {
        dir.join("appendonlydir/appendonly.aof.manifest")
    };
    file.to_str().unwrap().to_owned()
}

fn commands_of(dir: &Path) -> PathBuf {
    dir.join("appendonlydir/appendonly.aof.1.incr.aof")
}

/// What a bare server holds that was started on files: digest, and keys and expiries of each database.
fn loaded(kind: &str, dir: &Path) -> (String, Vec<String>) {
    let copy = copied(dir);
    let redis = Redis::start(kind, &["--dir", copy.path().to_str().unwrap(), "--appendonly", "yes"]);
    (redis.digest(), redis.statistics())
}

/// Random work of every type on every engine: what is exported of a moment is what its source held, and a range cut by the server's own
/// tool at a second is what it held at that second.
#[test]
fn a_moment_loads_on_a_bare_server() {
    let seed = Dice::new("a_moment_loads_on_a_bare_server");
    std::thread::scope(|scope| {
        for (n, kind) in MATRIX.into_iter().enumerate() {
            let mut dice = seed.nth(n as u64);
            scope.spawn(move || of_one_kind(kind, &mut dice));
        }
    });
}

fn of_one_kind(kind: &str, dice: &mut Dice) {
    let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    let (mut then, mut seconds) = (Vec::new(), Vec::new());
    for step in 0..24 {
        for _ in 0..20 {
            redis.try_all(&work(dice)).unwrap();
        }
        recorder.catch_up(&redis);
        let held = (redis.digest(), redis.statistics());
        if step % 6 == 1 {
            seconds.push((second(), held));
        } else {
            then.push((now(), held));
        }
    }
    // A log ends where its last byte came.
    redis.run(&["SET", "later", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();
    // It is gone, as it may be when its data is needed.
    drop(redis);
    for _ in 0..2 {
        let (at, held) = &then[dice.below(then.len())];
        let done = export(&bench, *at, &[]);
        assert_eq!(done.code, 0, "{kind}, {at}: {done:?}");
        let path = PathBuf::from(text(&done.json()["path"]));
        let size: u64 = files_under(&path).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert_eq!(done.json()["bytes"], size, "{kind}");
        let checked = check_aof(kind, &[&told_to_check(&path)]);
        assert!(checked.status.success(), "{kind}: {}", String::from_utf8_lossy(&checked.stdout));
        assert_eq!(&loaded(kind, &path), held, "{kind}, {at}: {done:?}");
    }
    let ((first, _), (last, _)) = (&seconds[0], &seconds[seconds.len() - 1]);
    let [first, last] = [*first, *last].map(|second| Timestamp::from_second(second).unwrap());
    let range = export(&bench, last, &["--start-time", &written(first)]);
    if kind == "redis-6.2" {
        assert!(range.code == 2 && range.err.contains("[arguments.invalid]"), "{range:?}");
        let alone = export(&bench, last, &[]).json();
        let (path, how) = (PathBuf::from(text(&alone["path"])), text(&alone["how_to_load"]));
        assert!(how.starts_with("redis-server --dir ") && !how.contains("truncate"), "{how}");
        assert_eq!(files_under(&path), [path.join("appendonly.aof")]);
        return;
    }
    assert_eq!(range.code, 0, "{kind}: {range:?}");
    let (path, how) = (PathBuf::from(text(&range.json()["path"])), text(&range.json()["how_to_load"]));
    let name = kind.split('-').next().unwrap();
    assert!(how.starts_with(&format!("{name}-server --dir {} --appendonly yes", path.display())), "{how}");
    let cutting =
        format!("{name}-check-aof --truncate-to-timestamp SECONDS_SINCE_1970 {}", commands_of(&path).display());
    assert!(how.ends_with(&cutting), "{how}");
    for (second, held) in seconds {
        let cut = copied(&path);
        let commands = commands_of(cut.path());
        let done = check_aof(kind, &["--truncate-to-timestamp", &second.to_string(), commands.to_str().unwrap()]);
        assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stdout));
        assert_eq!(loaded(kind, cut.path()), held, "{kind} at {second}");
    }
}

/// Writes while a range is cut at any second: what the server's own tool leaves is what that very second is written out as.
#[test]
fn a_range_is_cut_where_its_moments_are() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    let transaction: Vec<Vec<String>> = ["MULTI", "INCR a", "RPUSH l x", "INCR b", "EXEC"]
        .map(|words| words.split(' ').map(str::to_owned).collect())
        .into();
    redis.try_all(&transaction).unwrap();
    let first = second();
    let over = Timestamp::from_second(first + 3).unwrap();
    while Timestamp::now() <= over {
        redis.try_all(&transaction).unwrap();
    }
    redis.try_all(&transaction).unwrap();
    recorder.catch_up(&redis);
    recorder.stop();
    let [from, to] = [first, first + 3].map(|second| Timestamp::from_second(second).unwrap());
    let range = export(&bench, to, &["--start-time", &written(from)]);
    assert_eq!(range.code, 0, "{range:?}");
    let path = PathBuf::from(text(&range.json()["path"]));
    let mut states = Vec::new();
    for second in first..=first + 3 {
        let cut = copied(&path);
        let commands = commands_of(cut.path());
        let done =
            check_aof("redis-7.0", &["--truncate-to-timestamp", &second.to_string(), commands.to_str().unwrap()]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let alone = export(&bench, Timestamp::from_second(second).unwrap(), &[]).json();
        let state = loaded("redis-7.0", cut.path());
        assert_eq!(state, loaded("redis-7.0", Path::new(&text(&alone["path"]))), "{second}");
        states.push(state);
    }
    states.dedup();
    assert_eq!(states.len(), 4, "something was written in each second");
}

/// What is no moment is refused with its neighbours, or with the next step; what contradicts itself is said.
#[test]
fn what_cannot_be_written_out_is_refused() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    let none = export(&bench, Timestamp::now(), &[]);
    assert!(none.code == 5 && none.err.contains("[download.no_log]"), "{none:?}");
    assert!(none.err.contains("enable_backup_log"), "{none:?}");
    redis.run(&["SET", "n", "0"]);
    let early = now();
    let first = bench.backup();
    let recorder = Recorder::behind(&bench, &redis, &first);
    redis.run(&["SET", "n", "1"]);
    recorder.catch_up(&redis);
    let before = now();
    redis.run(&["SET", "m", "1"]);
    recorder.catch_up(&redis);
    let timeline = recorder.stop();
    redis.run(&["SET", "n", "2"]);
    let base = bench.backup();
    let (_, offset) = position_of(&bench, &base);
    let recorder = Recorder::follow(&bench, &redis, timeline, |writer| writer.skip_to(offset).unwrap());
    redis.run(&["SET", "n", "3"]);
    recorder.catch_up(&redis);
    let after = now();
    redis.run(&["SET", "later", "1"]);
    recorder.catch_up(&redis);
    let timeline = recorder.stop().id;

    let refused = export(&bench, early - jiff::SignedDuration::from_hours(1), &[]);
    assert!(refused.code == 4 && refused.err.contains("[download.no_moment]"), "{refused:?}");
    assert!(refused.err.contains("before the earliest moment") && refused.err.contains("(after)"), "{refused:?}");
    let refused = export(&bench, after, &["--start-time", &written(before)]);
    assert!(refused.code == 4 && refused.err.contains("without a break"), "{refused:?}");
    assert_eq!(export(&bench, before, &["--start-time", &written(before)]).code, 0);

    let (position, at) = (format!("{timeline}/0/{offset}"), written(after));
    for wrong in [
        &[][..],
        &["--backup-id", &first, "--restore-time", &at],
        &["--before-position", &position, "--restore-time", &at],
        &["--backup-id", &first, "--start-time", &at],
        &["--restore-time", &at, "--start-time", "2100-01-01T00:00Z"],
        &["--restore-time", &at, "--url-only"],
    ] {
        let refused = bench.run(&call(wrong));
        assert!(refused.code == 2 && refused.err.contains("[arguments.invalid]"), "{wrong:?}: {refused:?}");
    }
    let wrong = bench.run(&call(&["--before-position", "rj-20260101T000000Z-aaaaaa"]));
    assert!(wrong.code == 4 && wrong.err.contains("[job.not_found]"), "{wrong:?}");
    let wrong = bench.run(&call(&["--before-position", "t-none"]));
    assert!(wrong.code == 2 && wrong.err.contains("[position.bad_format]"), "{wrong:?}");
    // Right before the first command behind the gap: its base alone.
    let done = bench.run(&call(&["--before-position", &position]));
    assert_eq!(done.code, 0, "{done:?}");
    let (kind, path) = (redis.kind.clone(), PathBuf::from(text(&done.json()["path"])));
    let alone = copied(&path);
    let bare = Redis::start(&kind, &["--dir", alone.path().to_str().unwrap(), "--appendonly", "yes"]);
    assert_eq!(bare.run(&["GET", "n"]), Reply::Text("2".into()));
    // Cut before all times the range is its base, and not nothing.
    let cut = check_aof(&kind, &["--truncate-to-timestamp", "1", &told_to_check(&path)]);
    assert!(cut.status.success(), "{}", String::from_utf8_lossy(&cut.stdout));
}

/// The same call again finds its files; what else has the name stays; a call that is killed leaves nothing under that name, and the
/// next one clears up.
#[test]
fn what_has_the_name_is_whole_and_stays() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    redis.fill(60, 3);
    let bench = Bench::unattended(&redis);
    let at = recorded(&redis, &bench);
    let downloads = bench.home().join("downloads");
    let written_at = written(at);
    let args = |name: &'static str| call(&["--restore-time", &written_at, "--file-name", name]);

    let mut killed = bench.spawn(&args("it"));
    wait("the export to begin", Duration::from_secs(60), || {
        let begun = downloads.join(".it.part/appendonlydir/appendonly.aof.1.base.rdb").metadata().ok();
        begun.filter(|base| base.len() > 1 << 20)
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!downloads.join("it").exists() && downloads.join(".it.part").exists());
    let first = bench.run(&args("it"));
    assert_eq!((first.code, &first.json()["already_there"]), (0, &false.into()), "{first:?}");
    let names = |dir: &Path| -> Vec<_> { std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect() };
    assert_eq!(names(&downloads), ["it"]);
    let again = bench.run(&args("it"));
    assert_eq!((again.code, &again.json()["already_there"]), (0, &true.into()), "{again:?}");

    // Loaded in place it is another one, for the server goes on there.
    let commands = downloads.join("it/appendonlydir/appendonly.aof.1.incr.aof");
    let mut more = std::fs::OpenOptions::new().append(true).open(&commands).unwrap();
    std::io::Write::write_all(&mut more, b"*1\r\n$8\r\nFLUSHALL\r\n").unwrap();
    std::fs::create_dir_all(downloads.join("other/appendonlydir")).unwrap();
    std::fs::write(downloads.join("file"), "theirs").unwrap();
    std::os::unix::fs::symlink(downloads.join("it"), downloads.join("link")).unwrap();
    for name in ["it", "other", "file", "link"] {
        let taken = bench.run(&args(name));
        assert_eq!((taken.code, &taken.json()["code"]), (3, &"download.exists".into()), "{name}: {taken:?}");
    }
    assert_eq!(std::fs::read_to_string(downloads.join("file")).unwrap(), "theirs");

    // Who takes the name meanwhile keeps it, and nothing of the export is left.
    let race = bench.spawn(&args("race"));
    wait("the export to begin", Duration::from_secs(60), || {
        downloads.join(".race.part/appendonlydir").exists().then_some(())
    });
    std::fs::create_dir(downloads.join("race")).unwrap();
    std::fs::write(downloads.join("race/theirs"), "").unwrap();
    let lost = finish(race);
    assert_eq!((lost.code, &lost.json()["code"]), (3, &"download.exists".into()), "{lost:?}");
    assert_eq!((names(&downloads.join("race")).len(), downloads.join(".race.part").exists()), (1, false));
    for outside in ["/etc", ".."] {
        let refused = bench.run(&[&args("new")[..], &["--directory", outside]].concat());
        assert_eq!(
            (refused.code, &refused.json()["code"]),
            (3, &"download.outside_roots".into()),
            "{outside}: {refused:?}"
        );
    }
}

/// What a restore under writes overwrote, to the last write before its cutover, as files; on an instance without a log too.
#[test]
fn the_last_write_before_a_cutover_loads_on_a_bare_server() {
    for kind in ["redis-6.2", "redis-8.2", "valkey-9.1"] {
        let redis = Redis::start(kind, &[]);
        redis.fill(1, 1);
        let bench = Bench::unattended(&redis);
        let backup = bench.backup();
        let (reply, last) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut last = 0;
                // Refused while the target follows us, or counted anew behind that.
                while let Ok(Reply::Int(n)) = redis.try_run(&["INCR", "orders"]) {
                    if n <= last {
                        break;
                    }
                    last = n;
                    std::thread::sleep(Duration::from_millis(2));
                }
                last
            });
            wait("writes", Duration::from_secs(30), || (redis.run(&["GET", "orders"]) != Reply::Nil).then_some(()));
            let token = bench.token(&backup);
            (bench.run(&Bench::echo(&backup, &token)), writer.join().unwrap())
        });
        assert_eq!((reply.code, &reply.json()["status"]), (0, &"succeeded".into()), "{kind}: {reply:?}");
        let job = text(&reply.json()["job_id"]);
        assert!(text(&reply.json()["message"]).contains("write commands were accepted after it"), "{kind}: {reply:?}");
        let done = bench.run(&call(&["--before-position", &job]));
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        let (path, how) = (PathBuf::from(text(&done.json()["path"])), text(&done.json()["how_to_load"]));
        assert!(path.ends_with(format!("orders-before-{job}")) && !how.contains("truncate"), "{done:?}");
        let copy = copied(&path);
        let bare = Redis::start(kind, &["--dir", copy.path().to_str().unwrap(), "--appendonly", "yes"]);
        assert_eq!(bare.run(&["GET", "orders"]).text(), last.to_string(), "{kind}: {reply:?}");
        assert_eq!(bench.run(&call(&["--before-position", &job])).json()["already_there"], true);
        let wrong = bench.run(&call(&["--before-position", &job, "--start-time", "2020-01-01T00:00Z"]));
        assert!(wrong.code == 2 && wrong.err.contains("[arguments.invalid]"), "{wrong:?}");
    }
}

/// What expires in a file expires when it would have, however late it is loaded; and what no longer expires stays.
#[test]
fn expiries_in_a_file_are_moments() {
    for kind in ["redis-6.2", "redis-8.0", "redis-8.2", "valkey-9.1"] {
        let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
        let bench = Bench::unattended(&redis);
        let recorder = Recorder::behind(&bench, &redis, &bench.backup());
        redis.run(&["SET", "short", "v", "PX", "700"]);
        redis.run(&["SET", "long", "v", "EX", "1000"]);
        if kind != "redis-6.2" {
            redis.run(&["HSET", "h", "f", "1", "g", "2"]);
            let both = [&["HPEXPIRE", "h", "300", "FIELDS", "1", "f"][..], &["HPERSIST", "h", "FIELDS", "1", "f"]];
            redis.try_all(&both.map(|words| words.iter().map(|word| (*word).to_owned()).collect())).unwrap();
        }
        recorder.catch_up(&redis);
        let at = now();
        redis.run(&["SET", "later", "1"]);
        recorder.catch_up(&redis);
        recorder.stop();
        wait("the expiry", Duration::from_secs(10), || (redis.run(&["GET", "short"]) == Reply::Nil).then_some(()));
        let done = export(&bench, at, &[]);
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        let copy = copied(Path::new(&text(&done.json()["path"])));
        let bare = Redis::start(kind, &["--dir", copy.path().to_str().unwrap(), "--appendonly", "yes"]);
        assert_eq!(bare.run(&["GET", "short"]), Reply::Nil, "{kind}");
        let left = |redis: &Redis| redis.run(&["PTTL", "long"]).text().parse::<i64>().unwrap();
        // By when the log had received it, which may be later by a blink.
        assert!((left(&bare) - left(&redis)).abs() < 500, "{kind}: {} {}", left(&bare), left(&redis));
        if kind != "redis-6.2" {
            assert_eq!(bare.run(&["HGET", "h", "f"]).text(), "1", "{kind}");
        }
    }
}

/// Where the directory has no room for it, nothing is begun; with room the same call is carried out.
#[test]
fn no_room_for_a_moment() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb", "--rdbcompression", "no"]);
    redis.run(&["DEBUG", "POPULATE", "4000", "k", "1000"]);
    let bench = Bench::unattended(&redis);
    let at = recorded(&redis, &bench);
    let downloads = bench.home().join("downloads");
    let Some(disk) = SmallDisk::at(&downloads, 18) else { return };
    let refused = export(&bench, at, &[]);
    assert!(refused.code == 1 && refused.err.contains("[download.no_room]"), "{refused:?}");
    assert_eq!(std::fs::read_dir(&downloads).unwrap().count(), 0);
    disk.resize(40);
    assert_eq!(export(&bench, at, &[]).code, 0);
}
