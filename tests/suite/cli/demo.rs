//! `demo` shows every step, end to end, and leaves nothing behind however it ends; `doctor` reports what is wrong.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Output of the demo's steps, in order.
const STEPS: [&str; 42] = [
    "1. The agent looks around",
    "everything: there is no backup",
    "2. It makes a backup",
    "succeeded, b-",
    "3. It downloads the backup",
    "4. A release goes wrong",
    "5. The agent asks for a restore",
    "confirmation_required. Nothing has been changed.",
    "keys   0 lost, 101 changed, 450 added, 404 stay as they are",
    "400  ++++++++++++++++++++++++++++++",
    "approval_required (person.no_channel)",
    "the data is still damaged",
    "RESTORE OVERWRITES DATA",
    "Keys added: 450 (db0 \"customer:\" 400",
    "955 of 955 keys equal: type, value and expiry",
    "9. Three customers are deleted by mistake",
    "10. A look before anything is restored",
    "redis-cli -p ",
    "looks: HGETALL customer:17: name Customer 17",
    "all 955 keys of the backup are in it, and a DEL is refused",
    "11. Only the three come back",
    "keys   0 lost, 0 changed, 3 added",
    "953 keys before, 956 now: 3 are as in the backup, the other 953 as they were",
    "12. The clone has served",
    "nothing of it is left",
    "13. From now on any moment can be restored",
    "14. An application writes without a pause",
    "FLUSHDB at ",
    "15. The agent asks the log what destroyed data",
    "FLUSHDB at ",
    "16. It goes back to right before that",
    "17. And back: what was written after the mistake",
    "right behind its last before the restore",
    "18. And when nobody remembers?",
    "kept for 7 days; the next at 20",
    "19. Would the backup load? A drill",
    "955 keys",
    "20. Somebody changes one byte",
    "backup.damaged:",
    "data.rdb.zst:",
    "counts as nobody's way back",
    "restore.succeeded",
];

/// Our binary for a user whose home and temporary directory are under `dir`, and whose environment says nothing.
fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp"));
    for (name, place) in [("HOME", "user"), ("TMPDIR", "tmp")] {
        std::fs::create_dir_all(dir.join(place)).unwrap();
        command.env(name, dir.join(place));
    }
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "TAIR_BACKUP_MCP_HOME", "TAIR_BACKUP_MCP_CONFIG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    println!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// Processes that work in a directory under `dir`, as servers do, or were started for one there, as a clone's keeper is.
fn working_in(dir: &Path) -> Vec<String> {
    let inside = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let works = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        (works || command.contains(dir.to_str().unwrap())).then_some(command)
    });
    inside.collect()
}

/// No server, no file. A server that was told to end may need a moment until it has.
fn nothing_is_left(dir: &Path) {
    let begun = Instant::now();
    while !working_in(dir).is_empty() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(working_in(dir), Vec::<String>::new(), "servers still run");
    let left: Vec<_> = std::fs::read_dir(dir.join("tmp")).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(!dir.join("user/.local").exists(), "the user's own home was touched");
}

/// Whether the README's picture of a terminal is what a demo printed, but for ids, times and the like; and why not.
fn is_the_picture(printed: &str) -> (bool, String) {
    let script = crate::support::root().join("scripts/picture");
    let mut check = Command::new("python3");
    check.arg(script).arg("--check").stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("python3 must be on PATH");
    check.stdin.take().unwrap().write_all(printed.as_bytes()).unwrap();
    let done = check.wait_with_output().unwrap();
    (done.status.success(), String::from_utf8(done.stderr).unwrap())
}

/// A user's own configuration, in the default place and in the environment, must not lead the demo to the user's instances.
#[test]
fn the_demo_shows_every_step_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("user/.config/tair-backup-mcp");
    std::fs::create_dir_all(&config).unwrap();
    let own = config.join("config.toml");
    std::fs::write(&own, "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n").unwrap();
    let mut command = program(dir.path());
    command.env("TAIR_BACKUP_MCP_CONFIG", &own).env("TAIR_BACKUP_MCP_HOME", dir.path().join("user/.local/everyday"));
    let (output, text) = run(command.arg("demo"));
    assert_eq!(output.status.code(), Some(0));
    let mut rest = text.as_str();
    for step in STEPS {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step:?} is not shown, or not in its place"));
        rest = &rest[at..];
    }
    assert_eq!(text.matches("the person was asked").count(), 5, "the audit says so only where somebody was");
    assert!(!text.contains('\x1b'), "colour without a terminal");
    nothing_is_left(dir.path());
    let (same, why) = is_the_picture(&text);
    assert!(same, "{why}");
    // A comparison that takes everything would pass, too.
    for (shown, other) in [("955 of 955 keys equal", "954 of 955 keys equal"), ("types: sandbox", "types: yes")] {
        assert!(text.contains(shown) && !is_the_picture(&text.replace(shown, other)).0, "{shown}");
    }
}

/// A server that was left running before the sample data was in it gets it from the next who uses it.
#[test]
fn a_sandbox_that_was_left_empty_is_filled() {
    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("home");
    let server = crate::support::program("redis-7.0", "server");
    let look = || {
        let mut command = program(outer.path());
        command.env("TAIR_BACKUP_MCP_SANDBOX_SERVER", &server).arg("--home").arg(&home).arg("describe-instances");
        command.output().unwrap()
    };
    assert!(look().status.success());
    let dir = home.join("sandbox");
    for name in ["dump.rdb", "filled"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    let mut server = Command::new(&server).arg("server.conf").current_dir(&dir).spawn().unwrap();
    crate::support::wait("the server to run", std::time::Duration::from_secs(20), || {
        std::fs::read_to_string(dir.join("server.log")).unwrap().contains(&format!("{}:M", server.id())).then_some(())
    });
    assert!(look().status.success());
    server.wait().unwrap();
    let saved = std::fs::metadata(dir.join("dump.rdb")).unwrap().len();
    assert!(saved > 5_000, "{saved} bytes were saved by the last to end");
}

/// Told to end while a plan waits for its person, which would keep the sandbox's server alive, and while there is a clone.
#[test]
fn an_interrupted_demo_leaves_nothing() {
    for (last_line, signal) in [
        ("The agent looks around", "-TERM"),
        ("It echoes the token", "-INT"),
        ("THIS COSTS MEMORY", "-TERM"),
        ("Only the three", "-INT"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut demo = program(dir.path()).arg("demo").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(last_line)));
        assert!(Command::new("kill").args([signal, &demo.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let status = demo.wait().unwrap();
        let mut stderr = String::new();
        demo.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(status.code(), Some(130), "{rest:?} {stderr}");
        nothing_is_left(dir.path());
    }
}

#[test]
fn without_a_server_the_demo_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) = run(program(dir.path()).env("PATH", dir.path()).arg("demo"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(error.contains("[sandbox.no_server]") && error.contains("apt-get install redis-server"), "{error}");
    nothing_is_left(dir.path());
}

#[test]
fn the_doctor_passes_on_the_sandbox_and_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (output, text) = run(program(dir.path()).arg("--home").arg(&home).args(["doctor", "--json"]));
    assert_eq!(output.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["failed"], 0);
    let status = |instance: Option<&str>, name: &str| {
        let checks = found["checks"].as_array().unwrap();
        let check = checks.iter().find(|c| c["instance_id"].as_str() == instance && c["name"] == name);
        check.unwrap_or_else(|| panic!("no check {name}"))["status"].as_str().unwrap().to_owned()
    };
    for name in
        ["home directory", "state store", "guard key", "configuration", "guard", "sandbox server", "jobs", "approvals"]
    {
        assert_eq!(status(None, name), "pass", "{name}");
    }
    for name in ["reachable", "backup rights", "backup delay", "restore way", "restore rights", "backup policy"] {
        assert_eq!(status(Some("sandbox"), name), "pass", "{name}");
    }
    assert_eq!(status(Some("sandbox"), "last backup"), "warn", "there is none");
    nothing_is_left(dir.path());
}

#[test]
fn the_doctor_names_what_cannot_be_reached_and_what_is_open_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = (dir.path().join("home"), dir.path().join("config.toml"));
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(&config, "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n").unwrap();
    let mut command = program(dir.path());
    let (output, text) = run(command.arg("--home").arg(&home).arg("--config").arg(&config).arg("doctor"));
    assert_eq!(output.status.code(), Some(5));
    assert!(text.contains("instance orders\nfail  reachable        cannot connect to redis://127.0.0.1:1"), "{text}");
    assert!(text.contains(&format!("-> chmod 700 {}", home.display())), "{text}");
    assert!(text.contains("2 failed"), "{text}");
    let mode = std::fs::metadata(home.join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the state store can be read by others");

    std::fs::write(&config, "[[instance]]\nid = \"orders\"\nurll = \"redis://127.0.0.1:1\"\n").unwrap();
    let mut command = program(dir.path());
    let (output, text) = run(command.arg("--home").arg(&home).arg("--config").arg(&config).arg("doctor"));
    assert_eq!(output.status.code(), Some(5));
    assert!(text.contains("fail  configuration") && text.contains("-> Did you mean `url`?"), "{text}");
}
