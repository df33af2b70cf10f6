//! What no shell can do: this very test program, bound into a container and told by `HOIST_ACT` what to try.

use std::io::Write as _;

use super::super::fixture::{Cage, TestResult};
use hoist::runtime::container::ContainerRequest;

/// Gives a container the program at `/actor`.
pub(super) fn invite(request: &mut ContainerRequest) -> TestResult {
    let mut mount = super::bind(&std::env::current_exe()?, "/actor");
    mount.access = hoist::runtime::container::request::Access::ReadOnly;
    request.mounts.push(mount);
    Ok(())
}

/// The command line by which it does something.
pub(super) const COMMAND: [&str; 5] = [
    "/actor",
    "runtime::escape::actor::acts",
    "--exact",
    "--ignored",
    "--nocapture",
];

/// What it said: the lines that start with `acted: `.
pub(super) async fn asked(
    cage: &Cage,
    container: &str,
    what: &str,
    unconfined: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut request = cage.exec_request(container, &COMMAND);
    request.process.env.push(format!("HOIST_ACT={what}"));
    if unconfined {
        request.process.seccomp = hoist::runtime::container::request::Seccomp::Unconfined;
    }
    let (_, session) = cage.keeper.exec(&request).await?;
    let (stdout, ..) = super::super::fixture::collect(session.output).await?;
    Ok(said(&stdout))
}

/// The lines of an actor's output that matter.
pub(super) fn said(output: &str) -> String {
    let lines = output
        .lines()
        .filter_map(|line| Some(line.split_once("acted: ")?.1));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs HOIST_ACT: the escape tests run it inside their containers, in CI too"]
fn acts() -> TestResult {
    let text = match std::env::var("HOIST_ACT")?.as_str() {
        "describe the session keyring" => describe_session_keyring(),
        "make an AF_ALG socket" => outcome(make_socket(38)),
        "make an AF_VSOCK socket" => outcome(make_socket(40)),
        other => return Err(format!("no such act: {other}").into()),
    };

    Ok(writeln!(std::io::stdout(), "\nacted: {text}")?)
}

fn outcome(result: std::io::Result<()>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn make_socket(family: u16) -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let family = AddressFamily::from_raw(family);
    Ok(socket(family, SocketType::SEQPACKET, None).map(drop)?)
}

/// `type;uid;gid;permissions;name`, or why not.
#[expect(unsafe_code, reason = "keyctl has no safe wrapper")]
fn describe_session_keyring() -> String {
    const DESCRIBE: libc::c_int = 6;
    const SESSION: libc::c_int = -3;
    let mut text = [0_u8; 256];
    // SAFETY: the buffer lives across the call and has the length that is told.
    let length = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            DESCRIBE,
            SESSION,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    match usize::try_from(length) {
        Ok(length) => String::from_utf8_lossy(&text[..length.saturating_sub(1)]).into_owned(),
        Err(_) => format!("{:?}", std::io::Error::last_os_error().kind()),
    }
}
