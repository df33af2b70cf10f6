//! The server of one container: UDP and TCP at 127.0.0.11:53.
//!
//! Work is bounded per container: so many questions to others at a time, so many streams; what comes above is answered
//! with a failure at once, so a flood of one container costs the others little.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Decision, Transport, decide};
use super::directory::Directory;
use super::upstream;

/// Questions to others at the same time.
const QUESTIONS: usize = 256;
/// Streams at the same time.
const STREAMS: usize = 32;
/// How long a stream may be silent.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);

struct Served {
    directory: Arc<Directory>,
    container: String,
    questions: Arc<Semaphore>,
}

/// Answers until dropped.
pub(crate) async fn run(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    directory: Arc<Directory>,
    container: String,
) {
    let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) else {
        return;
    };
    let served = Arc::new(Served {
        directory,
        container,
        questions: Arc::new(Semaphore::new(QUESTIONS)),
    });
    tokio::join!(packets(udp, &served), streams(tcp, &served));
}

async fn packets(socket: UdpSocket, served: &Arc<Served>) {
    let socket = Arc::new(socket);
    let mut asked = JoinSet::new();
    let mut packet = [0; 4096];
    loop {
        while asked.try_join_next().is_some() {}
        let Ok((length, peer)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let query = &packet[..length];
        match decide(query, &served.container, &served.directory, Transport::Udp) {
            Decision::Answer(answer) => drop(socket.send_to(&answer, peer).await),
            Decision::Ignore => {}
            Decision::Ask { upstream, refusal } => {
                let Ok(permit) = Arc::clone(&served.questions).try_acquire_owned() else {
                    drop(socket.send_to(&refusal, peer).await);
                    continue;
                };
                let question = upstream::Question {
                    upstream,
                    query: query.to_vec(),
                    transport: Transport::Udp,
                };
                let socket = Arc::clone(&socket);
                asked.spawn(async move {
                    ask(&socket, question, refusal, peer).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn ask(socket: &UdpSocket, question: upstream::Question, refusal: Vec<u8>, peer: SocketAddr) {
    let answer = upstream::ask(&question).await.unwrap_or(refusal);
    // The asker may be gone.
    drop(socket.send_to(&answer, peer).await);
}

async fn streams(listener: TcpListener, served: &Arc<Served>) {
    let mut open = JoinSet::new();
    loop {
        while open.len() >= STREAMS {
            open.join_next().await;
        }
        while open.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            let served = Arc::clone(served);
            open.spawn(async move {
                // A broken stream has nobody to tell.
                drop(converse(stream, &served).await);
            });
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn converse(mut stream: TcpStream, served: &Served) -> std::io::Result<()> {
    loop {
        let length = timeout(STREAM_PATIENCE, stream.read_u16()).await??;
        let mut query = vec![0; usize::from(length)];
        timeout(STREAM_PATIENCE, stream.read_exact(&mut query)).await??;
        let decision = decide(&query, &served.container, &served.directory, Transport::Tcp);
        let answer = match decision {
            Decision::Answer(answer) => answer,
            Decision::Ignore => return Ok(()),
            Decision::Ask { upstream, refusal } => {
                let question = upstream::Question {
                    upstream,
                    query,
                    transport: Transport::Tcp,
                };
                match served.questions.try_acquire() {
                    Ok(_permit) => upstream::ask(&question).await.unwrap_or(refusal),
                    Err(_) => refusal,
                }
            }
        };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        stream.write_u16(length).await?;
        stream.write_all(&answer[..usize::from(length)]).await?;
    }
}
