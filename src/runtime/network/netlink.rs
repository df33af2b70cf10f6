//! A synchronous netlink socket: many messages go to the kernel in one system call, one answer comes back.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are many and grow; only a few concern us"
)]

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::runtime::sys::netns;

/// How long the kernel may take for an answer; it takes microseconds, but nothing of ours may hang for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for a whole table of rules in one send.
const SEND_BUFFER: usize = 16 << 20;

/// One message of a batch and what may be there already.
#[derive(Debug, Clone)]
pub(crate) struct Request<T> {
    /// The payload.
    pub(crate) message: T,
    /// `NLM_F_CREATE`, `NLM_F_EXCL`, `NLM_F_REPLACE` …
    pub(crate) flags: u16,
}

/// A refused message of a batch.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The kernel's answer.
    pub(crate) source: io::Error,
}

/// A netlink socket: of the host's side of networks, or of the namespace into which the thread has gone that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket for links, addresses and routes.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(NETLINK_ROUTE)
    }

    /// Opens a socket for rules.
    pub(crate) fn netfilter() -> io::Result<Self> {
        let netlink =
            Self::open(NETLINK_NETFILTER).map_err(|error| match error.raw_os_error() {
                Some(libc::EPROTONOSUPPORT) => io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this kernel has no nftables: load its module with `modprobe nf_tables`",
                ),
                _ => error,
            })?;
        sockopt::set_socket_send_buffer_size_force(&netlink.socket, SEND_BUFFER)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&netlink.socket, SEND_BUFFER))?;
        Ok(netlink)
    }

    /// A socket for links, addresses and routes of the namespace that the process itself is in.
    pub(crate) fn route_of_process() -> io::Result<Self> {
        Self::new(Self::socket(NETLINK_ROUTE)?)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        Self::new(netns::on_ground(|| Self::socket(protocol))??)
    }

    fn socket(protocol: isize) -> io::Result<Socket> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(socket)
    }

    fn new(socket: Socket) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Does all of a batch. Route messages after a refused one are done all the same; rule messages are a transaction.
    pub(crate) fn run<T>(&mut self, batch: Vec<Request<T>>) -> Result<(), Refusal>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<T>: From<T>,
    {
        let last = batch.len().checked_sub(1);
        last.map_or(Ok(()), |last| self.run_answered(batch, last))
    }

    /// Does all of a transaction or nothing of it. Its last message is an end mark, which most kernels never answer,
    /// so the answer is asked for at the message before.
    pub(crate) fn run_transaction<T>(&mut self, batch: Vec<Request<T>>) -> Result<(), Refusal>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<T>: From<T>,
    {
        let answered = batch.len().checked_sub(2);
        answered.map_or(Ok(()), |answered| self.run_answered(batch, answered))
    }

    fn run_answered<T>(&mut self, batch: Vec<Request<T>>, answered: usize) -> Result<(), Refusal>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<T>: From<T>,
    {
        let first = self.sequence + 1;
        let last = first + u32::try_from(answered).unwrap_or(u32::MAX);
        self.send(batch, answered)
            .map_err(|source| Refusal { source })?;
        self.answers::<T>(first, last)
    }

    /// Refusals are always answered; an acknowledgement of the message `answered` says that all before went well.
    fn send<T>(&mut self, batch: Vec<Request<T>>, answered: usize) -> io::Result<()>
    where
        T: NetlinkSerializable,
        NetlinkPayload<T>: From<T>,
    {
        let mut bytes = Vec::new();
        for (index, request) in batch.into_iter().enumerate() {
            let wants_answer = if index == answered { NLM_F_ACK } else { 0 };
            self.sequence += 1;
            let mut message = NetlinkMessage::from(request.message);
            message.header.flags = NLM_F_REQUEST | request.flags | wants_answer;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            // Messages stand at multiples of four bytes.
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        self.socket.send(&bytes, 0).map(drop)
    }

    fn answers<T>(&mut self, first: u32, last: u32) -> Result<(), Refusal>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
    {
        let mut refusal = None;
        loop {
            let (bytes, _) = self
                .socket
                .recv_from_full()
                .map_err(|source| Refusal { source })?;
            for (sequence, outcome) in outcomes::<T>(&bytes) {
                if sequence < first || sequence > last {
                    continue; // an answer to a batch that was given up
                }
                if let Err(source) = outcome {
                    refusal.get_or_insert(Refusal { source });
                }
                // A refusal of the first message may be one of the whole batch, with no answer after it.
                if sequence == last || (sequence == first && refusal.is_some()) {
                    return refusal.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Lists objects.
    pub(crate) fn dump<T>(&mut self, message: T) -> io::Result<Vec<T>>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<T>: From<T>,
    {
        self.send(
            vec![Request {
                message,
                flags: NLM_F_DUMP,
            }],
            usize::MAX,
        )?;
        let mut found = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages::<T>(&bytes) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The answers in a received packet.
fn outcomes<T: NetlinkSerializable + NetlinkDeserializable>(
    bytes: &[u8],
) -> Vec<(u32, io::Result<()>)> {
    messages::<T>(bytes)
        .filter_map(|message| match message.payload {
            NetlinkPayload::Error(error) => {
                let outcome = if error.code.is_some() {
                    Err(error.to_io())
                } else {
                    Ok(())
                };
                Some((message.header.sequence_number, outcome))
            }
            _ => None,
        })
        .collect()
}

/// Splits a packet into its messages; what cannot be understood ends it.
fn messages<T: NetlinkSerializable + NetlinkDeserializable>(
    mut bytes: &[u8],
) -> impl Iterator<Item = NetlinkMessage<T>> {
    std::iter::from_fn(move || {
        while bytes.len() >= 16 {
            let length = u32::from_ne_bytes(bytes[..4].try_into().ok()?) as usize;
            if length < 16 || length > bytes.len() {
                return None;
            }
            let message = NetlinkMessage::<T>::deserialize(&bytes[..length]);
            bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
            if let Ok(message) = message {
                return Some(message);
            }
        }
        None
    })
}
