//! The messages to one peer inside its call: a bounded queue and a window of those without an answer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::Time;

use crate::arena::Key;
use crate::call::incoming::accepted;
use crate::call::reach::is_same;
use crate::call::{Call, Stage};
use crate::conference::copies::{tail, text_of_tail};
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Output, Packet, Transport};
use crate::sip::dialog::Detour;
use crate::sip::method::Method;
use crate::sip::registrar::Binding;
use crate::sip::transaction::{Outcome, Owner};
use crate::sip::uri::Uri;

/// How many messages may wait for their answers in one dialog.
const WINDOW: usize = 4;
/// A request larger than this should not go by UDP (RFC 3261 section 18.1.1).
pub(crate) const UDP_SAFE: usize = 1300;
/// What a datagram holds over IPv4.
pub(crate) const DATAGRAM: usize = 65_507;
/// What the head of a message has beside the values of its dialog: never less than it really is.
const HEAD: usize = 260;

/// What the copies of one message have in common until they have left: who lets go of it last knows how long the
/// fan-out took.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// When the message was accepted.
    pub(crate) accepted: Time,
}

/// One message on its way to one peer.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// MESSAGE, or INFO for a key.
    pub(crate) method: Method,
    /// The common headers, the empty line and the body: shared by all recipients.
    pub(crate) tail: Bytes,
    /// The sender's display name.
    pub(crate) name: String,
    /// What is counted: `conference`, `event` or `chat`.
    pub(crate) of: &'static str,
    pub(crate) queued: Time,
    /// Held until it has left, where the fan-out of its message is measured.
    pub(crate) fanout: Option<Arc<Fanout>>,
    /// It was refused for its sequence number, its form or its way, and goes out once more.
    pub(crate) again: bool,
    /// It took another way than the dialog's.
    pub(crate) by_stream: bool,
}

impl Outgoing {
    /// A MESSAGE that is yet to be sent.
    pub(crate) fn message(tail: Bytes, name: &str, of: &'static str, now: Time) -> Self {
        Self {
            method: Method::Message,
            tail,
            name: name.to_owned(),
            of,
            queued: now,
            fanout: None,
            again: false,
            by_stream: false,
        }
    }
}

/// The queue of one dialog.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Outgoing>,
    in_flight: Vec<(u64, Outgoing)>,
    window: usize,
    sent: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: Vec::new(),
            window: WINDOW,
            sent: 0,
        }
    }
}

impl Outbox {
    /// Messages that have not been sent yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn next(&mut self) -> Option<(u64, Outgoing, Option<Arc<Fanout>>)> {
        if self.in_flight.len() >= self.window {
            return None;
        }
        let mut message = self.queue.pop_front()?;
        let fanout = message.fanout.take();
        self.sent += 1;
        self.in_flight.push((self.sent, message.clone()));
        Some((self.sent, message, fanout))
    }

    fn went_by_stream(&mut self, number: u64) {
        if let Some((_, message)) = self.in_flight.iter_mut().find(|(sent, _)| *sent == number) {
            message.by_stream = true;
        }
    }

    fn answered(&mut self, number: u64) -> Option<Outgoing> {
        let place = self.in_flight.iter().position(|(sent, _)| *sent == number)?;
        Some(self.in_flight.remove(place).1)
    }
}

impl Engine {
    /// Puts a message into a call's queue and sends what may go; false if the queue is full.
    pub(crate) fn post(&mut self, key: Key, message: Outgoing) -> bool {
        let limit = self.config.limits.dialog_queue;
        let Some(call) = self.calls.get_mut(key) else {
            return false;
        };
        if call.outbox.queue.len() >= limit {
            self.wire.counts.message("out", message.of, "queue_full");
            return false;
        }
        call.outbox.queue.push_back(message);
        self.flush(key);
        true
    }

    /// Every recipient of a message has its copy, or a place for it in its queue. What has left by now is the relay
    /// latency of the switch; a copy that waits for a phone's answers to earlier ones is not.
    pub(crate) fn relayed(&mut self, kind: &'static str, stamp: Time, copies: u32, fanout: Arc<Fanout>) {
        let waiting = Arc::strong_count(&fanout) - 1;
        if copies as usize > waiting {
            self.wire.out.push_back(Output::Relayed { stamp });
        }
        if copies > 0
            && let Some(Fanout { accepted }) = Arc::into_inner(fanout)
        {
            self.wire.out.push_back(Output::FannedOut { kind, accepted });
        }
    }

    /// Sends what the window allows. Nothing goes out before the call is up, nor between an offer and
    /// its ACK: JsSIP would then drop the ACK.
    pub(crate) fn flush(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if call.stage != Stage::Up || call.unacknowledged.is_some() || call.reoffer.is_open() {
            return;
        }
        while let Some(call) = self.calls.get_mut(key) {
            let Some((number, message, fanout)) = call.outbox.next() else {
                return;
            };
            let of = message.of;
            self.send_message(key, number, message);
            if let Some(fanout) = fanout.and_then(Arc::into_inner) {
                let (kind, accepted) = (of, fanout.accepted);
                self.wire.out.push_back(Output::FannedOut { kind, accepted });
            }
        }
    }

    fn send_message(&mut self, key: Key, number: u64, message: Outgoing) {
        let stream = self.stream_for(key, &message);
        let sent_by = stream.map(|stream| self.sent_by(stream));
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let dialog = &mut call.dialog;
        let own = dialog.detour;
        if let (Some(flow), Some(sent_by)) = (stream, sent_by) {
            dialog.detour = Some(Detour { flow, sent_by });
        }
        let flow = dialog.next_flow();
        let by_stream = flow.transport != dialog.flow.transport;
        let udp = flow.transport == Transport::Udp;
        if udp && head_size(call, &message) + message.tail.len() > DATAGRAM {
            call.outbox.answered(number);
            call.dialog.detour = own;
            return self.wire.counts.message("out", message.of, "too_large");
        }
        if by_stream && !udp {
            call.outbox.went_by_stream(number);
        }
        let dialog = &mut call.dialog;
        let (method, of) = (message.method, message.of);
        let mut length = 0;
        let owner = Owner::Message(key, number);
        self.transactions
            .open_client(method, flow, owner, &mut self.wire, |branch| {
                let name = Some(message.name.as_str()).filter(|name| !name.is_empty());
                let packet = Packet {
                    head: dialog.request(method, branch, name).into_head(),
                    tail: message.tail,
                };
                length = packet.len();
                packet
            });
        dialog.detour = own;
        if flow.transport == Transport::Udp && length > UDP_SAFE {
            self.wire.counts.message("out", of, "large_over_udp");
        }
    }

    /// The reliable way to a peer whose dialog is on UDP, for a message that is too large for a datagram:
    /// the one by which the peer itself has sent in this dialog, or on which the same phone is registered.
    fn stream_for(&self, key: Key, message: &Outgoing) -> Option<Flow> {
        let call = self.calls.get(key)?;
        let dialog = &call.dialog;
        let size = head_size(call, message) + message.tail.len();
        let udp = dialog.flow.transport == Transport::Udp && dialog.detour.is_none();
        if !udp || size <= UDP_SAFE {
            return None;
        }
        match call.seat.stream {
            Stream::Is(flow) => return Some(flow),
            Stream::Fails => return None,
            Stream::Unknown => {}
        }
        let own = Uri::parse(&dialog.local_uri).ok()?;
        let account = self.directory.account(own.host).id;
        let place = self.directory.find(account, call.user.as_deref()?)?;
        let leads_there = |binding: &&Binding| {
            let flow = binding.flow;
            flow.transport.reliable()
                && flow.connection != 0
                && flow.peer.ip() == dialog.flow.peer.ip()
                && is_same(&binding.contact, &dialog.target)
        };
        self.directory
            .devices(place)
            .iter()
            .flat_map(|device| {
                self.registrar
                    .contacts(self.directory.address_of_record(*device), self.wire.now)
            })
            .find(leads_there)
            .map(|binding| binding.flow)
    }

    pub(crate) fn message_outcome(&mut self, key: Key, number: u64, outcome: Outcome<'_>) {
        let (status, accept) = match outcome {
            Outcome::Response(response) if response.status() < 200 => return,
            Outcome::Response(response) => (response.status(), accepted(response)),
            Outcome::Silence | Outcome::Unreachable => (408, None),
        };
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Some(mut message) = call.outbox.answered(number) else {
            return;
        };
        if status == 415 && accept.is_some() {
            call.accepts.clone_from(&accept);
        }
        let better = match message.by_stream && matches!(status, 408 | 481) {
            true => {
                // The connection is gone, or another phone is at its end: the dialog's own way is left.
                self.set_stream(key, Stream::Fails);
                Some(message.tail.clone())
            }
            false => another_try(call, &message, status),
        };
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if let Some(better) = better {
            message.tail = better;
            message.again = true;
            message.by_stream = false;
            call.outbox.queue.push_front(message);
            return self.flush(key);
        }
        let transport = call.dialog.flow.transport.name();
        let result = match status {
            200..=299 => "delivered",
            408 => "timeout",
            415 | 488 | 405 => "unsupported",
            481 => "gone",
            _ => "refused",
        };
        if message.method == Method::Message {
            self.wire.counts.message("out", message.of, result);
            if status < 300 {
                let waited = now.since(message.queued).as_secs_f64();
                self.wire.counts.delivery(transport, waited);
            }
        }
        if status == 481 {
            return self.hang_up(key, "gone", None);
        }
        self.flush(key);
    }

    /// The text that a plugin has for this participant alone.
    pub(crate) fn greet(&mut self, key: Key) {
        let Some(text) = self.calls.get_mut(key).and_then(|call| call.greeting.take()) else {
            return;
        };
        let (name, queued) = (self.conference_name(key), self.wire.now);
        let tail = tail("text/plain;charset=utf-8", &[], text.as_bytes());
        self.post(key, Outgoing::message(tail, &name, "conference", queued));
    }
}

/// The most that the head of this message takes.
fn head_size(call: &Call, message: &Outgoing) -> usize {
    let dialog = &call.dialog;
    let route: usize = dialog.route.iter().map(|route| route.len() + 10).sum();
    let peer = dialog.target.len() + dialog.remote.len() + dialog.call_id.len();
    let own = dialog.local_uri.len() + dialog.local_tag.len() + message.name.len() * 2; // escapes
    HEAD + route + peer + own
}

/// What is sent once more after a refusal that tells how it may be taken.
fn another_try(call: &mut Call, message: &Outgoing, status: u16) -> Option<Bytes> {
    if message.again {
        return None;
    }
    match status {
        500 => {
            // The peer saw a later number first: from now on one at a time.
            call.outbox.window = 1;
            Some(message.tail.clone())
        }
        415 => text_of_tail(&message.tail, call.accepts.as_deref()),
        _ => None,
    }
}
