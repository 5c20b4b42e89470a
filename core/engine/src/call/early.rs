//! What called phones say before they answer: ringing, early media, early dialogs of several phones
//! behind one contact.

use crate::arena::Key;
use crate::call::ability::requires;
use crate::call::description::is_described;
use crate::call::failing::Failure;
use crate::call::media::Settled;
use crate::call::{Call, Place};
use crate::conference::seat::Stream;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::transaction::{Outcome, Owner};
use cordboard_model::Time;

use crate::timer::{RINGING, Timer};

/// How many early dialogs one INVITE of ours may have.
const MOST_EARLY: usize = 8;

/// A dialog that a provisional response has made.
#[derive(Debug, Clone)]
pub(crate) struct Early {
    pub(crate) dialog: Dialog,
    /// The last number that we have confirmed.
    rseq: Option<u32>,
    /// The number of the INVITE that it came to.
    invite: u32,
    /// The answer to our offer that came with it.
    pub(crate) settled: Option<Settled>,
}

impl Call {
    /// The place of the early dialog of the peer's tag; made if there is none and there is room.
    fn early(&mut self, response: &Message) -> Option<usize> {
        let to = response.to().ok()?;
        let tag = to.tag().filter(|tag| !tag.is_empty())?;
        let place = self.early.iter().position(|early| early.dialog.remote_tag == tag);
        match place {
            Some(place) => Some(place),
            None if self.early.len() >= MOST_EARLY => None,
            None => {
                let mut dialog = self.dialog.clone();
                dialog.established_by(response);
                self.early.push(Early {
                    dialog,
                    rseq: None,
                    invite: 0,
                    settled: None,
                });
                Some(self.early.len() - 1)
            }
        }
    }
}

impl Engine {
    /// A provisional response to an INVITE of ours.
    pub(crate) fn callee_rings(&mut self, key: Key, transaction: Key, response: &Message) {
        let Some(call) = self.calls.get(key) else { return };
        if call.abandoned {
            let reason = call.reason.clone();
            self.transactions
                .cancel(transaction, reason.as_deref(), &mut self.wire);
            return;
        }
        let Place::Bridge(bridge_key) = call.place else {
            return;
        };
        if response.status() == 100 {
            return;
        }
        self.rings_on(bridge_key);
        if requires(response, "100rel") && !self.confirm(key, response) {
            return; // a repeat, or out of order
        }
        let described = is_described(response) && self.early_media(key, response);
        let Some(caller) = self
            .bridges
            .get(bridge_key)
            .filter(|bridge| bridge.winner.is_none())
            .map(|bridge| bridge.caller)
        else {
            return;
        };
        match (described, response.status()) {
            (true, _) => self.progress(caller, 183, true),
            (false, status) => self.progress(caller, status, false),
        }
    }

    /// Timer C begins anew with each provisional response but 100 (RFC 3261 section 16.7), but not for ever.
    fn rings_on(&mut self, key: Key) {
        let Some(bridge) = self.bridges.get_mut(key) else {
            return;
        };
        let until = (self.wire.now + RINGING).min(bridge.rings_at_most);
        if bridge.rings_until < until {
            bridge.rings_until = until;
            self.wire.timers.arm(until, Timer::Ringing(key));
        }
    }

    /// Confirms a reliable response with a PRACK; false if it is not the next one of its dialog.
    fn confirm(&mut self, key: Key, response: &Message) -> bool {
        let Some(call) = self.calls.get_mut(key) else {
            return false;
        };
        let number = response
            .header(Name::RSeq)
            .and_then(|text| text.trim().parse::<u32>().ok());
        let (Some(number), Ok(cseq)) = (number, response.cseq()) else {
            self.wire.counts.reject("bad_rseq");
            return false;
        };
        let Some(place) = call.early(response) else {
            self.wire.counts.reject("too_many_early_dialogs");
            return false;
        };
        let early = &mut call.early[place];
        if early.rseq.is_some_and(|last| number != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(number);
        early.invite = cseq.number;
        early.dialog.retarget(response);
        self.send_prack(key, place);
        true
    }

    /// Confirms the last reliable response in an early dialog, by the way that its peer's Contact asks for.
    fn send_prack(&mut self, key: Key, place: usize) {
        let Some((call, early)) = self
            .calls
            .get(key)
            .and_then(|call| Some((call, call.early.get(place)?)))
        else {
            return;
        };
        let detour = self.detour(&early.dialog, call.seat.stream);
        let early = self.calls.get_mut(key).and_then(|call| call.early.get_mut(place));
        let Some((early, number)) = early.and_then(|early| early.rseq.map(|number| (early, number))) else {
            return;
        };
        early.dialog.detour = detour;
        let flow = early.dialog.next_flow();
        let owner = Owner::Prack(key, u8::try_from(place).unwrap_or(u8::MAX), number);
        self.transactions
            .open_client(Method::Prack, flow, owner, &mut self.wire, |branch| {
                let rack = format!("{number} {} INVITE", early.invite);
                let prack = early.dialog.request(Method::Prack, branch, None);
                Packet::whole(prack.header("RAck", rack).finish())
            });
    }

    /// What a PRACK came to: one that was to go beside its dialog's own way and found none goes by that.
    pub(crate) fn prack_outcome(&mut self, key: Key, place: usize, number: u32, outcome: &Outcome<'_>) {
        if matches!(outcome, Outcome::Response(_)) {
            return;
        }
        let Some(call) = self.calls.get(key) else { return };
        let awaited = call.early.get(place).filter(|early| early.rseq == Some(number));
        if awaited.is_some_and(|early| self.detour(&early.dialog, call.seat.stream).is_some()) {
            self.set_stream(key, Stream::Fails);
            self.send_prack(key, place);
        }
    }

    /// Takes the answer of a phone that has not picked up yet; what came last is heard.
    fn early_media(&mut self, key: Key, response: &Message) -> bool {
        let settled = match self.read_answer(key, response) {
            Ok(Some(settled)) => settled,
            Ok(None) => return false,
            Err(refusal) => {
                self.wire.counts.reject(refusal.reason);
                return false;
            }
        };
        if let Some(call) = self.calls.get_mut(key)
            && let Some(place) = call.early(response)
        {
            call.early[place].settled = Some(settled.clone());
        }
        self.settle_media(key, settled);
        true
    }

    /// The phones have rung long enough.
    pub(crate) fn ringing_timer(&mut self, key: Key, at: Time) {
        let ringing =
            |bridge: &&crate::call::bridge::Bridge| bridge.winner.is_none() && bridge.rings_until == at;
        let Some(bridge) = self.bridges.get(key).filter(ringing) else {
            return;
        };
        *self.wire.counts.timeouts.entry("C").or_default() += 1;
        let (caller, forks) = (bridge.caller, bridge.forks.clone());
        let (status, phrase) = match bridge.expires {
            // RFC 3261 section 13.3.1
            Some(expires) if expires <= at => (487, "Request Terminated"),
            _ => (480, "No Answer"),
        };
        self.record_failure(key, Failure::ours(status, phrase, "no_answer"));
        for fork in forks {
            self.hang_up(fork, "no_answer", None);
        }
        self.refuse_call(caller, "no_answer", status, phrase, None);
    }

    /// The call and the place of the early dialog that a request of a called phone belongs to.
    pub(crate) fn early_of(&self, request: &Message) -> Option<(Key, usize)> {
        let (to, from) = (request.to().ok()?, request.from().ok()?);
        let tag = to.tag()?;
        let (key, _) = Key::read(tag)?;
        let call = self.calls.get(key).filter(|call| call.dialog.local_tag == tag)?;
        let place = call.early.iter().position(|early| {
            early.dialog.call_id == request.call_id() && Some(early.dialog.remote_tag.as_str()) == from.tag()
        })?;
        Some((key, place))
    }

    /// A request in a dialog that has no 2xx yet, from the called side: an UPDATE may be answered, and what we can do is
    /// told; for anything else it is too soon. True if it was one.
    pub(crate) fn on_early_request(&mut self, request: &Message, flow: Flow) -> bool {
        let Some((key, place)) = self.early_of(request) else {
            return false;
        };
        let Some(transaction) = self.open_server(request, flow) else {
            return true;
        };
        let number = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(call) = self.calls.get_mut(key) else {
            return true;
        };
        let early = &mut call.early[place];
        if !early.dialog.advance(number) {
            self.refuse_in(transaction, request, 500, "Out Of Order", "cseq_out_of_order");
            return true;
        }
        match request.method() {
            Method::Update => self.on_early_update(key, place, transaction, request),
            // Our own is in progress (RFC 3261 section 14.2).
            Method::Invite => self.refuse_in(transaction, request, 491, "Request Pending", "glare"),
            Method::Options => self.tell_abilities(transaction, request),
            Method::Info | Method::Message => {
                self.wire.counts.reject("early_dialog");
                let seconds = 1 + self.wire.random() % 10;
                self.respond_with(transaction, request, 500, "Not Answered Yet", |response| {
                    response.header("Retry-After", seconds)
                });
            }
            _ => self.refuse_in(transaction, request, 481, "Not Answered Yet", "early_dialog"),
        }
        true
    }

    fn on_early_update(&mut self, key: Key, place: usize, transaction: Key, request: &Message) {
        let call = self.calls.get_mut(key);
        let Some(early) = call.and_then(|call| call.early.get_mut(place)) else {
            return;
        };
        early.dialog.retarget(request);
        let answered = early.rseq.is_some() && early.settled.is_some();
        if !is_described(request) {
            self.respond_described(key, transaction, request, "");
        } else if !answered {
            // Our offer is still open there (RFC 3311 section 5.2).
            self.refuse_in(transaction, request, 491, "Request Pending", "glare");
        } else {
            match self.answer_offer(key, request) {
                Ok(text) => self.respond_described(key, transaction, request, &text),
                Err(refusal) => self.refuse_in(
                    transaction,
                    request,
                    refusal.status,
                    refusal.phrase,
                    refusal.reason,
                ),
            }
        }
    }
}
