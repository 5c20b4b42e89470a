//! Phones that act by themselves: they call, answer, refuse, hold, hang up and repeat what is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cordboard_engine::io::{Flow, Transport};
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::name::Name;
use cordboard_model::Time;

use crate::net::{Act, Event, Net};
use crate::phone::SDP;
use crate::world::REALM;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(32);

/// How far a call has come at a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Calling,
    Ringing,
    Cancelling,
    Up,
    Ending,
    Over,
}

/// A phone's side of a call.
#[derive(Debug)]
struct Line {
    flow: Flow,
    state: State,
    own: String,
    theirs: String,
    target: String,
    cseq: u32,
    /// The INVITE that made it.
    invite: Bytes,
    /// Every answer that was given, by branch and method, for repeats of the request.
    answered: HashMap<String, Bytes>,
    confirmed: HashSet<String>,
}

/// Something that is sent again until it is answered.
struct Repeated {
    flow: Flow,
    bytes: Bytes,
    interval: Duration,
    ends: Time,
    most: Duration,
}

/// All phones.
pub(crate) struct Robots {
    lines: HashMap<String, Line>,
    /// Calls whose phone never confirms a provisional response or a refusal.
    rude: HashSet<String>,
    /// Calls whose phone is gone: it neither hears nor says anything.
    vanished: HashSet<String>,
    repeated: HashMap<String, Repeated>,
    branches: u32,
    /// What calls have come to.
    pub(crate) ends: BTreeMap<String, u32>,
}

fn flow(peer: SocketAddr) -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: 0,
        peer,
        connection: 0,
    }
}

fn tagged(value: &str) -> bool {
    value.contains("tag=")
}

impl Robots {
    pub(crate) fn new() -> Self {
        Self {
            lines: HashMap::new(),
            rude: HashSet::new(),
            vanished: HashSet::new(),
            repeated: HashMap::new(),
            branches: 0,
            ends: BTreeMap::new(),
        }
    }

    /// The lines that are not over, and what is still repeated.
    pub(crate) fn left(&self) -> (Vec<(&String, State)>, Vec<&String>) {
        let lines = self.lines.iter().filter(|(_, line)| line.state != State::Over);
        (
            lines.map(|(call, line)| (call, line.state)).collect(),
            self.repeated.keys().collect(),
        )
    }

    /// How many calls there were, at both ends.
    pub(crate) fn all(&self) -> usize {
        self.lines.len()
    }

    fn send(&mut self, net: &mut Net, now: Time, flow: Flow, bytes: &Bytes) {
        net.carry(now, || Event::ToSwitch(flow, bytes.clone()));
    }

    /// Sends a message and repeats it until [`Robots::stop`] or for 32 s.
    fn insist(&mut self, net: &mut Net, now: Time, key: String, flow: Flow, bytes: Bytes, most: Duration) {
        self.send(net, now, flow, &bytes);
        net.at(now + T1, Event::Again(key.clone(), 0));
        let ends = now + PATIENCE;
        self.repeated.insert(
            key,
            Repeated {
                flow,
                bytes,
                interval: T1,
                ends,
                most,
            },
        );
    }

    fn stop(&mut self, key: &str) -> bool {
        self.repeated.remove(key).is_some()
    }

    pub(crate) fn again(&mut self, net: &mut Net, now: Time, key: &str, round: u32) {
        let Some(repeated) = self.repeated.get_mut(key) else {
            return;
        };
        if now >= repeated.ends {
            self.repeated.remove(key);
            return self.given_up(net, now, key);
        }
        repeated.interval = (repeated.interval * 2).min(repeated.most);
        let at = (now + repeated.interval).min(repeated.ends);
        let (flow, bytes) = (repeated.flow, repeated.bytes.clone());
        net.at(at, Event::Again(key.to_owned(), round + 1));
        self.send(net, now, flow, &bytes);
    }

    /// Nobody has answered for 32 s.
    fn given_up(&mut self, net: &mut Net, now: Time, key: &str) {
        let (what, call) = key.split_once(' ').unwrap();
        let call = call.split(' ').next().unwrap().to_owned();
        match what {
            "INVITE" | "BYE" | "CANCEL" => self.over(&call, &format!("silence to {what}")),
            "200" => self.act(net, now, &call, Act::HangUp),
            _ => {}
        }
    }

    fn over(&mut self, call: &str, how: &str) {
        let Some(line) = self.lines.get_mut(call) else {
            return;
        };
        if line.state != State::Over {
            line.state = State::Over;
            *self.ends.entry(how.to_owned()).or_default() += 1;
        }
    }

    fn request(&mut self, call: &str, method: &str, cseq: u32, headers: &str, body: &str) -> (Flow, Bytes) {
        self.branches += 1;
        let line = &self.lines[call];
        let text = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKr{}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:robot@{}>\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            line.target,
            line.flow.peer,
            self.branches,
            line.own,
            line.theirs,
            line.flow.peer,
            body.len()
        );
        (line.flow, text.into())
    }

    /// Begins a call.
    pub(crate) fn call(
        &mut self,
        net: &mut Net,
        now: Time,
        number: u32,
        from: SocketAddr,
        to: &str,
        cancels: bool,
    ) {
        let call = format!("robot-{number}");
        let target = format!("sip:{to}@{REALM}");
        self.lines.insert(
            call.clone(),
            Line {
                flow: flow(from),
                state: State::Calling,
                own: format!("<sip:alice@{REALM}>;tag=r{number}"),
                theirs: format!("<{target}>"),
                target,
                cseq: 1,
                invite: Bytes::new(),
                answered: HashMap::new(),
                confirmed: HashSet::new(),
            },
        );
        let reliable = if number.is_multiple_of(2) {
            "Supported: 100rel, timer\r\n"
        } else {
            "Supported: timer\r\n"
        };
        let headers =
            format!("{reliable}Session-Expires: 90;refresher=uac\r\nContent-Type: application/sdp\r\n");
        let (flow, invite) = self.request(&call, "INVITE", 1, &headers, SDP);
        self.lines.get_mut(&call).unwrap().invite = invite.clone();
        self.insist(net, now, format!("INVITE {call} 1"), flow, invite, PATIENCE);
        if number % 50 == 8 {
            self.rude.insert(call.clone());
        }
        self.may_vanish(net, now, &call);
        if cancels {
            let after = Duration::from_millis(200 + net.chance(3000));
            net.at(now + after, Event::Act(call, Act::Cancel));
        }
    }

    /// One phone in twelve is gone from the network some time into its call.
    fn may_vanish(&mut self, net: &mut Net, now: Time, call: &str) {
        if net.chance(12) == 0 {
            let after = Duration::from_millis(net.chance(6000));
            net.at(now + after, Event::Act(call.to_owned(), Act::Vanish));
        }
    }

    /// A user does something.
    pub(crate) fn act(&mut self, net: &mut Net, now: Time, call: &str, act: Act) {
        let Some(line) = self.lines.get_mut(call) else {
            return;
        };
        match (act, line.state) {
            (Act::Answer, State::Ringing) => {
                line.state = State::Up;
                let flow = line.flow;
                let invite = Message::parse(line.invite.clone(), Framing::Datagram).unwrap();
                let bytes = self.answer(&invite, 200, "Content-Type: application/sdp\r\n", SDP);
                self.insist(
                    net,
                    now,
                    format!("200 {call} {}", invite.cseq().unwrap().number),
                    flow,
                    bytes,
                    T2,
                );
                self.stop(&format!("180 {call}"));
            }
            (Act::Refuse, State::Ringing) => self.refuse(net, now, call, 486),
            (Act::Vanish, state) if state != State::Over => {
                self.repeated.retain(|key, _| key.split(' ').nth(1) != Some(call));
                self.vanished.insert(call.to_owned());
                self.over(call, "vanished");
            }
            (Act::Hold, State::Up) => {
                line.cseq += 1;
                let cseq = line.cseq;
                let body = format!("{SDP}a=sendonly\r\n");
                let (flow, bytes) =
                    self.request(call, "INVITE", cseq, "Content-Type: application/sdp\r\n", &body);
                self.insist(net, now, format!("HOLD {call} {cseq}"), flow, bytes, PATIENCE);
            }
            // RFC 3261 section 15: who was called hangs up only when its 200 has had its ACK.
            (Act::HangUp, State::Up) if self.repeated.contains_key(&format!("200 {call} 1")) => {
                net.at(now + T1, Event::Act(call.to_owned(), Act::HangUp));
            }
            (Act::HangUp, State::Up) => {
                line.state = State::Ending;
                line.cseq += 1;
                let cseq = line.cseq;
                let (flow, bytes) = self.request(call, "BYE", cseq, "", "");
                self.insist(net, now, format!("BYE {call} {cseq}"), flow, bytes, T2);
            }
            // Only after a provisional response.
            (Act::Cancel, State::Calling) if self.repeated.contains_key(&format!("INVITE {call} 1")) => {
                net.at(now + T1, Event::Act(call.to_owned(), Act::Cancel));
            }
            (Act::Cancel, State::Calling) => {
                line.state = State::Cancelling;
                let text = String::from_utf8(line.invite.to_vec()).unwrap();
                let (head, _) = text.split_once("\r\n\r\n").unwrap();
                let kept = head.lines().filter(|line| !line.starts_with("Content-"));
                let head = kept.collect::<Vec<_>>().join("\r\n").replace("INVITE", "CANCEL");
                let flow = line.flow;
                self.insist(
                    net,
                    now,
                    format!("CANCEL {call} 1"),
                    flow,
                    format!("{head}\r\n\r\n").into(),
                    T2,
                );
            }
            _ => {}
        }
    }

    fn refuse(&mut self, net: &mut Net, now: Time, call: &str, status: u16) {
        let line = self.lines.get_mut(call).unwrap();
        let flow = line.flow;
        let invite = Message::parse(line.invite.clone(), Framing::Datagram).unwrap();
        let bytes = self.answer(&invite, status, "", "");
        self.stop(&format!("180 {call}"));
        self.insist(net, now, format!("{status} {call} 1"), flow, bytes, T2);
        self.over(call, "phone refused");
    }

    /// Renders an answer and keeps it for repeats of the request.
    fn answer(&mut self, request: &Message, status: u16, headers: &str, body: &str) -> Bytes {
        let mut text = format!("SIP/2.0 {status} X\r\n");
        for via in request.headers(Name::Via) {
            text += &format!("Via: {via}\r\n");
        }
        let to = request.header(Name::To).unwrap();
        let tag = if tagged(to) { "" } else { ";tag=robot" };
        let line = self.lines.get_mut(request.call_id());
        let contact = line
            .as_ref()
            .map(|line| format!("Contact: <sip:robot@{}>\r\n", line.flow.peer));
        text += &format!(
            "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{}{headers}Content-Length: {}\r\n\r\n{body}",
            request.header(Name::From).unwrap(),
            request.call_id(),
            request.header(Name::CSeq).unwrap(),
            contact.unwrap_or_default(),
            body.len()
        );
        let bytes = Bytes::from(text);
        if let Some(line) = line {
            line.answered.insert(transaction(request), bytes.clone());
        }
        bytes
    }

    /// A datagram has reached a phone.
    pub(crate) fn receive(&mut self, net: &mut Net, now: Time, peer: SocketAddr, bytes: Bytes) {
        let message = Message::parse(bytes, Framing::Datagram).unwrap();
        if self.vanished.contains(message.call_id()) {
            return;
        }
        match message.is_request() {
            true => self.asked(net, now, peer, &message),
            false => self.told(net, now, &message),
        }
    }

    fn asked(&mut self, net: &mut Net, now: Time, peer: SocketAddr, request: &Message) {
        let call = request.call_id().to_owned();
        let method = request.method_text();
        if method == "ACK" {
            let cseq = request.cseq().unwrap().number;
            for status in [200, 486, 487] {
                self.stop(&format!("{status} {call} {cseq}"));
                if status > 200 {
                    self.stop(&format!("{status} {call} 1"));
                }
            }
            return;
        }
        let known = self
            .lines
            .get(&call)
            .and_then(|line| line.answered.get(&transaction(request)));
        if let Some(bytes) = known.cloned() {
            return self.send(net, now, flow(peer), &bytes);
        }
        match (method, self.lines.contains_key(&call)) {
            ("INVITE", false) => self.rings(net, now, peer, request),
            ("INVITE", true) => {
                let bytes = self.answer(request, 200, "Content-Type: application/sdp\r\n", SDP);
                let key = format!("200 {call} {}", request.cseq().unwrap().number);
                self.insist(net, now, key, flow(peer), bytes, T2);
            }
            ("CANCEL", true) => {
                let bytes = self.answer(request, 200, "", "");
                self.send(net, now, flow(peer), &bytes);
                if self.lines[&call].state == State::Ringing {
                    self.refuse(net, now, &call, 487);
                }
            }
            ("BYE", true) => {
                let bytes = self.answer(request, 200, "", "");
                self.send(net, now, flow(peer), &bytes);
                self.repeated
                    .retain(|key, _| key.split(' ').nth(1) != Some(&call));
                self.over(&call, "hung up on");
            }
            ("PRACK", true) => {
                self.stop(&format!("180 {call}"));
                let bytes = self.answer(request, 200, "", "");
                self.send(net, now, flow(peer), &bytes);
            }
            (_, known) => {
                let bytes = self.answer(request, if known { 200 } else { 481 }, "", "");
                self.send(net, now, flow(peer), &bytes);
            }
        }
    }

    /// A call has come: it rings, with or without early media, reliably or not, and is answered or not.
    fn rings(&mut self, net: &mut Net, now: Time, peer: SocketAddr, invite: &Message) {
        let call = invite.call_id().to_owned();
        let own = format!("{};tag=robot", invite.header(Name::To).unwrap());
        self.lines.insert(
            call.clone(),
            Line {
                flow: flow(peer),
                state: State::Ringing,
                own,
                theirs: invite.header(Name::From).unwrap().to_owned(),
                target: invite.contacts().next().unwrap().unwrap().uri.to_owned(),
                cseq: 0,
                invite: invite.raw().clone(),
                answered: HashMap::new(),
                confirmed: HashSet::new(),
            },
        );
        self.may_vanish(net, now, &call);
        let (status, body) = if net.chance(2) == 0 { (183, SDP) } else { (180, "") };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        if net.chance(2) == 0 {
            let headers = format!("Require: 100rel\r\nRSeq: 1\r\n{kind}");
            let bytes = self.answer(invite, status, &headers, body);
            self.insist(net, now, format!("180 {call}"), flow(peer), bytes, PATIENCE);
        } else {
            let bytes = self.answer(invite, status, kind, body);
            self.send(net, now, flow(peer), &bytes);
        }
        let act = if net.chance(4) == 0 {
            Act::Refuse
        } else {
            Act::Answer
        };
        let after = Duration::from_millis(net.chance(4000));
        net.at(now + after, Event::Act(call.clone(), act));
        if net.chance(5) == 0 {
            let later = after + Duration::from_millis(net.chance(6000));
            net.at(now + later, Event::Act(call, Act::HangUp));
        }
    }

    fn told(&mut self, net: &mut Net, now: Time, response: &Message) {
        let call = response.call_id().to_owned();
        let (status, method) = (response.status(), response.cseq_method_text().to_owned());
        let cseq = response.cseq().unwrap().number;
        if !self.lines.contains_key(&call) {
            return;
        }
        if method != "INVITE" {
            if status >= 200 && self.stop(&format!("{method} {call} {cseq}")) && method == "BYE" {
                self.over(&call, "hung up");
            }
            return;
        }
        let first = cseq == 1;
        self.stop(&format!(
            "{} {call} {cseq}",
            if first { "INVITE" } else { "HOLD" }
        ));
        if status > 100 && status < 300 && first {
            let line = self.lines.get_mut(&call).unwrap();
            response.header(Name::To).unwrap().clone_into(&mut line.theirs);
            if let Some(Ok(contact)) = response.contacts().next() {
                contact.uri.clone_into(&mut line.target);
            }
        }
        match status {
            ..=199 => self.confirm(net, now, &call, response),
            200..=299 => {
                let (flow, ack) = self.request(&call, "ACK", cseq, "", "");
                self.send(net, now, flow, &ack);
                self.accepted(net, now, &call, first);
            }
            _ => {
                self.acknowledge(net, now, &call, response);
                if first {
                    self.stop(&format!("CANCEL {call} 1"));
                    self.over(&call, &format!("refused with {status}"));
                }
            }
        }
    }

    fn accepted(&mut self, net: &mut Net, now: Time, call: &str, first: bool) {
        let line = self.lines.get_mut(call).unwrap();
        if !first || !matches!(line.state, State::Calling | State::Cancelling) {
            return;
        }
        line.state = State::Up;
        self.stop(&format!("CANCEL {call} 1"));
        if net.chance(3) == 0 {
            let after = Duration::from_millis(net.chance(3000));
            net.at(now + after, Event::Act(call.to_owned(), Act::Hold));
        }
        let after = Duration::from_millis(net.chance(8000));
        net.at(now + after, Event::Act(call.to_owned(), Act::HangUp));
    }

    /// The PRACK of a reliable provisional response, once for each.
    fn confirm(&mut self, net: &mut Net, now: Time, call: &str, response: &Message) {
        let rseq = response.header(Name::RSeq).map(str::to_owned);
        let Some(rseq) = rseq.filter(|_| !self.rude.contains(call)) else {
            return;
        };
        let line = self.lines.get_mut(call).unwrap();
        if !line.confirmed.insert(rseq.clone()) {
            return;
        }
        line.cseq += 1;
        let cseq = line.cseq;
        let (flow, bytes) = self.request(call, "PRACK", cseq, &format!("RAck: {rseq} 1 INVITE\r\n"), "");
        self.insist(net, now, format!("PRACK {call} {cseq}"), flow, bytes, T2);
    }

    /// The ACK of a refusal has the branch of its INVITE.
    fn acknowledge(&mut self, net: &mut Net, now: Time, call: &str, response: &Message) {
        if self.rude.contains(call) {
            return;
        }
        let line = &self.lines[call];
        let text = format!(
            "ACK {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {call}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
            line.target,
            line.flow.peer,
            response.via().unwrap().branch().unwrap(),
            line.own,
            response.header(Name::To).unwrap(),
            response.cseq().unwrap().number
        );
        let flow = line.flow;
        self.send(net, now, flow, &text.into());
    }
}

/// What names a request among all: its branch, and a method that tells a CANCEL from its INVITE.
fn transaction(request: &Message) -> String {
    format!(
        "{} {}",
        request.method_text(),
        request.via().unwrap().branch().unwrap_or_default()
    )
}
