//! A call of the phone: its dialog, its audio, the messages inside it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::inbox::Heard;
use super::phone::{Line, contact_of};
use super::rtp::Rtp;
use super::text::Message;
use super::token;

/// A call that is up.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    dialog: Dialog,
    /// Its audio.
    pub rtp: Rtp,
    /// The INVITE that came in, or the 200 that our own INVITE got.
    pub opening: Message,
}

/// Both ends as RFC 3261 names them.
#[derive(Debug)]
pub(super) struct Dialog {
    id: String,
    /// URI and tag of this end, without display name.
    local: String,
    remote: String,
    target: String,
    route: Vec<String>,
    cseq: AtomicU32,
}

/// A MESSAGE to be sent inside a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Note<'a> {
    /// The Content-Type; `None` leaves the header out.
    pub content_type: Option<&'a str>,
    /// The display name for From, unquoted; `None` leaves it out.
    pub display_name: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Note<'a> {
    /// A plain text.
    pub fn text(body: &'a str) -> Self {
        Self {
            content_type: Some("text/plain"),
            body: body.as_bytes(),
            ..Self::default()
        }
    }
}

impl Dialog {
    pub(super) fn of_callee(invite: &Message, ok: &Message) -> Self {
        Self {
            id: invite.call_id().to_owned(),
            local: bare(ok.header("To").unwrap_or("")),
            remote: invite.header("From").unwrap_or("").to_owned(),
            target: contact_of(invite, ""),
            route: invite.all("Record-Route").map(str::to_owned).collect(),
            cseq: AtomicU32::new(1),
        }
    }

    /// A request inside the dialog, with the next CSeq.
    fn request(&self, method: &str, display_name: Option<&str>) -> Message {
        let cseq = self.cseq.fetch_add(1, Ordering::Relaxed);
        let from = match display_name {
            Some(name) => format!(
                "\"{}\" {}",
                name.replace('\\', "\\\\").replace('"', "\\\""),
                self.local
            ),
            None => self.local.clone(),
        };
        let mut request = Message::request(method, &self.target);
        for route in &self.route {
            request = request.with("Route", route.clone());
        }
        request
            .with("From", from)
            .with("To", self.remote.clone())
            .with("Call-ID", self.id.clone())
            .with("CSeq", format!("{cseq} {method}"))
    }
}

impl Call {
    pub(super) fn new(line: Arc<Line>, dialog: Dialog, rtp: Rtp, opening: Message) -> Self {
        Self {
            line,
            dialog,
            rtp,
            opening,
        }
    }

    pub(super) fn invite(line: &Arc<Line>, target: &str) -> io::Result<Result<Self, Message>> {
        let domain = &line.account.domain;
        let target = if target.contains(':') {
            target.to_owned()
        } else {
            format!("sip:{target}@{domain}")
        };
        let (id, local) = (token(), format!("<{}>;tag={}", line.account.address(), token()));
        let rtp = Rtp::open()?;
        let sdp = description(rtp.port());
        line.remember_description(&id, sdp.clone());
        let mut cseq = 0;
        let last = line.authenticated(|| {
            cseq += 1;
            let invite = Message::request("INVITE", &target)
                .with("From", local.clone())
                .with("To", format!("<{target}>"))
                .with("Call-ID", id.clone())
                .with("CSeq", format!("{cseq} INVITE"))
                .with(
                    "Allow",
                    "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, UPDATE, INFO",
                )
                .with("Content-Type", "application/sdp")
                .with_body(sdp.clone());
            line.with_contact(invite)
        })?;
        if last.code().is_none_or(|c| c >= 300) {
            return Ok(Err(last));
        }
        let answered = last
            .header("CSeq")
            .and_then(|c| c.split(' ').next()?.parse::<u32>().ok())
            .unwrap_or(cseq);
        let mut route: Vec<String> = last.all("Record-Route").map(str::to_owned).collect();
        route.reverse();
        let dialog = Dialog {
            id: id.clone(),
            local,
            remote: last.header("To").unwrap_or("").to_owned(),
            target: contact_of(&last, &target),
            route,
            cseq: AtomicU32::new(answered),
        };
        let mut ack = dialog.request("ACK", None);
        let host = line.link.via_host()?;
        let via = format!(
            "SIP/2.0/{} {host};branch=z9hG4bK{};rport",
            line.link.via(),
            token()
        );
        ack.headers.insert(0, ("Via".to_owned(), via));
        ack.headers
            .insert(1, ("Max-Forwards".to_owned(), "70".to_owned()));
        line.link.send(&ack.bytes())?;
        line.remember_ack(&id, ack.bytes());
        let peer =
            media_address(&last.body).ok_or_else(|| io::Error::other("the 200 holds no audio address"))?;
        rtp.send_to(peer)?;
        Ok(Ok(Self::new(line.clone(), dialog, rtp, last)))
    }

    /// The Call-ID.
    pub fn id(&self) -> &str {
        &self.dialog.id
    }

    /// Where the other side takes audio, by what it said when the call began.
    pub fn media_address(&self) -> Option<SocketAddr> {
        media_address(&self.opening.body)
    }

    /// Sends a MESSAGE inside the call; its final answer.
    ///
    /// # Errors
    /// There was none in time.
    pub fn send(&self, note: &Note<'_>) -> io::Result<Message> {
        let mut request = self.dialog.request("MESSAGE", note.display_name);
        if let Some(content_type) = note.content_type {
            request = request.with("Content-Type", content_type);
        }
        for (name, value) in note.headers {
            request = request.with(name, *value);
        }
        self.line.transact(request.with_body(note.body))
    }

    /// Sends a MESSAGE whose CSeq is that of the call's first request: one that was used before.
    ///
    /// # Errors
    /// There was no final answer in time.
    pub fn send_with_old_cseq(&self, note: &Note<'_>) -> io::Result<Message> {
        let mut request = self.dialog.request("MESSAGE", None);
        request.set("CSeq", "1 MESSAGE");
        self.line
            .transact(request.with("Content-Type", "text/plain").with_body(note.body))
    }

    /// The MESSAGEs that came inside this call so far.
    pub fn messages(&self) -> Vec<Heard> {
        self.line.inbox.select(|m| self.is_message(m))
    }

    /// The first MESSAGE inside this call that is wanted; waits at most `patience`.
    pub fn wait_message(&self, patience: Duration, wanted: impl Fn(&Message) -> bool) -> Option<Heard> {
        self.line
            .inbox
            .wait(0, patience, |m| self.is_message(m) && wanted(m))
    }

    /// The first request of that method inside this call; waits at most `patience`.
    pub fn wait_request(&self, patience: Duration, method: &str) -> Option<Heard> {
        self.line.inbox.wait(0, patience, |m| {
            m.code().is_none() && m.method() == method && self.is_ours(m)
        })
    }

    /// Hangs up; the answer to the BYE.
    ///
    /// # Errors
    /// There was none in time.
    pub fn hang_up(&self) -> io::Result<Message> {
        self.line.transact(self.dialog.request("BYE", None))
    }

    fn is_ours(&self, message: &Message) -> bool {
        message.call_id() == self.dialog.id
    }

    fn is_message(&self, message: &Message) -> bool {
        message.code().is_none() && message.method() == "MESSAGE" && self.is_ours(message)
    }
}

/// SDP that offers and answers one PCMU stream.
pub(super) fn description(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=ptime:20\r\na=sendrecv\r\n"
    )
}

/// Where the audio of that SDP wants to be sent: the address of the stream, else of the session.
pub(super) fn media_address(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let (mut session, mut stream, mut port, mut media) = (None, None, None, "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("m=") {
            media = rest.split(' ').next().unwrap_or("");
            if media == "audio" && port.is_none() {
                port = rest.split(' ').nth(1).and_then(|p| p.parse::<u16>().ok());
            }
        } else if let Some(rest) = line.strip_prefix("c=") {
            let address = rest.split(' ').nth(2).map(str::to_owned);
            match media {
                "" => session = address,
                "audio" => stream = address,
                _ => {}
            }
        }
    }
    let address = stream.or(session)?.parse().ok()?;
    Some(SocketAddr::new(address, port.filter(|p| *p > 0)?))
}

/// A From or To without its display name.
fn bare(header: &str) -> String {
    header
        .find('<')
        .map_or_else(|| header.to_owned(), |at| header[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Account, Phone};

    #[test]
    fn the_address_of_the_stream_wins_over_that_of_the_session() {
        let sdp = b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\nm=video 5000 RTP/AVP 96\r\nc=IN IP4 10.0.0.3\r\n";
        assert_eq!(media_address(sdp), "10.0.0.2:4000".parse().ok());
        assert_eq!(
            media_address(b"v=0\r\nm=audio 0 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\n"),
            None
        );
    }

    /// Two phones whose links point at each other: no switch in between.
    #[test]
    fn two_phones_call_each_other_directly_and_write() {
        let door = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let callee_address = door.local_addr().expect("bound");
        drop(door);
        let caller = Phone::udp(callee_address, Account::lab("alice", "x")).expect("a phone");
        let callee = Phone::udp_at(
            callee_address,
            caller.local().expect("bound"),
            Account::lab("bob", "x"),
        )
        .expect("the port is free again");
        let call = caller.call("bob");
        let other = callee.incoming(Duration::from_secs(5)).expect("it was answered");
        assert_eq!(call.id(), other.id());
        let note = Note {
            display_name: Some("Ännä \"Q\" ☃"),
            ..Note::text("hello")
        };
        assert_eq!(call.send(&note).expect("answered").code(), Some(200));
        let got = other
            .wait_message(Duration::from_secs(5), |_| true)
            .expect("it came")
            .message;
        assert_eq!(
            crate::client::display_name(got.header("From").expect("From")),
            "Ännä \"Q\" ☃"
        );
        other.rtp.play(440.0);
        crate::until(Duration::from_secs(10), || (call.rtp.count() >= 20).then_some(())).expect("audio");
        assert_eq!(other.hang_up().expect("answered").code(), Some(200));
        assert!(call.wait_request(Duration::from_secs(5), "BYE").is_some());
    }
}
