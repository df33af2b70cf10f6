//! How long a start takes; printed, and bounded generously so that a busy machine does not fail it.

use std::time::{Duration, Instant};

use super::fixture::{Cage, TestResult};

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the figure is the point")]
async fn a_start_takes_milliseconds() -> TestResult {
    let Some(cage) = Cage::new("a_start_takes_milliseconds").await? else {
        return Ok(());
    };
    let mut times = Vec::new();
    for _ in 0..30 {
        let request = cage.request(&["sleep", "1000"])?;
        let begin = Instant::now();
        cage.start(&request).await?;
        times.push(begin.elapsed());
        cage.kill(&request.id).await?;
    }
    times.sort();
    let median = times[times.len() / 2];
    eprintln!(
        "start: median {median:?}, fastest {:?}, slowest {:?}",
        times[0],
        times[times.len() - 1]
    );
    assert!(median < Duration::from_millis(500));
    let request = cage.request(&["sleep", "1000"])?;
    cage.start(&request).await?;
    let mut times = Vec::new();
    for _ in 0..30 {
        let begin = Instant::now();
        cage.exec(&request.id, &["true"]).await?;
        times.push(begin.elapsed());
    }
    times.sort();
    eprintln!(
        "exec true: median {:?}, fastest {:?}",
        times[times.len() / 2],
        times[0]
    );
    cage.close().await
}
