//! Signatures of the cloud's API: every vector that the documentation publishes, and what was captured of official SDKs.

use jiff::Timestamp;
use std::cell::Cell;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::tair::incoming::{Incoming, Refusal};
use tair_backup_mcp::tair::params::{Params, canonical};
use tair_backup_mcp::tair::verify::verify;
use tair_backup_mcp::tair::{acs3, rpc1};

const QUERY: &str = "EndTime=2026-01-02T23%3A59Z&InstanceId=r-bp1zxszhcgatnx0001&PageNumber=1&PageSize=30&StartTime=2026-01-01T00%3A00Z";
const DATE: &str = "2026-01-02T03:04:05Z";
const NONCE: &str = "5ad5d3aeff3f4d7a8e5bdf3bbaaf7e55";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SDK: &str = "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2 AlibabaCloud-Agent-Skills/alibabacloud-tair-agent-skills";

fn owned(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

struct Vector {
    name: &'static str,
    secret: &'static str,
    key: &'static str,
    query: String,
    headers: Params,
    digest: &'static str,
    signature: &'static str,
}

fn common(host: &str, action: &str, more: &[(&str, &str)]) -> Params {
    let mut headers = owned(&[
        ("host", host),
        ("x-acs-version", "2015-01-01"),
        ("x-acs-action", action),
        ("x-acs-date", DATE),
        ("x-acs-signature-nonce", NONCE),
        ("x-acs-content-sha256", EMPTY),
    ]);
    headers.extend(owned(more));
    headers
}

fn vectors() -> Vec<Vector> {
    let ours = |name, action, query: &str, more: &[(&str, &str)], host, digest, signature| Vector {
        name,
        secret: "testAKSecret",
        key: "testAKID",
        query: query.to_owned(),
        headers: common(host, action, more),
        digest,
        signature,
    };
    let cloud = "r-kvstore.aliyuncs.com";
    let wire = "127.0.0.1:18761";
    let sdk = [("user-agent", SDK), ("accept", "application/json")];
    let restore = canonical(&owned(&[
        ("InstanceId", "r-bp1zxszhcgatnx0001"),
        ("RestoreType", "1"),
        ("RestoreTime", "2026-01-02T02:00:00Z"),
        ("FilterKey", "h.*llo,user:[0-9]+ ~key/中"),
    ]));
    vec![
        Vector {
            name: "the example of the documentation",
            secret: "YourAccessKeySecret",
            key: "YourAccessKeyId",
            query: canonical(&owned(&[
                ("RegionId", "cn-shanghai"),
                ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
            ])),
            headers: owned(&[
                ("host", "ecs.cn-shanghai.aliyuncs.com"),
                ("x-acs-action", "RunInstances"),
                ("x-acs-version", "2014-05-26"),
                ("x-acs-date", "2023-10-26T10:22:32Z"),
                ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
                ("x-acs-content-sha256", EMPTY),
            ]),
            digest: "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
            signature: "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
        },
        ours(
            "six headers",
            "DescribeBackups",
            QUERY,
            &[],
            cloud,
            "521215d349a26bbc741ac142ef1b817cb6272496931b34d1bda3acecacc04ed1",
            "4e5ac113bb73151eb87679ba1968d98e5f6f43de07d8aa6e9f7e2e9b7511c1e2",
        ),
        ours(
            "with an STS token",
            "DescribeBackups",
            QUERY,
            &[("x-acs-accesskey-id", "testAKID"), ("x-acs-security-token", "testSTSToken==")],
            cloud,
            "bc7c2e590c765c0969de9c7bdbd0b904eda4bfb4b659a5c7b0f431489c63cb3b",
            "2a7070d1b13a21c2e2aa4e74176eed3359b41b500fbb61995f7cbc3d95195d00",
        ),
        ours(
            "awkward characters",
            "RestoreInstance",
            &restore,
            &[],
            cloud,
            "9fb2b3c32e7ec9b2ec12d9e9dca2aa19e955bd0790c5ef793845ccb882dc2deb",
            "9aacf256ece4bb95c7d1d4add225e023a008702275bd9a48ba8c04fddc2867d1",
        ),
        ours(
            "off the wire of the Python SDK",
            "DescribeBackups",
            QUERY,
            &[sdk[0], sdk[1], ("x-acs-credentials-provider", "static_ak")],
            wire,
            "76a6ffebc17844a7b0d59080707a0513c5aa34e300133734da2be4ff328d213a",
            "f4026b3af39aaa207d794c24b26e7e5979d06fd3aab7f94f257cf4ab5c54128c",
        ),
        ours(
            "off the wire of the Python SDK, with an STS token",
            "DescribeBackups",
            QUERY,
            &[
                sdk[0],
                sdk[1],
                ("x-acs-credentials-provider", "static_sts"),
                ("x-acs-accesskey-id", "testAKID"),
                ("x-acs-security-token", "testSTSToken=="),
            ],
            wire,
            "43f888418ed0797344ca24d2a9c231ae03479fd98394f252f791ed189d1edc29",
            "5b42cb7376ba96e09a1e1258be5ade2425030a73e6cfac46f81c7099f32a8be3",
        ),
    ]
}

fn now() -> Timestamp {
    "2026-01-02T03:05:00Z".parse().unwrap()
}

fn secret_of(id: &str) -> Option<Secret> {
    (id == "testAKID").then(|| Secret::new("testAKSecret"))
}

/// Signing gives the published digest and signature; verifying the same request accepts it.
#[test]
fn every_vector_of_acs3_is_signed_and_verified() {
    for v in vectors() {
        let request = acs3::Outgoing { method: "POST", query: &v.query, headers: &v.headers, body: b"" };
        let signature = acs3::sign(request, &Secret::new(v.secret)).unwrap();
        assert_eq!(signature.digest, v.digest, "{}", v.name);
        assert_eq!(signature.value, v.signature, "{}", v.name);
        let mut headers = v.headers.clone();
        headers.push(("Authorization".into(), signature.authorization(v.key)));
        // What a transport adds is not signed.
        headers.extend(owned(&[("Accept-Encoding", "identity"), ("Content-Length", "0")]));
        let request = Incoming { method: "POST", query: &v.query, headers: &headers, body: b"" };
        let at = acs3_date(&v.headers);
        let signed = verify(&request, |id| (id == v.key).then(|| Secret::new(v.secret)), at).expect(v.name);
        assert_eq!(signed.access_key_id, v.key);
        assert_eq!(signed.security_token.is_some(), v.name.contains("STS"));
    }
}

fn acs3_date(headers: &Params) -> Timestamp {
    headers.iter().find(|(k, _)| k == "x-acs-date").unwrap().1.parse().unwrap()
}

/// The request captured off the wire, header by header in its own order and case.
#[test]
fn a_captured_request_is_verified() {
    let headers = owned(&[
        ("Accept-Encoding", "identity"),
        ("Host", "127.0.0.1:18761"),
        ("X-Acs-Version", "2015-01-01"),
        ("x-acs-action", "DescribeBackups"),
        ("user-agent", SDK),
        ("x-acs-date", DATE),
        ("x-acs-signature-nonce", NONCE),
        ("accept", "application/json"),
        ("x-acs-content-sha256", EMPTY),
        ("x-acs-credentials-provider", "static_ak"),
        (
            "Authorization",
            "ACS3-HMAC-SHA256 Credential=testAKID,SignedHeaders=accept;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=f4026b3af39aaa207d794c24b26e7e5979d06fd3aab7f94f257cf4ab5c54128c",
        ),
        ("Content-Length", "0"),
    ]);
    let request = Incoming { method: "POST", query: QUERY, headers: &headers, body: b"" };
    let signed = verify(&request, secret_of, now()).unwrap();
    assert_eq!((signed.action.as_str(), signed.version.as_str()), ("DescribeBackups", "2015-01-01"));
    assert_eq!(signed.nonce, NONCE);
    assert!(signed.params.contains(&("StartTime".into(), "2026-01-01T00:00Z".into())));
}

/// Whatever is changed on the way, left out, or too old is refused, each with the cloud's own code.
#[test]
fn a_changed_request_is_refused() {
    type Change = fn(&mut Params, &mut String, &mut Vec<u8>);
    let changes: [(&str, Change, &str); 11] = [
        ("query", |_, q, _| q.push_str("&X=1"), "SignatureDoesNotMatch"),
        ("host", |h, _, _| h[0].1 = "evil.example".into(), "SignatureDoesNotMatch"),
        ("action", |h, _, _| h[2].1 = "DeleteInstance".into(), "SignatureDoesNotMatch"),
        ("body", |_, _, b| b.push(b'x'), "IncompleteSignature"),
        (
            "a second action",
            |h, _, _| h.insert(0, ("x-acs-action".into(), "DeleteInstance".into())),
            "SignatureDoesNotMatch",
        ),
        (
            "an unsigned x-acs header",
            |h, _, _| h.push(("x-acs-security-token".into(), "t".into())),
            "IncompleteSignature",
        ),
        (
            "an unsigned content type of a body",
            |h, _, b| {
                h.push(("content-type".into(), "application/json".into()));
                b.push(b'x');
            },
            "IncompleteSignature",
        ),
        ("no date", |h, _, _| h.retain(|(k, _)| k != "x-acs-date"), "IncompleteSignature"),
        ("no authorization", |h, _, _| h.retain(|(k, _)| k != "authorization"), "IncompleteSignature"),
        (
            "a signature that is not hexadecimal",
            |h, _, _| {
                h.last_mut().unwrap().1.push('ü');
            },
            "SignatureDoesNotMatch",
        ),
        (
            "an authorization of noise",
            |h, _, _| h.last_mut().unwrap().1 = "ACS3-HMAC-SHA256 ,,=,;".into(),
            "IncompleteSignature",
        ),
    ];
    for (what, change, code) in changes {
        let mut headers = common("r-kvstore.aliyuncs.com", "DescribeBackups", &[]);
        let request = acs3::Outgoing { method: "POST", query: QUERY, headers: &headers, body: b"" };
        let authorization = acs3::sign(request, &Secret::new("testAKSecret")).unwrap().authorization("testAKID");
        headers.push(("authorization".into(), authorization));
        let (mut query, mut body) = (QUERY.to_owned(), Vec::new());
        change(&mut headers, &mut query, &mut body);
        let request = Incoming { method: "POST", query: &query, headers: &headers, body: &body };
        assert_eq!(verify(&request, secret_of, now()).expect_err(what).code(), code, "{what}");
    }
}

/// The official Python SDK's asynchronous half lets its transport add a content type, unsigned, to a body that is empty.
#[test]
fn a_content_type_of_nothing_may_be_unsigned() {
    let mut headers = common("r-kvstore.aliyuncs.com", "DescribeBackups", &[]);
    let request = acs3::Outgoing { method: "POST", query: QUERY, headers: &headers, body: b"" };
    let authorization = acs3::sign(request, &Secret::new("testAKSecret")).unwrap().authorization("testAKID");
    headers
        .extend([("authorization".into(), authorization), ("content-type".into(), "application/octet-stream".into())]);
    let request = Incoming { method: "POST", query: QUERY, headers: &headers, body: b"" };
    verify(&request, secret_of, now()).unwrap();
}

/// Fifteen minutes either way, and an access key that nobody has.
#[test]
fn the_clock_and_the_key_are_checked() {
    let mut headers = common("r-kvstore.aliyuncs.com", "DescribeBackups", &[]);
    let request = acs3::Outgoing { method: "POST", query: QUERY, headers: &headers, body: b"" };
    let authorization = acs3::sign(request, &Secret::new("testAKSecret")).unwrap().authorization("testAKID");
    headers.push(("authorization".into(), authorization));
    let request = Incoming { method: "POST", query: QUERY, headers: &headers, body: b"" };
    for (at, fine) in [
        ("2026-01-02T03:19:05Z", true),
        ("2026-01-02T03:19:06Z", false),
        ("2026-01-02T02:49:05Z", true),
        ("2026-01-02T02:49:04Z", false),
    ] {
        let result = verify(&request, secret_of, at.parse().unwrap());
        assert_eq!(result.map(|_| ()), if fine { Ok(()) } else { Err(Refusal::DateExpired) }, "{at}");
    }
    assert_eq!(verify(&request, |_| None, now()).unwrap_err(), Refusal::UnknownAccessKey);
}

/// A form in the body is signed by its hash, and its parameters are the action's.
#[test]
fn a_form_in_the_body_counts() {
    let body = b"InstanceId=r-1&FilterKey=a%20b";
    let mut headers = common("h", "RestoreInstance", &[("content-type", "application/x-www-form-urlencoded")]);
    headers.iter_mut().filter(|(k, _)| k == "x-acs-content-sha256").for_each(|(_, v)| *v = acs3::content_hash(body));
    let request = acs3::Outgoing { method: "POST", query: "", headers: &headers, body };
    let authorization = acs3::sign(request, &Secret::new("testAKSecret")).unwrap().authorization("testAKID");
    headers.push(("authorization".into(), authorization));
    let signed = verify(&Incoming { method: "POST", query: "", headers: &headers, body }, secret_of, now()).unwrap();
    assert_eq!(signed.params, owned(&[("InstanceId", "r-1"), ("FilterKey", "a b")]));
}

fn v1() -> Params {
    let mut params = tair_backup_mcp::tair::params::parse(QUERY);
    params.extend(owned(&[
        ("Action", "DescribeBackups"),
        ("Version", "2015-01-01"),
        ("Format", "json"),
        ("Timestamp", DATE),
        ("SignatureNonce", NONCE),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("AccessKeyId", "testAKID"),
    ]));
    params
}

/// The captured request and the documentation's example of the older signature.
#[test]
fn every_vector_of_v1_is_signed_and_verified() {
    let mut params = v1();
    assert_eq!(
        rpc1::string_to_sign("POST", &params),
        "POST&%2F&AccessKeyId%3DtestAKID%26Action%3DDescribeBackups%26EndTime%3D2026-01-02T23%253A59Z%26Format%3Djson%26InstanceId%3Dr-bp1zxszhcgatnx0001%26PageNumber%3D1%26PageSize%3D30%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D5ad5d3aeff3f4d7a8e5bdf3bbaaf7e55%26SignatureVersion%3D1.0%26StartTime%3D2026-01-01T00%253A00Z%26Timestamp%3D2026-01-02T03%253A04%253A05Z%26Version%3D2015-01-01"
    );
    let signature = rpc1::sign("POST", &params, &Secret::new("testAKSecret")).unwrap();
    assert_eq!(signature, "yTBL0B0R1XSyUsyhlkz6leKSiR4=");
    params.push(("Signature".into(), signature));
    let asked = Cell::new(0);
    let find = |id: &str| {
        asked.set(asked.get() + 1);
        secret_of(id)
    };
    let query = canonical(&params);
    let request = Incoming { method: "POST", query: &query, headers: &[], body: b"" };
    let signed = verify(&request, find, now()).unwrap();
    assert_eq!(asked.get(), 1);
    assert_eq!(signed.action, "DescribeBackups");
    assert_eq!(canonical(&signed.params), QUERY);
    // The SDK names the action in headers as well.
    let headers = owned(&[("x-acs-action", "DescribeBackups"), ("x-acs-version", "2015-01-01")]);
    verify(&Incoming { headers: &headers, ..request }, secret_of, now()).unwrap();
    // What they say must be what was signed.
    for other in [("x-acs-action", "RestoreInstance"), ("X-Acs-Version", "2014-05-26")] {
        let headers = [headers.clone(), owned(&[other])].concat();
        let refusal = verify(&Incoming { headers: &headers, ..request }, secret_of, now()).unwrap_err();
        assert_eq!(refusal.code(), "IncompleteSignature", "{other:?}");
    }
    for missing in ["Action", "Version"] {
        let mut fewer = v1();
        fewer.retain(|(name, _)| name != missing);
        let signature = rpc1::sign("POST", &fewer, &Secret::new("testAKSecret")).unwrap();
        fewer.push(("Signature".into(), signature));
        let query = canonical(&fewer);
        let refusal = verify(&Incoming { query: &query, headers: &headers, ..request }, secret_of, now()).unwrap_err();
        assert_eq!(refusal.code(), "IncompleteSignature", "{missing}");
    }
    // A refusal repeats the string to sign as far as a reader can use it.
    let long = format!("{query}&Z={}", "z".repeat(100_000));
    let refusal = verify(&Incoming { query: &long, ..request }, secret_of, now()).unwrap_err();
    assert!(refusal.to_string().len() < 5000, "{}", refusal.to_string().len());
    // Another method, another parameter: refused.
    for other in [Incoming { method: "GET", ..request }, Incoming { query: &format!("{query}&Z=1"), ..request }] {
        assert_eq!(verify(&other, secret_of, now()).unwrap_err().code(), "SignatureDoesNotMatch");
    }

    let example = owned(&[
        ("Timestamp", "2016-02-23T12:46:24Z"),
        ("Format", "XML"),
        ("AccessKeyId", "testid"),
        ("Action", "DescribeRegions"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
        ("Version", "2014-05-26"),
        ("SignatureVersion", "1.0"),
    ]);
    let signature = rpc1::sign("GET", &example, &Secret::new("testsecret")).unwrap();
    assert_eq!(signature, "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
}
