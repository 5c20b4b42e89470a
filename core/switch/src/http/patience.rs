//! A client's stream, with what its reader and writer must know together: whether a slow client still takes what is
//! written, and how much of an unfinished message is held for it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::net::hoard::Hoard;
use crate::net::meter::{Meter, Metered};

/// What a client must take in [`PATIENCE`] where it is waited for, in bytes.
const LEAST: u64 = 4 << 10;
/// How long a client may take no more than that, or leave a close without an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a stream.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// Bytes that were taken.
    taken: AtomicU64,
    /// Something waits to be taken.
    blocked: AtomicBool,
    /// When something was taken that had to wait: milliseconds since `begun`, plus one.
    resumed: AtomicU64,
    /// What is held of an unfinished message.
    meter: Arc<Meter>,
}

impl Progress {
    /// When the client last took something that had waited for it. What goes into an empty buffer of the kernel's
    /// says nothing of the client.
    pub(super) fn resumed(&self) -> Option<Instant> {
        let millis = self.resumed.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.begun + Duration::from_millis(millis))
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending => self.blocked.store(true, Ordering::Relaxed),
            Poll::Ready(Ok(bytes)) => {
                self.taken.fetch_add(*bytes as u64, Ordering::Relaxed);
                if self.blocked.swap(false, Ordering::Relaxed) {
                    let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
                    self.resumed.store(millis + 1, Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(_)) => {}
        }
    }

    /// A whole message has come.
    pub(super) fn whole(&self) {
        self.meter.whole();
    }

    /// Whether the stream ended because connections held too much.
    pub(super) fn is_overfull(&self) -> bool {
        self.meter.is_overfull()
    }

    /// Whether something is written, however slowly, as long as the client goes on taking it.
    pub(super) async fn in_time<E>(&self, writing: impl Future<Output = Result<(), E>>) -> bool {
        self.while_taken(writing, || sleep(PATIENCE)).await
    }

    /// The same, with a patience of one's own.
    async fn while_taken<E, P: Future<Output = ()>>(
        &self,
        writing: impl Future<Output = Result<(), E>>,
        mut patience: impl FnMut() -> P,
    ) -> bool {
        tokio::pin!(writing);
        loop {
            let before = self.taken.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                written = &mut writing => return written.is_ok(),
                () = patience() => {
                    if self.taken.load(Ordering::Relaxed) - before < LEAST {
                        return false;
                    }
                }
            }
        }
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: Metered<S>,
    progress: Arc<Progress>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, hoard: &Hoard) -> Self {
        let stream = Metered::new(stream, hoard);
        let progress = Progress {
            begun: Instant::now(),
            taken: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            resumed: AtomicU64::new(0),
            meter: stream.meter(),
        };
        Self {
            stream,
            progress: Arc::new(progress),
        }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.progress.wrote(&polled);
        polled
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
    use tokio::sync::Mutex;

    use super::*;

    /// How many times the client's patience ran out where it took these pieces, one each time, and whether all
    /// was written.
    async fn written(pieces: &[usize]) -> (usize, bool) {
        let (far, near) = duplex(1000);
        let (far, mut asked) = (Mutex::new(far), 0);
        let mut stream = Watched::new(near, &Hoard::default());
        let progress = stream.progress();
        stream.write_all(&[0; 1000]).await.unwrap();
        assert_eq!(progress.resumed(), None, "into an empty buffer");
        let patience = || {
            let piece = pieces.get(asked).copied().unwrap_or(0);
            asked += 1;
            let far = &far;
            async move {
                far.lock().await.read_exact(&mut vec![0; piece]).await.unwrap();
            }
        };
        let written = progress
            .while_taken(stream.write_all(&[0; 50_000]), patience)
            .await;
        let resumes = pieces.iter().any(|piece| *piece > 1000);
        assert_eq!(progress.resumed().is_some(), resumes);
        (asked, written)
    }

    #[tokio::test]
    async fn who_goes_on_reading_is_waited_for_and_who_stops_is_given_up() {
        assert_eq!(written(&[6000; 9]).await, (9, true));
        assert_eq!(written(&[6000; 5]).await, (6, false));
        assert_eq!(written(&[]).await, (1, false));
        assert_eq!(written(&[100; 9]).await, (1, false), "next to nothing");
    }

    #[tokio::test]
    async fn what_clients_hold_together_is_bounded_and_whole_messages_are_let_go() {
        const PART: usize = 1 << 20;
        let hoard = Hoard::default();
        let mut held = Vec::new();
        let overfull = loop {
            let (mut far, near) = duplex(2 * PART);
            let mut stream = Watched::new(near, &hoard);
            far.write_all(&[0; PART]).await.unwrap();
            if stream.read_exact(&mut vec![0; PART]).await.is_err() {
                break stream;
            }
            held.push((far, stream));
        };
        assert!(overfull.progress().is_overfull());
        assert_eq!(held.len(), 32);
        drop(overfull);
        for (far, stream) in &mut held {
            stream.progress().whole();
            far.write_all(&[0; PART]).await.unwrap();
            stream.read_exact(&mut vec![0; PART]).await.unwrap();
        }
        // The library keeps room for another one as large, whatever comes next.
        for (far, stream) in &mut held {
            stream.progress().whole();
            far.write_all(&[0]).await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        }
        let (mut far, near) = duplex(2 * PART);
        let mut next = Watched::new(near, &hoard);
        far.write_all(&[0; PART]).await.unwrap();
        next.read_exact(&mut vec![0; PART]).await.unwrap_err();
    }
}
