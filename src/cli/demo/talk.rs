//! How the demo's steps speak: the agent's calls, as people read them, and what is expected of the replies.

use super::client::Client;
use super::stage::{Stage, Who};
use super::{Scene, failed};
use crate::model::fault::Fault;
use serde_json::Value;

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
