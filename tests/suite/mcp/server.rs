//! The MCP server on a bare pipe, in both eras of the protocol: it lists and calls, asks the person as each era does, takes
//! nothing but an answer to its question as a yes, and survives any input.

use crate::support::{Bench, Redis, text, write_over};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tair_backup_mcp::tools::registry::NAMES;

/// Time limit of an answer.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// With the `initialize` handshake; the server asks with a request of its own.
    Handshake,
    /// Each request says for itself what it can do; the server asks in its result.
    Stateless,
}

pub(super) const ERAS: [Era; 2] = [Era::Handshake, Era::Stateless];

/// A client that writes lines and reads lines.
pub(super) struct Wire {
    era: Era,
    can_ask: bool,
    pub(super) child: Child,
    pub(super) stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    id: u64,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Wire {
    /// A server that has been sent nothing yet.
    pub(super) fn bare(bench: &Bench, era: Era, can_ask: bool) -> Self {
        Self::over(bench.command(&["serve"]), era, can_ask)
    }

    fn over(mut command: Command, era: Era, can_ask: bool) -> Self {
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Whatever is on standard output is the protocol.
                let message = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                if to.send(message).is_err() {
                    return;
                }
            }
        });
        Self { era, can_ask, child, stdin, lines, id: 0 }
    }

    /// A session that has begun, as its era begins one.
    pub(super) fn new(bench: &Bench, era: Era, can_ask: bool) -> Self {
        Self::of(bench.command(&["serve"]), era, can_ask)
    }

    /// The same with a server that is started otherwise.
    pub(super) fn of(command: Command, era: Era, can_ask: bool) -> Self {
        let mut wire = Self::over(command, era, can_ask);
        if era == Era::Handshake {
            let hello = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": if can_ask { json!({ "elicitation": {} }) } else { json!({}) },
                "clientInfo": { "name": "test", "version": "1" },
            });
            let welcome = wire.request("initialize", hello);
            assert_eq!(welcome["result"]["protocolVersion"], "2025-11-25", "{welcome}");
            assert!(welcome["result"]["instructions"].is_string(), "{welcome}");
            wire.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        wire
    }

    pub(super) fn line(&mut self, line: &str) {
        self.bytes(line.as_bytes());
    }

    pub(super) fn bytes(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
    }

    pub(super) fn send(&mut self, message: &Value) {
        self.line(&message.to_string());
    }

    pub(super) fn next(&self) -> Value {
        self.lines.recv_timeout(WITHIN).expect("the server wrote nothing")
    }

    /// Sends a request; its id.
    pub(super) fn begin(&mut self, method: &str, mut params: Value) -> u64 {
        self.id += 1;
        if self.era == Era::Stateless {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": if self.can_ask { json!({ "elicitation": {} }) } else { json!({}) },
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            });
        }
        let id = self.id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The answer to a request; no question may come before it.
    pub(super) fn answer(&self, id: u64) -> Value {
        loop {
            let message = self.next();
            assert!(message["method"].is_null() || message["id"].is_null(), "an unexpected question: {message}");
            if message["id"] == id {
                return message;
            }
        }
    }

    pub(super) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// A tool's result, whose two forms are the same.
    pub(super) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let reply = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(reply["error"].is_null(), "{reply}");
        both_forms(&reply["result"])
    }

    /// The question that a call leads to: its text, and what an answer needs.
    pub(super) fn question(&mut self, arguments: &Value) -> (String, Question) {
        let call = json!({ "name": "restore_instance", "arguments": arguments });
        let id = self.begin("tools/call", call.clone());
        loop {
            let message = self.next();
            if message["method"] == "elicitation/create" {
                assert_eq!(self.era, Era::Handshake, "a server of 2026-07-28 sends no requests: {message}");
                return (
                    text(&message["params"]["message"]),
                    Question { call, id, request: message["id"].clone(), state: Value::Null },
                );
            }
            if message["id"] == id {
                let result = &message["result"];
                assert_eq!((self.era, &result["resultType"]), (Era::Stateless, &"input_required".into()), "{message}");
                let form = &result["inputRequests"]["approval"]["params"];
                return (
                    text(&form["message"]),
                    Question { call, id, request: Value::Null, state: result["requestState"].clone() },
                );
            }
        }
    }

    /// Answers a question, as each era does; the structured result of the call.
    pub(super) fn reply(&mut self, pending: Question, answer: Value) -> Value {
        let message = if self.era == Era::Handshake {
            self.send(&json!({ "jsonrpc": "2.0", "id": pending.request, "result": answer }));
            self.answer(pending.id)
        } else {
            let mut call = pending.call;
            call["inputResponses"] = json!({ "approval": answer });
            call["requestState"] = pending.state;
            self.request("tools/call", call)
        };
        both_forms(&message["result"])["structuredContent"].clone()
    }
}

/// A result whose text says what its structured content does: a host shows a model the one or the other. A question has neither.
fn both_forms(result: &Value) -> Value {
    let told: Option<Value> = result["content"][0]["text"].as_str().map(|told| serde_json::from_str(told).unwrap());
    assert_eq!(told.as_ref(), result.get("structuredContent"), "{result}");
    result.clone()
}

/// A question that waits for its answer.
pub(super) struct Question {
    call: Value,
    pub(super) id: u64,
    pub(super) request: Value,
    pub(super) state: Value,
}

pub(super) fn accept(typed: &str) -> Value {
    json!({ "action": "accept", "content": { "instance_id": typed } })
}

/// A server with a backup and a write since; the digest at the backup.
pub(super) fn bench() -> (Redis, Bench, String, String) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let (intact, backup) = (redis.digest(), bench.backup());
    redis.run(&["SET", "marker", "written since"]);
    (redis, bench, backup, intact)
}

/// The arguments of a second call, from a first one.
pub(super) fn planned(wire: &mut Wire, backup: &str) -> Value {
    let mut arguments = json!({ "instance_id": "orders", "backup_id": backup });
    let plan = wire.call("restore_instance", arguments.clone());
    let token = plan["structuredContent"]["confirmation_token"].clone();
    assert!(token.is_string(), "{plan}");
    arguments["confirmation_token"] = token;
    arguments
}

/// Every tool is listed as it is published, and a call answers structured and, the same, as text.
#[test]
fn lists_and_calls_in_both_eras() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        let listed = wire.request("tools/list", json!({}))["result"].clone();
        let names: Vec<&str> =
            listed["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        assert_eq!(names, NAMES, "{era:?}");
        if era == Era::Stateless {
            assert_eq!(listed["resultType"], "complete", "{listed}");
            assert!(listed["ttlMs"].as_u64() > Some(0) && listed["cacheScope"] == "public", "{listed}");
        }
        let prompts = wire.request("prompts/list", json!({}))["result"]["prompts"].clone();
        let names: Vec<&str> = prompts.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["safe_restore", "find_the_mistake", "before_risky_change"], "{era:?}");
        let result = wire.call("describe_instances", json!({}));
        let instance = &result["structuredContent"]["instances"][0];
        assert_eq!((&instance["instance_id"], &instance["keys"]), (&"orders".into(), &1.into()), "{result}");
        assert_eq!(result["isError"], false, "{era:?}: {result}");
        let made = wire.call("create_backup", json!({ "instance_id": "orders", "wait_seconds": 60 }));
        assert_eq!(made["structuredContent"]["status"], "succeeded", "{made}");
    }
}

/// A plan, its end and a refusal say nothing twice, whichever form a host shows; at the command line the same plan is whole.
#[test]
fn replies_are_brief_in_both_eras() {
    for era in ERAS {
        let (_redis, bench, backup, _) = bench();
        let arguments = json!({ "instance_id": "orders", "backup_id": backup });
        let whole = bench.json(&["restore-instance", "--instance-id", "orders", "--backup-id", &backup]);
        let checks = whole["prechecks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["detail"].is_string()) && whole["passed"].is_null(), "{whole}");
        assert!(whole["plan"]["sha256"].is_string() && whole["plan"]["way_meaning"].is_string(), "{whole}");
        assert!(whole["plan"]["safety_backup_id"].is_string(), "{whole}");

        let mut wire = Wire::new(&bench, era, true);
        let plan = wire.call("restore_instance", arguments.clone())["structuredContent"].clone();
        let mut names: Vec<String> = plan["passed"].as_array().unwrap().iter().map(text).collect();
        assert!(["backup_verified", "restore_way"].iter().all(|name| names.iter().any(|n| n == name)), "{plan}");
        for check in plan["prechecks"].as_array().into_iter().flatten() {
            assert!(check["status"] == "warn" && check["detail"].is_string(), "{plan}");
            names.push(text(&check["name"]));
        }
        let mut all: Vec<String> = checks.iter().map(|check| text(&check["name"])).collect();
        names.sort();
        all.sort();
        assert_eq!(names, all, "{plan}");
        for told in ["sha256", "way_meaning", "safety_backup_id"] {
            assert!(plan["plan"].get(told).is_none(), "{told}: {plan}");
        }
        for same in ["act", "instance_id", "address", "backup_id", "way", "confirmation"] {
            assert_eq!(plan["plan"][same], whole["plan"][same], "{plan}");
        }
        assert!(text(&plan["impact"]["way_back"]).contains("backup_id b-"), "{plan}");

        let mut echoed = arguments.clone();
        echoed["confirmation_token"] = plan["confirmation_token"].clone();
        let (_, pending) = wire.question(&echoed);
        let done = wire.reply(pending, accept("orders"));
        assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{done}");
        assert!(done.get("plan").is_none() && text(&done["next_actions"][0]).starts_with("to get back: "), "{done}");

        let data = bench.home().join("vault/orders").join(&backup).join("data.rdb.zst");
        let mut bytes = std::fs::read(&data).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] = !bytes[middle];
        write_over(&data, &bytes);
        let id = ["--instance-id", "orders", "--backup-id", backup.as_str(), "--level", "checksum"];
        let found = bench.run(&[&["verify-backup"], &id[..]].concat());
        assert_eq!(found.code, 6, "{found:?}");
        let refused = wire.call("restore_instance", arguments)["structuredContent"].clone();
        assert_eq!(refused["status"], "blocked", "{refused}");
        assert!(refused["prechecks"].as_array().unwrap().iter().all(|check| check["status"] != "pass"), "{refused}");
        let blocks = json!({ "name": "backup_verified", "status": "block" });
        assert!(refused["prechecks"].as_array().unwrap().contains(&blocks), "{refused}");
        let message = text(&refused["message"]);
        assert!(message.contains("backup_verified: ") && message.contains("data.rdb.zst"), "{refused}");
        assert!(refused["hint"].is_string() && refused["next_actions"].is_array(), "{refused}");
    }
}

/// The person sees the plan and types the id: only then is anything overwritten, and the reply says that a person agreed.
#[test]
fn the_typed_id_is_a_yes_in_both_eras() {
    for era in ERAS {
        let (redis, bench, backup, intact) = bench();
        let mut wire = Wire::new(&bench, era, true);
        let arguments = planned(&mut wire, &backup);
        let before = redis.digest();
        let (question, pending) = wire.question(&arguments);
        assert!(question.contains(&backup) && question.contains("orders"), "{question}");
        assert_eq!(redis.digest(), before, "asking changes nothing");
        let done = wire.reply(pending, accept("orders"));
        assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{era:?}: {done}");
        assert_eq!(redis.digest(), intact, "{era:?}");
        let again = wire.call("restore_instance", arguments);
        assert_eq!(
            (&again["isError"], &again["structuredContent"]["code"]),
            (&true.into(), &"confirm.used".into()),
            "{again}"
        );
    }
}

/// A no voids the token; a closed question and a wrong answer leave it open; none of them overwrites anything.
#[test]
fn anything_else_is_no_yes_in_both_eras() {
    for era in ERAS {
        let (redis, bench, backup, _) = bench();
        let mut wire = Wire::new(&bench, era, true);
        let arguments = planned(&mut wire, &backup);
        let before = redis.digest();
        for (answer, code) in
            [(json!({ "action": "cancel" }), "person.dismissed"), (accept("order"), "person.not_confirmed")]
        {
            let (_, pending) = wire.question(&arguments);
            let reply = wire.reply(pending, answer.clone());
            assert_eq!(
                (&reply["status"], &reply["code"]),
                (&"approval_required".into(), &code.into()),
                "{era:?} {answer}"
            );
        }
        let (_, pending) = wire.question(&arguments);
        let declined = wire.reply(pending, json!({ "action": "decline" }));
        assert_eq!(
            (&declined["status"], &declined["code"]),
            (&"declined".into(), &"person.declined".into()),
            "{declined}"
        );
        let after = wire.call("restore_instance", arguments);
        assert_eq!(after["structuredContent"]["code"], "confirm.used", "{era:?}: {after}");
        assert_eq!(redis.digest(), before, "{era:?}");
    }
}

/// A question that a client never answers counts as well: a fourth is not put, and the answers to the others count all the same.
#[test]
fn questions_left_open_are_not_put_without_end() {
    let (redis, bench, backup, _) = bench();
    let mut wire = Wire::new(&bench, Era::Stateless, true);
    let arguments = planned(&mut wire, &backup);
    let before = redis.digest();
    let mut asked: Vec<_> = (0..3).map(|_| wire.question(&arguments).1).collect();
    let pending = asked.remove(1);
    for _ in 0..2 {
        let more = wire.call("restore_instance", arguments.clone())["structuredContent"].clone();
        assert_eq!(more["code"], "person.dismissed", "{more}");
        assert!(text(&more["message"]).contains("asked 3 times"), "{more}");
    }
    assert_eq!(redis.digest(), before);
    let done = wire.reply(pending, accept("orders"));
    assert_eq!(done["status"], "succeeded", "{done}");
}

/// Nobody is asked without end: the third question that is closed, or answered with something else than a yes, voids the token, also
/// where a client answers with an error after it has asked.
#[test]
fn the_third_question_without_a_yes_is_the_last_in_both_eras() {
    for era in ERAS {
        let (redis, bench, backup, _) = bench();
        let mut wire = Wire::new(&bench, era, true);
        let arguments = planned(&mut wire, &backup);
        let before = redis.digest();
        let (_, pending) = wire.question(&arguments);
        if era == Era::Handshake {
            let error = json!({ "code": -32000, "message": "the user has gone" });
            wire.send(&json!({ "jsonrpc": "2.0", "id": pending.request, "error": error }));
            let reply = wire.answer(pending.id)["result"]["structuredContent"].clone();
            assert_eq!(reply["code"], "person.dismissed", "{reply}");
        } else {
            let reply = wire.reply(pending, json!({ "action": "cancel" }));
            assert_eq!(reply["code"], "person.dismissed", "{reply}");
        }
        let more = json!({ "action": "accept", "content": { "instance_id": "orders", "sure": false } });
        for (answer, void) in [(more, false), (json!({ "action": "cancel" }), true)] {
            let (_, pending) = wire.question(&arguments);
            let reply = wire.reply(pending, answer);
            assert_eq!(reply["status"], "approval_required", "{era:?}: {reply}");
            assert_eq!(reply["expires_at"].is_null(), void, "{era:?}: {reply}");
            assert_eq!(text(&reply["message"]).contains("token is void"), void, "{era:?}: {reply}");
        }
        let after = wire.call("restore_instance", arguments);
        assert_eq!(after["structuredContent"]["code"], "confirm.used", "{era:?}: {after}");
        assert_eq!(redis.digest(), before, "{era:?}");
    }
}

/// A client that cannot ask is told who can approve; an answer to no question counts for nothing.
#[test]
fn without_a_question_there_is_no_answer() {
    let (redis, bench, backup, _) = bench();
    let before = redis.digest();
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        let arguments = planned(&mut wire, &backup);
        let reply = wire.call("restore_instance", arguments)["structuredContent"].clone();
        assert_eq!(reply["code"], "person.no_channel", "{era:?}: {reply}");
        assert!(text(&reply["next_actions"][0]).contains(" approve --plan p-"), "{reply}");
    }
    let mut wire = Wire::new(&bench, Era::Stateless, true);
    let arguments = planned(&mut wire, &backup);
    let (_, pending) = wire.question(&arguments);
    let sealed = text(&pending.state);
    let forged = format!("{}{}", if sealed.starts_with('A') { "B" } else { "A" }, &sealed[1..]);
    for state in [Value::Null, "".into(), forged.into()] {
        let mut call = pending.call.clone();
        call["inputResponses"] = json!({ "approval": accept("orders") });
        if !state.is_null() {
            call["requestState"] = state.clone();
        }
        let reply = wire.request("tools/call", call);
        assert_ne!(reply["result"]["structuredContent"]["status"], "succeeded", "{state}: {reply}");
        assert_eq!(redis.digest(), before, "{state}");
    }
}

/// A call that is cancelled while the person thinks overwrites nothing, and its late answer neither; the token stays good.
#[test]
fn a_cancelled_call_changes_nothing() {
    let (redis, bench, backup, intact) = bench();
    let mut wire = Wire::new(&bench, Era::Handshake, true);
    let arguments = planned(&mut wire, &backup);
    let before = redis.digest();
    let (_, pending) = wire.question(&arguments);
    let cancelled = json!({ "requestId": pending.id, "reason": "the user stopped it" });
    wire.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled }));
    wire.send(&json!({ "jsonrpc": "2.0", "id": pending.request, "result": accept("orders") }));
    let id = wire.begin("tools/list", json!({}));
    loop {
        let message = wire.next();
        if message["id"] == pending.id {
            assert_ne!(message["result"]["structuredContent"]["status"], "succeeded", "{message}");
        }
        if message["id"] == id {
            break;
        }
    }
    assert_eq!(redis.digest(), before);
    let (_, pending) = wire.question(&arguments);
    let done = wire.reply(pending, accept("orders"));
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(redis.digest(), intact);
}

/// An unknown tool is a fault of the protocol; wrong arguments are the model's to mend, so they are a result that names them.
#[test]
fn what_is_wrong_is_named_in_both_eras() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        let unknown = wire.request("tools/call", json!({ "name": "flush_instance", "arguments": {} }));
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        assert!(text(&unknown["error"]["message"]).contains("restore_instance"), "{unknown}");
        let long = format!("restore_instanse{}", " \u{202e}and more".repeat(100));
        for (name, near) in [("restore_instanse", true), (long.as_str(), false)] {
            let unknown = wire.request("tools/call", json!({ "name": name, "arguments": {} }));
            let told = text(&unknown["error"]["message"]);
            assert_eq!(told.contains("Did you mean restore_instance?"), near, "{told}");
            assert!(told.len() < 700 && !told.contains('\u{202e}'), "what was sent is cleaned and capped: {told}");
        }
        for (tool, arguments, code, named) in [
            ("describe_backups", json!({}), "arguments.invalid", "instance_id"),
            ("describe_backups", json!({ "instance_id": 7 }), "arguments.invalid", "instance_id"),
            (
                "describe_backups",
                json!({ "instance_id": "orders", "page_size": "20" }),
                "arguments.invalid",
                "page_size",
            ),
            ("restore_instance", json!({ "instance_id": "orders", "yes": true }), "arguments.invalid", "yes"),
            ("restore_instance", json!({ "instance_id": "orders" }), "arguments.invalid", "backup_id"),
            ("create_backup", json!({ "instance_id": "order" }), "instance.not_found", "orders"),
            ("create_backup", json!({ "instance_id": "../orders" }), "instance.bad_id", "letters"),
        ] {
            let result = wire.call(tool, arguments.clone());
            let fault = &result["structuredContent"];
            assert_eq!(
                (&result["isError"], &fault["code"]),
                (&true.into(), &code.into()),
                "{era:?} {arguments}: {result}"
            );
            assert!(fault["now"].is_string(), "{era:?} {arguments}: {result}");
            let message = format!("{} {}", fault["message"], fault["hint"]);
            assert!(message.contains(named), "{era:?} {arguments}: {message}");
        }
        let prompt = wire.request("prompts/get", json!({ "name": "safe_restor" }));
        assert!(text(&prompt["error"]["message"]).contains("safe_restore"), "{prompt}");
    }
}

/// Lines that are no messages do not end the server, and a client that leaves does, well.
#[test]
fn nonsense_is_survived_and_leaving_ends_it() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    for era in ERAS {
        let mut wire = Wire::new(&bench, era, false);
        wire.request("tools/list", json!({}));
        for line in
            ["nonsense", "{}", "[]", "{\"jsonrpc\":\"2.0\"", "\u{0}", "{\"jsonrpc\":\"2.0\",\"method\":\"no/such\"}"]
        {
            wire.line(line);
        }
        let listed = wire.request("tools/list", json!({}));
        assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(NAMES.len()), "{era:?}: {listed}");
        drop(wire.stdin.take());
        let ended = crate::support::wait("the server to end", WITHIN, || wire.child.try_wait().unwrap());
        assert!(ended.success(), "{era:?}: {ended}");
    }
}
