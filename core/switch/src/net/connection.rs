//! What TCP, TLS and WebSocket connections have in common: a number, a bounded queue of packets to write, and
//! the way that their messages take to the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::{Flow, Packet};
use cordboard_engine::sip::message::{Framing, Message};
use tokio::sync::{Semaphore, mpsc};

use crate::clock::Clock;
use crate::control::{Arrival, ControlHandle};
use crate::tls::Keys;

/// Packets that may wait for a slow reader; with more, the connection is closed.
pub(crate) const WRITE_QUEUE: usize = 512;
/// How long a peer may take for a first message, or for the rest of one that it has begun.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may be silent: longer than the longest registration a phone keeps alive by it.
pub(crate) const IDLE: Duration = Duration::from_secs(2 * 3600 + 600);
/// How long the peer may take to read what we write.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(20);

/// Room for the head of a message, in bytes.
const HEAD: usize = 64 << 10;

/// The end of a connection that the control thread holds.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) packets: mpsc::Sender<Packet>,
}

/// What every listener and dialler of connections needs.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) control: ControlHandle,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    /// A place for each connection that may be open at once.
    pub(crate) places: Arc<Semaphore>,
    max_message: Arc<AtomicUsize>,
    numbers: Arc<AtomicU64>,
}

impl Connections {
    pub(crate) fn new(
        control: ControlHandle,
        clock: Clock,
        keys: Arc<Keys>,
        most: usize,
        max_body: usize,
    ) -> Self {
        Self {
            control,
            clock,
            keys,
            places: Arc::new(Semaphore::new(most)),
            max_message: Arc::new(AtomicUsize::new(max_body + HEAD)),
            numbers: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Other bounds hold from now on. Connections that are open stay, also where there are too many of them:
    /// then none is taken until enough have ended.
    pub(crate) fn limit(&self, old_most: usize, most: usize, max_body: usize) {
        self.max_message.store(max_body + HEAD, Ordering::Relaxed);
        if most >= old_most {
            return self.places.add_permits(most - old_most);
        }
        let less = u32::try_from(old_most - most).expect("the declared range fits");
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            if let Ok(taken) = places.acquire_many_owned(less).await {
                taken.forget();
            }
        });
    }

    /// The largest message, head and body, in bytes.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message.load(Ordering::Relaxed)
    }

    /// Gives a new connection its number and announces it to control; the receiver is its write queue.
    pub(crate) async fn open(&self, way: Flow) -> (Flow, mpsc::Receiver<Packet>) {
        let connection = self.numbers.fetch_add(1, Ordering::Relaxed);
        let flow = Flow { connection, ..way };
        let (packets, queue) = mpsc::channel(WRITE_QUEUE);
        self.control
            .arrive(Arrival::Opened {
                flow,
                writer: Writer { packets },
            })
            .await;
        (flow, queue)
    }

    /// Tells control that a connection is gone.
    pub(crate) async fn close(&self, flow: Flow) {
        self.control
            .arrive(Arrival::Closed {
                connection: flow.connection,
            })
            .await;
    }

    /// Hands a message to control, waiting while control is behind: the peer is slowed down by TCP.
    pub(crate) async fn deliver(&self, flow: Flow, raw: Bytes, framing: Framing) {
        let stamp = self.clock.now();
        let arrival = match Message::parse(raw, framing) {
            Ok(message) => Arrival::Message { flow, message, stamp },
            Err(malformed) => Arrival::Garbage {
                reason: malformed.reason,
            },
        };
        self.control.arrive(arrival).await;
    }

    pub(crate) async fn garbage(&self, reason: &'static str) {
        self.control.arrive(Arrival::Garbage { reason }).await;
    }
}
