//! Terminals and standard input.

use super::fixture::{Cage, TestResult, collect};
use hoist::runtime::container::request::{Stdin, TerminalSize};

#[tokio::test]
async fn a_terminal_is_the_container_s_own() -> TestResult {
    let Some(cage) = Cage::new("a_terminal_is_the_container_s_own").await? else {
        return Ok(());
    };
    let mut request = cage.request(&[
        "sh",
        "-c",
        "tty; stty size; test -c /dev/console && echo console; ps -o pid,tty | head -2 | tail -1",
    ])?;
    request.process.terminal = Some(TerminalSize {
        rows: 30,
        columns: 100,
    });
    let ran = cage.run(&request).await?;
    assert!(
        ran.stdout
            .starts_with("/dev/pts/0\r\n30 100\r\nconsole\r\n"),
        "{:?}",
        ran.stdout
    );
    cage.close().await
}

#[tokio::test]
async fn a_terminal_takes_input_and_sizes() -> TestResult {
    let Some(cage) = Cage::new("a_terminal_takes_input").await? else {
        return Ok(());
    };
    let container = cage.request(&["sleep", "1000"])?;
    cage.start(&container).await?;
    let mut request = cage.exec_request(
        &container.id,
        &["sh", "-c", "read line; echo got $line; stty size"],
    );
    request.stdin = Stdin::Once;
    request.process.terminal = Some(TerminalSize {
        rows: 10,
        columns: 20,
    });
    let (_, mut session) = cage.keeper.exec(&request).await?;
    cage.keeper
        .resize(
            &request.id,
            TerminalSize {
                rows: 11,
                columns: 22,
            },
        )
        .await?;
    session.input.write_all(b"hello\n").await?;
    let (stdout, _, exit) = collect(session.output).await?;
    assert_eq!(stdout, "hello\r\ngot hello\r\n11 22\r\n");
    assert_eq!(exit.map(|exit| exit.code), Some(0));
    cage.close().await
}

#[tokio::test]
async fn input_waits_for_the_start_and_ends_with_its_client() -> TestResult {
    let Some(cage) = Cage::new("input_waits_for_the_start").await? else {
        return Ok(());
    };
    let mut request = cage.request(&["cat"])?;
    request.stdio.stdin = Stdin::Once;
    let mut session = cage.keeper.attach(&request.id).await?;
    session.input.write_all(b"before\n").await?;
    cage.start(&request).await?;
    session.input.write_all(b"after\n").await?;
    session.input.close().await?;
    let (stdout, _, _) = collect(session.output).await?;
    assert_eq!(stdout, "before\nafter\n");
    cage.close().await
}
