//! Chat connections as the control thread holds them: who waits for an answer, and the queues to those who are
//! connected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cordboard_engine::chat::io::{ChatInput, ChatOutput, Departure, Proof, StartRequest};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::control::{Arrival, ControlHandle};

/// Frames that may wait for a slow reader; with more, its connection is cut.
const QUEUE: usize = 512;

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
        connection: u64,
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
}

impl ChatDoor {
    pub(crate) fn new(control: ControlHandle) -> Self {
        let numbers = Arc::new(AtomicU64::new(1));
        Self { control, numbers }
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
            connection,
            answer: sender,
        };
        self.control.arrive(Arrival::Chat(arrival)).await;
        Some(answer.await.ok()?.map(|welcome| (connection, welcome)))
    }

    /// Hands over a frame, waiting while control is behind: the client is slowed down by TCP.
    pub(crate) async fn frame(&self, connection: u64, frame: Bytes) {
        let input = ChatInput::Frame { connection, frame };
        self.control
            .arrive(Arrival::Chat(ChatArrival::Input(input)))
            .await;
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
    handshakes: HashMap<u64, oneshot::Sender<Result<Welcome, Refusal>>>,
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
                connection,
                answer,
            } => {
                self.handshakes.insert(connection, answer);
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

    /// Does what the engine says; gives a connection that is gone before it began.
    pub(crate) fn act(&mut self, output: ChatOutput) -> Option<u64> {
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
                if let Some(waiting) = self.handshakes.remove(&connection) {
                    let _ = waiting.send(Err((status, body))); // as above
                }
            }
            ChatOutput::Opened { connection, protocol } => {
                let (writer, frames) = mpsc::channel(QUEUE);
                let welcome = Ok(Welcome { protocol, frames });
                let waiting = self.handshakes.remove(&connection);
                if waiting.is_none_or(|waiting| waiting.send(welcome).is_err()) {
                    return Some(connection);
                }
                self.writers.insert(connection, writer);
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
        None
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
