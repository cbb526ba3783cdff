//! The chain of credentials: each link gives what it should, in the official order, and says why when it gives nothing.

use super::client::{config, env};
use crate::support::http_server::{Answer, Seen, Server};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tair_backup_mcp::config::tair::{TairConfig, address};
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::tair::access_key::Credentials;
use tair_backup_mcp::tair::client::Client;
use tair_backup_mcp::tair::credentials::Chain;
use tair_backup_mcp::tair::environment::Environment;
use tair_backup_mcp::tair::error::TairError;
use tair_backup_mcp::tair::http::Http;
use tair_backup_mcp::tair::incoming::Incoming;
use tair_backup_mcp::tair::params::{first, parse};
use tair_backup_mcp::tair::verify::verify;
use tempfile::TempDir;

const FOREVER: &str = "2999-01-01T00:00:00Z";

fn chain(config: TairConfig, env: Environment) -> Chain {
    let http = Http::new(&config).unwrap();
    // Port 9 of this machine: no metadata service.
    Chain::new(config, env, http).with_metadata("http://127.0.0.1:9/".parse().unwrap())
}

fn plain() -> TairConfig {
    config("http://127.0.0.1:9")
}

fn at_sts(server: &Server) -> TairConfig {
    TairConfig { sts_endpoint: Some(address("sts_endpoint", &server.url(), false).unwrap()), ..plain() }
}

fn three(c: &Credentials) -> (&str, &str, &str) {
    (&c.access_key_id, c.secret.expose(), c.token.as_ref().map_or("", Secret::expose))
}

fn temporary(id: &str, end: &str) -> Value {
    json!({"AccessKeyId": id, "AccessKeySecret": format!("{id}-secret"), "SecurityToken": format!("{id}-token"), "Expiration": end})
}

/// An STS that hands out a role's credentials; who asked is in their id.
async fn sts() -> Server {
    Server::start(|n, seen| {
        let by = seen
            .header("authorization")
            .and_then(|a| a.split("Credential=").nth(1)?.split(',').next().map(str::to_owned));
        let by = by.unwrap_or_else(|| "nobody".to_owned());
        Answer::ok(
            json!({"RequestId": "1", "Credentials": temporary(&format!("STS.{n}.by.{by}"), FOREVER)}).to_string(),
        )
    })
    .await
}

fn home(profiles: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".aliyun")).unwrap();
    std::fs::write(dir.path().join(".aliyun/config.json"), profiles.to_string()).unwrap();
    dir
}

fn at_home<'a>(dir: &'a Path, more: &[(&'a str, &'a str)]) -> Environment {
    let mut all = vec![("HOME", dir.to_str().unwrap())];
    all.extend(more);
    env(&all)
}

fn signed(seen: &Seen, secret: &str) {
    let request = Incoming { method: &seen.method, query: &seen.query, headers: &seen.headers, body: &seen.body };
    verify(&request, |_| Some(Secret::new(secret)), Timestamp::now()).unwrap();
}

/// The environment comes first, with and without a token.
#[tokio::test]
async fn the_environment_comes_first() {
    let dir = home(
        &json!({"current": "default", "profiles": [{"name": "default", "mode": "AK", "access_key_id": "p", "access_key_secret": "q"}]}),
    );
    let key = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b")];
    let found = chain(plain(), at_home(dir.path(), &key)).get().await.unwrap();
    assert_eq!((three(&found), found.source.as_str()), (("a", "b", ""), "environment"));
    let token = [key[0], key[1], ("ALIBABA_CLOUD_SECURITY_TOKEN", "t")];
    assert_eq!(three(&chain(plain(), at_home(dir.path(), &token)).get().await.unwrap()), ("a", "b", "t"));
    // Half a key is none: the next link that has one is asked.
    assert_eq!(three(&chain(plain(), at_home(dir.path(), &key[..1])).get().await.unwrap()), ("p", "q", ""));
    // A profile that the configuration names is meant, whatever the environment has.
    let named = TairConfig { profile: Some("default".into()), ..plain() };
    assert_eq!(three(&chain(named, at_home(dir.path(), &key)).get().await.unwrap()), ("p", "q", ""));
}

/// The profile that was current first stays the one that is asked, what it holds read afresh: another one is somebody else.
#[tokio::test]
async fn the_profile_chosen_once_stays_chosen() {
    let profiles = |current: &str, token: &str| {
        json!({"current": current, "profiles": [
            {"name": "dev", "mode": "StsToken", "access_key_id": "d", "access_key_secret": "e", "sts_token": token},
            {"name": "prod", "mode": "AK", "access_key_id": "p", "access_key_secret": "q"}]})
    };
    let dir = home(&profiles("dev", "one"));
    let chain = chain(plain(), at_home(dir.path(), &[]));
    let first = chain.get().await.unwrap();
    assert_eq!(three(&first), ("d", "e", "one"));
    std::fs::write(dir.path().join(".aliyun/config.json"), profiles("prod", "two").to_string()).unwrap();
    assert_eq!(three(&chain.renew(&first).await.unwrap()), ("d", "e", "two"));
}

const WHO: &str = r#"{"AccountId":"123","PrincipalId":"300:session-1","UserId":"300:session-1","RequestId":"1"}"#;
const KEY: [(&str, &str); 2] = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b")];

/// Who calls is told by the Security Token Service where it belongs to the endpoint that is called, without the session of a role, which
/// every renewal changes; elsewhere, and where it refuses, the access key's own id stands for both.
#[tokio::test]
async fn who_calls_is_told_by_the_service_or_the_key() {
    let server = Server::start(move |_, _| Answer::ok(WHO)).await;
    let told = chain(at_sts(&server), env(&KEY));
    let credentials = told.get().await.unwrap();
    let now = Timestamp::now();
    assert_eq!(told.identity(&credentials, now).await.unwrap(), ("123".to_owned(), "300".to_owned()));
    assert_eq!(server.seen()[0].action(), "GetCallerIdentity");
    let refusing = Server::start(|_, _| Answer::error(403, "Forbidden")).await;
    for config in [at_sts(&refusing), plain()] {
        let by_key = chain(config, env(&KEY)).identity(&credentials, now).await.unwrap();
        assert_eq!(by_key, ("a".to_owned(), "a".to_owned()));
    }
}

/// Temporary keys are others after every renewal, in one process and from one to the next: who calls stays the same, for what was begun must
/// not be left alone as another account's.
#[tokio::test]
async fn a_renewed_key_is_nobody_else() {
    let giving = Server::start(|n, _| {
        let mut reply = temporary(&format!("STS.{n}"), FOREVER);
        reply["Code"] = "Success".into();
        Answer::ok(reply.to_string())
    })
    .await;
    let refusing = Server::start(|_, _| Answer::error(403, "Forbidden")).await;
    let url = giving.url();
    let vars = env(&[("ALIBABA_CLOUD_CREDENTIALS_URI", url.as_str())]);
    let now = Timestamp::now();
    for config in [plain(), at_sts(&refusing)] {
        let (this, next) = (chain(config.clone(), vars.clone()), chain(config.clone(), vars.clone()));
        let first = this.get().await.unwrap();
        let (renewed, found_next) = (this.renew(&first).await.unwrap(), next.get().await.unwrap());
        assert!(first.access_key_id != renewed.access_key_id && renewed.access_key_id != found_next.access_key_id);
        let who = this.identity(&first, now).await.unwrap();
        assert_eq!(this.identity(&renewed, now).await.unwrap(), who);
        assert_eq!(next.identity(&found_next, now).await.unwrap(), who);
        // Another link is somebody else.
        let fixed = chain(config, env(&KEY));
        assert_ne!(fixed.identity(&fixed.get().await.unwrap(), now).await.unwrap(), who);
    }
}

/// Keys of the environment are asked for once and never renewed: with a token, too, their own id is who calls where nobody tells, the same in
/// the next process, and other keys are somebody else. The service is asked with the token.
#[tokio::test]
async fn keys_of_the_environment_are_known_by_their_own_id() {
    let refusing = Server::start(|_, _| Answer::error(403, "Forbidden")).await;
    let telling = Server::start(|_, _| Answer::ok(WHO)).await;
    let with_token = |id: &'static str, token: &'static str| {
        env(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", id), KEY[1], ("ALIBABA_CLOUD_SECURITY_TOKEN", token)])
    };
    let now = Timestamp::now();
    for (config, account, principal) in
        [(plain(), "STS.a", "STS.a"), (at_sts(&refusing), "STS.a", "STS.a"), (at_sts(&telling), "123", "300")]
    {
        let who = (account.to_owned(), principal.to_owned());
        for token in ["one", "two"] {
            let chain = chain(config.clone(), with_token("STS.a", token));
            let first = chain.get().await.unwrap();
            assert_eq!(three(&first), ("STS.a", "b", token));
            assert!(chain.renew(&first).await.unwrap().is_same(&first), "there are no others");
            assert_eq!(chain.identity(&first, now).await.unwrap(), who, "{token}");
        }
    }
    let other = chain(plain(), with_token("STS.b", "one"));
    let who = other.identity(&other.get().await.unwrap(), now).await.unwrap();
    assert_eq!(who, ("STS.b".to_owned(), "STS.b".to_owned()));
    let tokens: Vec<_> = telling.seen().iter().map(|s| s.header("x-acs-security-token").map(str::to_owned)).collect();
    assert_eq!(tokens, [Some("one".to_owned()), Some("two".to_owned())]);
}

/// A service that fails for a while has not said who calls: it is asked again, and a client takes nobody else's name meanwhile. One that
/// says that our clock is off is asked by its own.
#[tokio::test]
async fn who_calls_is_not_guessed_while_the_service_fails() {
    let hour_ahead = Timestamp::now() + SignedDuration::from_hours(1);
    let date = jiff::fmt::rfc2822::to_string(&hour_ahead.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
    let server = Server::start(move |n, seen| match n {
        // The first client is told after a failure.
        0 => Answer::error(500, "InternalError"),
        1 => Answer::ok(WHO),
        // The second asks three times in vain, and is told when it asks again.
        2 => Answer::error(503, "ServiceUnavailable"),
        3 => Answer::error(500, "Nobody.Knows"),
        4 => Answer::error(400, "Throttling.User"),
        5 => Answer::error(400, "InvalidTimeStamp.Expired").header("Date", &date),
        _ if seen.header("x-acs-date").unwrap() < written(hour_ahead - SignedDuration::from_mins(5)).as_str() => {
            Answer::error(400, "InvalidTimeStamp.Expired")
        }
        _ => Answer::ok(WHO),
    })
    .await;
    let first = Client::new(at_sts(&server), &env(&KEY)).unwrap().access().await.unwrap();
    assert_eq!((first.account.as_str(), first.principal.as_str()), ("123", "300"));
    let client = Client::new(at_sts(&server), &env(&KEY)).unwrap();
    let failed = client.access().await.unwrap_err();
    assert!(failed.may_pass(), "{failed:?}");
    assert_eq!(client.access().await.unwrap(), first);
    let asked = server.seen().len();
    assert_eq!((client.access().await.unwrap(), server.seen().len()), (first, asked), "it is asked once");
}

/// A role by an identity token: unsigned, and the token is in the body, not in the address.
#[tokio::test]
async fn an_oidc_role_is_assumed() {
    let server = sts().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "the.identity.token\n").unwrap();
    let env = env(&[
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "me"),
    ]);
    let found = chain(at_sts(&server), env).get().await.unwrap();
    assert_eq!(found.access_key_id, "STS.0.by.nobody");
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.param("Action").as_deref()), ("POST", Some("AssumeRoleWithOIDC")));
    assert_eq!(seen.header("authorization"), None);
    assert!(!seen.query.contains("identity"));
    let form = parse(std::str::from_utf8(&seen.body).unwrap());
    for (name, value) in [
        ("OIDCToken", "the.identity.token"),
        ("RoleArn", "acs:ram::1:role/r"),
        ("OIDCProviderArn", "acs:ram::1:oidc-provider/p"),
        ("RoleSessionName", "me"),
        ("DurationSeconds", "3600"),
    ] {
        assert_eq!(first(&form, name), Some(value));
    }
}

fn profiles(server: &Server, dir: &Path) -> Value {
    let script = dir.join("give");
    std::fs::write(
        &script,
        "echo '{\"mode\":\"StsToken\",\"access_key_id\":\"x\",\"access_key_secret\":\"y\",\"sts_token\":\"z\"}'",
    )
    .unwrap();
    json!({"current": "ak", "profiles": [
        {"name": "ak", "mode": "AK", "access_key_id": "a", "access_key_secret": "b", "region_id": "cn-beijing"},
        {"name": "sts", "mode": "StsToken", "access_key_id": "a", "access_key_secret": "b", "sts_token": "c"},
        {"name": "role", "mode": "RamRoleArn", "access_key_id": "a", "access_key_secret": "b", "ram_role_arn": "acs:role/1",
         "ram_session_name": "me", "expired_seconds": 60, "external_id": "e", "policy": "{}"},
        {"name": "chain", "mode": "ChainableRamRoleArn", "source_profile": "role", "ram_role_arn": "acs:role/2"},
        {"name": "round", "mode": "ChainableRamRoleArn", "source_profile": "round", "ram_role_arn": "acs:role/3"},
        {"name": "external", "mode": "External", "process_command": format!("sh {}", script.display())},
        {"name": "failing", "mode": "External", "process_command": "sh -c exit"},
        {"name": "missing", "mode": "External", "process_command": "/no/such/program --secret hunter2"},
        {"name": "uri", "mode": "CredentialsURI", "credentials_uri": format!("{}/uri", server.url())},
        {"name": "ecs", "mode": "EcsRamRole", "ram_role_name": "the-role"},
        {"name": "sso", "mode": "CloudSSO", "access_key_id": "a", "access_key_secret": "b", "sts_token": "c", "sts_expiration": 4_102_444_800_i64},
        {"name": "gone", "mode": "OAuth", "access_key_id": "a", "access_key_secret": "b", "sts_token": "c", "sts_expiration": 1_000_000_000},
        {"name": "rsa", "mode": "RsaKeyPair"},
        {"name": "half", "mode": "AK", "access_key_id": "a"},
    ]})
}

/// Every mode of the command line's profiles.
#[tokio::test]
async fn profiles_of_every_mode_are_read() {
    let sts = sts().await;
    let services = Server::start(|_, seen| match seen.path.as_str() {
        "/uri" => {
            let mut reply = temporary("U", FOREVER);
            reply["Code"] = "Success".into();
            Answer::ok(reply.to_string())
        }
        "/latest/api/token" => Answer::ok("metadata-token"),
        "/latest/meta-data/ram/security-credentials/the-role" => {
            assert_eq!(seen.header("x-aliyun-ecs-metadata-token"), Some("metadata-token"));
            let mut reply = temporary("E", FOREVER);
            reply["Code"] = "Success".into();
            Answer::ok(reply.to_string())
        }
        _ => Answer::status(404, ""),
    })
    .await;
    let scripts = tempfile::tempdir().unwrap();
    let dir = home(&profiles(&services, scripts.path()));
    let find = async |name: &str| {
        let config = TairConfig { profile: Some(name.into()), ..at_sts(&sts) };
        let chain = chain(config, at_home(dir.path(), &[])).with_metadata(services.url().parse().unwrap());
        chain.get().await.map(|c| (*c).clone())
    };
    for (name, wanted) in [
        ("ak", ("a", "b", "")),
        ("sts", ("a", "b", "c")),
        ("external", ("x", "y", "z")),
        ("uri", ("U", "U-secret", "U-token")),
        ("ecs", ("E", "E-secret", "E-token")),
        ("sso", ("a", "b", "c")),
        ("role", ("STS.0.by.a", "STS.0.by.a-secret", "STS.0.by.a-token")),
    ] {
        let found = find(name).await.expect(name);
        assert_eq!((three(&found), found.source.contains(name)), (wanted, true), "{name}");
    }
    let seen = &sts.seen()[0];
    signed(seen, "b");
    for (name, value) in [
        ("RoleArn", "acs:role/1"),
        ("RoleSessionName", "me"),
        ("DurationSeconds", "900"),
        ("ExternalId", "e"),
        ("Policy", "{}"),
    ] {
        assert_eq!(seen.param(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((seen.action(), seen.header("x-acs-version")), ("AssumeRole", Some("2015-04-01")));
    // The second role is assumed as the first.
    assert_eq!(find("chain").await.unwrap().access_key_id, "STS.2.by.STS.1.by.a");
    assert_eq!(sts.seen()[2].header("x-acs-security-token"), Some("STS.1.by.a-token"));
    for (name, why) in [
        ("round", "circle"),
        ("failing", "not JSON"),
        ("missing", "cannot be run"),
        ("gone", "expired"),
        ("rsa", "mode \"RsaKeyPair\" is not supported"),
        ("half", "access_key_secret is missing"),
        ("cahin", "did you mean \"chain\"?"),
    ] {
        let said = find(name).await.expect_err(name).to_string();
        assert!(said.contains(why), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // The profile's region is the client's.
    let config = TairConfig { region: None, ..plain() };
    assert_eq!(Client::new(config, &at_home(dir.path(), &[("REGION", "eu-west-1")])).unwrap().region(), "cn-beijing");
}

/// The SDKs' own file, by section and type.
#[tokio::test]
async fn credentials_ini_is_read() {
    let sts = sts().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.ini");
    let body = "[default]\ntype = access_key # mine\naccess_key_id = a\naccess_key_secret = b\n[role]\ntype=ram_role_arn\naccess_key_id=a\naccess_key_secret=b\nrole_arn=acs:role/1\n[rsa]\ntype=rsa_key_pair\n";
    std::fs::write(&file, body).unwrap();
    let find = async |profile: &str| {
        let vars = [("ALIBABA_CLOUD_CREDENTIALS_FILE", file.to_str().unwrap()), ("ALIBABA_CLOUD_PROFILE", profile)];
        chain(at_sts(&sts), env(&vars)).get().await.map(|c| (*c).clone())
    };
    assert_eq!(three(&find("").await.unwrap()), ("a", "b", ""));
    assert_eq!(find("role").await.unwrap().access_key_id, "STS.0.by.a");
    assert!(find("rsa").await.unwrap_err().to_string().contains("type \"rsa_key_pair\" is not supported"));
    assert!(find("two").await.unwrap_err().to_string().contains("no section \"two\""));
}

/// The metadata service: with a token, without one where it is old, and not at all where that is forbidden.
#[tokio::test]
async fn the_metadata_service_is_asked() {
    let start = async |version: u8| {
        Server::start(move |_, seen| match (seen.method.as_str(), seen.path.as_str()) {
            ("PUT", "/latest/api/token") if version == 2 => {
                assert_eq!(seen.header("x-aliyun-ecs-metadata-token-ttl-seconds"), Some("21600"));
                Answer::ok("tok")
            }
            ("GET", _) if version == 2 && seen.header("x-aliyun-ecs-metadata-token") != Some("tok") => {
                Answer::status(403, "")
            }
            ("GET", "/latest/meta-data/ram/security-credentials/") => Answer::ok("role-1\n"),
            ("GET", "/latest/meta-data/ram/security-credentials/role-1") => {
                let mut reply = temporary("E", FOREVER);
                reply["Code"] = "Success".into();
                Answer::ok(reply.to_string())
            }
            _ => Answer::status(404, ""),
        })
        .await
    };
    for version in [2, 1] {
        let server = start(version).await;
        let find = async |vars: &[(&str, &str)]| {
            chain(plain(), env(vars)).with_metadata(server.url().parse().unwrap()).get().await
        };
        assert_eq!(find(&[]).await.unwrap().access_key_id, "E");
        assert_eq!(find(&[("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")]).await.is_ok(), version == 2);
        let asked = server.seen().len();
        let off = find(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]).await.unwrap_err().to_string();
        assert!(off.contains("switched off"), "{off}");
        assert_eq!(server.seen().len(), asked);
        let wrong = find(&[("ALIBABA_CLOUD_ECS_METADATA", "../../evil")]).await.unwrap_err().to_string();
        assert!(wrong.contains("no RAM role"), "{wrong}");
    }
}

/// Nothing anywhere: every link is named, in the official order, with its reason and without a secret.
#[tokio::test]
async fn every_failed_link_is_named() {
    let broken = Server::start(|_, _| Answer::ok(r#"{"Code":"Success","AccessKeySecret":"hunter2"}"#)).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".aliyun")).unwrap();
    std::fs::write(dir.path().join(".aliyun/config.json"), "{\"profiles\": [{\"access_key_secret\": \"hunter2\", ]")
        .unwrap();
    let vars = [("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hunter2"), ("ALIBABA_CLOUD_CREDENTIALS_URI", &broken.url())];
    let TairError::NoCredentials(e) = chain(plain(), at_home(dir.path(), &vars)).get().await.unwrap_err() else {
        panic!("another error")
    };
    let links: Vec<_> = e.0.iter().map(|f| (f.link.as_str(), f.why.as_str())).collect();
    let wanted = [
        ("environment", "ALIBABA_CLOUD_ACCESS_KEY_ID is not set"),
        ("OIDC role", "ALIBABA_CLOUD_OIDC_TOKEN_FILE is not set"),
        ("~/.aliyun/config.json", "it cannot be read: it is not JSON (line 1, column 48)"),
        ("credentials.ini", "there is no file"),
        ("ECS metadata", "not reached"),
        ("credentials URI", "Expiration is missing"),
    ];
    assert_eq!(links.len(), wanted.len(), "{links:?}");
    for ((link, why), (wanted_link, wanted_why)) in links.iter().zip(wanted) {
        assert_eq!(*link, wanted_link);
        assert!(why.starts_with(wanted_why), "{link}: {why}");
    }
    assert!(!e.to_string().contains("hunter2"), "{e}");
    let spaced = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hunter2\n")];
    let said = chain(plain(), env(&spaced)).get().await.unwrap_err().to_string();
    assert!(said.contains("environment: what it gives has white space") && !said.contains("hunter2"), "{said}");
}

fn ending_in(seconds: i64) -> String {
    // Whole seconds on the wire: one more, so that the life is not cut short.
    written(Timestamp::now() + SignedDuration::from_secs(seconds + 1))
}

/// They are asked for once, kept, renewed before they expire, and kept while a renewal fails.
#[tokio::test]
async fn credentials_are_renewed_before_they_expire() {
    let server = Server::start(|n, _| {
        let mut reply = temporary(&format!("U{n}"), &if n == 0 { ending_in(3) } else { FOREVER.to_owned() });
        reply["Code"] = "Success".into();
        if n == 1 { Answer::status(500, "") } else { Answer::ok(reply.to_string()) }
    })
    .await;
    let vars = [("ALIBABA_CLOUD_CREDENTIALS_URI", server.url())];
    let vars: Vec<_> = vars.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let chain = chain(plain(), env(&vars));
    let (a, b) = tokio::join!(chain.get(), chain.get());
    assert!(a.unwrap().is_same(&b.unwrap()));
    assert_eq!(server.seen().len(), 1);
    let started = Instant::now();
    let end = chain.get().await.unwrap().expires_at.unwrap();
    // The failed renewal goes unnoticed while the old ones work; when they end, the next one is.
    loop {
        let found = chain.get().await.unwrap();
        if found.access_key_id == "U2" {
            break;
        }
        assert!(Timestamp::now() <= end + SignedDuration::from_secs(1) && started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.seen().len(), 3);
}

/// STS is asked again after failures that pass, and its refusals are passed on.
#[tokio::test]
async fn sts_failures_are_told() {
    let dir = home(
        &json!({"current": "r", "profiles": [{"name": "r", "mode": "RamRoleArn", "access_key_id": "a", "access_key_secret": "b", "ram_role_arn": "acs:role/1"}]}),
    );
    let busy = Server::start(|n, _| match n {
        0 => Answer::error(503, "ServiceUnavailable"),
        _ => Answer::ok(json!({"Credentials": temporary("S", FOREVER)}).to_string()),
    })
    .await;
    assert_eq!(chain(at_sts(&busy), at_home(dir.path(), &[])).get().await.unwrap().access_key_id, "S");
    let refusing = Server::start(|_, _| Answer::error(403, "NoPermission")).await;
    let said = chain(at_sts(&refusing), at_home(dir.path(), &[])).get().await.unwrap_err().to_string();
    assert!(said.contains("profile \"r\": the cloud refused AssumeRole") && said.contains("NoPermission"), "{said}");
    assert_eq!(refusing.seen().len(), 1);
}
