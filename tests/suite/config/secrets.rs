//! Whatever is wrong with a configuration, no message about it holds a value that may be a password.

use crate::support::Bench;

/// What stands in the place of a secret: a word, and a number that somebody wrote without quotes.
const SECRETS: [&str; 2] = ["s3cretPW", "90817263"];

/// The ways of writing a value wrong, `@` being the secret.
const SHAPES: [&str; 17] = [
    "@",
    "-@",
    "@.5",
    "[\"@\"]",
    "[@]",
    "{ @ = 1 }",
    "{ a = \"@\" }",
    "\"@",
    "'@",
    "\"@\\q\"",
    "\"\"\"@\n\\q\"\"\"",
    "'''@\n",
    "\"@\" \"@\"",
    "\"@\"\npassword = \"@\"\npassword = \"@\"",
    "\"@\u{1}\"",
    "2026-99-99T@",
    "\"@\" = \"@\"",
];

const KEYS: [&str; 6] = ["password", "password_env", "password_file", "backup_from", "tls_key_file", "url"];

/// Runs the program, with `--json` too; what it said.
fn said(bench: &Bench, config: &str) -> String {
    bench.configure(config);
    let done = bench.run(&["describe-instances"]);
    let json = bench.run(&["doctor"]);
    format!("{}{}{}{}", done.out, done.err, json.out, json.err)
}

/// A value of a wrong shape under a key that holds a password, or names where it is, or an address that may have one.
#[test]
fn a_wrong_value_is_not_quoted() {
    let bench = Bench::new("");
    let mut refused = 0;
    for key in KEYS {
        for shape in SHAPES {
            for secret in SECRETS {
                let url = if key == "url" { "" } else { "url = \"rediss://127.0.0.1:1\"\n" };
                let line = format!("{key} = {}\n", shape.replace('@', secret));
                let config = format!("[[instance]]\nid = \"a\"\n{url}{line}");
                bench.configure(&config);
                let done = bench.run(&["describe-instances"]);
                let all = format!("{}{}", done.out, done.err);
                assert!(!all.contains(secret), "{config}{all}");
                refused += usize::from(all.contains("config.invalid"));
            }
        }
    }
    assert!(refused > KEYS.len() * SHAPES.len() * 3 / 2, "only {refused} were refused");
}

/// The password itself where its variable or file is to be named, in an address of a wrong shape, or in place of an id; it is not
/// quoted when the file is read, nor when the instance is first used.
#[test]
fn a_password_in_the_wrong_place_is_not_quoted() {
    let bench = Bench::new("");
    let instance = |more: &str| format!("[[instance]]\nid = \"a\"\nurl = \"rediss://127.0.0.1:1\"\n{more}\n");
    let by = |key: &str, value: &str| format!("[[instance]]\nid = \"a\"\n{key} = \"{value}\"\n");
    let cases = [
        (instance("password_env = \"s3cretPW\""), "password_env"),
        (instance("password_env = \"s3cretPW!\""), "password_env"),
        (instance("password_env = \"90817263\""), "password_env"),
        (instance("password_file = \"s3cretPW\""), "password_file"),
        (instance("password_file = \"s3cretPW\\nmore\""), "password_file"),
        (instance("tls_key_file = \"-----BEGIN PRIVATE KEY-----s3cretPW\""), "tls_key_file"),
        (instance("tls_key_file = \"s3cretPW\"\ntls_cert_file = \"x\""), ""),
        (instance("password = \"s3cretPW\"\npassword_env = \"A\""), "password"),
        (by("url", "redis://:s3cretPW@"), "host"),
        (by("url", "s3cretPW@127.0.0.1:1"), "scheme"),
        (by("url", "http://:s3cretPW@127.0.0.1:1"), "scheme"),
        (by("url", "redis://:s3cret/s3cretPW@127.0.0.1:1"), "%2F"),
        (by("url", "redis://s3cretPW@127.0.0.1:1"), "password"),
        (by("url", "redis://127.0.0.1:s3cretPW"), "port"),
        ("[[instance]]\nid = \"redis://:s3cretPW@h\"\nurl = \"a\"\n".into(), "id"),
        (instance("backup_from = \"redis://:s3cretPW@\""), "host"),
        ("[tair]\nendpoint = \"https://u:s3cretPW@h\"\n".into(), "endpoint"),
        ("[tair]\nendpoint = \"https://u:s3cret PW s3cretPW@h\"\n".into(), "endpoint"),
        ("[tair]\nendpoint = \"u:s3cretPW@h/\"\n".into(), "endpoint"),
        ("[tair]\nsts_endpoint = 90817263\n".into(), "line 2"),
    ];
    for (config, told) in cases {
        let all = said(&bench, &config);
        assert!(SECRETS.iter().all(|secret| !all.contains(secret)), "{config}{all}");
        assert!(
            all.contains(told) && all.contains("error:") || all.contains("fail") || told.is_empty(),
            "{config}{all}"
        );
    }
    let done = bench.run(&["init", "--print", "--url", "redis://h", "--password-env", "s3cretPW!"]);
    assert!(done.code == 2 && !done.err.contains("s3cretPW"), "{done:?}");
}
