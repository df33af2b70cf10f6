//! The errors of the parts, as the engine's: each part's kind becomes the kind that decides the status.

use crate::runtime::archive::ArchiveError;
use crate::runtime::container::ResolveError;
use crate::runtime::error::{ErrorKind, RuntimeError};
use crate::runtime::image::{self, ImageError};
use crate::runtime::keeper::{FailureKind, KeeperError};
use crate::runtime::network::{NetworkError, NetworkErrorKind};
use crate::runtime::registry::RegistryError;
use crate::runtime::volume::{self, VolumeError};

fn convert(kind: ErrorKind, error: impl std::error::Error + Send + Sync + 'static) -> RuntimeError {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        message.push_str(": ");
        message.push_str(&next.to_string());
        cause = next.source();
    }
    RuntimeError::new(kind, message)
}

impl From<ImageError> for RuntimeError {
    fn from(error: ImageError) -> Self {
        let kind = match error.kind() {
            image::ErrorKind::NotFound => ErrorKind::NotFound,
            image::ErrorKind::Invalid => ErrorKind::Invalid,
            image::ErrorKind::Conflict => ErrorKind::Conflict,
            image::ErrorKind::Denied | image::ErrorKind::Internal => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}

impl From<RegistryError> for RuntimeError {
    fn from(error: RegistryError) -> Self {
        let kind = match error.kind() {
            image::ErrorKind::NotFound => ErrorKind::NotFound,
            image::ErrorKind::Invalid => ErrorKind::Invalid,
            image::ErrorKind::Conflict => ErrorKind::Conflict,
            image::ErrorKind::Denied => ErrorKind::Unauthorized,
            image::ErrorKind::Internal => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}

impl From<VolumeError> for RuntimeError {
    fn from(error: VolumeError) -> Self {
        let kind = match error.kind() {
            volume::ErrorKind::NotFound => ErrorKind::NotFound,
            volume::ErrorKind::Invalid => ErrorKind::Invalid,
            volume::ErrorKind::Conflict => ErrorKind::Conflict,
            volume::ErrorKind::Internal => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}

impl From<NetworkError> for RuntimeError {
    fn from(error: NetworkError) -> Self {
        let kind = match error.kind() {
            NetworkErrorKind::Invalid => ErrorKind::Invalid,
            NetworkErrorKind::Forbidden => ErrorKind::Forbidden,
            NetworkErrorKind::NotFound => ErrorKind::NotFound,
            NetworkErrorKind::Conflict => ErrorKind::Conflict,
            NetworkErrorKind::Machine => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}

impl From<ResolveError> for RuntimeError {
    fn from(error: ResolveError) -> Self {
        convert(ErrorKind::Invalid, error)
    }
}

impl From<ArchiveError> for RuntimeError {
    fn from(error: ArchiveError) -> Self {
        let kind = match error {
            ArchiveError::Malformed(_)
            | ArchiveError::Refused { .. }
            | ArchiveError::TooLarge { .. }
            | ArchiveError::Overwrite { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}

impl From<KeeperError> for RuntimeError {
    fn from(error: KeeperError) -> Self {
        let kind = match error.kind() {
            Some(FailureKind::NotRunning) => ErrorKind::Conflict,
            Some(FailureKind::AlreadyRunning) => ErrorKind::NotModified,
            Some(FailureKind::NotFound | FailureKind::NotExecutable | FailureKind::Refused) => {
                ErrorKind::Invalid
            }
            Some(FailureKind::System) | None => ErrorKind::Internal,
        };
        convert(kind, error)
    }
}
