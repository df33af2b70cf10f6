//! Between streams of the server and the blocking readers and writers of the stores.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

const QUEUE: usize = 16;
const PIECE: usize = 64 << 10;

/// A request's body as a blocking reader. Only for threads that may block.
pub(crate) struct BodyReader<S> {
    pieces: S,
    current: Bytes,
    runtime: Handle,
}

impl<S> BodyReader<S> {
    /// Must be made within the runtime; read outside of its workers.
    pub(crate) fn new(pieces: S) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
            runtime: Handle::current(),
        }
    }
}

impl<S> Read for BodyReader<S>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.pieces.next()) {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A blocking writer whose bytes become an answer's body.
pub(crate) struct BodyWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    waiting: Vec<u8>,
}

/// A writer, and the stream of what is written.
pub(crate) fn body_writer() -> (
    BodyWriter,
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let writer = BodyWriter {
        pieces: sender,
        waiting: Vec::with_capacity(PIECE),
    };
    (writer, received(receiver))
}

/// What comes through a channel, as a stream.
pub(crate) fn received<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

impl BodyWriter {
    /// Breaks the answer off: the client sees that it is not whole.
    pub(crate) fn fail(self, error: io::Error) {
        // A client that has left hears no error.
        let _left = self.pieces.blocking_send(Err(error));
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(
            &mut self.waiting,
            Vec::with_capacity(PIECE),
        ));
        self.pieces
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
