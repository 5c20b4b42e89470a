//! What a caller hears before the answer, and its confirmation where the caller can give one (RFC 3262).

use std::time::Duration;

use cordboard_model::Time;

use crate::arena::Key;
use crate::call::ability::requires;
use crate::call::description::is_described;
use crate::door::ALLOW;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::{default_phrase, respond};
use crate::timer::{PATIENCE, T1, Timer};

/// How many different provisional answers one caller hears.
const MOST_PROGRESS: usize = 8;

/// A provisional answer that the caller is to confirm.
#[derive(Debug)]
struct Unconfirmed {
    packet: Packet,
    flow: Flow,
    /// It carries a description, so that the 200 must wait for the confirmation.
    described: bool,
    interval: Duration,
    repeat_at: Time,
    give_up_at: Time,
}

/// The provisional answers to one caller.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The number of the last reliable one; 0 before the first.
    rseq: u32,
    open: Option<Unconfirmed>,
    /// What comes when the one that is open is confirmed: status, and whether with a description.
    waiting: Option<(u16, bool)>,
    /// What was sent already.
    passed: Vec<(u16, bool)>,
    /// Offer and answer have been exchanged reliably before the 200.
    pub(crate) settled: bool,
    /// The 200 waits for the confirmation.
    pub(crate) answer_waits: bool,
    /// The sequence number of the INVITE.
    invite: u32,
    /// The number of one that was open when the final answer came; its confirmation may still come.
    late: Option<u32>,
}

impl Progress {
    /// Whether the 200 has to wait (RFC 3262 section 3).
    pub(crate) fn holds_answer(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.described)
    }

    /// Whether the caller has been sent a description before the answer.
    pub(crate) fn described(&self) -> bool {
        self.passed.iter().any(|(_, described)| *described)
    }

    /// The caller is reached by another way.
    pub(crate) fn redirect(&mut self, flow: Flow) {
        let same = |open: &&mut Unconfirmed| open.flow.transport == flow.transport;
        if let Some(open) = self.open.as_mut().filter(same) {
            open.flow = flow;
        }
    }

    /// Nothing provisional is repeated after a final answer.
    pub(crate) fn stop(&mut self) {
        if self.open.take().is_some() {
            self.late = Some(self.rseq);
        }
        self.waiting = None;
    }
}

impl Engine {
    /// Tells a caller how far its call has come; each state once.
    pub(crate) fn progress(&mut self, key: Key, status: u16, described: bool) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let (Some(transaction), Some(request)) = (call.invite, call.request.clone()) else {
            return;
        };
        let progress = &mut call.progress;
        if progress.passed.contains(&(status, described)) || progress.passed.len() >= MOST_PROGRESS {
            return;
        }
        if progress.open.is_some() {
            // One at a time; of those that wait the newest, but never a description for nothing.
            if progress.waiting.is_none_or(|(_, waits)| described || !waits) {
                progress.waiting = Some((status, described));
            }
            return;
        }
        progress.passed.push((status, described));
        let offered = is_described(&request);
        let must = requires(&request, "100rel");
        let reliable = must || (described && call.peer.reliable);
        // Without an offer of the caller the first reliable answer carries ours; an unreliable one cannot.
        let description = match (offered, reliable) {
            (true, _) if described => self.answer_offer(key, &request).ok(),
            (false, true) if !self.calls.get(key).is_some_and(|call| call.progress.settled) => {
                Some(self.make_offer(key))
            }
            _ => None,
        };
        self.send_progress(key, transaction, &request, status, reliable, description);
    }

    fn send_progress(
        &mut self,
        key: Key,
        transaction: Key,
        request: &Message,
        status: u16,
        reliable: bool,
        description: Option<String>,
    ) {
        let (Some(flow), random) = (self.transactions.flow(transaction), self.wire.random()) else {
            return;
        };
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let mut response = respond(
            request,
            flow.peer,
            status,
            default_phrase(status),
            Some(&call.dialog.local_tag),
        )
        .copy(request, Name::RecordRoute)
        .header("Contact", &call.dialog.contact)
        .header("Allow", ALLOW);
        if reliable {
            // The first number is random and small enough to be counted up from.
            let first = u32::try_from(random % (1 << 31)).unwrap_or(1).max(1);
            call.progress.rseq = match call.progress.rseq {
                0 => first,
                last => last + 1,
            };
            response = response
                .header("Require", "100rel")
                .header("RSeq", call.progress.rseq);
        }
        let described = description.is_some();
        call.progress.invite = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let packet = Packet::whole(match description {
            Some(text) => response.body("application/sdp", text.as_bytes()),
            None => response.finish(),
        });
        if reliable {
            call.progress.open = Some(Unconfirmed {
                packet: packet.clone(),
                flow,
                described,
                interval: T1,
                repeat_at: now + T1,
                give_up_at: now + PATIENCE,
            });
            self.wire.timers.arm(now + T1, Timer::Progress(key));
        }
        self.transactions
            .respond(transaction, status, packet, &mut self.wire);
    }

    pub(crate) fn progress_timer(&mut self, key: Key, at: Time) {
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Some(open) = call.progress.open.as_mut().filter(|open| open.repeat_at == at) else {
            return;
        };
        if now >= open.give_up_at {
            call.progress.stop();
            *self.wire.counts.timeouts.entry("prack").or_default() += 1;
            return self.refuse_call(key, "no_ack", 504, "No PRACK", None);
        }
        // RFC 3262 section 3: the interval doubles, without the bound of T2.
        open.interval *= 2;
        open.repeat_at = (now + open.interval).min(open.give_up_at);
        let (repeat_at, flow, packet) = (open.repeat_at, open.flow, open.packet.clone());
        self.wire.counts.retransmissions_out += 1;
        self.wire.timers.arm(repeat_at, Timer::Progress(key));
        self.wire.send(flow, packet);
    }

    /// The caller confirms a provisional answer.
    pub(crate) fn on_prack(&mut self, key: Key, transaction: Key, request: &Message) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let (progress, named) = (&mut call.progress, rack(request));
        // What a final answer has overtaken is confirmed all the same (RFC 3262 section 3).
        let late = progress.late.map(|rseq| (rseq, progress.invite));
        if late.is_some() && named == late {
            progress.late = None;
            return self.respond_described(key, transaction, request, "");
        }
        if progress.open.is_none() || named != Some((progress.rseq, progress.invite)) {
            return self.refuse_in(
                transaction,
                request,
                481,
                "Nothing To Confirm",
                "prack_of_nothing",
            );
        }
        let described = call.progress.open.take().is_some_and(|open| open.described);
        call.progress.settled |= described;
        let taken = match (call.offered, is_described(request)) {
            (true, _) => self.take_answer(key, request).map(|()| String::new()),
            (false, false) => Ok(String::new()),
            (false, true) => self.answer_offer(key, request),
        };
        match taken {
            Ok(text) => self.respond_described(key, transaction, request, &text),
            Err(refusal) => {
                let (status, phrase) = (refusal.status, refusal.phrase);
                self.refuse_in(transaction, request, status, phrase, refusal.reason);
                if self.calls.get(key).is_some_and(|call| call.offered) {
                    return self.refuse_call(key, "bad_answer", 488, "No Usable Answer", None);
                }
                // What it offers is refused; what it confirms is confirmed, and the answer goes out.
            }
        }
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if call.progress.answer_waits {
            call.progress.answer_waits = false;
            return self.answer(key);
        }
        if let Some((status, described)) = call.progress.waiting.take() {
            self.progress(key, status, described);
        }
    }
}

/// The numbers of a RAck that names an INVITE: the response's and the request's.
fn rack(request: &Message) -> Option<(u32, u32)> {
    let mut words = request.header(Name::RAck)?.split_ascii_whitespace();
    let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next() == Some("INVITE") && words.next().is_none()).then_some(numbers)
}
