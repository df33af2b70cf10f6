//! Two hoists on one project at once.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::common::env::TestEnvironment;
use crate::common::{TestResult, has_root, sleeper};

#[test]
fn the_second_waits_says_for_whom_and_goes_on_when_the_first_is_gone() -> TestResult {
    if !has_root("lock") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    std::fs::write(env.path("compose.yaml"), sleeper("locked"))?;
    let _up = env.run(["up", "-d"])?.success();

    // The test is the first: what it does with the lock is what the kernel does when a holder is killed.
    // The built-in engine has no address, which the digest in the name is of.
    let path = env.path("run/locks/locked-e3b0c44298fc.lock");
    assert!(!path.exists(), "the first left its lock");
    std::fs::create_dir_all(env.path("run/locks"))?;
    let mut lock = File::create(&path)?;
    lock.lock()?;
    writeln!(lock, "4242 hoist up -d")?;

    let mut second = env.command(["down"]).stderr(Stdio::piped()).spawn()?;
    let mut told = String::new();
    BufReader::new(second.stderr.take().ok_or("no stderr")?).read_line(&mut told)?;
    assert_eq!(
        told,
        "Project locked is being changed by process 4242 (`hoist up -d`); waiting for it to end\n"
    );
    // Nobody who only looks waits.
    let listed = env.run(["ps", "-q"])?.success();
    assert_eq!(listed.stdout.lines().count(), 1);
    let _plan = env.run(["plan"])?.success();
    let _dry = env
        .run(["--dry-run", "up", "-d", "--force-recreate"])?
        .success();
    assert_eq!(second.try_wait()?, None);

    drop(lock);
    assert!(second.wait()?.success());
    let left = env.run(["ps", "-a", "-q"])?.success();
    assert_eq!(left.stdout, "");
    assert!(!path.exists(), "the second left its lock");
    Ok(())
}
