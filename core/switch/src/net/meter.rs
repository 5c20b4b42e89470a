//! A stream that counts what has come since the last whole message, for readers that hold it back out of sight.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hoard::{Hoard, Part};

/// What a stream and the reader of its messages know together.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes since the last whole message.
    since: AtomicUsize,
    /// Bytes of the largest message: its reader keeps so much memory.
    largest: AtomicUsize,
    overfull: AtomicBool,
}

impl Meter {
    /// A whole message has come; its reader keeps the memory for another one as large.
    pub(crate) fn whole(&self) {
        let length = self.since.swap(0, Ordering::Relaxed);
        self.largest.fetch_max(length, Ordering::Relaxed);
    }

    /// Whether the stream ended because connections held too much.
    pub(crate) fn is_overfull(&self) -> bool {
        self.overfull.load(Ordering::Relaxed)
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    part: Part,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, hoard: &Hoard) -> Self {
        Self {
            stream,
            meter: Arc::default(),
            part: hoard.part(),
        }
    }

    pub(crate) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        let since = this.meter.since.fetch_add(came, Ordering::Relaxed) + came;
        let held = since.max(this.meter.largest.load(Ordering::Relaxed));
        if !this.part.hold(held) {
            this.meter.overfull.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_held_back_together_is_bounded_and_whole_messages_are_let_go() {
        const PART: usize = 1 << 20;
        let hoard = Hoard::default();
        let mut held = Vec::new();
        let overfull = loop {
            let (mut far, near) = duplex(2 * PART);
            let mut stream = Metered::new(near, &hoard);
            far.write_all(&[0; PART]).await.unwrap();
            if stream.read_exact(&mut vec![0; PART]).await.is_err() {
                break stream;
            }
            held.push((far, stream));
        };
        assert!(overfull.meter().is_overfull());
        assert_eq!(held.len(), 32);
        drop(overfull);
        // A message was whole: no more of its size is held by further ones.
        let (far, stream) = &mut held[0];
        stream.meter().whole();
        far.write_all(&[0; PART]).await.unwrap();
        stream.read_exact(&mut vec![0; PART]).await.unwrap();
        far.write_all(&[0; PART]).await.unwrap();
        stream.read_exact(&mut vec![0; PART]).await.unwrap_err();
    }
}
