//! The phone: one link to the switch, an ear that answers what comes in, requests with digest.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::call::{Call, Dialog};
use super::digest::{self, Algorithm};
use super::inbox::{Heard, Inbox};
use super::link::Link;
use super::rtp::Rtp;
use super::text::{Message, uri};
use super::token;

/// How long a request waits for its final answer: RFC 3261's Timer F and B.
pub(super) const PATIENCE: Duration = Duration::from_secs(32);

/// Who the phone is.
#[derive(Debug, Clone)]
pub struct Account {
    /// SIP user and digest name.
    pub user: String,
    /// The digest password.
    pub password: String,
    /// The domain behind the `@`.
    pub domain: String,
}

impl Account {
    /// A user of the lab's domain.
    pub fn lab(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            domain: "lab.test".to_owned(),
        }
    }

    /// The address of record.
    pub fn address(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }
}

/// A phone. Ends its threads when dropped; it neither hangs up nor unregisters by itself.
#[derive(Debug)]
pub struct Phone {
    pub(super) line: Arc<Line>,
    ear: Option<JoinHandle<()>>,
}

/// What the phone, its calls and its ear share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) link: Link,
    pub(super) account: Account,
    pub(super) inbox: Inbox,
    algorithm: Mutex<Algorithm>,
    /// The status that a MESSAGE gets; 0 is silence.
    message_status: AtomicU16,
    answers_calls: AtomicBool,
    incoming: Mutex<VecDeque<Call>>,
    /// Our SDP by Call-ID, for re-INVITEs.
    descriptions: Mutex<HashMap<String, String>>,
    /// The ACK by Call-ID, for repeated 200s.
    acks: Mutex<HashMap<String, Vec<u8>>>,
    register_id: String,
    register_cseq: AtomicU32,
    stop: AtomicBool,
}

impl Phone {
    /// A phone that speaks UDP.
    ///
    /// # Errors
    /// No socket could be had.
    pub fn udp(switch: SocketAddr, account: Account) -> io::Result<Self> {
        Self::on(Link::udp(SocketAddr::from(([127, 0, 0, 1], 0)), switch)?, account)
    }

    /// The same at an address of its choice.
    ///
    /// # Errors
    /// The address is taken.
    pub fn udp_at(local: SocketAddr, switch: SocketAddr, account: Account) -> io::Result<Self> {
        Self::on(Link::udp(local, switch)?, account)
    }

    /// A phone on one TCP connection.
    ///
    /// # Errors
    /// The switch does not listen there.
    pub fn tcp(switch: SocketAddr, account: Account) -> io::Result<Self> {
        Self::on(Link::tcp(switch)?, account)
    }

    /// A phone on a WebSocket at `/ws`, subprotocol `sip`.
    ///
    /// # Errors
    /// The switch does not listen there, or refuses the WebSocket.
    pub fn ws(switch: SocketAddr, account: Account) -> io::Result<Self> {
        Self::on(Link::ws(switch)?, account)
    }

    fn on(link: Link, account: Account) -> io::Result<Self> {
        let line = Arc::new(Line {
            link,
            account,
            inbox: Inbox::default(),
            algorithm: Mutex::new(Algorithm::Md5),
            message_status: AtomicU16::new(200),
            answers_calls: AtomicBool::new(true),
            incoming: Mutex::default(),
            descriptions: Mutex::default(),
            acks: Mutex::default(),
            register_id: token(),
            register_cseq: AtomicU32::new(1),
            stop: AtomicBool::new(false),
        });
        let ear = std::thread::Builder::new()
            .name(format!("ear of {}", line.account.user))
            .spawn({
                let line = line.clone();
                move || listen(&line)
            })?;
        Ok(Self { line, ear: Some(ear) })
    }

    /// Which challenge it answers from now on; MD5 at first.
    pub fn prefer(&self, algorithm: Algorithm) {
        *self.line.algorithm.lock().unwrap_or_else(PoisonError::into_inner) = algorithm;
    }

    /// The status that it gives to each MESSAGE from now on; 0 is silence. 200 at first.
    pub fn answer_messages_with(&self, status: u16) {
        self.line.message_status.store(status, Ordering::Relaxed);
    }

    /// Whether it takes calls (at first it does) or is busy.
    pub fn answer_calls(&self, yes: bool) {
        self.line.answers_calls.store(yes, Ordering::Relaxed);
    }

    /// Its own address on the wire.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.line.link.local()
    }

    /// Registers for `seconds` (0 takes the registration back); the final answer.
    ///
    /// # Errors
    /// There was none in time.
    pub fn register(&self, seconds: u32) -> io::Result<Message> {
        let line = &self.line;
        let build = || {
            let address = line.account.address();
            let request = Message::request("REGISTER", &format!("sip:{}", line.account.domain))
                .with("From", format!("<{address}>;tag={}", token()))
                .with("To", format!("<{address}>"))
                .with("Call-ID", line.register_id.clone())
                .with(
                    "CSeq",
                    format!("{} REGISTER", line.register_cseq.fetch_add(1, Ordering::Relaxed)),
                )
                .with("Expires", seconds.to_string());
            line.with_contact(request)
        };
        line.authenticated(build)
    }

    /// A request outside of any dialog; the final answer.
    ///
    /// # Errors
    /// There was none in time.
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Message> {
        let line = &self.line;
        let (id, tag) = (token(), token());
        let mut cseq = 0;
        line.authenticated(|| {
            cseq += 1;
            let mut request = Message::request(method, target)
                .with("From", format!("<{}>;tag={tag}", line.account.address()))
                .with("To", format!("<{target}>"))
                .with("Call-ID", id.clone())
                .with("CSeq", format!("{cseq} {method}"));
            for (name, value) in headers {
                request.set(name, *value);
            }
            Ok(request.with_body(body))
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The link is gone.
    pub fn send_raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.line.link.send(bytes)
    }

    /// Calls `target` (a user part or a whole URI); the call, or the final answer that refused it.
    ///
    /// # Errors
    /// No answer in time, or one without usable SDP.
    pub fn try_call(&self, target: &str) -> io::Result<Result<Call, Message>> {
        Call::invite(&self.line, target)
    }

    /// Calls `target` and expects success.
    ///
    /// # Panics
    /// The call was refused, or nobody answered.
    pub fn call(&self, target: &str) -> Call {
        match self.try_call(target) {
            Ok(Ok(call)) => call,
            Ok(Err(refused)) => panic!("{} calling {target}: {}", self.line.account.user, refused.start),
            Err(e) => panic!("{} calling {target}: {e}", self.line.account.user),
        }
    }

    /// The next call that came in and was answered.
    pub fn incoming(&self, patience: Duration) -> Option<Call> {
        crate::until(patience, || {
            self.line
                .incoming
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        })
    }

    /// All that was received and is wanted.
    pub fn heard(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Heard> {
        self.line.inbox.select(wanted)
    }

    /// The first wanted message since the phone exists; waits at most `patience`.
    pub fn wait(&self, patience: Duration, wanted: impl Fn(&Message) -> bool) -> Option<Heard> {
        self.line.inbox.wait(0, patience, wanted)
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.line.stop.store(true, Ordering::Relaxed);
        // Calls that nobody took hold the line; let them go outside of the lock.
        let left = std::mem::take(&mut *self.line.incoming.lock().unwrap_or_else(PoisonError::into_inner));
        drop(left);
        if let Some(ear) = self.ear.take() {
            // A panic of the ear was printed there.
            let _ = ear.join();
        }
    }
}

impl Line {
    pub(super) fn with_contact(&self, message: Message) -> io::Result<Message> {
        let host = self.link.contact_host()?;
        Ok(message.with("Contact", format!("<sip:{}@{host}>", self.account.user)))
    }

    /// Sends what `build` makes; when it is challenged, once more with the proof.
    pub(super) fn authenticated(
        &self,
        mut build: impl FnMut() -> io::Result<Message>,
    ) -> io::Result<Message> {
        let first = self.transact(build()?)?;
        let mut second = build()?;
        let algorithm = *self.algorithm.lock().unwrap_or_else(PoisonError::into_inner);
        let Account { user, password, .. } = &self.account;
        let target = second.request_uri().to_owned();
        match digest::answer(&first, algorithm, user, password, second.method(), &target) {
            Some((name, value)) => {
                second.set(name, value);
                self.transact(second)
            }
            None => Ok(first),
        }
    }

    /// Sends one request, again and again over UDP, until its final answer; a refused INVITE gets its ACK.
    pub(super) fn transact(&self, mut request: Message) -> io::Result<Message> {
        let branch = format!("z9hG4bK{}", token());
        let via = format!(
            "SIP/2.0/{} {};branch={branch};rport",
            self.link.via(),
            self.link.via_host()?
        );
        request.headers.insert(0, ("Via".to_owned(), via.clone()));
        request
            .headers
            .insert(1, ("Max-Forwards".to_owned(), "70".to_owned()));
        let bytes = request.bytes();
        let method = request.method().to_owned();
        let from = self.inbox.len();
        let deadline = Instant::now() + PATIENCE;
        let mut interval = Duration::from_millis(500);
        let mut provisional = false;
        self.link.send(&bytes)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let quiet = self.link.is_reliable() || (provisional && method == "INVITE");
            let pause = if quiet { left } else { interval.min(left) };
            let ours = |m: &Message| m.code().is_some() && m.branch() == branch && m.method() == method;
            let last = self
                .inbox
                .wait(from, pause, |m| ours(m) && m.code().is_some_and(|c| c >= 200));
            if let Some(last) = last {
                if method == "INVITE" && last.message.code().is_some_and(|c| c >= 300) {
                    self.link
                        .send(&refusal_ack(&request, &last.message, &via).bytes())?;
                }
                return Ok(last.message);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no final answer to {}", request.start),
                ));
            }
            provisional = !self.inbox.select(ours).is_empty();
            self.link.send(&bytes)?;
            interval = (interval * 2).min(Duration::from_secs(4));
        }
    }

    pub(super) fn remember_description(&self, call_id: &str, sdp: String) {
        self.descriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(call_id.to_owned(), sdp);
    }

    pub(super) fn remember_ack(&self, call_id: &str, ack: Vec<u8>) {
        self.acks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(call_id.to_owned(), ack);
    }

    fn answer_invite(self: &Arc<Self>, request: &Message) -> io::Result<Vec<Message>> {
        let known = self
            .descriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(request.call_id())
            .cloned();
        if let Some(sdp) = known {
            let ok = self.with_contact(Message::response(request, 200, "OK"))?;
            return Ok(vec![ok.with("Content-Type", "application/sdp").with_body(sdp)]);
        }
        let tag = token();
        let tagged = |code, phrase| {
            let mut response = Message::response(request, code, phrase);
            let to = format!("{};tag={tag}", request.header("To").unwrap_or(""));
            response.set("To", to);
            response
        };
        if !self.answers_calls.load(Ordering::Relaxed) {
            return Ok(vec![tagged(486, "Busy Here")]);
        }
        let rtp = Rtp::open()?;
        let sdp = super::call::description(rtp.port());
        if let Some(peer) = super::call::media_address(&request.body) {
            rtp.send_to(peer)?;
        }
        self.remember_description(request.call_id(), sdp.clone());
        let ringing = self.with_contact(tagged(180, "Ringing"))?;
        let ok = self
            .with_contact(tagged(200, "OK"))?
            .with("Content-Type", "application/sdp")
            .with_body(sdp);
        let dialog = Dialog::of_callee(request, &ok);
        let call = Call::new(self.clone(), dialog, rtp, request.clone());
        self.incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(call);
        Ok(vec![ringing, ok])
    }

    fn responses(self: &Arc<Self>, request: &Message) -> io::Result<Vec<Message>> {
        let ok = || vec![Message::response(request, 200, "OK")];
        Ok(match request.method() {
            "INVITE" => self.answer_invite(request)?,
            "ACK" => Vec::new(),
            "MESSAGE" => match self.message_status.load(Ordering::Relaxed) {
                0 => Vec::new(),
                200 => ok(),
                code => vec![Message::response(request, code, "As Told")],
            },
            _ => ok(),
        })
    }
}

/// The ear: reads until the phone is dropped or the connection ends.
fn listen(line: &Arc<Line>) {
    // What was answered to a request of this branch and method: a repeated one gets the same and counts once.
    let mut answered: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    while !line.stop.load(Ordering::Relaxed) {
        let message = match line.link.receive() {
            Ok(Some(bytes)) => Message::parse(&bytes),
            Ok(None) => continue,
            Err(_) => return,
        };
        let Some(message) = message else { continue };
        if message.code().is_some() {
            if message.method() == "INVITE" && message.code().is_some_and(|c| (200..300).contains(&c)) {
                let again = line
                    .acks
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(message.call_id())
                    .cloned();
                if let Some(ack) = again {
                    // The link's end shows at the next read.
                    let _ = line.link.send(&ack);
                }
            }
            line.inbox.push(message);
            continue;
        }
        let key = format!("{} {}", message.branch(), message.method());
        if let Some(before) = answered.get(&key) {
            for response in before {
                let _ = line.link.send(response);
            }
            continue;
        }
        let responses = line.responses(&message).unwrap_or_default();
        let bytes: Vec<Vec<u8>> = responses.iter().map(Message::bytes).collect();
        line.inbox.push(message);
        for response in &bytes {
            let _ = line.link.send(response);
        }
        answered.insert(key, bytes);
    }
}

fn refusal_ack(invite: &Message, refusal: &Message, via: &str) -> Message {
    let copy = |from: &Message, name: &str| from.header(name).unwrap_or("").to_owned();
    let number = copy(invite, "CSeq").split(' ').next().unwrap_or("1").to_owned();
    Message::request("ACK", invite.request_uri())
        .with("Via", via)
        .with("Max-Forwards", "70")
        .with("From", copy(invite, "From"))
        .with("To", copy(refusal, "To"))
        .with("Call-ID", copy(invite, "Call-ID"))
        .with("CSeq", format!("{number} ACK"))
}

/// The URI of a Contact, or of the address that the phone knows already.
pub(super) fn contact_of(message: &Message, otherwise: &str) -> String {
    message
        .header("Contact")
        .map_or_else(|| otherwise.to_owned(), |c| uri(c).to_owned())
}
