//! Sockets that outlive the engine: the keeper holds a copy of the name server's of each container, so that what is
//! asked while no engine lives waits for the next one instead of being refused. Only numbers travel; who is told them
//! takes a copy from the other process.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::protocol::Lent;

/// Copies of what a process lends.
pub(crate) fn take(lent: &Lent) -> io::Result<Vec<OwnedFd>> {
    let process = Pid::from_raw(lent.process).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    lent.sockets
        .iter()
        .map(|socket| Ok(pidfd_getfd(&process, *socket, PidfdGetfdFlags::empty())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_copy_hears_what_the_original_hears() -> Result<(), Box<dyn std::error::Error>> {
        let original = UdpSocket::bind("127.0.0.1:0")?;
        let address = original.local_addr()?;
        let lent = Lent {
            process: i32::try_from(std::process::id())?,
            sockets: vec![original.as_raw_fd()],
        };
        let mut copies = take(&lent)?;
        drop(original);
        let copy = UdpSocket::from(copies.pop().ok_or("no copy")?);
        UdpSocket::bind("127.0.0.1:0")?.send_to(b"web?", address)?;
        let mut heard = [0; 8];
        assert_eq!(copy.recv(&mut heard)?, 4);
        Ok(())
    }

    #[test]
    fn of_nobody_nothing_is_taken() {
        let lent = Lent {
            process: 0,
            sockets: vec![1],
        };
        assert!(take(&lent).is_err());
    }
}
