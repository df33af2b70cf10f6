//! What several areas of the test binary share.

pub(crate) mod env;
pub(crate) mod registry;
pub(crate) mod stub;
pub(crate) mod user;

use std::io::Write as _;

/// Says that a test is skipped, and what it needs, past the test runner's capture.
///
/// With that need in `HOIST_TEST_REQUIRE` (as in CI: `root,docker-registry`) it is a failure instead.
pub(crate) fn skip(test: &str, need: &str) {
    let required = std::env::var("HOIST_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|required| required == need),
        "{test}: {need} is required here, and missing"
    );
    let written = writeln!(std::io::stderr(), "{test}: skipped: needs {need}");
    drop(written); // a closed standard error is no reason to fail
}

/// Whether a test that needs root can run; says so where it cannot.
pub(crate) fn has_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "root");
    }
    root
}
