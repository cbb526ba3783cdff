//! How the demo's steps speak: the agent's calls, as people read them, and what is expected of the replies.

use super::client::Client;
use super::stage::{Stage, Who};
use super::{Scene, failed};
use crate::cli::render::keys::lines;
use crate::cli::render::screen::Screen;
use crate::config::SANDBOX;
use crate::model::fault::Fault;
use serde_json::Value;

/// Most calls of a guarded tool: its pre-checks may be pending, and its plan void because something was written.
const CALLS_MAX: u32 = 8;

/// Fails the step unless the condition holds.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(failed(what())) }
}

/// The text at a place of a reply; empty where there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Another client with a server of its own, on the same home.
pub async fn connect(scene: &Scene, can_ask: bool) -> Result<Client, Fault> {
    let log = std::fs::File::options().create(true).append(true).open(scene.log());
    let log = log.map_err(|e| failed(format!("cannot write {}: {e}", scene.log().display())))?;
    Client::start(scene.command(["serve"])?, log, can_ask).await
}

/// The client that is connected.
pub fn client(scene: &mut Scene) -> Result<&mut Client, Fault> {
    scene.client.as_mut().ok_or_else(|| failed("there is no client"))
}

/// The agent's call, for people to read; of a token only the beginning.
pub fn shown(tool: &str, arguments: &Value) -> String {
    let mut parts = vec![tool.to_owned()];
    for (name, value) in arguments.as_object().into_iter().flatten() {
        parts.push(match value.as_str() {
            Some(token) if name == "confirmation_token" => format!("{name}={}", short(token)),
            _ => format!("{name}={value}"),
        });
    }
    parts.join(" ")
}

/// The beginning of a token.
pub fn short(token: &str) -> String {
    token.chars().take(12).chain(['…']).collect()
}

/// A call of the agent's; nobody is there to be asked.
pub async fn call(stage: &Stage, scene: &mut Scene, tool: &str, arguments: &Value) -> Result<Value, Fault> {
    stage.says(Who::Agent, &shown(tool, arguments));
    client(scene)?.call(tool, arguments, None).await
}

/// A guarded call with its plan, the impact of that, and the person's yes; the job's id.
pub async fn decided(stage: &Stage, scene: &mut Scene, tool: &str, mut arguments: Value) -> Result<String, Fault> {
    let mut asked = 0;
    for _ in 0..CALLS_MAX {
        stage.says(Who::Agent, &shown(tool, &arguments));
        let mut person = |question: &str| {
            asked += 1;
            stage.says(Who::Person, &format!("sees: {}", question.lines().next().unwrap_or_default()));
            stage.says(Who::Person, &format!("types: {SANDBOX}"));
            SANDBOX.to_owned()
        };
        let reply = client(scene)?.call(tool, &arguments, Some(&mut person)).await?;
        let status = text(&reply, "/status");
        let token = text(&reply, "/confirmation_token");
        match status {
            "succeeded" => {
                ensure(asked == 1, || format!("the person was asked {asked} times: {reply}"))?;
                stage.says(Who::Server, &format!("succeeded: {}", text(&reply, "/message")));
                return Ok(text(&reply, "/job_id").to_owned());
            }
            "confirmation_required" | "plan_changed" | "prechecks_pending" => {
                if let Some(arguments) = arguments.as_object_mut().filter(|_| !token.is_empty()) {
                    arguments.insert("confirmation_token".into(), token.into());
                }
                stage.says(Who::Server, &format!("{status}, token {}", short(token)));
                show_impact(stage, &reply);
            }
            _ => return Err(failed(format!("{tool} did not succeed: {reply}"))),
        }
    }
    Err(failed(format!("{tool} came to no end")))
}

/// What a plan would change, before anybody is asked.
pub fn show_impact(stage: &Stage, reply: &Value) {
    for (head, name) in [("now:  ", "now"), ("then: ", "after"), ("back: ", "way_back")] {
        stage.more(head, text(reply, &format!("/impact/{name}")));
    }
    for line in reply.pointer("/impact/keys").map(|keys| lines(&Screen::WHOLE, keys)).unwrap_or_default() {
        let words = line.trim_start();
        let head = line.get(..line.len() - words.len()).unwrap_or_default();
        stage.more(head, words);
    }
}
