//! The first minute: one instance needs no file, `init` writes a file that works and never overwrites one, and a wrong scheme is
//! reported at once.

use crate::support::{Done, Redis, free_port, program, root, text, wait};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A user's machine without any of our files.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tair-backup-mcp"));
        command.args(args).stdin(Stdio::null()).env("HOME", self.0.path());
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")] {
            command.env(name, self.0.path().join(folder));
        }
        for name in ["HOME", "CONFIG", "URL", "LOG"] {
            command.env_remove(format!("TAIR_BACKUP_MCP_{name}"));
        }
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with("TAIR_BACKUP_MCP_URL", "", args)
    }

    fn run_with(&self, name: &str, value: &str, args: &[&str]) -> Done {
        let output = self.command(args).env(name, value).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Ids, and whether each instance answers.
    fn instances(done: &Done) -> Vec<(String, bool)> {
        assert_eq!(done.code, 0, "{done:?}");
        let rows = done.json()["instances"].as_array().unwrap().clone();
        rows.iter().map(|i| (text(&i["instance_id"]), i["status"] == "running")).collect()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("config/tair-backup-mcp/config.toml")
    }
}

fn ids(done: &Done) -> Vec<String> {
    Machine::instances(done).into_iter().map(|(id, _)| id).collect()
}

/// Before and behind the subcommand, several, named and not, from the environment; beside a file; and never two of one id.
#[test]
fn an_instance_by_its_url() {
    let redis = Redis::start("redis-7.0", &[]);
    let machine = Machine::new();
    let url = redis.url();
    let by_host = format!("127.0.0.1-{}", redis.port);
    let named = format!("orders={url}");
    let list = ["describe-instances", "--json"];
    let of = |before: &[&str], behind: &[&str]| machine.run(&[before, &list, behind].concat());
    assert_eq!(Machine::instances(&of(&["--url", &url], &[])), [(by_host.clone(), true)]);
    assert_eq!(Machine::instances(&of(&[], &["--url", &named])), [("orders".to_owned(), true)]);
    let both = of(&["--url", &url], &["--url", &named, "--url", "carts=redis://127.0.0.1:1"]);
    assert_eq!(ids(&both), [by_host.as_str(), "orders", "carts"]);

    let several = format!("a={url}, b={url}\n{url}");
    assert_eq!(ids(&machine.run_with("TAIR_BACKUP_MCP_URL", &several, &list)), ["a", "b", by_host.as_str()]);
    let typed = machine.run_with("TAIR_BACKUP_MCP_URL", &several, &[&list[..], &["--url", &named]].concat());
    assert_eq!(ids(&typed), ["orders"], "what is typed stands for what the environment says");

    let twice = of(&["--url", &named], &["--url", &named]);
    assert!(twice.code == 2 && twice.err.contains("\"orders\" is given twice"), "{twice:?}");
    for wrong in ["localhost:6379", "http://h:1", "a b=redis://h", "redis://"] {
        let done = of(&["--url", wrong], &[]);
        assert!(
            done.code == 2 && done.err.contains("[config.invalid]") && done.err.contains("redis://host"),
            "{done:?}"
        );
    }

    // What every command takes may stand behind it, too.
    let (home, file) = (machine.0.path().join("elsewhere"), machine.0.path().join("named.toml"));
    std::fs::write(&file, format!("[[instance]]\nid = \"named\"\nurl = \"{url}\"\n")).unwrap();
    let options = ["--home", home.to_str().unwrap(), "--config", file.to_str().unwrap()];
    assert_eq!(ids(&of(&[], &options)), ["named"]);
    let backup = ["create-backup", "--instance-id", "named"];
    let refused = machine.run(&[&backup[..], &options, &["--read-only"]].concat());
    assert!(refused.code == 3 && refused.err.contains("[mode.read_only]"), "{refused:?}");
    let made = machine.run(&[&backup[..], &options].concat());
    assert!(made.code == 0 && home.join("vault").exists(), "{made:?}");

    // A whole backup with nothing but the url; the instance keeps its id, and so its sets.
    let made = machine.run(&["create-backup", "--instance-id", "orders", "--url", &named, "--json"]);
    assert_eq!((made.code, &made.json()["status"]), (0, &"succeeded".into()), "{made:?}");
    std::fs::create_dir_all(machine.file().parent().unwrap()).unwrap();
    std::fs::write(machine.file(), format!("[[instance]]\nid = \"orders\"\nurl = \"{url}\"\n")).unwrap();
    assert_eq!(ids(&of(&[], &["--url", &url])), ["orders", by_host.as_str()], "beside those of the file");
    let repeated = of(&[], &["--url", &named]);
    assert!(repeated.code == 2 && repeated.err.contains("is given twice"), "{repeated:?}");
}

/// A password on the command line is warned of, once, and never shown; one in the environment is fine.
#[test]
fn a_password_on_the_command_line_is_warned_of() {
    let redis = Redis::start("redis-7.0", &["--requirepass", "s3cret"]);
    let machine = Machine::new();
    let url = redis.url();
    let list = ["describe-instances", "--json"];
    let typed = machine.run(&[&list[..], &["--url", &url]].concat());
    assert_eq!(typed.err.matches("warning: ").count(), 1, "{typed:?}");
    assert!(typed.err.contains("TAIR_BACKUP_MCP_URL") && Machine::instances(&typed)[0].1, "{typed:?}");
    let quiet = machine.run_with("TAIR_BACKUP_MCP_URL", &url, &list);
    assert!(quiet.err.is_empty() && Machine::instances(&quiet)[0].1, "{quiet:?}");
    let help = machine.run_with("TAIR_BACKUP_MCP_URL", &url, &["--help"]);
    for done in [typed, quiet, help] {
        assert!(!done.out.contains("s3cret") && !done.err.contains("s3cret"), "{done:?}");
    }
}

/// From options: a file for its owner alone that works as it is, checked, with a line for each host that names this program.
#[test]
fn init_from_options() {
    let redis = Redis::start("redis-7.0", &["--requirepass", "s3cret"]);
    let machine = Machine::new();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let made =
        ["init", "--url", &url, "--id", "orders", "--password-env", "ORDERS_PASSWORD", "--confirmation", "token"];
    let printed = machine.run(&[&made[..], &["--print"]].concat());
    assert!(printed.code == 0 && !machine.file().exists(), "{printed:?}");
    // The policy that Tair's own instances have.
    for line in ["preferred_backup_time = \"02:00Z-03:00Z\"", "backup_retention_period = 7"] {
        assert!(printed.out.lines().any(|l| l == line), "{line}: {}", printed.out);
    }
    let done = machine.run_with("ORDERS_PASSWORD", "s3cret", &made);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(std::fs::read_to_string(machine.file()).unwrap().trim(), printed.out.trim());
    assert_eq!(std::fs::metadata(machine.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(machine.file().parent().unwrap()).unwrap().count(), 1, "no draft is left");
    let exe = env!("CARGO_BIN_EXE_tair-backup-mcp");
    let env = "\"env\":{\"ORDERS_PASSWORD\":\"${env:ORDERS_PASSWORD}\"}";
    for line in [
        format!("claude mcp add tair-backup -e ORDERS_PASSWORD=\"$ORDERS_PASSWORD\" -- {exe} serve"),
        format!("codex mcp add tair-backup --env ORDERS_PASSWORD=\"$ORDERS_PASSWORD\" -- {exe} serve"),
        format!("{{\"mcpServers\":{{\"tair-backup\":{{\"command\":\"{exe}\",\"args\":[\"serve\"],{env}}}}}}}"),
        format!(
            "{{\"servers\":{{\"tair-backup\":{{\"type\":\"stdio\",\"command\":\"{exe}\",\"args\":[\"serve\"],{env}}}}}}}"
        ),
        "reads ORDERS_PASSWORD from its environment".into(),
        "pass  reachable".into(),
    ] {
        assert!(done.out.contains(&line), "{line}: {}", done.out);
    }
    // The policy that the file has is carried out by `run` alone.
    let run = done.out.lines().filter(|l| l.starts_with(&format!("  {exe} --home ")) && l.ends_with(" run"));
    assert_eq!(run.count(), 1, "{}", done.out);
    let listed = machine.run_with("ORDERS_PASSWORD", "s3cret", &["describe-instances", "--json"]);
    assert_eq!(Machine::instances(&listed), [("orders".to_owned(), true)]);
    assert_eq!(listed.json()["instances"][0]["confirmation"], "token");

    let before = std::fs::read(machine.file()).unwrap();
    let refused = machine.run(&["init", "--url", "carts=redis://127.0.0.1:1"]);
    assert!(
        refused.code == 3 && refused.err.contains("[config.exists]") && refused.err.contains("--force"),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(machine.file()).unwrap(), before);
    let forced = machine.run(&["init", "--url", "carts=redis://127.0.0.1:1", "--force"]);
    assert!(
        forced.code == 5 && forced.out.contains("fail  reachable"),
        "it is written, and what is wrong is said: {forced:?}"
    );
    assert_eq!(ids(&machine.run(&["describe-instances", "--json"])), ["carts"]);
    for line in [
        format!("claude mcp add tair-backup -- {exe} serve"),
        format!("codex mcp add tair-backup -- {exe} serve"),
        format!("{{\"mcpServers\":{{\"tair-backup\":{{\"command\":\"{exe}\",\"args\":[\"serve\"]}}}}}}"),
        format!(
            "{{\"servers\":{{\"tair-backup\":{{\"type\":\"stdio\",\"command\":\"{exe}\",\"args\":[\"serve\"]}}}}}}"
        ),
    ] {
        assert!(forced.out.contains(&line), "{line}: {}", forced.out);
    }
    let careful = machine.run(&["--read-only", "init", "--url", "carts=redis://127.0.0.1:1", "--force"]);
    assert!(careful.out.contains(&format!("claude mcp add tair-backup -- {exe} --read-only serve")), "{careful:?}");
    assert!(careful.out.contains("\"args\":[\"--read-only\",\"serve\"]"), "{careful:?}");
}

/// Whether the password of a url is told, or a part of it. A folder's name may begin with two of its characters by chance.
fn tells_secret(done: &Done) -> bool {
    ["s3%z", "s3/c", "s3cr", "zcret", "/cret", "cret@"]
        .iter()
        .any(|part| done.out.contains(part) || done.err.contains(part))
}

/// A url that can never work is refused before anything is written, with what is wrong and where it stood; whatever may be
/// a password in it is nowhere in what is printed.
#[test]
fn a_url_that_cannot_work_is_refused_at_once() {
    let machine = Machine::new();
    for (url, why) in [
        ("redis://", "names no host"),
        ("redis://h?db=1", "after ? or #"),
        ("redis://h/db", "has a path"),
        ("redis://h/3", "has all databases: write it without / and number"),
        ("redis://:s3%zzcret@h", "percent-encoding"),
        ("redis://:s3/cret@h", "write / as %2F in a password"),
        ("http://h", "wrong scheme"),
        ("redis://h:99999", "bad port"),
        ("redis://s3cret@h", "without a password"),
        ("unix:///x.sock?password=s3cret", "after ? or #"),
        ("orders=unix:///x.sock?password=s3cret", "after ? or #"),
        ("redis+unix://:s3cret@/x.sock", "no user and password"),
    ] {
        for command in ["serve", "init", "doctor"] {
            let typed = machine.run(&[command, "--url", url]);
            let told = if command == "doctor" { &typed.out } else { &typed.err };
            assert!(told.contains("--url: ") && told.contains(why), "{command} {url}: {typed:?}");
            let set = machine.run_with("TAIR_BACKUP_MCP_URL", url, &[command]);
            let told = if command == "doctor" { &set.out } else { &set.err };
            assert!(told.contains("TAIR_BACKUP_MCP_URL: ") && !told.contains("--url: "), "{command} {url}: {set:?}");
            assert_eq!(typed.err.contains("warning: "), url.contains('@'), "{command} {url}: {typed:?}");
            for done in [typed, set] {
                // To the doctor it is a finding.
                assert_eq!(done.code, if command == "doctor" { 5 } else { 2 }, "{command} {url}: {done:?}");
                assert!(!tells_secret(&done), "{command} {url}: {done:?}");
            }
        }
        let file = machine.0.path().join("wrong.toml");
        std::fs::write(
            &file,
            format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", url.trim_start_matches("orders=")),
        )
        .unwrap();
        let done = machine.run(&["--config", file.to_str().unwrap(), "serve"]);
        assert!(done.code == 2 && done.err.contains(why) && done.err.contains("[config.invalid]"), "{url}: {done:?}");
        assert!(!tells_secret(&done), "{done:?}");
    }
    assert!(!machine.file().exists() && !machine.0.path().join("data").exists());
}

/// What contradicts itself is refused, and where the file cannot be written the hint points at `--config`.
#[test]
fn init_refuses_what_it_cannot_write() {
    let machine = Machine::new();
    for (args, why) in [
        (["--url", "redis://:s3cret@127.0.0.1:1", "--password-env", "ORDERS"], "names another"),
        (["--url", "redis://127.0.0.1:1", "--password-env", "s3cret!"], "not the name of an environment variable"),
        (["--url", "redis://127.0.0.1:1", "--password-env", "1A"], "not the name of an environment variable"),
        (["--url", "a=redis://127.0.0.1:1", "--id", "zz"], "another in --id"),
    ] {
        let done = machine.run(&[&["init"], &args[..]].concat());
        assert!(done.code == 2 && done.err.contains("[arguments.invalid]") && done.err.contains(why), "{done:?}");
    }
    assert!(!machine.file().exists());
    let folder = machine.0.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for file in ["/dev/null/x.toml", folder.to_str().unwrap()] {
        let done = machine.run(&["--config", file, "init", "--url", "a=redis://127.0.0.1:1", "--force"]);
        assert!(done.code == 1 && done.err.contains("[config.failed]"), "{done:?}");
        assert!(
            done.err.contains("hint: ") && done.err.contains("with --config") && !done.err.contains("--home"),
            "{done:?}"
        );
    }
}

/// Every key that the file has as a comment may be used as it is.
#[test]
fn what_init_comments_out_is_right() {
    let machine = Machine::new();
    let printed = machine.run(&["init", "--url", "orders=rediss://127.0.0.1:1", "--print"]).out;
    let key = |line: &str| line.strip_prefix("# ").filter(|l| l.split(' ').nth(1) == Some("=")).map(str::to_owned);
    let text: Vec<String> = printed.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned())).collect();
    let opened = text.iter().zip(printed.lines()).filter(|(now, was)| now != was).count();
    assert!(opened >= 9, "{printed}");
    let file = machine.0.path().join("all.toml");
    std::fs::write(&file, text.join("\n")).unwrap();
    let done = machine.run(&["--config", file.to_str().unwrap(), "describe-instances", "--json"]);
    assert_eq!(ids(&done), ["orders"]);
}

/// Without options it asks at the terminal, says what is wrong with an answer, and asks again; without a terminal it says
/// what to type.
#[test]
fn init_asks_at_a_terminal() {
    let redis = Redis::start("redis-7.0", &[]);
    let machine = Machine::new();
    let alone = machine.run(&["init"]);
    assert!(alone.code == 2 && alone.err.contains("[init.no_terminal]") && alone.err.contains("--url"), "{alone:?}");
    assert!(!machine.file().exists());
    let answers = json!([
        ["Where is the instance", "localhost"],
        ["Where is the instance", redis.url()],
        ["called", "not an id"],
        ["called", "orders"],
        ["environment variable", ""],
        ["approves", "me"],
        ["approves", ""],
    ]);
    let program = machine.command(&["init"]);
    let mut terminal = Command::new("python3");
    terminal.arg(root().join("tests/support/terminal.py")).arg(answers.to_string());
    terminal.arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let output = terminal.output().expect("python3 must be on PATH");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("claude mcp add"), "{shown}");
    let listed = machine.run(&["describe-instances", "--json"]);
    assert_eq!(Machine::instances(&listed), [("orders".to_owned(), true)]);
    assert_eq!(listed.json()["instances"][0]["confirmation"], "person");
}

/// A server of each kind that speaks TLS alone, with a certificate of its own.
fn tls_server(kind: &str, dir: &Path) -> (std::process::Child, u16) {
    let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl must be on PATH");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = free_port();
    let mut server = Command::new(program(kind, "server"));
    server.args(["--port", "0", "--tls-port", &port.to_string(), "--save", "", "--tls-auth-clients", "no", "--dir"]);
    server.arg(dir).arg("--tls-key-file").arg(&key).arg("--tls-cert-file").arg(&certificate);
    server.arg("--tls-ca-cert-file").arg(&certificate).stdout(Stdio::null());
    let child = server.spawn().unwrap();
    wait("the server to listen", Duration::from_secs(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (child, port)
}

/// The scheme that does not fit is named with the one that does, within a second, whichever way round, with a password and
/// without.
#[test]
fn a_wrong_scheme_is_named_at_once() {
    let machine = Machine::new();
    let check = |url: &str, fits: &str, code: &str| {
        let begun = Instant::now();
        let done = machine.run_with("TAIR_BACKUP_MCP_URL", &format!("orders={url}"), &["describe-instances", "--json"]);
        let took = begun.elapsed();
        let reason = text(&done.json()["instances"][0]["reason"]);
        assert!(reason.contains(&format!("write {fits}://")), "{url}: {reason}");
        assert!(took < Duration::from_secs(1), "{url}: {took:?}");
        let failed = machine.run_with(
            "TAIR_BACKUP_MCP_URL",
            &format!("orders={url}"),
            &["create-backup", "--instance-id", "orders", "--json"],
        );
        assert_eq!((failed.code, failed.json()["code"].as_str()), (5, Some(code)), "{url}: {failed:?}");
    };
    for kind in crate::support::KINDS {
        let plain = Redis::start(kind, &[]);
        check(&format!("rediss://127.0.0.1:{}", plain.port), "redis", "instance.tls");
        let dir = TempDir::new().unwrap();
        let (mut child, port) = tls_server(kind, dir.path());
        check(&format!("redis://127.0.0.1:{port}"), "rediss", "instance.protocol");
        check(&format!("redis://:s3cret@127.0.0.1:{port}"), "rediss", "instance.protocol");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The failure of a command's job is printed once: no log line repeats it.
#[test]
fn a_failure_is_printed_once() {
    let machine = Machine::new();
    let args = ["create-backup", "--instance-id", "orders", "--url", "orders=redis://127.0.0.1:1"];
    let failed = machine.run(&args);
    assert_eq!(failed.code, 5, "{failed:?}");
    assert_eq!(failed.out.matches("cannot connect").count(), 1, "{failed:?}");
    assert_eq!(failed.err, "", "{failed:?}");
    let unknown = machine.run(&["create-backup", "--instance-id", "carts", "--url", "orders=redis://127.0.0.1:1"]);
    assert_eq!(unknown.err.matches("no instance").count(), 1, "{unknown:?}");
    assert_eq!(unknown.err.lines().count(), 2, "an error and a hint: {unknown:?}");
    let asked = machine.run_with("TAIR_BACKUP_MCP_LOG", "warn", &args);
    assert!(asked.err.contains("cannot connect"), "who asks for the log gets it: {asked:?}");
    assert!(!asked.err.contains('\u{1b}'), "colours are for a terminal: {asked:?}");
    // What nobody expected has its cause beside it, once.
    let home = machine.0.path().join("data/tair-backup-mcp");
    // A log that a process did not fold in when it ended would bring the database back.
    for log in ["state.db-wal", "state.db-shm"] {
        std::fs::remove_file(home.join(log)).ok();
    }
    std::fs::write(home.join("state.db"), "this is no database".repeat(500)).unwrap();
    let broken = machine.run(&["describe-jobs"]);
    assert!(broken.code == 1 && broken.err.contains("[state.failed]"), "{broken:?}");
    assert_eq!(broken.err.matches("not a database").count(), 1, "{broken:?}");
}
