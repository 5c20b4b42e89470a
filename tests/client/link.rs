//! How a phone reaches the switch: UDP, TCP, WebSocket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message as Frame, WebSocket};

/// How long a read waits before the reading thread looks whether the phone is still wanted.
const READ: Duration = Duration::from_millis(20);

/// One way to the switch.
#[derive(Debug)]
pub(super) enum Link {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        rest: Mutex<Vec<u8>>,
    },
    Ws {
        socket: Box<Mutex<WebSocket<TcpStream>>>,
        local: SocketAddr,
    },
}

impl Link {
    pub(super) fn udp(local: SocketAddr, switch: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.connect(switch)?;
        socket.set_read_timeout(Some(READ))?;
        Ok(Self::Udp(socket))
    }

    pub(super) fn tcp(switch: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(switch)?;
        stream.set_read_timeout(Some(READ))?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp {
            stream,
            rest: Mutex::default(),
        })
    }

    /// Opens `ws://switch/ws` with the subprotocol `sip`; it is an error when the switch does not choose it.
    pub(super) fn ws(switch: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(switch)?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let mut request = format!("ws://{switch}/ws")
            .into_client_request()
            .map_err(io::Error::other)?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        let (socket, answer) = tungstenite::client(request, stream).map_err(io::Error::other)?;
        let chosen = answer
            .headers()
            .get("Sec-WebSocket-Protocol")
            .and_then(|v| v.to_str().ok());
        if chosen != Some("sip") {
            return Err(io::Error::other(format!(
                "subprotocol {chosen:?} was chosen, not \"sip\""
            )));
        }
        socket.get_ref().set_read_timeout(Some(READ))?;
        Ok(Self::Ws {
            socket: Box::new(Mutex::new(socket)),
            local,
        })
    }

    /// The transport's name in a Via.
    pub(super) fn via(&self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Tcp { .. } => "TCP",
            Self::Ws { .. } => "WS",
        }
    }

    /// What a Contact says behind the `@`.
    pub(super) fn contact_host(&self) -> io::Result<String> {
        Ok(match self {
            Self::Udp(_) => self.local()?.to_string(),
            Self::Tcp { .. } => format!("{};transport=tcp", self.local()?),
            Self::Ws { .. } => format!("{};transport=ws", self.via_host()?),
        })
    }

    /// What a Via says as sent-by; a browser cannot know its address (RFC 7118, 5.4).
    pub(super) fn via_host(&self) -> io::Result<String> {
        Ok(match self {
            Self::Ws { local, .. } => format!("p{}.invalid", local.port()),
            _ => self.local()?.to_string(),
        })
    }

    pub(super) fn is_reliable(&self) -> bool {
        !matches!(self, Self::Udp(_))
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp { stream, .. } => stream.local_addr(),
            Self::Ws { local, .. } => Ok(*local),
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).map(|_| ()),
            Self::Tcp { stream, .. } => (&mut &*stream).write_all(bytes),
            Self::Ws { socket, .. } => {
                let frame = match std::str::from_utf8(bytes) {
                    Ok(text) => Frame::text(text),
                    Err(_) => Frame::binary(bytes.to_vec()),
                };
                let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
                socket.send(frame).map_err(io::Error::other)
            }
        }
    }

    /// The next message's bytes, or `None` when none came within a moment.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        buffer.truncate(length);
                        Ok(Some(buffer))
                    }
                    // A refused datagram: the switch is down for the moment, which a phone over UDP survives.
                    Err(e) if is_quiet(&e) || e.kind() == ErrorKind::ConnectionRefused => Ok(None),
                    Err(e) => Err(e),
                }
            }
            Self::Tcp { stream, rest } => {
                let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(message) = cut(&mut rest) {
                    return Ok(Some(message));
                }
                let mut buffer = [0; 65_536];
                match (&mut &*stream).read(&mut buffer) {
                    Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                    Ok(length) => {
                        rest.extend_from_slice(&buffer[..length]);
                        Ok(cut(&mut rest))
                    }
                    Err(e) if is_quiet(&e) => Ok(None),
                    Err(e) => Err(e),
                }
            }
            Self::Ws { socket, .. } => {
                let read = socket.lock().unwrap_or_else(PoisonError::into_inner).read();
                // The lock is free for a moment, so that a sender gets its turn.
                std::thread::sleep(Duration::from_micros(200));
                match read {
                    Ok(Frame::Text(text)) => Ok(Some(text.as_bytes().to_vec())),
                    Ok(Frame::Binary(bytes)) => Ok(Some(bytes.to_vec())),
                    Ok(_) => Ok(None),
                    Err(tungstenite::Error::Io(e)) if is_quiet(&e) => Ok(None),
                    Err(e) => Err(io::Error::other(e)),
                }
            }
        }
    }
}

fn is_quiet(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Takes one whole message off the front of a stream, by its Content-Length.
fn cut(rest: &mut Vec<u8>) -> Option<Vec<u8>> {
    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    rest.drain(..blank);
    let head = rest.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&rest[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        matches!(name.trim(), "content-length" | "l").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = head + length.unwrap_or(0);
    (rest.len() >= whole).then(|| rest.drain(..whole).collect())
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_stream_is_cut_by_content_length() {
        let mut rest =
            b"\r\n\r\nA b SIP/2.0\r\nContent-Length: 3\r\n\r\nxyzB c SIP/2.0\r\nl: 2\r\n\r\n1".to_vec();
        assert!(cut(&mut rest).is_some_and(|m| m.starts_with(b"A") && m.ends_with(b"xyz")));
        assert_eq!(cut(&mut rest), None, "one byte is still missing");
        rest.push(b'2');
        assert!(cut(&mut rest).is_some_and(|m| m.ends_with(b"12")));
        assert!(rest.is_empty());
    }
}
