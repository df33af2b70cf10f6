//! The thread on which forwarders and name servers run: a runtime of its own, so that neither the API nor a burst of
//! look-ups can starve the other.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A running thread; ends with its owner.
#[derive(Debug)]
pub(crate) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    // Both a message and a vanished sender mean the end.
                    drop(stopped.await);
                });
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where tasks are started.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            drop(thread.join());
        }
    }
}

/// A task that owns sockets. Dropping it ends the task and waits until its sockets are closed, so that whoever needs
/// the same port next finds it free.
#[derive(Debug)]
pub(crate) struct Serving {
    task: tokio::task::AbortHandle,
    closed: std::sync::mpsc::Receiver<()>,
}

impl Serving {
    /// Starts a task. The sockets must be made inside `work` from what it captures.
    pub(crate) fn start<F>(background: &Background, work: F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let guarded = Guarded {
            work: Box::pin(work),
            _open: open,
        };
        let task = background.handle().spawn(guarded).abort_handle();
        Self { task, closed }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        // The channel breaks when the task's sockets are gone; a busy thread must not hold up the caller for ever.
        let _ = self.closed.recv_timeout(std::time::Duration::from_secs(1));
    }
}

/// Fields are dropped in order: first the work with its sockets, then the sign that they are closed.
struct Guarded {
    work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    _open: std::sync::mpsc::Sender<()>,
}

impl Future for Guarded {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        self.work.as_mut().poll(context)
    }
}
