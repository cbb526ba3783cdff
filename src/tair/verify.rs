//! Verification of a signed request, by whichever of the cloud's two signatures it carries. For a server of the cloud's API.

use crate::model::secret::Secret;
use crate::tair::incoming::{Incoming, Refusal, Signed};
use crate::tair::{acs3, rpc1};
use jiff::Timestamp;

/// Verifies a request by whichever signature it carries.
///
/// # Errors
/// The refusal that the cloud would send, in its code.
pub fn verify(
    request: &Incoming<'_>,
    secret_of: impl Fn(&str) -> Option<Secret>,
    now: Timestamp,
) -> Result<Signed, Refusal> {
    if rpc1::is_signed_so(request) {
        rpc1::verify(request, secret_of, now)
    } else {
        acs3::verify(request, secret_of, now)
    }
}
