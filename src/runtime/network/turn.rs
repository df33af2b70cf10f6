//! Engines of one machine take turns: between the look at the host's routes and the bridge that adds one, no other
//! engine may choose the same subnet. Called where networks are made, and where they come to stand.
//!
//! The lock is on the network namespace itself, so that it is there for every engine whatever its folders, leaves no
//! file, and ends with its holder. Whoever is in the namespace can hold it: nobody waits for it without a limit.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::runtime::sys::netns;

/// How long another engine is waited for. Making a bridge takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(2);

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: Option<File>,
}

impl Turn {
    /// Waits for the engine's turn. Without one it goes on all the same: two engines with one subnet are less bad than
    /// none that starts.
    pub(crate) fn take() -> Self {
        // The ground of an ordinary user's engine is nobody else's.
        if netns::has_ground() {
            return Self { _lock: None };
        }
        let lock = File::open("/proc/self/ns/net").ok();
        let end = Instant::now() + PATIENCE;
        while let Some(file) = &lock {
            match flock(file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => thread::sleep(STEP),
                Err(error) => {
                    tracing::warn!(%error, "cannot wait for other engines to choose their subnets");
                    break;
                }
                Ok(()) => break,
            }
        }
        Self { _lock: lock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn only_one_at_a_time_has_a_turn() {
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _turn = Turn::take();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
