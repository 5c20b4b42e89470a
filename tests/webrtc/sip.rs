//! Clients that join a conference of the switch by SIP over UDP, and follow its offers.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::crowd::{Crowd, Seen};
use super::sdp::{self, Description, Part};
use crate::client::{Message, token, uri};

/// Between two tries of a request.
const REPEAT: Duration = Duration::from_millis(500);
/// Tries of a request.
const TRIES: usize = 20;

/// One client's dialog.
struct Leg {
    part: Part,
    call_id: String,
    from: String,
    to: String,
    target: String,
    cseq: u32,
    version: u64,
    /// Videos in the last description of the switch.
    videos: usize,
    /// The last offer that was answered: its CSeq, and the answer.
    answered: Option<(String, Vec<u8>)>,
}

/// A conference as its clients see it.
pub struct Meeting {
    /// Their media.
    pub crowd: Crowd,
    socket: UdpSocket,
    server: SocketAddr,
    number: String,
    legs: Vec<Leg>,
    responses: Vec<Message>,
}

impl Meeting {
    /// Nobody is there yet.
    ///
    /// # Panics
    /// There is no socket to be had.
    pub fn new(server: SocketAddr, number: &str) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        socket
            .connect(server)
            .expect("the switch's address can be reached");
        socket.set_nonblocking(true).expect("it is ours");
        let address = socket.local_addr().expect("it is bound").ip();
        Self {
            crowd: Crowd::new(address),
            socket,
            server,
            number: number.to_owned(),
            legs: Vec::new(),
            responses: Vec::new(),
        }
    }

    /// One more client calls the conference; its number, once the call is answered.
    ///
    /// # Panics
    /// It is refused, or not answered in ten seconds.
    pub fn join(&mut self, part: Part) -> usize {
        let peer = self.crowd.add().expect("a socket for one more client");
        let target = format!("sip:{}@{}", self.number, self.server);
        self.legs.push(Leg {
            part,
            call_id: token(),
            from: format!("\"Client {peer}\" <sip:w{peer}@lab.test>;tag={}", token()),
            to: format!("<{target}>"),
            target,
            cseq: 0,
            version: 1,
            videos: 0,
            answered: None,
        });
        let offer = sdp::offer(&self.crowd.peers[peer], part);
        let invite = self
            .request(peer, "INVITE")
            .with("Supported", "ice,replaces,outbound")
            .with("Allow", "INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS")
            .with("Content-Type", "application/sdp")
            .with_body(offer);
        let answer = self.transact(peer, &invite);
        assert_eq!(answer.code(), Some(200), "client {peer}: {}", answer.start);
        let leg = &mut self.legs[peer];
        answer.header("To").unwrap_or_default().clone_into(&mut leg.to);
        uri(answer.header("Contact").unwrap_or_default()).clone_into(&mut leg.target);
        self.acknowledge(peer);
        let description = Description::read(&String::from_utf8_lossy(&answer.body));
        self.legs[peer].videos = description.videos();
        let remote = description.remote().expect("the switch says where it is");
        self.crowd.peers[peer]
            .meet(remote)
            .expect("the switch's address can be reached");
        peer
    }

    fn acknowledge(&mut self, peer: usize) {
        self.legs[peer].cseq -= 1; // an ACK has the number of its INVITE
        let ack = self.request(peer, "ACK").bytes();
        let _ = self.socket.send(&ack); // the 200 comes again
    }

    /// Sends a request until it is answered.
    fn transact(&mut self, peer: usize, request: &Message) -> Message {
        for _ in 0..TRIES {
            let _ = self.socket.send(&request.bytes()); // it is sent again
            let begun = Instant::now();
            while begun.elapsed() < REPEAT {
                self.pump(Duration::from_millis(1), |_| ());
                let call_id = &self.legs[peer].call_id;
                let ours =
                    |message: &Message| message.call_id() == call_id && message.method() == request.method();
                if let Some(at) = self.responses.iter().position(ours) {
                    return self.responses.swap_remove(at);
                }
            }
        }
        panic!("client {peer}: no answer to {}", request.start);
    }

    fn request(&mut self, peer: usize, method: &str) -> Message {
        let address = self.socket.local_addr().expect("it is bound");
        let leg = &mut self.legs[peer];
        leg.cseq += 1;
        let via = format!("SIP/2.0/UDP {address};branch=z9hG4bK{};rport", token());
        Message::request(method, &leg.target)
            .with("Via", via)
            .with("Max-Forwards", "70")
            .with("From", leg.from.as_str())
            .with("To", leg.to.as_str())
            .with("Call-ID", leg.call_id.as_str())
            .with("CSeq", format!("{} {method}", leg.cseq))
            .with("Contact", format!("<sip:w{peer}@{address}>"))
    }

    /// Answers what the switch asks, does what is due, and hands media to `each`, after a pause.
    pub fn pump(&mut self, pause: Duration, each: impl FnMut(Seen)) {
        let mut bytes = [0; 65_535];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            let Some(message) = Message::parse(&bytes[..len]) else {
                continue;
            };
            match message.code() {
                Some(code) if code >= 200 => self.responses.push(message),
                Some(_) => {}
                None => self.serve(&message),
            }
        }
        self.crowd.pump(pause, each);
    }

    fn serve(&mut self, request: &Message) {
        let found = self.legs.iter().position(|leg| leg.call_id == request.call_id());
        let Some(peer) = found.filter(|_| request.method() != "ACK") else {
            return;
        };
        let leg = &mut self.legs[peer];
        let cseq = request.header("CSeq").unwrap_or_default().to_owned();
        if let Some((_, answer)) = leg.answered.as_ref().filter(|(known, _)| *known == cseq) {
            let _ = self.socket.send(answer); // it is asked again until it arrives
            return;
        }
        let mut answer = Message::response(request, 200, "OK");
        if request.method() == "INVITE" {
            let offer = Description::read(&String::from_utf8_lossy(&request.body));
            leg.version += 1;
            leg.videos = offer.videos();
            let text = sdp::answer(&offer, &self.crowd.peers[peer], leg.part, "passive", leg.version);
            let address = self.socket.local_addr().expect("it is bound");
            answer = answer
                .with("Contact", format!("<sip:w{peer}@{address}>"))
                .with("Content-Type", "application/sdp")
                .with_body(text);
        }
        let bytes = answer.bytes();
        let _ = self.socket.send(&bytes); // as above
        leg.answered = Some((cseq, bytes));
    }

    /// Lets time pass until every client is connected and is offered so many videos of others; panics after
    /// `patience`.
    ///
    /// # Panics
    /// As said.
    pub fn settle(&mut self, patience: Duration, videos: impl Fn(Part) -> usize) {
        let begun = Instant::now();
        let lacks = |leg: &Leg| leg.videos < videos(leg.part);
        while self.legs.iter().any(lacks) || !self.crowd.is_connected() {
            let peers = self.crowd.peers.iter().filter(|peer| peer.is_connected()).count();
            let blind = self.legs.iter().filter(|leg| lacks(leg)).count();
            assert!(
                begun.elapsed() < patience,
                "{peers} of {} clients are connected, {blind} are offered too few videos",
                self.legs.len()
            );
            self.pump(Duration::from_millis(2), |_| ());
        }
    }

    /// Lets time pass.
    pub fn idle(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.pump(Duration::from_millis(5), |_| ());
        }
    }

    /// Everybody hangs up.
    pub fn leave(mut self) {
        for peer in 0..self.legs.len() {
            let bye = self.request(peer, "BYE");
            self.transact(peer, &bye);
        }
    }
}
