//! A media thread: one `cordboard_media::Shard`, the sockets of its legs, and a way in for commands.
//!
//! The thread sleeps until the next tick or command. It does not wake for packets of phones: they wait in their
//! sockets, stamped by the kernel, and are read just before the tick that needs them. That saves thousands
//! of wake-ups a second and costs nothing, because a frame is mixed on the tick whenever it came.
//! Keys and reports of the peer are noticed a tick later than they could be.
//!
//! Packets of WebRTC peers wake it: video is forwarded at once. All of them come to one port, which is emptied in
//! batches.

mod port;
mod webrtc;
mod worker;

use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cordboard_media::Counts;
use cordboard_model::measure::{Histogram, RELAY_BOUNDS};
use cordboard_model::media::peer::PeerCommand;
use cordboard_model::media::{LegQuality, MediaCommand, MediaEvent};
use cordboard_model::{LegId, ShardId};
use mio::Waker;
use tokio::sync::oneshot;

use crate::clock::Clock;

pub(crate) use port::part;
pub(crate) use webrtc::{StreamEnd, WebRtcPort};
use worker::Worker;

/// Commands that may wait for a shard before it takes no new legs.
const QUEUE: usize = 4096;
/// How many times as many may wait in all: what a leg that is open still has to be told, its end above all.
const RESERVE: usize = 16;

/// How a shard is set up.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    /// Which one it is.
    pub(crate) id: ShardId,
    /// Its own ports for RTP and RTCP; see [`part`].
    pub(crate) ports: RangeInclusive<u16>,
    /// The switch's clock.
    pub(crate) clock: Clock,
    /// Its port for WebRTC, if that is served.
    pub(crate) webrtc: Option<WebRtcPort>,
}

/// What a shard's thread counts, a moment ago.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShardCounts {
    /// The media's own counts.
    pub(crate) media: Counts,
    /// Packets that the kernel did not take.
    pub(crate) send_errors: u64,
    /// TCP connections of WebRTC peers that ended or were not taken, by [`StreamEnd::ALL`].
    pub(crate) stream_ends: [u64; StreamEnd::ALL.len()],
    /// Sockets that failed while receiving; their legs go on sending.
    pub(crate) receive_errors: u64,
    /// Commands that were refused because too many waited.
    pub(crate) refused: u64,
    /// Time that the thread was not asleep.
    pub(crate) busy: Duration,
    /// Seconds by which ticks came late.
    pub(crate) lag: Histogram,
}

impl Default for ShardCounts {
    fn default() -> Self {
        Self {
            media: Counts::default(),
            send_errors: 0,
            stream_ends: [0; StreamEnd::ALL.len()],
            receive_errors: 0,
            refused: 0,
            busy: Duration::ZERO,
            lag: Histogram::new(RELAY_BOUNDS),
        }
    }
}

/// Why a command did not reach its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShardUnreachable {
    /// Too many commands wait.
    #[error("the media thread is overloaded: {QUEUE} commands wait; the call it was for fails")]
    Full,
    /// The thread has ended.
    #[error("the media thread has ended; see the log for why, and restart the switch")]
    Gone,
}

/// What is sent to the thread.
#[allow(
    clippy::large_enum_variant,
    reason = "the largest is what comes most: a box would be an allocation each"
)]
enum Message {
    Command(MediaCommand),
    /// What these legs have moved so far; those that are gone are left out.
    Totals(Vec<LegId>, oneshot::Sender<Vec<(LegId, LegQuality)>>),
    Stop,
}

/// The way to a running shard. Dropping it ends the thread after the commands that wait.
pub(crate) struct ShardHandle {
    id: ShardId,
    sender: SyncSender<Message>,
    waker: Arc<Waker>,
    shared: Arc<Mutex<ShardCounts>>,
    refused: AtomicU64,
    /// Commands that wait.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a shard's thread; its events go to `events`, on that thread.
///
/// # Errors
/// If the system gives no thread, or nothing to wait for packets with.
pub(crate) fn start(
    config: ShardConfig,
    events: impl FnMut(MediaEvent) + Send + 'static,
) -> io::Result<ShardHandle> {
    let (sender, receiver) = sync_channel(QUEUE * RESERVE);
    let waiting = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Mutex::new(ShardCounts::default()));
    let id = config.id;
    let worker = Worker::new(
        config,
        (receiver, Arc::clone(&waiting)),
        Box::new(events),
        Arc::clone(&shared),
    )?;
    let waker = worker.waker();
    let thread = thread::Builder::new()
        .name(format!("media-{id}"))
        .spawn(move || worker.run())?;
    Ok(ShardHandle {
        id,
        sender,
        waker,
        shared,
        refused: AtomicU64::new(0),
        waiting,
        thread: Some(thread),
    })
}

impl ShardHandle {
    /// Queues a command; never blocks.
    ///
    /// # Errors
    /// If the shard cannot take it; it is counted, and the caller's call has no media.
    pub(crate) fn send(&self, command: MediaCommand) -> Result<(), ShardUnreachable> {
        let opens = matches!(
            command,
            MediaCommand::Open { .. } | MediaCommand::Peer(PeerCommand::Open { .. })
        );
        let outcome = if opens && self.waiting.load(Ordering::Relaxed) >= QUEUE {
            Err(ShardUnreachable::Full)
        } else {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let sent = self.sender.try_send(Message::Command(command));
            sent.map_err(|error| {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                match error {
                    TrySendError::Full(_) => ShardUnreachable::Full,
                    TrySendError::Disconnected(_) => ShardUnreachable::Gone,
                }
            })
        };
        self.wake();
        outcome.inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// What these legs have moved so far; those that are gone are left out, and all of them where the thread has
    /// too much to do.
    pub(crate) async fn totals(&self, legs: Vec<LegId>) -> Vec<(LegId, LegQuality)> {
        let (sender, receiver) = oneshot::channel();
        if self.sender.try_send(Message::Totals(legs, sender)).is_err() {
            return Vec::new();
        }
        self.wake();
        receiver.await.unwrap_or_default()
    }

    /// What the thread counted; at most a quarter of a second old while legs are open.
    pub(crate) fn counts(&self) -> ShardCounts {
        let mut counts = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.refused = self.refused.load(Ordering::Relaxed);
        counts
    }

    /// Ends the thread after the commands that wait, and waits for it.
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Blocks while the queue is full, which the thread empties.
        let _ = self.sender.send(Message::Stop);
        self.wake();
        if thread.join().is_err() {
            tracing::error!(shard = %self.id, "the media thread panicked; its calls have no audio");
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(shard = %self.id, %error, "the media thread cannot be woken");
        }
    }
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
