//! Answers of the emulator: a reply with its request id, or a refusal in the cloud's shape, codes, messages and statuses.
//!
//! A refusal tells the caller no more than the cloud would; the cause goes to the log.

use crate::guard::check::CheckName;
use crate::model::fault::{Fault, Kind};
use crate::tair::incoming;
use crate::tair::published::{all, find};
use crate::tair::wire::BadParam;
use crate::tools::delegated::DelegatedRefusal;
use serde::Serialize;
use serde_json::{Value, json};

/// The code of a call that the account's own permissions do not allow.
pub const DENIED_BY_RAM: &str = "Forbidden.RAM";

/// A call that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The cloud's code, such as `InvalidInstanceId.NotFound`.
    pub code: String,
    /// The HTTP status that the code comes with.
    pub status: u16,
    /// A sentence for the reader.
    pub message: String,
    /// Milliseconds for the header `x-acs-retry-after`.
    pub retry_after: Option<u64>,
}

impl Refused {
    /// A refusal with the status and message that the cloud publishes for its code.
    pub fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        let (status, message) = match find(&code) {
            Some(row) => (row.status, row.message.to_owned()),
            None => (400, "The specified parameter is not valid.".to_owned()),
        };
        Self { code, status, message, retry_after: None }
    }

    /// Sets another message.
    #[must_use]
    pub fn say(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets another status, where the cloud has more than one for a code.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The refusal of a call without a mandatory parameter.
    pub fn missing(name: &str) -> Self {
        let own = format!("Missing{name}");
        let code = if find(&own).is_some() { own } else { "MissingParameter".to_owned() };
        Self::new(code).status(400).say(format!("{name} is mandatory for this action."))
    }

    /// The refusal of a parameter with a value of the wrong form.
    pub fn malformed(name: &str) -> Self {
        let own = ["Malformed", "Format"].map(|form| format!("Invalid{name}.{form}"));
        match own.into_iter().find_map(|code| all().find(|row| row.code == code)) {
            Some(row) => Self::new(row.code),
            None => Self::new("InvalidParameter").say(format!("The specified parameter {name} is not valid.")),
        }
    }

    /// The body: `Code`, `Message`, `HostId`, `RequestId`, `Recommend`, and `AccessDeniedDetail` where RAM denies.
    #[must_use]
    pub fn body(&self, host: &str, request_id: &str) -> Value {
        let mut body = json!({
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": format!(
                "https://api.alibabacloud.com/troubleshoot?intl_lang=EN_US&q={}&product=R-kvstore&requestId={request_id}",
                self.code
            ),
        });
        // Denials by RAM say which permission was missing, as text fields that may all be a dash.
        if self.code == DENIED_BY_RAM
            && let Some(fields) = body.as_object_mut()
        {
            let details = [
                "AuthAction",
                "AuthPrincipalDisplayName",
                "AuthPrincipalOwnerId",
                "AuthPrincipalType",
                "EncodedDiagnosticMessage",
                "NoPermissionType",
                "PolicyType",
            ];
            let details = details.map(|name| (name.to_owned(), Value::from("-")));
            fields.insert("AccessDeniedDetail".to_owned(), Value::Object(details.into_iter().collect()));
        }
        body
    }
}

impl From<BadParam> for Refused {
    fn from(bad: BadParam) -> Self {
        match bad {
            BadParam::Missing(name) => Self::missing(&name),
            BadParam::Malformed(name) => Self::malformed(&name),
        }
    }
}

impl From<incoming::Refusal> for Refused {
    fn from(refusal: incoming::Refusal) -> Self {
        Self::new(refusal.code()).say(refusal.to_string())
    }
}

impl From<Fault> for Refused {
    /// A refusal by the provider, with the code the cloud would use. The instance exists: the account has found it before.
    fn from(fault: Fault) -> Self {
        let code = match fault.kind {
            Kind::NotFound => "InvalidBackupSetID.NotFound",
            Kind::Damaged => "IncorrectBackupSetState",
            Kind::Provider | Kind::Refused => "IncorrectDBInstanceState",
            Kind::Usage | Kind::Unexpected | Kind::Uncertain => "InternalError",
        };
        tracing::warn!(code = fault.code, cause = fault.cause(), "answered with {code}: {fault}");
        Self::new(code)
    }
}

impl From<DelegatedRefusal> for Refused {
    /// Where a set cannot be loaded or a moment not be reached the code is about that, for any other blocking check about the
    /// instance.
    fn from(refusal: DelegatedRefusal) -> Self {
        match refusal {
            DelegatedRefusal::Fault(fault) => fault.into(),
            DelegatedRefusal::Blocked(checks) => {
                let code = match checks.first().map(|check| check.name) {
                    Some(CheckName::RestoreTime) => "InvalidBinlog.NotValid",
                    Some(CheckName::TimeShift) => "InvalidRestoreTime.Format",
                    Some(CheckName::FilterKey) => "ServiceNotSupport",
                    Some(name) if name.is_about_the_set() => "IncorrectBackupSetState",
                    _ => "IncorrectDBInstanceState",
                };
                tracing::warn!("answered with {code}: {}", Fault::from(DelegatedRefusal::Blocked(checks)));
                Self::new(code)
            }
        }
    }
}

/// A reply's JSON, with its request id.
///
/// # Errors
/// `InternalError`: a bug.
pub fn reply(body: &impl Serialize, request_id: &str) -> Result<Value, Refused> {
    let mut body = serde_json::to_value(body).map_err(|e| {
        tracing::error!("a reply could not be written: {e}");
        Refused::new("InternalError")
    })?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("RequestId".to_owned(), request_id.into());
    }
    Ok(body)
}
