//! A phone: it knows just enough SIP to tell a story, and does nothing by itself.

use std::net::SocketAddr;

use cordboard_engine::config::DigestAlgorithm;
use cordboard_engine::io::{Flow, Transport};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::world::{Delivery, REALM, World};

/// One phone.
pub(crate) struct Phone {
    pub(crate) name: &'static str,
    pub(crate) flow: Flow,
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) password: &'static str,
    /// What it has been sent and has not looked at.
    pub(crate) inbox: Vec<Delivery>,
    /// What it offers and answers.
    pub(crate) sdp: &'static str,
    /// The Max-Forwards of its requests.
    pub(crate) hops: u8,
    branches: u32,
    /// Its last INVITE outside any dialog, for the CANCEL.
    last_invite: String,
    /// Parameters of the URI in its Contact.
    pub(crate) named: &'static str,
    /// The Call-ID of its registrations.
    pub(crate) registering: String,
}

/// A phone's side of a call.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) call_id: String,
    /// Its own From (or To) value, tag included.
    pub(crate) own: String,
    /// The switch's.
    pub(crate) theirs: String,
    pub(crate) target: String,
    pub(crate) cseq: u32,
}

pub(crate) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// What says that a body is a description.
pub(crate) const SDP_TYPE: &str = "Content-Type: application/sdp\r\n";

impl Phone {
    pub(crate) fn new(name: &'static str, host: u8) -> Self {
        let peer = SocketAddr::from(([198, 51, 100, host], 5060));
        let flow = Flow {
            transport: Transport::Udp,
            listener: 0,
            peer,
            connection: 0,
        };
        let algorithm = DigestAlgorithm::Md5;
        Self {
            name,
            flow,
            algorithm,
            password: "secret",
            inbox: Vec::new(),
            sdp: SDP,
            hops: 70,
            branches: 0,
            last_invite: String::new(),
            named: "",
            registering: format!("reg-{name}"),
        }
    }

    pub(crate) fn over(mut self, transport: Transport, connection: u64) -> Self {
        let listener = if transport == Transport::Tcp { 1 } else { 2 };
        self.flow = Flow {
            transport,
            listener,
            connection,
            ..self.flow
        };
        self
    }

    /// What runs in a browser has no address that it knows (RFC 7118 section 5.1).
    pub(crate) fn contact(&self) -> String {
        match self.flow.transport {
            Transport::Ws | Transport::Wss => {
                format!(
                    "<sip:{0}{1}@{0}.invalid;transport=ws>",
                    self.name, self.flow.connection
                )
            }
            _ => format!("<sip:{}@{}{}>", self.name, self.flow.peer, self.named),
        }
    }

    /// Something to tell this phone's calls apart by.
    pub(crate) fn next_number(&self) -> String {
        format!("{}-{}", self.name, self.branches)
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK{}{}", self.name, self.branches)
    }

    /// The branch of the last request.
    pub(crate) fn last_branch(&self) -> String {
        format!("z9hG4bK{}{}", self.name, self.branches)
    }

    fn via(&mut self) -> String {
        let branch = self.branch();
        format!(
            "SIP/2.0/{} {};rport;branch={branch}",
            self.flow.transport.via(),
            self.flow.peer
        )
    }

    /// Takes what is on the wire for this phone.
    pub(crate) fn listen(&mut self, world: &mut World) {
        let news = world.take(self.flow.peer);
        self.inbox.extend(news);
    }

    /// The next message of the inbox.
    pub(crate) fn next(&mut self, world: &mut World) -> Message {
        self.listen(world);
        assert!(!self.inbox.is_empty(), "{} waits for a message", self.name);
        self.inbox.remove(0).message
    }

    /// The next response of the inbox that is not provisional.
    pub(crate) fn final_response(&mut self, world: &mut World) -> Message {
        loop {
            let message = self.next(world);
            assert!(
                !message.is_request(),
                "{} expects a response, not {}",
                self.name,
                message.method_text()
            );
            if message.status() >= 200 {
                return message;
            }
        }
    }

    /// As [`Phone::has_nothing`], once a 100 or 180 has been put aside.
    pub(crate) fn has_nothing_but_provisionals(&mut self, world: &mut World) {
        self.listen(world);
        self.inbox
            .retain(|delivery| delivery.message.is_request() || delivery.message.status() >= 200);
        self.has_nothing(world);
    }

    pub(crate) fn has_nothing(&mut self, world: &mut World) {
        self.listen(world);
        assert!(
            self.inbox.is_empty(),
            "{} expects nothing, not {:?}",
            self.name,
            self.inbox
        );
    }

    /// Sends a request outside any dialog, proves its identity if asked, and gives the final response.
    pub(crate) fn request(
        &mut self,
        world: &mut World,
        method: &str,
        uri: &str,
        headers: &str,
        body: &[u8],
    ) -> Message {
        let call_id = format!("{}-{}", self.name, self.branches);
        self.request_in(world, &call_id, 1, method, uri, headers, body).1
    }

    /// The same, with a Call-ID and a first CSeq; also gives the CSeq that was used last.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn request_in(
        &mut self,
        world: &mut World,
        call_id: &str,
        mut cseq: u32,
        method: &str,
        uri: &str,
        headers: &str,
        body: &[u8],
    ) -> (u32, Message) {
        let mut authorization = String::new();
        for attempt in 0..2 {
            let via = self.via();
            let to = if method == "REGISTER" {
                format!("sip:{}@{REALM}", self.name)
            } else {
                uri.to_owned()
            };
            let from = match headers.contains("From:") {
                true => String::new(),
                false => format!("From: <sip:{0}@{REALM}>;tag={0}1\r\n", self.name),
            };
            let text = format!(
                "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: {}\r\n{from}\
                 To: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}{authorization}\
                 Content-Length: {}\r\n\r\n",
                self.hops,
                body.len()
            );
            if method == "INVITE" {
                self.last_invite.clone_from(&text);
            }
            world.receive(self.flow, &text, body);
            let response = self.final_response_or_wait(world, method);
            let Some(response) = response else {
                return (cseq, no_response());
            };
            if response.status() != 401 || attempt == 1 {
                if method == "INVITE" && response.status() >= 300 {
                    self.acknowledge_refusal(world, &text, &response);
                }
                return (cseq, response);
            }
            if method == "INVITE" {
                self.acknowledge_refusal(world, &text, &response);
            }
            authorization = self.authorization(&response, method, uri, 1);
            cseq += 1;
        }
        unreachable!("two attempts end in a return")
    }

    fn final_response_or_wait(&mut self, world: &mut World, method: &str) -> Option<Message> {
        self.listen(world);
        let is_its = |message: &Message| {
            let cseq = message.header(Name::CSeq).unwrap_or_default();
            !message.is_request() && message.status() >= 200 && cseq.ends_with(method)
        };
        let place = self.inbox.iter().position(|d| is_its(&d.message))?;
        Some(self.inbox.remove(place).message)
    }

    /// The answer to a challenge.
    pub(crate) fn authorization(&self, challenge: &Message, method: &str, uri: &str, count: u32) -> String {
        let wanted = self.algorithm.name();
        let value = challenge
            .headers(Name::WwwAuthenticate)
            .find(|value| value.contains(&format!("algorithm={wanted}")))
            .expect("the algorithm is offered");
        let nonce = value.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        let hash = |text: &str| match self.algorithm {
            DigestAlgorithm::Md5 => hex::encode(<md5::Md5 as md5::Digest>::digest(text)),
            DigestAlgorithm::Sha256 => hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text)),
        };
        let ha1 = hash(&format!("{}:{REALM}:{}", self.name, self.password));
        let ha2 = hash(&format!("{method}:{uri}"));
        let response = hash(&format!("{ha1}:{nonce}:{count:08x}:cn:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={wanted}, qop=auth, nc={count:08x}, cnonce=\"cn\"\r\n",
            self.name
        )
    }

    fn acknowledge_refusal(&mut self, world: &mut World, invite: &str, response: &Message) {
        let line = |name: &str| {
            invite
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .to_owned()
        };
        let uri = invite.split(' ').nth(1).unwrap();
        let text = format!(
            "ACK {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\nTo: {}\r\n{}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
            line("Via:"),
            line("From:"),
            response.header(Name::To).unwrap(),
            line("Call-ID:"),
            response.cseq().unwrap().number,
        );
        world.receive(self.flow, &text, b"");
    }

    pub(crate) fn register(&mut self, world: &mut World, expires: u32) -> Message {
        let headers = format!("Contact: {}\r\nExpires: {expires}\r\n", self.contact());
        let call_id = self.registering.clone();
        let cseq = 100 + self.branches;
        self.request_in(
            world,
            &call_id,
            cseq,
            "REGISTER",
            &format!("sip:{REALM}"),
            &headers,
            b"",
        )
        .1
    }

    /// Sends an INVITE with an offer; the response is whatever came first that is final, if any did.
    pub(crate) fn invite(&mut self, world: &mut World, number: &str) -> (Line, Option<Message>) {
        self.invite_with(world, number, "")
    }

    /// The same with more headers.
    pub(crate) fn invite_with(
        &mut self,
        world: &mut World,
        number: &str,
        more: &str,
    ) -> (Line, Option<Message>) {
        let uri = format!("sip:{number}@{REALM}");
        let call_id = format!("call-{}-{}", self.name, self.branches);
        let headers = format!(
            "Contact: {}\r\n{more}Content-Type: application/sdp\r\n",
            self.contact()
        );
        let (cseq, response) =
            self.request_in(world, &call_id, 1, "INVITE", &uri, &headers, self.sdp.as_bytes());
        let own = format!("<sip:{}@{REALM}>;tag={}1", self.name, self.name);
        let mut line = Line {
            call_id,
            own,
            theirs: format!("<{uri}>"),
            target: uri,
            cseq,
        };
        if response.status() == 0 {
            return (line, None);
        }
        line.learn(&response);
        (line, Some(response))
    }

    /// Calls a number, hears 200, sends the ACK.
    pub(crate) fn call(&mut self, world: &mut World, number: &str) -> Line {
        let (line, response) = self.invite(world, number);
        let response = response.expect("the call is answered at once");
        assert_eq!(response.status(), 200, "{}", response.reason());
        self.ack(world, &line);
        self.listen(world);
        self.inbox
            .retain(|delivery| delivery.message.is_request() || delivery.message.status() >= 200);
        line
    }

    pub(crate) fn ack(&mut self, world: &mut World, line: &Line) {
        self.send(world, line, "ACK", line.cseq, "", b"");
    }

    /// Sends a request inside a call and gives no thought to the answer.
    pub(crate) fn send(
        &mut self,
        world: &mut World,
        line: &Line,
        method: &str,
        cseq: u32,
        headers: &str,
        body: &[u8],
    ) {
        let via = self.via();
        let from = if headers.contains("From:") {
            String::new()
        } else {
            format!("From: {}\r\n", line.own)
        };
        let contact = match headers.contains("Contact:") {
            true => String::new(),
            false => format!("Contact: {}\r\n", self.contact()),
        };
        let text = format!(
            "{method} {} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n{from}To: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\n{contact}{headers}Content-Length: {}\r\n\r\n",
            line.target,
            line.theirs,
            line.call_id,
            body.len(),
        );
        world.receive(self.flow, &text, body);
    }

    /// Sends a request inside a call and gives the final response.
    pub(crate) fn within(
        &mut self,
        world: &mut World,
        line: &mut Line,
        method: &str,
        headers: &str,
        body: &[u8],
    ) -> Message {
        line.cseq += 1;
        self.send(world, line, method, line.cseq, headers, body);
        self.final_response_or_wait(world, method)
            .expect("the request is answered at once")
    }

    /// Answers a request of the switch.
    pub(crate) fn respond(
        &mut self,
        world: &mut World,
        request: &Message,
        status: u16,
        headers: &str,
        body: &str,
    ) {
        let to = request.header(Name::To).unwrap();
        let to = if to.contains("tag=") {
            to.to_owned()
        } else {
            format!("{to};tag={}2", self.name)
        };
        self.respond_to(world, request, &to, status, headers, body);
    }

    /// The same with a To of one's own.
    pub(crate) fn respond_to(
        &mut self,
        world: &mut World,
        request: &Message,
        to: &str,
        status: u16,
        headers: &str,
        body: &str,
    ) {
        let mut text = format!("SIP/2.0 {status} Whatever\r\n");
        for via in request.headers(Name::Via) {
            text += &format!("Via: {via}\r\n");
        }
        text += &format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            request.header(Name::From).unwrap(),
            request.call_id(),
            request.header(Name::CSeq).unwrap(),
            body.len()
        );
        world.receive(self.flow, &text, body.as_bytes());
    }

    /// Takes its last INVITE back.
    pub(crate) fn cancel(&mut self, world: &mut World, headers: &str) {
        let invite = self.last_invite.clone();
        let line = |name: &str| {
            invite
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .to_owned()
        };
        let uri = invite.split(' ').nth(1).unwrap();
        let text = format!(
            "CANCEL {uri} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\n{}\r\n{}\r\n{}\r\n{}\r\n{headers}Content-Length: 0\r\n\r\n",
            line("Via:"),
            line("From:"),
            line("To:"),
            line("Call-ID:"),
            line("CSeq:").replace("INVITE", "CANCEL"),
        );
        world.receive(self.flow, &text, b"");
    }

    /// Answers an INVITE of the switch with a description.
    pub(crate) fn pick_up(&mut self, world: &mut World, invite: &Message) -> Line {
        self.pick_up_with(world, invite, "")
    }

    /// The same with more headers.
    pub(crate) fn pick_up_with(&mut self, world: &mut World, invite: &Message, more: &str) -> Line {
        let contact = self.contact();
        let headers = format!("Contact: {contact}\r\n{more}Content-Type: application/sdp\r\n");
        self.respond(world, invite, 200, &headers, self.sdp);
        Line {
            call_id: invite.call_id().to_owned(),
            own: format!("{};tag={}2", invite.header(Name::To).unwrap(), self.name),
            theirs: invite.header(Name::From).unwrap().to_owned(),
            target: invite.contacts().next().unwrap().unwrap().uri.to_owned(),
            cseq: 0,
        }
    }

    /// The next message of the inbox must be this request; it is answered with 200 if `answer` says so.
    pub(crate) fn gets(&mut self, world: &mut World, method: &str, answer: bool) -> Message {
        let message = self.next(world);
        assert!(
            message.is_request(),
            "{} expects {method}, not {}",
            self.name,
            message.status()
        );
        assert_eq!(message.method_text(), method);
        if answer {
            self.respond(world, &message, 200, "", "");
        }
        message
    }

    /// Answers an offer with this description; the ACK follows at once, for this very offer.
    pub(crate) fn takes(&mut self, world: &mut World, offer: &Message, sdp: &str) {
        let headers = format!("Contact: {}\r\n{SDP_TYPE}", self.contact());
        self.respond(world, offer, 200, &headers, sdp);
        let ack = self.gets(world, "ACK", false);
        assert_eq!(ack.cseq().unwrap().number, offer.cseq().unwrap().number);
    }
}

impl Line {
    /// Takes the switch's tag and contact from a response.
    pub(crate) fn learn(&mut self, response: &Message) {
        response.header(Name::To).unwrap().clone_into(&mut self.theirs);
        if let Some(Ok(contact)) = response.contacts().next() {
            contact.uri.clone_into(&mut self.target);
        }
    }
}

/// Stands for "nothing yet".
fn no_response() -> Message {
    use cordboard_engine::sip::message::Framing;
    let text = "OPTIONS sip:nobody SIP/2.0\r\n\r\n";
    Message::parse(text.as_bytes().to_vec().into(), Framing::Datagram).expect("a request line is enough")
}
