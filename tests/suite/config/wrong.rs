//! Whatever is wrong in a configuration, what is told has the key and a line to write; and what may be a secret is not told.

use tair_backup_mcp::config::Config;

/// What is told of a file: the message, and the hint behind it.
fn told(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let fault = Config::load(Some(dir.path().to_owned()), Some(file), false).expect_err(text);
    assert_eq!((fault.code, fault.kind.exit_code()), ("config.invalid", 2), "{text}");
    format!("{} -> {}", fault.message, fault.hint)
}

/// Each file tells all of these.
fn all_tell(cases: &[(&str, &[&str])]) {
    for (text, parts) in cases {
        let told = told(text);
        for part in *parts {
            assert!(told.contains(part), "{text}\n{told}\nwithout {part}");
        }
        assert!(!told.contains("s3cret"), "{text}\n{told}");
    }
}

/// A key or a table that there is not has the nearest that there is, or the place where it belongs, or all that there are.
#[test]
fn what_there_is_not_has_what_there_is() {
    all_tell(&[
        ("[guard]\ntoken_minuts = 5\n", &["line 2", "unknown key `token_minuts` in [guard]", "token_minutes = 15"]),
        ("guard.token_minuts = 5\n", &["line 1", "in [guard]", "Did you mean `token_minutes`?"]),
        ("token_minutes = 5\n", &["line 1", "It stands under [guard]: token_minutes = 15"]),
        ("[tair]\nvault = \"x\"\n", &["line 2", "in [tair]", "It stands above the first [table]: vault = "]),
        ("[gaurd]\n", &["line 1", "`gaurd`", "Did you mean [guard]?"]),
        ("[[instances]]\nid = \"a\"\n", &["`instances`", "Did you mean [[instance]]?"]),
        ("[whatsoever]\n", &["`whatsoever`", "Known there: ", "[guard]", "[[instance]]", "vault"]),
        (
            "[[instance]]\nid = \"a\"\nurl = \"redis://h\"\nemulate = { spair = true }\n",
            &["line 4", "unknown key `spair` in emulate", "Did you mean `spare`?"],
        ),
        ("[[instance]]\nid = \"a\"\n", &["[[instance]] has no `url`", "url = \"redis://"]),
        ("[[instance]]\nurl = \"redis://:s3cret@h\"\n", &["[[instance]] has no `id`", "id = \"orders\""]),
    ]);
}

/// A value of another type has the line that would be right, without what was found.
#[test]
fn a_wrong_type_has_the_right_form() {
    all_tell(&[
        ("[guard]\ntoken_minutes = \"s3cret\"\n", &["line 2: token_minutes: ", "a whole number", "token_minutes = 15"]),
        ("background = \"s3cret\"\n", &["background: ", "true or false", "background = false"]),
        ("vault = 5\n", &["vault: ", "a text in quotes", "vault = \"s3://"]),
        ("download_roots = \"s3cret\"\n", &["download_roots: ", "a list", "download_roots = [\""]),
        ("[notify]\ncommand = [\n  \"a\",\n  5,\n]\n", &["line 4: command: ", "a text in quotes", "command = [\""]),
        ("[[instance]]\nid = \"a\"\nurl = s3cret\n", &["line 3: url: ", "url = \"redis://"]),
        ("[guard]\nconfirmation = \"persn\"\n", &["line 2: confirmation: ", "Did you mean `person`?"]),
    ]);
}

/// A value that cannot be has its key, what was found where that is no secret, and what to write.
#[test]
fn a_value_that_cannot_be_has_one_that_can() {
    let instance = |more: &str| format!("[[instance]]\nid = \"a\"\nurl = \"redis://h\"\n{more}\n");
    let tair = |more: &str| format!("[tair]\n{more}\n");
    let cases: Vec<(String, &[&str])> = vec![
        (
            "clone_lifetime_hours = 0\n".into(),
            &["clone_lifetime_hours is 0", "between 1 and 720", "write clone_lifetime_hours = 24"],
        ),
        ("[guard]\ntoken_minutes = 0\n".into(), &["guard.token_minutes is 0", "write token_minutes = 15"]),
        ("[guard]\nimpact_seconds = 3601\n".into(), &["guard.impact_seconds is 3601", "between 0 and 3600"]),
        ("[guard]\nmax_writes_per_second = -1\n".into(), &["is -1", "write max_writes_per_second = 100"]),
        ("[backup_log]\nseal_seconds = 0\n".into(), &["backup_log.seal_seconds is 0", "write seal_seconds = 10"]),
        ("[backup_log]\nspool_megabytes = 31\n".into(), &["is 31", "write spool_megabytes = 32 or more"]),
        ("[notify]\n".into(), &["write webhook_url = \"https://"]),
        (
            "[notify]\nwebhook_url = \"s3cret\"\n".into(),
            &["notify.webhook_url", "write webhook_url = \"https://host/path\""],
        ),
        ("[notify]\ncommand = [\"a\"]\ngrace_minutes = 721\n".into(), &["is 721", "write grace_minutes = 60"]),
        ("[encryption]\n".into(), &["give one of", "write identity_file = \""]),
        ("[encryption]\npassphrase_env = \"s3cret words\"\n".into(), &["write passphrase_env = \"VAULT_PASSPHRASE\""]),
        ("state = \"mysql://u:s3cret@h/d\"\n".into(), &["state: ", "write state = \"postgres://"]),
        ("trusted_keys = [\"no key\"]\n".into(), &["trusted_keys: ", "write the second line", "trusted_keys = [\"RWQ"]),
        ("vault = \"\"\n".into(), &["vault is empty", "write vault = \""]),
        ("copy_to = \"\"\n".into(), &["copy_to is empty", "write copy_to = \""]),
        ("vault = \"/v\"\ncopy_to = \"/v\"\n".into(), &["copy_to is /v", "such as copy_to = \""]),
        ("vault = \"s3://k:s3cret@b\"\n".into(), &["must not hold an access key", "write s3://bucket/prefix"]),
        (tair("region = \"X\""), &["tair.region: \"X\"", "write region = \"cn-hangzhou\""]),
        (tair("requests_per_second = 0"), &["is 0", "write requests_per_second = 10"]),
        (tair("read_timeout_seconds = 601"), &["is 601", "write read_timeout_seconds = 30"]),
        (tair("endpoint = \"ftp://h\""), &["\"ftp://h\"", "such as endpoint = \""]),
        (tair("endpoint = \"u:s3cret@h\""), &["write endpoint = \"https://host:port\""]),
        ("[[instance]]\nid = \"a b\"\nurl = \"redis://h\"\n".into(), &["\"a b\"", "such as id = \"orders\""]),
        ("[[instance]]\nid = \"redis://:s3cret@h\"\nurl = \"a\"\n".into(), &["write id = \"orders\""]),
        (
            "[[instance]]\nid = \"a\"\nurl = \"http://:s3cret@h\"\n".into(),
            &["instance \"a\": url: ", "write url = \"redis://"],
        ),
        (instance("backup_from = \"h:6379\""), &["backup_from: ", "write backup_from = \"redis://"]),
        (instance("password_env = \"s3cret!\""), &["write password_env = \"REDIS_PASSWORD\""]),
        (instance("password_file = \"s3cret\\nmore\""), &["write password_file = \""]),
        (instance("password = \"s3cret\"\npassword_env = \"A\""), &["write password_env = \"REDIS_PASSWORD\" alone"]),
        (instance("no_data_seconds = 0"), &["no_data_seconds is 0", "write no_data_seconds = 1800"]),
        (instance("free_stall_seconds = 3601"), &["is 3601", "write free_stall_seconds = 60"]),
        (instance("announce = \"h:port\""), &["write announce = \"10.0.0.9:7400\""]),
        (instance("tls_ca_file = \"ca.pem\""), &["write url = \"rediss://"]),
        (instance("backup_retention_period = 7"), &["write preferred_backup_time = \"02:00Z-03:00Z\""]),
        (
            instance("preferred_backup_time = \"2\""),
            &["preferred_backup_time \"2\"", "write preferred_backup_time = \"02:00Z-03:00Z\""],
        ),
        ([instance(""), instance("")].concat(), &["\"a\" is given twice", "such as id = \"a-2\""]),
    ];
    let cases: Vec<(&str, &[&str])> = cases.iter().map(|(text, parts)| (text.as_str(), *parts)).collect();
    all_tell(&cases);
}
