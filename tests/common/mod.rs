//! What several areas of the test binary share.

pub(crate) mod env;
pub(crate) mod registry;
pub(crate) mod stub;
pub(crate) mod user;

use std::error::Error;
use std::io::Write as _;

/// What a test answers that may fail on the way.
pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// A project of one service, `web`, that sleeps on the root file system of this machine; more of the service may follow.
pub(crate) fn sleeper(project: &str) -> String {
    format!(
        "name: {project}
services:
  web:
    image: rootfs:/
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    network_mode: none
"
    )
}

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
