//! What an operator should mend is told, each with what to type, and no more once that was typed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::advice::Advice;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A configuration in a directory of its own.
struct Written(tempfile::TempDir);

impl Written {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        mode(&dir.path().join("config.toml"), 0o644);
        Self(dir)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn advice(&self) -> Vec<Advice> {
        let (home, file) = (self.at("home"), self.at("config.toml"));
        Config::load(Some(home), Some(file), false).unwrap().advice()
    }

    /// The one thing to mend.
    fn only(&self) -> Advice {
        let mut all = self.advice();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

const ORDERS: &str = "[[instance]]\nid = \"orders\"\nurl = \"redis://h\"\n";

/// A file that others can read is told of where a secret stands in it, and not where none does.
#[test]
fn secrets_that_others_can_read() {
    for (text, key) in [
        (format!("{ORDERS}password = \"s3cret\"\n"), "password of orders"),
        ("[[instance]]\nid = \"orders\"\nurl = \"redis://:s3cret@h\"\n".to_owned(), "url of orders"),
        (format!("{ORDERS}backup_from = \"redis://:s3cret@h\"\n"), "backup_from of orders"),
        (format!("state = \"postgres://u:s3cret@h/d\"\n{ORDERS}"), "state"),
        (format!("{ORDERS}[notify]\nwebhook_url = \"https://h/s3cret\"\n"), "webhook_url of [notify]"),
    ] {
        let written = Written::new(&text);
        let Advice { found, next } = written.only();
        assert!(found.contains("(mode 644)") && found.ends_with(&format!(": {key}")), "{found}");
        assert!(!found.contains("s3cret") && next == format!("chmod 600 {}", written.at("config.toml").display()));
        for private in [0o640, 0o604] {
            mode(&written.at("config.toml"), private);
            assert_eq!(written.advice().len(), 1, "{private:o}");
        }
        mode(&written.at("config.toml"), 0o600);
        assert!(written.advice().is_empty());
    }
    // A group that the file was given is there to read it. Only root can give it any.
    let given = Written::new(&format!("{ORDERS}password = \"s3cret\"\n"));
    if std::os::unix::fs::chown(given.at("config.toml"), None, Some(4321)).is_ok() {
        assert_eq!(given.only().next, format!("chmod o-rwx {}", given.at("config.toml").display()));
        mode(&given.at("config.toml"), 0o640);
        assert!(given.advice().is_empty());
    }
    assert!(Written::new(&format!("{ORDERS}password_env = \"P\"\n")).advice().is_empty());
    let by_file = Written::new(&format!("{ORDERS}password_file = \"orders.password\"\n"));
    assert!(by_file.advice().is_empty(), "there is no such file yet");
    std::fs::write(by_file.at("orders.password"), "s3cret\n").unwrap();
    mode(&by_file.at("orders.password"), 0o644);
    let Advice { found, next } = by_file.only();
    assert!(
        found.starts_with("everybody can read the password of orders, ") && next.starts_with("chmod 600 "),
        "{found}"
    );
    mode(&by_file.at("orders.password"), 0o640);
    assert!(by_file.advice().is_empty());
}

#[test]
fn download_roots_that_are_not_there() {
    let written = Written::new(&format!("download_roots = [\"exports\"]\n{ORDERS}"));
    let Advice { found, next } = written.only();
    let root = written.at("exports");
    assert!(
        found.ends_with("exports is not there") && next == format!("mkdir -p {}", root.display()),
        "{found}: {next}"
    );
    std::fs::write(&root, "").unwrap();
    assert!(written.only().found.ends_with("is no directory"));
    std::fs::remove_file(&root).unwrap();
    std::fs::create_dir(&root).unwrap();
    assert!(written.advice().is_empty());
}

/// An empty file is one to begin anew; one that has settings gets an instance.
#[test]
fn a_file_that_names_nothing() {
    for (text, told, what) in [
        ("", "is empty", "init --force --url redis://"),
        ("# [[instance]]\n\n", "is empty", "init --force"),
        ("[guard]\n", "names no instance", "[[instance]]"),
    ] {
        let Advice { found, next } = Written::new(text).only();
        assert!(found.ends_with(told) && next.contains(what), "{found}: {next}");
    }
    assert!(Written::new("[tair]\n").advice().is_empty());
}
