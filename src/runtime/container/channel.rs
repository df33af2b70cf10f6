//! Messages from the child of a start or exec to the keeper, and their legal order.
//!
//! ```text
//! Terminal? -> Program? -> Executing -> (end of file: the program runs)
//!      \          \-> Failed
//!       \-> Failed
//! ```
//!
//! Each message is one packet: a letter, a kind, a text. The socket is closed by the exec itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::failure::{Failure, FailureKind};

/// What the child says.
#[derive(Debug)]
pub(crate) enum Message {
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// Another process than the sender will be the program: an OCI runtime made it.
    Program {
        /// Its pid.
        pid: i32,
        /// Its descriptor.
        pidfd: OwnedFd,
    },
    /// All is set up; only the exec itself is left.
    Executing,
    /// It gave up.
    Failed(Failure),
    /// The socket is closed: the exec took place, or the child died.
    Closed,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct Sender(OwnedFd);

/// The keeper's end; never blocks.
#[derive(Debug)]
pub(crate) struct Receiver(OwnedFd);

/// Makes a channel, both ends closed on exec.
pub(crate) fn channel() -> io::Result<(Sender, Receiver)> {
    let flags = SocketFlags::CLOEXEC;
    let (child, keeper) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::io::ioctl_fionbio(&keeper, true)?;
    Ok((Sender(child), Receiver(keeper)))
}

const KINDS: [(u8, FailureKind); 6] = [
    (b'r', FailureKind::NotRunning),
    (b'a', FailureKind::AlreadyRunning),
    (b'f', FailureKind::NotFound),
    (b'x', FailureKind::NotExecutable),
    (b'b', FailureKind::Refused),
    (b's', FailureKind::System),
];

impl Sender {
    /// Hands over the master of the terminal.
    pub(crate) fn terminal(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b"T ", Some(master))
    }

    /// Hands over the process that is to be the program, where it is not the sender.
    pub(crate) fn program(&self, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        self.send(format!("P {pid}").as_bytes(), Some(pidfd))
    }

    /// Announces the exec.
    pub(crate) fn executing(&self) -> io::Result<()> {
        self.send(b"X ", None)
    }

    /// Gives up.
    pub(crate) fn failed(&self, failure: &Failure) -> io::Result<()> {
        let kind = KINDS
            .iter()
            .find(|(_, kind)| *kind == failure.kind)
            .map_or(b's', |(letter, _)| *letter);
        let mut packet = vec![b'E', kind];
        packet.extend(failure.message.bytes().take(4000));
        self.send(&packet, None)
    }

    fn send(&self, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        rustix::net::sendmsg(
            &self.0,
            &[IoSlice::new(packet)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

impl Receiver {
    /// The next message; an error of the kind `WouldBlock` where there is none yet.
    pub(crate) fn receive(&self) -> io::Result<Message> {
        let mut packet = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut packet)];
        let answer = rustix::net::recvmsg(&self.0, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok(parse(&packet[..answer.bytes], fd))
    }
}

fn parse(packet: &[u8], fd: Option<OwnedFd>) -> Message {
    match (packet, fd) {
        ([b'T', ..], Some(master)) => Message::Terminal(master),
        ([b'X', ..], _) => Message::Executing,
        ([b'P', b' ', text @ ..], Some(pidfd)) => {
            let pid = std::str::from_utf8(text).map(str::parse);
            match pid {
                Ok(Ok(pid)) => Message::Program { pid, pidfd },
                _ => Message::Closed,
            }
        }
        ([b'E', letter, text @ ..], _) => {
            let kind = KINDS.iter().find(|(known, _)| known == letter);
            let kind = kind.map_or(FailureKind::System, |(_, kind)| *kind);
            Message::Failed(Failure::new(kind, String::from_utf8_lossy(text)))
        }
        _ => Message::Closed,
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_with_its_kind() -> io::Result<()> {
        let (sender, receiver) = channel()?;
        sender.failed(&Failure::new(FailureKind::NotFound, "exec: \"x\""))?;
        drop(sender);
        let Message::Failed(failure) = receiver.receive()? else {
            return Err(io::Error::other("no failure"));
        };
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::NotFound, "exec: \"x\"")
        );
        assert!(matches!(receiver.receive()?, Message::Closed));
        Ok(())
    }
}
