//! The channel to the person through an MCP client: elicitation, in both eras of the protocol.
//!
//! The capabilities that the client declared on this request decide, never those of an earlier request. In revision 2026-07-28
//! a server may not ask: it returns `InputRequiredResult` with a sealed state, and an answer counts only beside that state, so an
//! answer to no question counts for nothing. In older revisions the server asks with `elicitation/create` and waits, with a
//! heartbeat.

use crate::guard::ledger::Confirmation;
use crate::guard::person::{Answer, Channel, FIELD, typed_answer};
use crate::mcp::progress::McpProgress;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::tools::{App, Asked, Person, Progress as _};
use async_trait::async_trait;
use jiff::Timestamp;
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    ErrorCode, InputRequest, InputRequests, InputRequiredResult, ProtocolVersion, RequestStateCodec, SealOptions,
};
use rmcp::service::{RequestContext, RoleServer, ServiceError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The key of the question in `InputRequiredResult`.
const QUESTION: &str = "approval";
/// Interval of progress reports while the person is asked: clients give up a silent call after a minute.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The person behind one call.
pub struct McpPerson<'a> {
    app: &'a App,
    cx: &'a RequestContext<RoleServer>,
    request: &'a CallToolRequestParams,
    /// The call's one reporter: two could report decreasing progress.
    progress: &'a McpProgress,
    /// What the sealed state is bound to: a digest of caller, tool and arguments.
    bound: Vec<u8>,
}

impl<'a> McpPerson<'a> {
    /// The person behind the call of a request.
    #[must_use]
    pub fn new(
        app: &'a App,
        caller: &Caller,
        cx: &'a RequestContext<RoleServer>,
        request: &'a CallToolRequestParams,
        progress: &'a McpProgress,
        arguments: &Value,
    ) -> Self {
        let bound = Sha256::digest(format!("{}\n{}\n{arguments}", caller.id(), request.name)).to_vec();
        Self { app, cx, request, progress, bound }
    }

    /// Whether this request's client can show a form.
    fn can_be_asked(&self) -> bool {
        let declared = self.cx.client_capabilities().and_then(|c| c.elicitation);
        // `{}` means form mode, as before there were two modes.
        declared.is_some_and(|e| e.form.is_some() || e.url.is_none())
    }

    fn modern(&self) -> bool {
        self.cx.protocol_version().is_some_and(|v| v >= ProtocolVersion::V_2026_07_28)
    }

    async fn codec(&self) -> Result<RequestStateCodec, Fault> {
        let key = self.app.state.key().await?;
        let derived = Sha256::new().chain_update(b"request state").chain_update(key.0).finalize().to_vec();
        RequestStateCodec::try_new(derived)
            .map_err(|e| Fault::new(Kind::Unexpected, "guard.key", "the guard's key cannot be used").because(e))
    }

    /// The result that makes the client ask the person and call again.
    pub async fn input_required(
        &self,
        nonce: &str,
        question: &str,
        until: Timestamp,
    ) -> Result<InputRequiredResult, Fault> {
        let left = u64::try_from(until.as_second() - Timestamp::now().as_second()).unwrap_or(0);
        let options = SealOptions::new().associated_data(&self.bound).ttl(Duration::from_secs(left));
        let state = self.codec().await?.seal_with(nonce.as_bytes(), &options);
        let mut requests = InputRequests::new();
        requests.insert(QUESTION.into(), InputRequest::Elicitation(ElicitRequest::new(form(question)?)));
        Ok(InputRequiredResult::new(Some(requests), Some(state)))
    }

    /// The answer that came with this call, if it answers our question about this confirmation.
    async fn answered(&self, open: &Confirmation) -> Option<Answer> {
        let state = self.request.request_state.as_ref()?;
        let nonce = self.codec().await.ok()?.open_with(state, &self.bound).ok()?;
        if nonce != open.nonce.as_bytes() {
            return None;
        }
        let response = self.request.input_responses.as_ref()?.get(QUESTION)?;
        Some(match serde_json::from_value(response.clone()) {
            Ok(result) => answer_of(open, &result),
            Err(_) => Answer::NotAYes,
        })
    }

    async fn ask_and_wait(&self, open: &Confirmation, question: &str) -> Answer {
        let Ok(form) = form(question) else { return Answer::NoChannel };
        let left = u64::try_from(open.expires_at.as_second() - Timestamp::now().as_second()).unwrap_or(0);
        let asking = tokio::time::timeout(Duration::from_secs(left), self.cx.peer.create_elicitation(form));
        tokio::pin!(asking);
        loop {
            tokio::select! {
                answer = &mut asking => return match answer {
                    Ok(Ok(result)) => answer_of(open, &result),
                    // The client could not ask after all.
                    Ok(Err(e)) if knows_no_such_request(&e) => {
                        tracing::warn!("the client did not carry the question: {e}");
                        Answer::NoChannel
                    }
                    // The person may have been asked: that counts, or an agent could have them asked without end.
                    Ok(Err(e)) => {
                        tracing::warn!("the client brought no answer: {e}");
                        Answer::Dismissed
                    }
                    Err(_) => Answer::Dismissed,
                },
                () = tokio::time::sleep(HEARTBEAT) => self.progress.report(0, 0, "waiting for the person's answer").await,
            }
        }
    }
}

#[async_trait]
impl Person for McpPerson<'_> {
    fn puts_the_question(&self) -> bool {
        // The person was asked before a call that brings an answer.
        self.can_be_asked() && !(self.modern() && self.request.input_responses.is_some())
    }

    async fn ask(&self, open: &Confirmation, question: &str) -> Asked {
        if !self.can_be_asked() {
            return Asked::Answered(Answer::NoChannel);
        }
        if !self.modern() {
            return Asked::Answered(self.ask_and_wait(open, question).await);
        }
        self.answered(open).await.map_or(Asked::Deferred, Asked::Answered)
    }
}

/// Whether a client answered that it takes no such request at all, or not this one, so that nobody was shown anything.
fn knows_no_such_request(e: &ServiceError) -> bool {
    let refused = [ErrorCode::METHOD_NOT_FOUND, ErrorCode::INVALID_PARAMS];
    matches!(e, ServiceError::McpError(error) if refused.contains(&error.code))
}

fn form(question: &str) -> Result<ElicitRequestParams, Fault> {
    let schema = json!({
        "type": "object",
        "properties": { FIELD: { "type": "string", "title": "Instance id", "description": "Type the instance id to approve" } },
        "required": [FIELD],
    });
    let requested_schema: ElicitationSchema = serde_json::from_value(schema)
        .map_err(|e| Fault::new(Kind::Unexpected, "mcp.failed", "the question could not be made").because(e))?;
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message: question.into(), requested_schema })
}

fn answer_of(open: &Confirmation, result: &ElicitResult) -> Answer {
    match result.action {
        ElicitationAction::Accept => {
            // Exactly the field of the form: a further field may say that the answer is no.
            let content = result.content.as_ref().and_then(Value::as_object).filter(|c| c.len() == 1);
            let typed = content.and_then(|c| c.get(FIELD)).and_then(Value::as_str).unwrap_or_default();
            typed_answer(&open.plan, typed, Channel::Elicitation)
        }
        ElicitationAction::Decline => Answer::Declined,
        _ => Answer::Dismissed,
    }
}
