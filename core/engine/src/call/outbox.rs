//! The messages to one peer inside its call: a bounded queue and a window of those without an answer.

use std::collections::VecDeque;

use bytes::Bytes;
use cordboard_model::Time;

use crate::arena::Key;
use crate::call::{Call, Stage};
use crate::conference::copies::tail;
use crate::engine::Engine;
use crate::io::{Packet, Transport};
use crate::sip::method::Method;
use crate::sip::transaction::{Outcome, Owner};

/// How many messages may wait for their answers in one dialog.
const WINDOW: usize = 4;
/// A request larger than this should not go by UDP (RFC 3261 section 18.1.1).
const UDP_SAFE: usize = 1300;

/// One message on its way to one peer.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// MESSAGE, or INFO for a key.
    pub(crate) method: Method,
    /// The common headers, the empty line and the body: shared by all recipients.
    pub(crate) tail: Bytes,
    /// The sender's display name.
    pub(crate) name: String,
    /// What is counted: `conference` or `event`.
    pub(crate) of: &'static str,
    pub(crate) queued: Time,
    /// It was refused for its sequence number, its form or its way, and goes out once more.
    pub(crate) again: bool,
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
            again: false,
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

    fn next(&mut self) -> Option<(u64, Outgoing)> {
        if self.in_flight.len() >= self.window {
            return None;
        }
        let message = self.queue.pop_front()?;
        self.sent += 1;
        self.in_flight.push((self.sent, message.clone()));
        Some((self.sent, message))
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

    /// Sends what the window allows. Nothing goes out before the call is up, nor between an offer and
    /// its ACK: JsSIP would then drop the ACK.
    pub(crate) fn flush(&mut self, key: Key) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if call.stage != Stage::Up || call.unacknowledged.is_some() || call.reoffer.is_open() {
            return;
        }
        while let Some((number, message)) = call.outbox.next() {
            let flow = call.dialog.next_flow();
            let Call { dialog, .. } = call;
            let mut length = 0;
            self.transactions.open_client(
                message.method,
                flow,
                Owner::Message(key, number),
                &mut self.wire,
                |branch| {
                    let head = dialog
                        .request(
                            message.method,
                            branch,
                            Some(&message.name)
                                .filter(|name| !name.is_empty())
                                .map(String::as_str),
                        )
                        .into_head();
                    let packet = Packet {
                        head,
                        tail: message.tail,
                    };
                    length = packet.len();
                    packet
                },
            );
            if flow.transport == Transport::Udp && length > UDP_SAFE {
                self.wire.counts.message("out", message.of, "large_over_udp");
            }
        }
    }

    pub(crate) fn message_outcome(&mut self, key: Key, number: u64, outcome: Outcome<'_>) {
        let status = match outcome {
            Outcome::Response(response) if response.status() < 200 => return,
            Outcome::Response(response) => response.status(),
            Outcome::Silence => 408,
        };
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Some(mut message) = call.outbox.answered(number) else {
            return;
        };
        if status == 500 && !message.again {
            // The peer saw a later number first: one more try, and from now on one at a time.
            call.outbox.window = 1;
            message.again = true;
            call.outbox.queue.push_front(message);
            return self.flush(key);
        }
        let (transport, method) = (call.dialog.flow.transport.name(), message.method);
        let result = match status {
            200..=299 => "delivered",
            408 => "timeout",
            415 | 488 | 405 => "unsupported",
            481 => "gone",
            _ => "refused",
        };
        if method == Method::Message {
            self.wire.counts.message("out", message.of, result);
        }
        if status < 300 && method == Method::Message {
            self.wire
                .counts
                .delivery(transport, now.since(message.queued).as_secs_f64());
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
