//! API versions: the range that is served, the prefix of a path, and the headers of every answer.

use std::fmt;

use crate::runtime::error::{RuntimeError, RuntimeResult};

/// The newest version that is served, and the one meant without a prefix.
pub const API_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 51,
};
/// The oldest version that is served.
pub const MIN_API_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 24,
};

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// The version 1.`minor`.
    #[must_use]
    pub const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.strip_prefix('v')?.split_once('.')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits a version prefix off a path: the version that the client speaks, and the rest.
pub(crate) fn negotiate(path: &str) -> RuntimeResult<(ApiVersion, &str)> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = inner.split_once('/').unwrap_or((inner, ""));
    let Some(asked) = ApiVersion::parse(first) else {
        return Ok((API_VERSION, inner));
    };
    if asked > API_VERSION {
        return Err(RuntimeError::invalid(format!(
            "client version {asked} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if asked < MIN_API_VERSION {
        return Err(RuntimeError::invalid(format!(
            "client version {asked} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    Ok((asked, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_version_is_the_newest() -> RuntimeResult<()> {
        assert_eq!(negotiate("/_ping")?, (API_VERSION, "_ping"));
        Ok(())
    }

    #[test]
    fn a_prefix_is_split_off() -> RuntimeResult<()> {
        assert_eq!(
            negotiate("/v1.41/containers/json")?,
            (ApiVersion::v1(41), "containers/json")
        );
        Ok(())
    }

    #[test]
    fn versions_outside_the_range_are_refused() {
        assert!(negotiate("/v9.99/info").is_err());
        assert!(negotiate("/v1.10/info").is_err());
    }
}
