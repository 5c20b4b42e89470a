//! A chat client of a meeting: a ticket over HTTP, then frames over a WebSocket.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use crate::http;

/// The subprotocol of the chat.
pub const PROTOCOL: &str = "opentalk-signaling-json-v1.0";

/// What a client gets from its socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A frame.
    Frame(Value),
    /// The server closed, with this code.
    Closed(u16),
    /// The connection broke.
    Broken,
}

/// One client.
#[derive(Debug)]
pub struct Meeting {
    socket: WebSocket<TcpStream>,
    /// The participant's id, once it has joined.
    pub id: String,
    /// The token by which it may come back.
    pub resumption: String,
}

/// Asks for a ticket as a user.
///
/// # Errors
/// Nobody answers, or not HTTP.
pub fn start(server: SocketAddr, room: &str, token: &str, body: &Value) -> io::Result<http::Answer> {
    let headers = format!("Authorization: Bearer {token}\r\n");
    http::post(
        server,
        &format!("/v1/rooms/{room}/start"),
        &headers,
        &body.to_string(),
    )
}

/// Asks for a ticket as a guest.
///
/// # Errors
/// Nobody answers, or not HTTP.
pub fn start_invited(server: SocketAddr, room: &str, body: &Value) -> io::Result<http::Answer> {
    http::post(
        server,
        &format!("/v1/rooms/{room}/start_invited"),
        "",
        &body.to_string(),
    )
}

impl Meeting {
    /// Connects with the ticket of an answer.
    ///
    /// # Errors
    /// There is no ticket in it, or the handshake was refused.
    pub fn connect(server: SocketAddr, answer: &http::Answer) -> io::Result<Self> {
        let tickets: Value = serde_json::from_str(&answer.body).map_err(io::Error::other)?;
        let text = |key: &str| tickets[key].as_str().map(str::to_owned);
        let (Some(ticket), Some(resumption)) = (text("ticket"), text("resumption")) else {
            return Err(io::Error::other(format!("no ticket: {}", answer.body)));
        };
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{server}/signaling")
            .into_client_request()
            .map_err(io::Error::other)?;
        let protocols = format!("{PROTOCOL}, ticket#{ticket}");
        let value = HeaderValue::from_str(&protocols).map_err(io::Error::other)?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", value);
        let (socket, answer) = tungstenite::client(request, stream).map_err(io::Error::other)?;
        let chosen = answer.headers().get("Sec-WebSocket-Protocol");
        if chosen.is_none_or(|chosen| chosen != PROTOCOL) {
            return Err(io::Error::other("the server chose another protocol"));
        }
        Ok(Self {
            socket,
            id: String::new(),
            resumption,
        })
    }

    /// Joins, and gives the payload of `join_success`.
    ///
    /// # Errors
    /// It was not let in.
    pub fn join(&mut self, name: &str) -> io::Result<Value> {
        self.say("control", json!({ "action": "join", "display_name": name }))?;
        match self.next(Duration::from_secs(10)) {
            Some(Heard::Frame(frame)) if frame["payload"]["message"] == "join_success" => {
                let payload = frame["payload"].clone();
                payload["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
                Ok(payload)
            }
            other => Err(io::Error::other(format!("not let in: {other:?}"))),
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn say(&mut self, namespace: &str, payload: Value) -> io::Result<()> {
        let frame = json!({ "namespace": namespace, "payload": payload });
        self.raw(&frame.to_string())
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn raw(&mut self, text: &str) -> io::Result<()> {
        self.socket.send(Message::text(text)).map_err(io::Error::other)
    }

    /// Writes to everybody.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn write(&mut self, content: &str) -> io::Result<()> {
        self.say(
            "chat",
            json!({ "action": "send_message", "scope": "global", "content": content }),
        )
    }

    /// What comes next; `None` if nothing does in time.
    pub fn next(&mut self, patience: Duration) -> Option<Heard> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.max(Duration::from_millis(1));
            if self.socket.get_ref().set_read_timeout(Some(wait)).is_err() {
                return Some(Heard::Broken);
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(&text) {
                    Ok(frame) => return Some(Heard::Frame(frame)),
                    Err(_) => return Some(Heard::Broken),
                },
                Ok(Message::Close(frame)) => {
                    return Some(Heard::Closed(frame.map_or(1005, |frame| frame.code.into())));
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    if left.is_zero() {
                        return None;
                    }
                }
                Err(_) => return Some(Heard::Broken),
            }
        }
    }

    /// The socket, to wait for.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// From now on [`Meeting::poll`] is how to read.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn never_wait(&self) -> io::Result<()> {
        self.socket.get_ref().set_nonblocking(true)
    }

    /// What is there already, after [`Meeting::never_wait`].
    pub fn poll(&mut self) -> Option<Heard> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok().map(Heard::Frame),
                Ok(Message::Close(frame)) => {
                    return Some(Heard::Closed(frame.map_or(1005, |frame| frame.code.into())));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Heard::Broken),
            }
        }
    }

    /// The next event of this name; others are left out.
    pub fn event(&mut self, patience: Duration, message: &str) -> Option<Value> {
        let deadline = Instant::now() + patience;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Heard::Frame(frame) if frame["payload"]["message"] == message => return Some(frame),
                Heard::Frame(_) => {}
                Heard::Closed(_) | Heard::Broken => return None,
            }
        }
    }

    /// Closes as a client does that is done.
    pub fn close(mut self) {
        let frame = tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        if self.socket.close(Some(frame)).is_ok() {
            while !matches!(
                self.next(Duration::from_secs(2)),
                None | Some(Heard::Closed(_) | Heard::Broken)
            ) {}
        }
    }
}
