//! A stream read ahead by a thread of its own, so that one processor decompresses while another unpacks.
//!
//! Called by `image` for layers. Memory is bounded by [`BLOCKS`] blocks of [`BLOCK`] bytes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of a block.
const BLOCK: usize = 256 * 1024;
/// Blocks on their way.
const BLOCKS: usize = 8;

/// The consumer's end: what the thread has read, in order, then its error or the end.
#[derive(Debug)]
pub struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
}

/// Runs `work` on a stream that a thread reads ahead; the thread ends when `work` is done.
pub fn read_ahead<T>(stream: impl Read + Send, work: impl FnOnce(Ahead) -> T) -> T {
    let (sender, blocks) = sync_channel(BLOCKS);
    std::thread::scope(|scope| {
        scope.spawn(move || produce(stream, &sender));
        work(Ahead {
            blocks,
            block: Vec::new(),
            at: 0,
        })
    })
}

fn produce(mut stream: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let read = stream.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        let is_end = block.len() < BLOCK;
        // What came before an error is delivered before it.
        if !block.is_empty() && sender.send(Ok(block)).is_err() {
            return; // nobody reads any more
        }
        if let Err(error) = read {
            sender.send(Err(error)).ok();
            return;
        }
        if is_end {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            match self.blocks.recv() {
                Ok(block) => (self.block, self.at) = (block?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, read_ahead};
    use std::io::{self, Read};

    /// Fails after some bytes.
    struct Breaks(usize);

    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("broken"));
            }
            let n = self.0.min(buffer.len());
            buffer[..n].fill(b'x');
            self.0 -= n;
            Ok(n)
        }
    }

    #[test]
    fn all_bytes_come_in_order() -> io::Result<()> {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 20 * BLOCK + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut found = Vec::new();
            read_ahead(&bytes[..], |mut ahead| ahead.read_to_end(&mut found))?;
            assert!(found == bytes, "{length}");
        }
        Ok(())
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it() {
        let mut found = Vec::new();
        let result = read_ahead(Breaks(BLOCK + 5), |mut ahead| ahead.read_to_end(&mut found));
        assert_eq!(
            result.map_err(|error| error.to_string()),
            Err("broken".to_owned())
        );
        assert_eq!(found.len(), BLOCK + 5);
    }

    #[test]
    fn who_stops_early_does_not_wait_for_the_rest() -> io::Result<()> {
        let first = read_ahead(io::repeat(7), |mut ahead| {
            let mut byte = [0];
            ahead.read_exact(&mut byte).map(|()| byte[0])
        })?;
        assert_eq!(first, 7);
        Ok(())
    }
}
