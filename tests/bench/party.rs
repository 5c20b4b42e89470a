//! Many phones in one conference, on one thread: each has a socket of its own, answers what comes and counts it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard_tests::client::{Message, token, uri};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::datagrams::widen;

/// Between two tries of a request.
const REPEAT: Duration = Duration::from_millis(500);
/// Tries of a request.
const TRIES: usize = 20;

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The switch: phones join its conference 3000.
    Switch(SocketAddr),
    /// A bare loop: phones only say that they are there.
    Bare(SocketAddr),
}

impl Server {
    fn address(self) -> SocketAddr {
        match self {
            Self::Switch(address) | Self::Bare(address) => address,
        }
    }
}

/// One phone and its call.
struct Leg {
    socket: UdpSocket,
    contact: String,
    call_id: String,
    from: String,
    to: String,
    target: String,
    cseq: u32,
}

/// The phones.
pub struct Party {
    server: Server,
    legs: Vec<Leg>,
    poll: Poll,
    events: Events,
}

impl Party {
    /// So many phones, all in the conference when this returns. `port` says where each of them takes audio; without
    /// one it takes none.
    pub fn join(
        server: Server,
        count: usize,
        port: impl Fn(usize) -> Option<u16>,
    ) -> (Self, Vec<Option<u16>>) {
        let poll = Poll::new().expect("the system lets us wait");
        let mut party = Self {
            server,
            legs: Vec::new(),
            poll,
            events: Events::with_capacity(1024),
        };
        let ports = (0..count).map(|number| party.add(number, port(number))).collect();
        (party, ports)
    }

    /// Phones.
    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// One more phone; where the switch takes its audio.
    fn add(&mut self, number: usize, port: Option<u16>) -> Option<u16> {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        widen(&socket);
        self.poll
            .registry()
            .register(&mut socket, Token(number), Interest::READABLE)
            .expect("it can be waited for");
        let contact = format!("p{number}@{}", socket.local_addr().expect("it is bound"));
        let (tag, call_id, target) = (token(), token(), format!("sip:3000@{}", self.server.address()));
        self.legs.push(Leg {
            socket,
            from: format!("\"Phone {number}\" <sip:{contact}>;tag={tag}"),
            contact,
            call_id,
            to: format!("<{target}>"),
            target,
            cseq: 0,
        });
        match self.server {
            Server::Bare(_) => {
                self.send(number, b"JOIN");
                None
            }
            Server::Switch(_) => self.invite(number, port),
        }
    }

    fn invite(&mut self, number: usize, port: Option<u16>) -> Option<u16> {
        let (port, direction) = port.map_or((9, "inactive"), |port| (port, "sendrecv"));
        let description = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=ptime:20\r\na={direction}\r\n"
        );
        let invite = self
            .request(number, "INVITE")
            .with("Content-Type", "application/sdp")
            .with_body(description)
            .bytes();
        for _ in 0..TRIES {
            self.send(number, &invite);
            let (begun, mut answer) = (Instant::now(), None);
            while answer.is_none() && begun.elapsed() < REPEAT {
                self.poll(Duration::from_millis(20), |leg, message| {
                    let ours = leg == number && message.method() == "INVITE";
                    if ours && message.code().is_some_and(|code| code >= 200) {
                        answer = Some(message);
                    }
                });
            }
            let Some(answer) = answer else { continue };
            assert_eq!(answer.code(), Some(200), "phone {number}: {}", answer.start);
            let leg = &mut self.legs[number];
            answer.header("To").unwrap_or_default().clone_into(&mut leg.to);
            uri(answer.header("Contact").unwrap_or_default()).clone_into(&mut leg.target);
            leg.cseq -= 1; // an ACK has the number of its INVITE
            let ack = self.request(number, "ACK").bytes();
            self.send(number, &ack);
            let description = String::from_utf8_lossy(&answer.body).into_owned();
            let line = description.lines().find_map(|line| line.strip_prefix("m=audio "));
            return line.and_then(|line| line.split(' ').next()?.parse().ok());
        }
        panic!("phone {number} got no answer to its INVITE");
    }

    /// The next request of a phone in its call.
    pub fn request(&mut self, number: usize, method: &str) -> Message {
        let leg = &mut self.legs[number];
        leg.cseq += 1;
        let address = leg.contact.split('@').next_back().unwrap_or_default();
        Message::request(method, &leg.target)
            .with(
                "Via",
                format!("SIP/2.0/UDP {address};branch=z9hG4bK{};rport", token()),
            )
            .with("Max-Forwards", "70")
            .with("From", leg.from.as_str())
            .with("To", leg.to.as_str())
            .with("Call-ID", leg.call_id.as_str())
            .with("CSeq", format!("{} {method}", leg.cseq))
            .with("Contact", format!("<sip:{}>", leg.contact))
    }

    /// Sends bytes from a phone.
    pub fn send(&self, number: usize, bytes: &[u8]) {
        // What the kernel does not take is lost, as on any network.
        let _ = self.legs[number].socket.send_to(bytes, self.server.address());
    }

    /// Waits at most `patience` for something, answers every request with 200 and hands everything to `each`.
    pub fn poll(&mut self, patience: Duration, mut each: impl FnMut(usize, Message)) {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => panic!("waiting for datagrams: {error}"),
        }
        let mut bytes = [0; 4096];
        for event in &self.events {
            let number = event.token().0;
            let leg = &self.legs[number];
            while let Ok(len) = leg.socket.recv(&mut bytes) {
                let Some(message) = Message::parse(&bytes[..len]) else {
                    continue;
                };
                if message.code().is_none() && message.method() != "ACK" {
                    let answer = Message::response(&message, 200, "OK").bytes();
                    let _ = leg.socket.send_to(&answer, self.server.address()); // as above
                }
                each(number, message);
            }
        }
    }

    /// Answers what comes for a time.
    pub fn idle(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.poll(Duration::from_millis(10), |_, _| {});
        }
    }

    /// Hangs up.
    pub fn leave(mut self) {
        if matches!(self.server, Server::Bare(_)) {
            return;
        }
        let mut left: Vec<bool> = vec![false; self.len()];
        for number in 0..self.len() {
            let bye = self.request(number, "BYE").bytes();
            for _ in 0..TRIES {
                if left[number] {
                    break;
                }
                self.send(number, &bye);
                let begun = Instant::now();
                while !left[number] && begun.elapsed() < REPEAT {
                    self.poll(Duration::from_millis(5), |leg, message| {
                        left[leg] |= message.code().is_some() && message.method() == "BYE";
                    });
                }
            }
        }
    }
}
