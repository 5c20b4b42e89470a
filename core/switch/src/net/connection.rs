//! What TCP, TLS and WebSocket connections have in common: a number, a queue of packets to write, and the way that
//! their messages take to the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::Flow;
use cordboard_engine::sip::message::{Framing, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backlog::{Asked, Backlog, Backlogs, Queue, queue};
use super::hoard::Hoard;
use super::place::{Bounds, Places, Seat};
use crate::clock::Clock;
use crate::control::{Arrival, ControlHandle};
use crate::tls::Keys;

/// Messages that may wait for control, in bytes; whoever sends more is slowed down.
const WAITING: usize = 16 << 20;
/// How long a peer may take for a first message, or for the rest of one that it has begun.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may be silent: longer than the longest registration a phone keeps alive by it.
pub(crate) const IDLE: Duration = Duration::from_secs(2 * 3600 + 600);
/// How long the peer may take to read what we write.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(20);

/// As what it is counted that a stranger's connection gave way to a new one.
pub(crate) const GAVE_WAY: &str = "gave_way";

/// Room for the head of a message, in bytes.
const HEAD: usize = 64 << 10;
/// The largest body that is skipped where it is too large to be taken in, in bytes: behind a larger one the connection
/// ends.
pub(crate) const SKIPPED: usize = 4 << 20;

/// What a message takes while it waits for control; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Waits {
    _room: OwnedSemaphorePermit,
    _asked: Asked,
}

/// What every listener and dialler of connections needs.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) control: ControlHandle,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) places: Arc<Places>,
    pub(crate) hoard: Hoard,
    backlogs: Backlogs,
    /// Bytes of messages that may wait for control.
    room: Arc<Semaphore>,
    max_message: Arc<AtomicUsize>,
    numbers: Arc<AtomicU64>,
}

impl Connections {
    pub(crate) fn new(
        control: ControlHandle,
        clock: Clock,
        keys: Arc<Keys>,
        bounds: Bounds,
        max_body: usize,
    ) -> Self {
        Self {
            control,
            clock,
            keys,
            places: Arc::new(Places::new(bounds)),
            hoard: Hoard::default(),
            backlogs: Backlogs::default(),
            room: Arc::new(Semaphore::new(WAITING)),
            max_message: Arc::new(AtomicUsize::new(max_body + HEAD)),
            numbers: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Other bounds hold from now on. Connections that are open stay, also where there are too many of them.
    pub(crate) fn limit(&self, bounds: Bounds, max_body: usize) {
        self.max_message.store(max_body + HEAD, Ordering::Relaxed);
        self.places.limit(bounds);
    }

    /// The largest message, head and body, in bytes.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message.load(Ordering::Relaxed)
    }

    /// Gives a new connection its number and announces it to control; the queue is what it is to write.
    pub(crate) async fn open(&self, way: Flow, seat: &Arc<Seat>) -> (Flow, Queue) {
        let connection = self.numbers.fetch_add(1, Ordering::Relaxed);
        let flow = Flow { connection, ..way };
        let (writer, queue) = queue(seat, &self.backlogs);
        self.control.arrive(Arrival::Opened { flow, writer }).await;
        (flow, queue)
    }

    /// Tells control that a peer sends nothing more, and waits for answers alone.
    pub(crate) async fn half_close(&self, flow: Flow) {
        let connection = flow.connection;
        self.control.arrive(Arrival::HalfClosed { connection }).await;
    }

    /// Tells control that a connection is gone.
    pub(crate) async fn close(&self, flow: Flow) {
        self.control
            .arrive(Arrival::Closed {
                connection: flow.connection,
            })
            .await;
    }

    /// Hands a message to control, waiting while control is behind, and while the peer does not take what waits for
    /// it: it is slowed down by TCP.
    pub(crate) async fn deliver(&self, flow: Flow, raw: Bytes, framing: Framing, backlog: &Arc<Backlog>) {
        backlog.shrinks().await;
        let (stamp, asked) = (self.clock.now(), backlog.ask(raw.len()));
        let Some(room) = self.room(raw.len()).await else {
            return;
        };
        let arrival = match Message::parse(raw, framing) {
            Ok(message) => {
                backlog.owe(&message);
                Arrival::Message {
                    flow,
                    message,
                    stamp,
                    waits: Waits {
                        _room: room,
                        _asked: asked,
                    },
                }
            }
            Err(malformed) => Arrival::Garbage {
                reason: malformed.reason,
            },
        };
        self.control.arrive(arrival).await;
    }

    /// Room for a message of so many bytes; `None` when the switch ends.
    async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(WAITING)).expect("the bound fits");
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }

    pub(crate) async fn garbage(&self, reason: &'static str) {
        self.control.arrive(Arrival::Garbage { reason }).await;
    }
}
