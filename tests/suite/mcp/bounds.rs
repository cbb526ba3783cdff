//! Whatever a client sends is answered where an answer is awaited, with the limit that it broke and nothing of what was sent; and the
//! server goes on.

use super::server::{ERAS, Era, WITHIN, Wire, accept, bench, planned};
use crate::support::{Bench, Redis, text, wait};
use serde_json::{Value, json};
use tair_backup_mcp::mcp::transport::MESSAGE_MAX;

/// A call of a tool whose argument `note` stands as given, with the id at the end as some clients write it.
fn call(note: &[u8], id: &str) -> Vec<u8> {
    let head =
        br#"{"method":"tools/call","params":{"name":"create_backup","arguments":{"instance_id":"orders","note":"#;
    [&head[..], note, br#"}},"jsonrpc":"2.0","id":"#, id.as_bytes(), b"}"].concat()
}

/// Too long, too deep, no JSON, no message: each is answered under its id where it has one, in both eras, and nothing is echoed.
#[test]
fn what_cannot_be_read_is_answered() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let quoted = |text: &str| format!("\"{text}\"").into_bytes();
    let long = "z".repeat(2 * MESSAGE_MAX);
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
    let method =
        |name: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":\"{name}\",\"params\":{{}}}}").into_bytes();
    let many = format!("{MESSAGE_MAX}");
    let version = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":\"tools/list\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"{}\"}}}}}}",
        "z".repeat(1000)
    );
    let cases: [(Vec<u8>, i64, Value, &str); 15] = [
        (version.into_bytes(), -32602, 99.into(), "64"),
        (call(&quoted(&long), "99"), -32600, 99.into(), &many),
        (call(&quoted(&long), "\"a b\""), -32600, "a b".into(), &many),
        (long.clone().into_bytes(), -32600, Value::Null, &many),
        (call(&nested(100), "99"), -32600, 99.into(), "64"),
        (call(&nested(100_000), "99"), -32600, 99.into(), "64"),
        (call(br#""\ud800""#, "99"), -32700, 99.into(), "not JSON"),
        (call(b"\"\xff\xfe\"", "99"), -32700, 99.into(), "not JSON"),
        (call(b"\"\x01\"", "99"), -32700, 99.into(), "not JSON"),
        (b"{\"id\":99,\"method\":".to_vec(), -32700, 99.into(), "not JSON"),
        (b"zz".to_vec(), -32700, Value::Null, "not JSON"),
        (br#"{"jsonrpc":"2.0","id":99}"#.to_vec(), -32600, 99.into(), "no message"),
        (br#"[{"jsonrpc":"2.0","id":99,"method":"ping"}]"#.to_vec(), -32600, Value::Null, "no message"),
        (method(&"z".repeat(1000)), -32601, 99.into(), "128"),
        (call(b"1", &format!("\"{}\"", "z".repeat(257))), -32600, Value::Null, "256"),
    ];
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        for (line, code, id, told) in &cases {
            let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            wire.bytes(line);
            let answer = wire.next();
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), id), "{era:?} {shown}: {answer}");
            let message = text(&answer["error"]["message"]);
            assert!(
                message.contains(told) && message.len() < 300 && !message.contains("zz"),
                "{era:?} {shown}: {message}"
            );
        }
        let listed = wire.request("tools/list", json!({}));
        assert!(listed["result"]["tools"].is_array(), "{era:?}: {listed}");
    }
}

/// A message as long as may be is read; its argument is refused by name, and so are a long name and a long tool.
#[test]
fn what_is_read_is_bounded_by_name() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let long = "z".repeat(MESSAGE_MAX - 1000);
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        for (tool, arguments, told) in [
            ("restore_instance", json!({ long.clone(): 1 }), "at most 64"),
            (
                "download_backup",
                json!({ "instance_id": "orders", "directory": "d/".repeat(400 << 10) }),
                "at most 4096",
            ),
            ("create_backup", json!({ "instance_id": "orders", "note": long }), "note has"),
            ("describe_instances", json!({ "search": long }), "search has"),
            ("describe_jobs", json!({ "job_id": long }), "job_id has"),
            ("describe_backups", json!({ "instance_id": "orders", "start_time": [[[1]]] }), "nested"),
        ] {
            let result = wire.call(tool, arguments);
            let fault = &result["structuredContent"];
            assert_eq!((&result["isError"], &fault["code"]), (&true.into(), &"arguments.invalid".into()), "{fault}");
            let message = text(&fault["message"]);
            assert!(message.contains(told) && message.len() < 300 && !message.contains("zz"), "{tool}: {message}");
        }
        for (method, params) in [
            ("tools/call", json!({ "name": long, "arguments": {} })),
            ("prompts/get", json!({ "name": long })),
            ("prompts/get", json!({ "name": "safe_restore", "arguments": { "instance_id": long } })),
            ("prompts/get", json!({ "name": "safe_restore", "arguments": { long.clone(): "a" } })),
        ] {
            let told = text(&wire.request(method, params)["error"]["message"]);
            assert!(told.contains("at most") && told.len() < 400 && !told.contains("zz"), "{method}: {told}");
        }
        let listed = wire.request("tools/list", json!({}));
        assert!(listed["result"]["tools"].is_array(), "{era:?}: {listed}");
    }
    let mut wire = Wire::new(&bench, Era::Handshake, false);
    let call = json!({ "name": "describe_instances", "arguments": {}, "_meta": { "progressToken": long } });
    let refused = wire.request("tools/call", call);
    assert!(text(&refused["error"]["message"]).contains("at most 256"), "{refused}");
}

/// However many calls come at once, each is answered: those that are too many with the reason, and they were not begun.
#[test]
fn too_many_calls_at_once_are_answered() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let calls = 2000;
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        let ids: std::collections::BTreeSet<u64> = (0..calls)
            .map(|_| wire.begin("tools/call", json!({ "name": "describe_instances", "arguments": {} })))
            .collect();
        let (mut answered, mut refused) = (std::collections::BTreeSet::new(), 0);
        while answered.len() < calls {
            let answer = wire.next();
            assert!(answered.insert(answer["id"].as_u64().unwrap()), "answered twice: {answer}");
            let reply = &answer["result"]["structuredContent"];
            if answer["result"]["isError"] == true {
                assert_eq!(reply["code"], "call.too_many", "{answer}");
                refused += 1;
            } else {
                assert_eq!(reply["instances"][0]["instance_id"], "orders", "{answer}");
            }
        }
        assert_eq!(answered, ids, "{era:?}");
        assert!(refused > 0 && refused < calls, "{era:?}: {refused} were refused");
        let one = wire.call("describe_instances", json!({}));
        assert_eq!(one["isError"], false, "{era:?}: {one}");
    }
}

/// An answer to our own question that cannot be read is no yes, and ends the question: the call does not wait until the token expires.
#[test]
fn an_unreadable_answer_ends_the_question() {
    let (redis, bench, backup, _) = bench();
    let mut wire = Wire::new(&bench, Era::Handshake, true);
    let arguments = planned(&mut wire, &backup);
    let before = redis.digest();
    for long in [false, true] {
        let (_, pending) = wire.question(&arguments);
        let mut answer = json!({ "jsonrpc": "2.0", "id": pending.request, "result": accept("orders") }).to_string();
        let more = if long { format!("\"{}\"", "z".repeat(2 * MESSAGE_MAX)) } else { "\"\\ud800\"".into() };
        answer.insert_str(answer.len() - 1, &format!(",\"more\":{more}"));
        wire.line(&answer);
        let reply = wire.answer(pending.id)["result"]["structuredContent"].clone();
        assert_eq!(
            (&reply["status"], &reply["code"]),
            (&"approval_required".into(), &"person.dismissed".into()),
            "{reply}"
        );
    }
    assert_eq!(redis.digest(), before);
}

/// What comes before the first request does not end the server, nor does a last line without its end go unread.
#[test]
fn the_first_and_the_last_line() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let mut wire = Wire::bare(&bench, Era::Stateless, false);
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        "",
        " \r",
    ] {
        wire.line(line);
    }
    let listed = wire.request("tools/list", json!({}));
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    wire.bytes(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let mut stdin = wire.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &call(br#""\ud800""#, "41")).unwrap();
    drop(stdin);
    let answer = wire.next();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&41.into(), &json!(-32700)), "{answer}");
    let ended = wait("the server to end", WITHIN, || wire.child.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
