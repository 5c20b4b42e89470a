//! Chat connections as the control thread holds them: who waits for an answer, and the queues to those who are
//! connected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cordboard_engine::chat::io::{ChatInput, ChatOutput, Departure, Proof, StartRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::control::{Answer, Arrival, ControlHandle};
use crate::net::hoard::Hoard;

/// Frames that may wait for a slow reader; with more, its connection is cut.
const QUEUE: usize = 512;

/// What one connection's frames may take while they wait for the engine, in bytes; one frame may be larger.
const WAITING: usize = 128 << 10;
/// What those of all connections may take together, each connection's first [`FREE`] aside, in bytes.
const ALL_WAITING: usize = 32 << 20;
/// What each may have waiting in any case, in bytes: nearly every frame is smaller.
const FREE: usize = 4 << 10;

/// A status and a body.
pub(crate) type Refusal = (u16, Bytes);

/// What a connection is to write.
#[derive(Debug)]
pub(crate) enum ChatFrame {
    /// A text frame.
    Text(Utf8Bytes),
    /// The last thing: the close code and the reason.
    Close(u16, &'static str),
}

/// What comes for the chat, with the way back where an answer is waited for.
#[derive(Debug)]
pub(crate) enum ChatArrival {
    /// A request for a ticket.
    Start(Box<StartRequest>, oneshot::Sender<Refusal>),
    /// A handshake.
    Open {
        input: ChatInput,
        attendance: Attendance,
        answer: oneshot::Sender<Result<Welcome, Refusal>>,
    },
    /// A frame, or the end of a connection.
    Input(ChatInput),
}

/// A handshake that succeeded.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The subprotocol.
    pub(crate) protocol: &'static str,
    /// What is to be written; the connection is cut when the other end is dropped.
    pub(crate) frames: mpsc::Receiver<ChatFrame>,
    pub(crate) attendance: Attendance,
}

/// That somebody looks after a connection. Where that ends without a word (the client's request is dropped while it
/// is answered, say), control is told that the connection is gone.
pub(crate) struct Attendance {
    control: ControlHandle,
    connection: u64,
    /// The engine knows the connection, and nobody has reported its end.
    open: bool,
}

impl Attendance {
    /// Its end is reported.
    pub(crate) fn over(mut self) {
        self.open = false;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        if self.open {
            self.control.answer(Answer::Deserted(self.connection));
        }
    }
}

impl std::fmt::Debug for Attendance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attendance")
            .field("connection", &self.connection)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// A frame that waits for the engine; what it takes is given back when the engine lets go of it.
struct Weighed {
    frame: Bytes,
    _own: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// The way of one connection's frames to the engine.
pub(crate) struct FrameDoor<'d> {
    chat: &'d ChatDoor,
    connection: u64,
    own: Arc<Semaphore>,
}

impl FrameDoor<'_> {
    /// Hands over a frame, waiting while control is behind or too much waits already: the client is slowed down by
    /// TCP.
    pub(crate) async fn hand_over(&self, frame: Bytes) {
        let Some(frame) = self.weigh(frame).await else {
            return;
        };
        let connection = self.connection;
        let input = ChatInput::Frame { connection, frame };
        let arrival = Arrival::Chat(ChatArrival::Input(input));
        self.chat.control.arrive(arrival).await;
    }

    async fn weigh(&self, frame: Bytes) -> Option<Bytes> {
        let weight = |most: usize| u32::try_from(frame.len().min(most)).expect("the bound fits");
        let own = Arc::clone(&self.own)
            .acquire_many_owned(weight(WAITING))
            .await
            .ok()?;
        let shared = match WAITING - self.own.available_permits() > FREE {
            true => {
                let all = Arc::clone(&self.chat.room);
                Some(all.acquire_many_owned(weight(ALL_WAITING)).await.ok()?)
            }
            false => None,
        };
        Some(Bytes::from_owner(Weighed {
            frame,
            _own: own,
            _shared: shared,
        }))
    }
}

/// A handshake, as the HTTP server sees it.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// The other end.
    pub(crate) source: IpAddr,
    /// Whether it is inside TLS.
    pub(crate) secure: bool,
    /// The subprotocols that are offered.
    pub(crate) protocols: Option<String>,
    /// Whether a WebSocket can begin with it.
    pub(crate) upgradable: bool,
}

/// The HTTP server's way to the chat.
#[derive(Clone)]
pub(crate) struct ChatDoor {
    control: ControlHandle,
    numbers: Arc<AtomicU64>,
    /// Parts of messages whose rest has not come.
    hoard: Hoard,
    /// What frames that wait for the engine may take.
    room: Arc<Semaphore>,
}

impl ChatDoor {
    pub(crate) fn new(control: ControlHandle) -> Self {
        let numbers = Arc::new(AtomicU64::new(1));
        Self {
            control,
            numbers,
            hoard: Hoard::default(),
            room: Arc::new(Semaphore::new(ALL_WAITING)),
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks for a ticket; `None` if control has ended.
    pub(crate) async fn start(
        &self,
        source: IpAddr,
        room: String,
        proof: Proof,
        body: Bytes,
    ) -> Option<Refusal> {
        let (sender, answer) = oneshot::channel();
        let request = StartRequest {
            request: self.number(),
            source,
            room,
            proof,
            body,
        };
        let arrival = ChatArrival::Start(Box::new(request), sender);
        self.control.arrive(Arrival::Chat(arrival)).await;
        answer.await.ok()
    }

    /// Asks whether a WebSocket may open; `None` if control has ended.
    pub(crate) async fn open(&self, handshake: Handshake) -> Option<Result<(u64, Welcome), Refusal>> {
        let (sender, answer) = oneshot::channel();
        let connection = self.number();
        let input = ChatInput::Open {
            connection,
            source: handshake.source,
            secure: handshake.secure,
            protocols: handshake.protocols,
            upgradable: handshake.upgradable,
        };
        let arrival = ChatArrival::Open {
            input,
            attendance: Attendance {
                control: self.control.clone(),
                connection,
                open: false,
            },
            answer: sender,
        };
        self.control.arrive(Arrival::Chat(arrival)).await;
        Some(answer.await.ok()?.map(|welcome| (connection, welcome)))
    }

    /// The way of a connection's frames.
    pub(crate) fn frames(&self, connection: u64) -> FrameDoor<'_> {
        FrameDoor {
            chat: self,
            connection,
            own: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// What clients hold back together.
    pub(crate) fn hoard(&self) -> &Hoard {
        &self.hoard
    }

    /// Counts what was thrown away before it was a frame.
    pub(crate) async fn garbage(&self, reason: &'static str) {
        self.control.arrive(Arrival::Garbage { reason }).await;
    }

    /// Tells that a connection is gone.
    pub(crate) async fn closed(&self, connection: u64, departure: Departure) {
        let input = ChatInput::Closed {
            connection,
            departure,
        };
        self.control
            .arrive(Arrival::Chat(ChatArrival::Input(input)))
            .await;
    }
}

/// What the control thread holds.
#[derive(Debug, Default)]
pub(crate) struct ChatDesk {
    requests: HashMap<u64, oneshot::Sender<Refusal>>,
    handshakes: HashMap<u64, (Attendance, oneshot::Sender<Result<Welcome, Refusal>>)>,
    writers: HashMap<u64, mpsc::Sender<ChatFrame>>,
    /// Connections cut because they read too slowly.
    pub(crate) slow_readers: u64,
    /// Frames handed to connections.
    pub(crate) frames: u64,
}

impl ChatDesk {
    /// Notes who waits, and gives what the engine is to be told.
    pub(crate) fn arrived(&mut self, arrival: ChatArrival) -> ChatInput {
        match arrival {
            ChatArrival::Start(request, answer) => {
                self.requests.insert(request.request, answer);
                ChatInput::Start(request)
            }
            ChatArrival::Open {
                input,
                attendance,
                answer,
            } => {
                self.handshakes
                    .insert(attendance.connection, (attendance, answer));
                input
            }
            ChatArrival::Input(input) => {
                if let ChatInput::Closed { connection, .. } = &input {
                    self.writers.remove(connection);
                }
                input
            }
        }
    }

    /// Does what the engine says.
    pub(crate) fn act(&mut self, output: ChatOutput) {
        match output {
            ChatOutput::Answer {
                request,
                status,
                body,
            } => {
                if let Some(waiting) = self.requests.remove(&request) {
                    let _ = waiting.send((status, body)); // the client may have gone away
                }
            }
            ChatOutput::Refused {
                connection,
                status,
                body,
            } => {
                if let Some((_, waiting)) = self.handshakes.remove(&connection) {
                    let _ = waiting.send(Err((status, body))); // as above
                }
            }
            ChatOutput::Opened { connection, protocol } => {
                let (writer, frames) = mpsc::channel(QUEUE);
                if let Some((mut attendance, waiting)) = self.handshakes.remove(&connection) {
                    attendance.open = true;
                    self.writers.insert(connection, writer);
                    // Where the client has gone meanwhile, the attendance tells.
                    let _ = waiting.send(Ok(Welcome {
                        protocol,
                        frames,
                        attendance,
                    }));
                }
            }
            ChatOutput::Send { to, frame } => self.send(&to, frame),
            ChatOutput::Close {
                connection,
                code,
                reason,
            } => {
                if let Some(writer) = self.writers.remove(&connection) {
                    // If the queue is full, it is cut without a word.
                    let _ = writer.try_send(ChatFrame::Close(code, reason));
                }
            }
        }
    }

    /// A connection is gone that nobody looks after any more.
    pub(crate) fn deserted(&mut self, connection: u64) -> ChatInput {
        self.writers.remove(&connection);
        ChatInput::Closed {
            connection,
            departure: Departure::Lost,
        }
    }

    fn send(&mut self, to: &[u64], frame: Bytes) {
        let text = Utf8Bytes::try_from(frame).expect("the engine writes UTF-8");
        for connection in to {
            let Some(writer) = self.writers.get(connection) else {
                continue;
            };
            match writer.try_send(ChatFrame::Text(text.clone())) {
                Ok(()) => self.frames += 1,
                Err(error) => {
                    // It reads too slowly, or is closing: its task will report the end.
                    self.slow_readers += u64::from(matches!(error, mpsc::error::TrySendError::Full(_)));
                    self.writers.remove(connection);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::control::ControlParts;

    #[test]
    fn frames_that_wait_for_the_engine_are_weighed_and_the_client_waits() {
        let (mut parts, handle) = ControlParts::new().unwrap();
        let door = ChatDoor::new(handle);
        let (fast, other) = (door.frames(1), door.frames(2));
        let frame = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        assert!(fast.hand_over(frame(WAITING - 100)).now_or_never().is_some());
        assert!(fast.hand_over(frame(101)).now_or_never().is_none());
        assert!(fast.hand_over(frame(100)).now_or_never().is_some());
        // One may be larger.
        assert!(other.hand_over(frame(WAITING * 7)).now_or_never().is_some());
        assert!(other.hand_over(frame(1)).now_or_never().is_none());
        let (arrival, _) = parts.take();
        let Some(Arrival::Chat(ChatArrival::Input(ChatInput::Frame { frame: first, .. }))) = arrival else {
            panic!("a frame");
        };
        assert_eq!(first.len(), WAITING - 100);
        assert!(
            fast.hand_over(frame(101)).now_or_never().is_none(),
            "the engine holds it"
        );
        drop(first);
        assert!(fast.hand_over(frame(101)).now_or_never().is_some());
    }

    #[test]
    fn all_frames_together_are_bounded_and_small_ones_find_room_nevertheless() {
        let (_parts, handle) = ControlParts::new().unwrap();
        let door = ChatDoor::new(handle);
        let frame = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
        let many = ALL_WAITING / WAITING;
        for number in 0..many as u64 {
            let weighed = door.frames(number).hand_over(frame(WAITING)).now_or_never();
            assert!(weighed.is_some(), "{number}");
        }
        let next = door.frames(1000);
        assert!(next.hand_over(frame(FREE + 1)).now_or_never().is_none());
        assert!(next.hand_over(frame(FREE)).now_or_never().is_some());
    }

    fn opened(door: &ChatDoor, desk: &mut ChatDesk, parts: &mut ControlParts) -> Welcome {
        let handshake = Handshake {
            source: IpAddr::from([127, 0, 0, 1]),
            secure: false,
            protocols: None,
            upgradable: true,
        };
        let mut opening = Box::pin(door.open(handshake));
        assert!((&mut opening).now_or_never().is_none());
        let (Some(Arrival::Chat(arrival)), None) = parts.take() else {
            panic!("a handshake");
        };
        let ChatInput::Open { connection, .. } = desk.arrived(arrival) else {
            panic!("a handshake");
        };
        let protocol = "opentalk-signaling-json-v1.0";
        desk.act(ChatOutput::Opened { connection, protocol });
        opening.now_or_never().flatten().unwrap().unwrap().1
    }

    #[test]
    fn whoever_drops_a_connection_without_a_word_has_it_reported() {
        let (mut parts, handle) = ControlParts::new().unwrap();
        let (door, mut desk) = (ChatDoor::new(handle), ChatDesk::default());
        let welcome = opened(&door, &mut desk, &mut parts);
        assert!(parts.take().1.is_none());
        drop(welcome);
        let (None, Some(Answer::Deserted(connection))) = parts.take() else {
            panic!("it is reported");
        };
        assert!(desk.writers.contains_key(&connection));
        let ChatInput::Closed {
            connection: closed, ..
        } = desk.deserted(connection)
        else {
            panic!("its end");
        };
        assert_eq!((closed, desk.writers.len()), (connection, 0));
        opened(&door, &mut desk, &mut parts).attendance.over();
        assert!(parts.take().1.is_none(), "its end was told");
    }
}
