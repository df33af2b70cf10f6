//! Services that an external program keeps.

use super::ApplyError;
use super::scheduler::Run;

/// Runs the provider of a service.
pub(super) fn provide(_run: &Run, service: &str, verb: &str) -> Result<(), ApplyError> {
    Err(ApplyError::Provider {
        service: service.to_owned(),
        message: format!("cannot run `{verb}`: external providers are not supported"),
    })
}
