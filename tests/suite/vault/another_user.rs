//! The whole program as a user whom modes stop: what lies in the vault is read-only for its owner, and root, as whom the suite may run, would
//! not notice a step that needs more.

use crate::schedule::service::{DAILY, days, put, put_days, wednesday};
use crate::support::{Bench, Done, Redis, finish, text, unattended, wait};
use jiff::Timestamp;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Whom the program is run as where the suite is root's.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a directory, or one file, to the program's user.
fn give(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Takes a directory or a file from the program's user: it is root's, or nobody may read it.
fn take(path: &Path) {
    if is_root() {
        chown(path, Some(0), Some(0)).unwrap();
    } else {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    }
}

/// A bench whose program another user runs.
struct Another {
    bench: Bench,
    /// The program, where that user may enter.
    program: PathBuf,
    _dir: TempDir,
}

impl Another {
    fn new(config: &str) -> Self {
        let (bench, dir) = (Bench::new(config), TempDir::new().unwrap());
        let (built, program) = (env!("CARGO_BIN_EXE_tair-backup-mcp"), dir.path().join("program"));
        // Another file system takes no second name of it.
        std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).unwrap();
        // The program itself stays whose it is: it is the built one.
        for path in [dir.path(), bench.dir.path(), &bench.dir.path().join("config.toml")] {
            give(path);
        }
        Self { bench, program, _dir: dir }
    }

    fn run(&self, args: &[&str]) -> Done {
        let ours = self.bench.command(args);
        let mut command = Command::new(&self.program);
        command.args(ours.get_args()).current_dir("/").env("HOME", self.bench.dir.path());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        // A copy is busy for as long as another test that forked meanwhile holds it open.
        finish(wait("the program to begin", Duration::from_secs(10), || match command.spawn() {
            Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => None,
            begun => Some(begun.unwrap()),
        }))
    }

    /// Both calls of what needs a yes.
    fn confirmed(&self, args: &[&str]) {
        let planned = self.run(args);
        assert_eq!(planned.code, 0, "{planned:?}");
        let token = text(&planned.json()["confirmation_token"]);
        let done = self.run(&[args, &["--confirmation-token", &token]].concat());
        assert_eq!(done.code, 0, "{done:?}");
    }

    fn backup(&self) -> String {
        let made = self.run(&["create-backup", "--instance-id", "orders", "--json"]);
        assert_eq!(made.code, 0, "{made:?}");
        text(&made.json()["backup_id"])
    }

    fn folder(&self, backup: &str) -> PathBuf {
        self.bench.home().join("vault/orders").join(backup)
    }
}

#[test]
fn nothing_takes_the_rights_of_root() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "old"]);
    let another = Another::new(&unattended(&redis, DAILY));
    let (first, second) = (another.backup(), another.backup());
    let of_the_vault = |name: &str| another.folder(&first).join(name).metadata().unwrap();
    for name in ["data.rdb.zst", "manifest.json", "manifest.json.minisig"] {
        let found = of_the_vault(name);
        assert_eq!((found.mode() & 0o777, found.uid() == NOBODY), (0o400, is_root()), "{name}");
    }
    let verified = another.run(&["vault", "verify", "--deep"]);
    assert!(verified.code == 0 && verified.out.contains("2 sets"), "{verified:?}");
    redis.run(&["SET", "a", "new"]);
    let id = ["--instance-id", "orders", "--json", "--backup-id"];
    another.confirmed(&[&["restore-instance"][..], &id, &[first.as_str()]].concat());
    assert_eq!(redis.run(&["GET", "a"]).text(), "old");
    another.confirmed(&[&["delete-backup"][..], &id, &[second.as_str()]].concat());
    assert!(another.folder(&first).exists() && !another.folder(&second).exists());

    // One of today, the newest of a week that is long over, and an older one of that week, which goes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (now, wednesday) = (Timestamp::now(), wednesday(Timestamp::now()));
    let [_, stays, goes] = [(1, now), (2, wednesday), (3, wednesday - days(1))]
        .map(|(n, at)| runtime.block_on(put(&another.bench, n, at, ("another", 0))));
    runtime.block_on(put_days(&another.bench, now));
    if is_root() {
        let given = Command::new("chown").args(["-R", "65534:65534"]).arg(another.bench.home()).status();
        assert!(given.unwrap().success());
    }
    let looked = another.run(&["describe-jobs", "--json"]);
    assert_eq!(looked.code, 0, "{looked:?}");
    assert!(another.folder(&stays).exists() && !another.folder(&goes).exists(), "{looked:?}");
    assert!(another.bench.left_over().is_empty(), "{:?}", another.bench.left_over());
    let listed = another.run(&["describe-backups", "--instance-id", "orders", "--json"]).json();
    assert!(listed["backups"].as_array().unwrap().iter().all(|set| set["status"] == "deep"), "{listed}");
}

/// What another user has is unreadable, by that word, with its owner and what to type: to the doctor and to whoever asks for sets. It is neither
/// damaged nor missing, and once it was given back all is as before.
#[test]
fn what_another_user_has_is_told_as_unreadable() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let another = Another::new(&unattended(&redis, ""));
    let backup = another.backup();
    let set = another.folder(&backup);
    let typed = if is_root() { "sudo chown -R " } else { "chmod u+rwX " };
    for (what, name, is_of_sets) in [
        ("", "home directory", true),
        ("vault", "vault", true),
        ("vault/orders", "signatures", true),
        (set.strip_prefix(another.bench.home()).unwrap().to_str().unwrap(), "last backup", false),
        ("state.db", "state store", true),
        ("tair-backup.key", "signatures", true),
        ("guard.key", "guard key", false),
    ] {
        let path = if what.is_empty() { another.bench.home() } else { another.bench.home().join(what) };
        let mode = path.metadata().unwrap().mode();
        take(&path);
        let doctor = another.run(&["doctor", "--json"]);
        let listed = another.run(&["describe-backups", "--instance-id", "orders"]);
        let protection = another.run(&["describe-instances", "--json"]);
        give(&path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();

        let said = doctor.json();
        let mut checks = said["checks"].as_array().unwrap().iter();
        let found = checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {said}"));
        let (detail, next) = (text(&found["detail"]), found["next"].as_str().unwrap_or_default());
        assert!(doctor.code == 5 && found["status"] == "fail", "{what}: {found}");
        assert!(
            detail.contains("unreadable: ") && detail.contains(" is owned by ") && next.contains(typed),
            "{what}: {found}"
        );
        let damage = |text: &str| ["damaged", "is not there", "never: "].into_iter().find(|word| text.contains(word));
        assert_eq!(damage(&doctor.out), None, "{what}: {doctor:?}");
        if is_of_sets {
            // Without the keys each set is listed as unreadable; without its folder there is no list.
            let told = if listed.code == 0 { &listed.out } else { &listed.err };
            assert!(
                [0, 1].contains(&listed.code) && told.contains("unreadable: ") && told.contains(typed),
                "{what}: {listed:?}"
            );
            assert!(
                protection.out.contains("unreadable: ") || protection.err.contains("unreadable: "),
                "{what}: {protection:?}"
            );
            assert_eq!(damage(&format!("{}{}", listed.err, protection.err)), None, "{what}: {listed:?}");
        }
    }
    let listed = another.run(&["describe-backups", "--instance-id", "orders", "--json"]).json();
    assert_eq!((&listed["backups"][0]["backup_id"], &listed["backups"][0]["status"]), (&backup.into(), &"deep".into()));
}

/// One set that another user has hides no other, nor does a damaged one: the list has all of them, and tells the one from the other. Asked for by its
/// id it is refused, and whoever judges what can be recovered takes it for neither damaged nor gone.
#[test]
fn one_set_that_cannot_be_read_hides_no_other() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let another = Another::new(&unattended(&redis, ""));
    let [whole, cut, closed]: [String; 3] = std::array::from_fn(|_| another.backup());
    let manifest = another.folder(&cut).join("manifest.json");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, "{").unwrap();
    give(&manifest);
    let typed = if is_root() { "sudo chown -R " } else { "chmod u+rwX " };
    let list = ["describe-backups", "--instance-id", "orders"];
    for name in ["", "manifest.json", "data.rdb.zst"] {
        let path = if name.is_empty() { another.folder(&closed) } else { another.folder(&closed).join(name) };
        let mode = path.metadata().unwrap().mode();
        take(&path);
        let listed = another.run(&[&list[..], &["--json"]].concat());
        let shown = another.run(&list);
        let named = another.run(&[&list[..], &["--backup-id", &closed]].concat());
        let protection = another.run(&["describe-instances", "--json"]);
        give(&path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();

        assert_eq!(listed.code, 0, "{name}: {listed:?}");
        let said = listed.json();
        assert_eq!(said["total"], 3, "{name}: {said}");
        let row = |id: &str| said["backups"].as_array().unwrap().iter().find(|row| row["backup_id"] == id).unwrap();
        assert_eq!((&row(&whole)["status"], &row(&whole)["keys"]), (&"deep".into(), &1.into()), "{name}: {said}");
        assert_eq!(row(&cut)["status"], "damaged", "{name}: {said}");
        assert_eq!(row(&closed)["status"], "unreadable", "{name}: {said}");
        let why = text(&row(&closed)["damage"]);
        for part in ["unreadable: ", " is owned by ", typed] {
            assert!(why.contains(part), "{name}: {why}");
        }
        assert!(shown.code == 0 && shown.out.contains(&whole) && shown.out.contains(typed), "{name}: {shown:?}");
        assert!(named.code == 1 && named.err.contains("[vault.unreadable]"), "{name}: {named:?}");
        let protection = &protection.json()["instances"][0]["protection"];
        assert!(text(&protection["not_recoverable"]).contains("unreadable: "), "{name}: {protection}");
        assert!(protection["damaged"].is_null(), "{name}: {protection}");
    }
    let again = another.run(&[&list[..], &["--json"]].concat()).json();
    let newest = again["backups"].as_array().unwrap().iter().find(|row| row["backup_id"] == closed.as_str()).unwrap();
    assert_eq!(newest["status"], "deep", "{again}");
}
