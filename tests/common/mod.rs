//! What several areas of the test binary share.

pub(crate) mod env;
pub(crate) mod stub;

/// Says whether a test that needs root can run, and why not where it cannot.
///
/// With `HOIST_TEST_REQUIRE=root` (as in CI) a missing root is a failure instead of a skipped test.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn has_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let required =
            std::env::var("HOIST_TEST_REQUIRE").is_ok_and(|needs| needs.contains("root"));
        assert!(!required, "{test}: root is required here, and missing");
        eprintln!("{test}: skipped: needs root");
    }
    root
}
