//! The agent's side of MCP: JSON-RPC lines over the standard streams of a server that is our child.
//!
//! The era with the `initialize` handshake, which most hosts speak. A client that cannot show a form to its person
//! declares no elicitation; one that can answers `elicitation/create` with what the person typed.

use super::failed;
use crate::model::fault::Fault;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Time limit of a reply: longer than any step takes, on any machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// Time limit for the server's end: it finishes its jobs first.
const END_WITHIN: Duration = Duration::from_secs(60);

/// The person: sees a question, and returns the text they type.
pub type Person<'a> = &'a mut (dyn FnMut(&str) -> String + Send);

/// A connected client.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Id of the last request.
    id: u64,
    /// Number of questions put to the person so far.
    pub asked: u32,
}

impl Client {
    /// Starts a server and initializes the session. `can_ask`: the client declares that it can show a form.
    ///
    /// # Errors
    /// `demo.failed`.
    pub async fn start(mut server: Command, log: std::fs::File, can_ask: bool) -> Result<Self, Fault> {
        let mut child = server
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| failed(format!("the server did not start: {e}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("the server has no standard streams"));
        };
        let mut client = Self { child, stdin, lines: BufReader::new(stdout).lines(), id: 0, asked: 0 };
        let capabilities = if can_ask { json!({ "elicitation": {} }) } else { json!({}) };
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": { "name": "tair-backup-mcp-demo", "version": env!("CARGO_PKG_VERSION") },
        });
        client.request("initialize", params, None).await?;
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok(client)
    }

    /// Calls a tool and returns its structured result. `person` answers the server's questions meanwhile.
    ///
    /// # Errors
    /// `demo.failed`, where the tool failed or the server does not speak as it should.
    pub async fn call(&mut self, tool: &str, arguments: &Value, person: Option<Person<'_>>) -> Result<Value, Fault> {
        match self.reply_of(tool, arguments, person).await? {
            (false, reply) => Ok(reply),
            (true, fault) => Err(failed(format!("{tool} failed: {fault}"))),
        }
    }

    /// Calls a tool that has to fail, and returns its fault.
    ///
    /// # Errors
    /// `demo.failed`, where the tool did not fail.
    pub async fn refused(&mut self, tool: &str, arguments: &Value) -> Result<Value, Fault> {
        match self.reply_of(tool, arguments, None).await? {
            (true, fault) => Ok(fault),
            (false, reply) => Err(failed(format!("{tool} did not fail: {reply}"))),
        }
    }

    /// Whether a tool failed, and its structured result.
    async fn reply_of(
        &mut self,
        tool: &str,
        arguments: &Value,
        person: Option<Person<'_>>,
    ) -> Result<(bool, Value), Fault> {
        let result = self.request("tools/call", json!({ "name": tool, "arguments": arguments }), person).await?;
        let failed = result.get("isError").and_then(Value::as_bool) == Some(true);
        Ok((failed, result.get("structuredContent").cloned().unwrap_or_default()))
    }

    async fn request(&mut self, method: &str, params: Value, person: Option<Person<'_>>) -> Result<Value, Fault> {
        self.id += 1;
        let id = self.id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
        let late = || failed(format!("the server did not answer {method} within {} s", REPLY_TIMEOUT.as_secs()));
        tokio::time::timeout(REPLY_TIMEOUT, self.answer_to(id, method, person)).await.map_err(|_| late())?
    }

    /// Reads until the answer comes, and serves the server's own requests meanwhile.
    async fn answer_to(&mut self, id: u64, method: &str, mut person: Option<Person<'_>>) -> Result<Value, Fault> {
        loop {
            let line = self.lines.next_line().await.map_err(|e| failed(format!("the server cannot be read: {e}")))?;
            let line = line.ok_or_else(|| failed(format!("the server ended during {method}")))?;
            let message: Value = serde_json::from_str(&line)
                .map_err(|e| failed(format!("the server wrote something that is not JSON: {e}")))?;
            let server_method = message.get("method").and_then(Value::as_str);
            match (server_method, message.get("id")) {
                (Some("elicitation/create"), Some(server_id)) => {
                    self.asked += 1;
                    let question = message.pointer("/params/message").and_then(Value::as_str).unwrap_or_default();
                    let Some(person) = &mut person else {
                        return Err(failed("the server asked a client that cannot ask anybody"));
                    };
                    let typed = person(question);
                    let result = json!({ "action": "accept", "content": { "instance_id": typed } });
                    self.send(&json!({ "jsonrpc": "2.0", "id": server_id, "result": result })).await?;
                }
                (Some(_), Some(server_id)) => {
                    self.send(&json!({ "jsonrpc": "2.0", "id": server_id, "result": {} })).await?;
                }
                // Progress and logs, which this client does not show.
                (Some(_), None) => {}
                (None, server_id) if server_id.and_then(Value::as_u64) == Some(id) => {
                    return match (message.get("result"), message.get("error")) {
                        (Some(result), _) => Ok(result.clone()),
                        (None, error) => Err(failed(format!("{method}: {}", error.unwrap_or(&Value::Null)))),
                    };
                }
                (None, _) => {}
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), Fault> {
        let line = format!("{message}\n");
        let gone = |e: std::io::Error| failed(format!("the server does not listen any more: {e}"));
        self.stdin.write_all(line.as_bytes()).await.map_err(gone)?;
        self.stdin.flush().await.map_err(gone)
    }

    /// Closes the server's standard input, as a host does when it ends, and waits for the server's end.
    ///
    /// # Errors
    /// `demo.failed`, where the server fails or does not end.
    pub async fn close(self) -> Result<(), Fault> {
        let Self { mut child, stdin, lines, .. } = self;
        drop((stdin, lines));
        match tokio::time::timeout(END_WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(format!("the server ended with {status}"))),
            Ok(Err(e)) => Err(failed(format!("the server cannot be waited for: {e}"))),
            Err(_) => {
                let _ = child.kill().await;
                Err(failed(format!("the server did not end within {} s", END_WITHIN.as_secs())))
            }
        }
    }
}
