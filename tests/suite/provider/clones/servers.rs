//! The server of a clone: the port is one that it has bound, a program that does not come to serve is told and leaves nothing, and nobody but
//! this program is kept by its keeper.

use super::set;
use crate::support::{Bench, Redis, program, unattended, wait};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// A bench whose one server program for clones is a script, which starts with `$first` and then is the real one.
pub(super) fn with_script(redis: &Redis, first: &str) -> Bench {
    let bench = Bench::new("");
    let script = bench.dir.path().join("redis-server");
    let real = program("redis-7.0", "server");
    let text = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\n[ \"$1\" = --version ] && exec {real:?} --version\n{first}\nexec {real:?} \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.configure(&format!("server_programs = [{script:?}]\n{}", unattended(redis, "")));
    bench
}

/// Somebody takes the port between the look for one and the server's own binding: the server gets another.
#[test]
fn a_port_that_is_taken_meanwhile_is_not_the_clones() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let take = r#"if mkdir ../../taken 2>/dev/null; then
port=$(sed -n 's/^port //p' server.conf); echo "$port" > ../../taken/port
python3 -c "import socket,sys,time; s=socket.socket(); s.bind(('127.0.0.1',$port)); s.listen(); open('../../taken/done','w'); time.sleep(20)" </dev/null >/dev/null 2>&1 &
while [ ! -e ../../taken/done ]; do sleep 0.05; done
fi"#;
    let bench = with_script(&redis, take);
    let backup = bench.backup();
    let clone = bench.cloned(&set(&backup));
    let taken: u16 = std::fs::read_to_string(bench.home().join("taken/port")).unwrap().trim().parse().unwrap();
    assert_ne!(clone.port, taken);
    assert_eq!(clone.ask(&["DBSIZE"]), redis.run(&["DBSIZE"]));
    assert_eq!(bench.delete_clone(&clone.id).code, 0);
    wait("the directory to be gone", Duration::from_secs(10), || (!clone.dir.exists()).then_some(()));
}

/// A server that ends before it serves is no clone: the end of its log is told, the job has failed, and nothing is left.
#[test]
fn a_server_that_ends_is_told_and_leaves_nothing() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = with_script(&redis, "echo 'no heap for you' > server.log; exit 7");
    let backup = bench.backup();
    let echo = bench.clone_echo(&set(&backup));
    let done = bench.run(&echo.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(done.code, 5, "{done:?}");
    let reply = done.json();
    assert_eq!((&reply["status"], &reply["code"]), (&"failed".into(), &"clone.failed".into()), "{reply}");
    assert!(!reply["next_actions"].to_string().contains("delete-instance"), "{reply}");
    let message = crate::support::text(&reply["message"]);
    assert!(message.contains("no heap for you") && message.contains("nothing of it is left"), "{message}");
    bench.assert_no_clones("that ended");
    assert!(bench.listed_clones().is_empty());
}

/// A program whose file goes away while it runs makes its clone all the same.
#[test]
fn a_program_whose_file_is_gone_makes_clones() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = with_script(&redis, "");
    let backup = bench.backup();
    let echo = bench.clone_echo(&set(&backup));
    let ours = bench.command(&echo.iter().map(String::as_str).collect::<Vec<_>>());
    let copy = bench.dir.path().join("program");
    std::fs::copy(ours.get_program(), &copy).unwrap();
    // Whoever asks the server's program for its version loses its own file.
    let script = bench.dir.path().join("redis-server");
    let text = std::fs::read_to_string(&script).unwrap().replace("&& exec", &format!("&& rm -f {copy:?} && exec"));
    std::fs::write(&script, text).unwrap();
    let done = std::process::Command::new(&copy).args(ours.get_args()).output().unwrap();
    assert!(done.status.success() && !copy.exists(), "{done:?}");
    let row = bench.listed_clones()[0].clone();
    assert_eq!(bench.processes().len(), 2, "with its keeper");
    assert_eq!(bench.delete_clone(&crate::support::text(&row["instance_id"])).code, 0);
}

/// What is secret in our environment is not in that of a clone's processes.
#[test]
fn a_clone_knows_no_secret_of_ours() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = crate::support::clones::bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let echo = bench.clone_echo(&set(&backup));
    let mut command = bench.command(&echo.iter().map(String::as_str).collect::<Vec<_>>());
    let done = command.env("TAIR_BACKUP_MCP_NOTE", "a-secret-of-ours").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    // A server writes its title over its own; its keeper, which hands it down, does not.
    let read = |pid: u32| String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/environ")).unwrap()).into_owned();
    let all: Vec<String> = bench.processes().into_iter().map(read).collect();
    assert!(all.len() == 2 && all.iter().any(|one| one.contains("PATH=")), "{all:?}");
    assert!(!all.iter().any(|one| one.contains("a-secret-of-ours")), "{all:?}");
    let row = bench.listed_clones()[0].clone();
    assert_eq!(bench.delete_clone(&crate::support::text(&row["instance_id"])).code, 0);
}

/// The subcommand that keeps a clone starts nothing and removes nothing where the lock is not its own.
#[test]
fn only_a_clone_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["clone.json", "lock", "data"] {
        std::fs::write(dir.path().join(name), "{}").unwrap();
    }
    let bench = Bench::new("");
    let touch = dir.path().join("started").display().to_string();
    let done = bench.run(&["keep-clone", dir.path().to_str().unwrap(), "--", "touch", &touch]);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(!Path::new(&touch).exists() && dir.path().join("data").exists());
    assert!(!bench.run(&["--help"]).out.contains("keep-clone"));
}
