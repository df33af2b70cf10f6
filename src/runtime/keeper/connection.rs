//! One client of the keeper: bytes in, bytes out, never blocking.
//!
//! ```text
//! Asking --frame--> Answering (then closed)
//!        \--------> Listening (subscriber)
//!        \--------> Streaming (attach, exec)
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::Serialize;

use super::protocol::{MAX_FRAME, Request};

/// What a connection is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Use {
    /// Its request is not complete yet.
    Asking,
    /// It waits for an answer.
    Waiting,
    /// It gets exit notices.
    Listening,
    /// It is attached to a container or exec.
    Streaming(String),
    /// It ends when all is sent.
    Ending,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// What it is used for.
    pub usage: Use,
    /// Bytes that were received and not used.
    pub received: Vec<u8>,
    /// Whether the client will send no more.
    pub input_ended: bool,
    waiting: Vec<u8>,
    sent: usize,
}

/// Beyond this many unsent bytes the sources of a connection are not read.
pub(super) const CROWDED: usize = 256 * 1024;

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            usage: Use::Asking,
            received: Vec::new(),
            input_ended: false,
            waiting: Vec::new(),
            sent: 0,
        }
    }

    /// Whether so much is unsent that its sources should wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.unsent() > CROWDED
    }

    /// How many bytes are unsent.
    pub(super) fn unsent(&self) -> usize {
        self.waiting.len() - self.sent
    }

    /// Reads what is there; `false` at the end of input.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(0) => {
                self.input_ended = true;
                Ok(false)
            }
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the request out of what was received, when it is complete.
    pub(super) fn take_request(&mut self) -> io::Result<Option<Request>> {
        let Some(&[a, b, c, d]) = self.received.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let Some(body) = self.received.get(4..4 + length) else {
            return Ok(None);
        };
        let request = serde_json::from_slice(body)?;
        let rest = self.received.split_off(4 + length);
        self.received = rest;
        Ok(Some(request))
    }

    /// Queues a frame of JSON.
    pub(super) fn reply(&mut self, reply: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(reply)?;
        self.waiting
            .extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        self.waiting.extend_from_slice(&body);
        self.flush()
    }

    /// Queues a frame of output.
    pub(super) fn output(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(&[kind, 0, 0, 0]);
        self.waiting
            .extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.waiting.len() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, &self.waiting[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.waiting.clear();
        self.waiting.shrink_to(4096);
        self.sent = 0;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
