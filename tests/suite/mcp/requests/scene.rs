//! The world of the requests: a production instance with a log, a staging instance, a Sentinel and a cluster, one server that speaks MCP to a client
//! which cannot ask a person, and that person at a terminal. What an agent reads is counted as it comes, in both forms of a reply.

use crate::cli::approve::{QUESTION, pasted};
use crate::mcp::server::{Era, WITHIN, Wire};
use crate::support::log::begun;
use crate::support::{Bench, Done, Redis, Reply, text, wait};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tair_backup_mcp::tools::registry::NAMES;
use tiktoken_rs::CoreBPE;

/// What stands before the command that a person is to run.
const PERSON_RUNS: &str = "a person runs: ";

pub struct Scene {
    // The server ends before what it works on.
    wire: Wire,
    pub bench: Bench,
    /// Production, whose log is kept.
    pub orders: Redis,
    pub staging: Redis,
    /// Two shards of a cluster, of which only the first is configured; and a Sentinel that watches the second.
    pub nodes: [Redis; 2],
    _sentinel: Redis,
    /// The set that [`super::keeping::back_up`] takes of `orders`.
    pub backup: String,
    bpe: CoreBPE,
    /// Tokens of each reply since the last request ended, by tool.
    replies: Vec<(String, usize)>,
    /// The same of the request that ended last.
    told: Vec<(String, usize)>,
}

impl Scene {
    pub fn new() -> Self {
        let [orders, staging] = [(); 2].map(|()| Redis::start("redis-7.0", &[]));
        let nodes = [(); 2].map(|()| Redis::start("redis-7.0", &["--cluster-enabled", "yes"]));
        nodes[0].run(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
        nodes[1].run(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
        nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string()]);
        let sentinel = Redis::start("redis-7.0", &["{dir}/sentinel.conf", "--sentinel"]);
        sentinel.run(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &nodes[1].port.to_string(), "1"]);
        let set = |kind: &str, n: usize| vec!["SET".to_owned(), format!("{kind}:{n}"), format!("{kind} {n}")];
        let kinds = [("user", 100), ("session", 60), ("cart", 40)];
        let data: Vec<_> = kinds.iter().flat_map(|(kind, count)| (0..*count).map(|n| set(kind, n))).collect();
        orders.try_all(&data).unwrap();

        let mut config = String::from("background = true\n[backup_log]\nseal_seconds = 1\n");
        for (id, redis) in [("orders", &orders), ("staging", &staging), ("watch", &sentinel), ("shard", &nodes[0])] {
            config += &format!("[[instance]]\nid = \"{id}\"\nurl = \"{}\"\n", redis.url());
            config += if id == "orders" { "enable_backup_log = true\n" } else { "" };
        }
        let bench = Bench::new(&config);
        let wire = Wire::of(bench.command(&["serve"]), Era::Handshake, false);
        begun(&bench, &orders);
        wait("the cluster", Duration::from_secs(60), || {
            let known = |node: &Redis| matches!(node.run(&["CLUSTER", "SLOTS"]), Reply::List(all) if all.len() == 2);
            nodes.iter().all(known).then_some(())
        });
        Self {
            wire,
            bench,
            orders,
            staging,
            nodes,
            _sentinel: sentinel,
            backup: String::new(),
            bpe: tiktoken_rs::o200k_base().unwrap(),
            replies: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Calls and tokens since this was asked last.
    pub fn cost(&mut self) -> (usize, usize) {
        self.told = std::mem::take(&mut self.replies);
        (self.told.len(), self.told.iter().map(|(_, tokens)| tokens).sum())
    }

    /// The tokens of each reply of the request that ended last.
    pub fn told(&self) -> String {
        let each: Vec<String> = self.told.iter().map(|(tool, tokens)| format!("{tool} {tokens}")).collect();
        each.join(", ")
    }

    /// Tokens of the reply that came last.
    pub fn last_tokens(&self) -> usize {
        self.replies.last().map_or(0, |(_, tokens)| *tokens)
    }

    /// Counts what the model reads, in each of the forms that a host may show it: the dearest counts.
    pub fn reads(&mut self, tool: &str, forms: &[&str]) {
        let tokens: Vec<usize> = forms.iter().map(|form| self.bpe.encode_ordinary(form).len()).collect();
        println!("  {tool}: {tokens:?} tokens: {}", forms[0]);
        self.replies.push((tool.to_owned(), *tokens.iter().max().unwrap()));
    }

    /// A call as an agent makes it: the reply is what the model reads of it, and the same whichever form its host shows.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.wire.call(tool, arguments);
        let [content] = result["content"].as_array().unwrap().as_slice() else { panic!("not one text: {result}") };
        let (told, structured) = (text(&content["text"]), &result["structuredContent"]);
        self.reads(tool, &[told.as_str(), structured.to_string().as_str()]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(&told, structured, "{tool}: a model reads other things in another host");
        told
    }

    /// Plays against another server, on a home of its own; that server ends with the play.
    pub fn elsewhere(&mut self, bench: &Bench, plays: impl FnOnce(&mut Self)) {
        let other = Wire::of(bench.command(&["serve"]), Era::Handshake, false);
        let ours = std::mem::replace(&mut self.wire, other);
        plays(self);
        self.wire = ours;
    }

    /// What a call of a tool that there is not is answered with.
    pub fn no_tool(&mut self, tool: &str) -> String {
        let answer = self.wire.request("tools/call", json!({ "name": tool, "arguments": {} }));
        let told = text(&answer["error"]["message"]);
        self.reads(tool, &[told.as_str()]);
        told
    }

    /// Makes the call that a sentence of a reply names.
    pub fn take(&mut self, sentence: &str) -> Value {
        let (tool, arguments) = call_in(sentence);
        self.call(tool, arguments)
    }

    /// The first call of a guarded tool, which makes a plan.
    pub fn plan(&mut self, tool: &str, arguments: &Value) -> Value {
        let plan = self.call(tool, arguments.clone());
        assert_eq!(plan["status"], "confirmation_required", "{plan}");
        assert!(plan["confirmation_token"].is_string() && plan["next_actions"].is_array(), "{plan}");
        plan
    }

    /// The second call; made again while a pre-check is pending, as its reply says.
    pub fn echo(&mut self, tool: &str, arguments: &Value, plan: &Value) -> Value {
        let mut arguments = arguments.clone();
        arguments["confirmation_token"] = plan["confirmation_token"].clone();
        wait("the pre-checks", WITHIN, || {
            let reply = self.call(tool, arguments.clone());
            (reply["status"] != "prechecks_pending").then_some(reply)
        })
    }

    /// A plan, what a person types at a terminal, and the act: the plan, and the end.
    pub fn agreed(&mut self, tool: &str, arguments: &Value, typed: &str) -> (Value, Value) {
        let plan = self.plan(tool, arguments);
        agrees(&plan["next_actions"][0], typed);
        let end = self.echo(tool, arguments, &plan);
        assert_eq!((&end["status"], &end["human_verified"]), (&"succeeded".into(), &true.into()), "{end}");
        (plan, end)
    }
}

/// A person pastes the command of a next step into a terminal, and answers the one plan that it puts by the id of its instance.
pub fn agrees(next: &Value, typed: &str) {
    let next = text(next);
    let command = next.strip_prefix(PERSON_RUNS).unwrap_or_else(|| panic!("nobody is told to run anything: {next}"));
    let seen = pasted(&json!([[QUESTION, typed]]), command);
    assert!(seen.code == 0 && seen.out.contains("Approved."), "{seen:?}");
}

/// What a person sees who pastes a command that ends a clone, and types its id.
pub fn ends(command: &str, id: &str) -> Done {
    pasted(&json!([["leaves it) > ", id]]), command)
}

/// What a person sees who pastes a command that asks nothing.
pub fn runs(command: &str) -> Done {
    pasted(&json!([]), command)
}

/// The call that a sentence names, `tool with name value and name value`, as an agent reads it.
pub fn call_in(sentence: &str) -> (&'static str, Value) {
    let named = NAMES.iter().filter_map(|tool| Some((sentence.find(&format!("{tool} with "))?, *tool))).min();
    let (at, tool) = named.unwrap_or_else(|| panic!("no call in {sentence:?}"));
    let mut words = sentence[at + tool.len() + " with ".len()..].split_whitespace();
    let mut arguments = Map::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        // What ends the sentence, or a part of it, is none of the value.
        let bare = value.trim_end_matches(['.', ',', ';', ':']);
        arguments.insert(name.to_owned(), bare.into());
        if bare != value || words.next() != Some("and") {
            break;
        }
    }
    (tool, arguments.into())
}
