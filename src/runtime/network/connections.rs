//! Connections that the engine itself passes on: taken one after the other, and bounded. Called by the forwarder of
//! published ports and by the relay of an ordinary user's containers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Takes connections until dropped, at most `most` at once; what `pass` makes no work of is closed.
pub(super) async fn take<Work>(
    listener: TcpListener,
    most: usize,
    mut pass: impl FnMut(TcpStream, SocketAddr) -> Option<Work>,
) where
    Work: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= most {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok((client, peer)) = listener.accept().await else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if let Some(work) = pass(client, peer) {
            connections.spawn(work);
        }
    }
}
