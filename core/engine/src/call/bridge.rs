//! Calls between users: every phone of the called party rings, the first answer wins, the media of
//! both sides meets in a mix of two.

use std::collections::VecDeque;
use std::time::Duration;

use cordboard_model::hook::conference::Role;
use cordboard_model::media::Direction;
use cordboard_model::{MixId, ShardId, Time, UserId};

use crate::arena::Key;
use crate::call::ability::Abilities;
use crate::call::contact::{NOT_IN_CLEAR, is_kept, is_secure, is_sips, reachable, routes};
use crate::call::description::is_described;
use crate::call::failing::{Failure, at_the_other_side};
use crate::call::incoming::{Caller, accepted};
use crate::call::media::direction_said;
use crate::call::outbox::Outbox;
use crate::call::peer::peer_on;
use crate::call::privacy::{ANONYMOUS, Privacy};
use crate::call::reliable::Progress;
use crate::call::reoffer::Reoffer;
use crate::call::route::Dialled;
use crate::call::session::Session;
use crate::call::{Call, Place, Stage};
use crate::conference::seat::Seat;
use crate::engine::Engine;
use crate::sip::dialog::{Dialog, Target, hops_left};
use crate::sip::message::{Message, Refusal};
use crate::sip::name::Name;
use crate::sip::registrar::Binding;
use crate::sip::target::unusable;
use crate::sip::transaction::{Outcome, Owner};
use crate::timer::{RINGING, RINGING_MOST, Timer};

/// What phones hear that rang in vain because another was picked up (RFC 3326).
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

const NOT_REGISTERED: Refusal = Refusal {
    status: 480,
    phrase: "Temporarily Unavailable",
    reason: "not_registered",
};
const TOO_MANY_HOPS: Refusal = Refusal {
    status: 483,
    phrase: "Too Many Hops",
    reason: "too_many_hops",
};

/// A call between users.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) caller: Key,
    callee: UserId,
    /// Who calls, as the called phones are shown it.
    from_name: String,
    from_uri: String,
    /// Who really calls, where they are shown somebody else.
    real_uri: Option<String>,
    to_uri: String,
    mix: MixId,
    shard: ShardId,
    /// The contacts to try, until the caller's leg is open.
    contacts: Vec<Binding>,
    /// Phones that ring.
    pub(crate) forks: Vec<Key>,
    /// The phone that answered.
    pub(crate) winner: Option<Key>,
    /// The best of the refusals.
    pub(crate) best: Option<Failure>,
    /// Timer C.
    pub(crate) rings_until: Time,
    /// What Timer C is not put off beyond.
    pub(crate) rings_at_most: Time,
    /// When the caller's invitation is over, where it says (RFC 3261 section 13.3.1).
    pub(crate) expires: Option<Time>,
    /// What is left of the caller's Max-Forwards.
    hops: u8,
}

impl Engine {
    pub(crate) fn call_user(
        &mut self,
        transaction: Key,
        request: Message,
        caller: Caller,
        place: usize,
        dialled: Dialled,
    ) {
        let contacts = self.contacts_for(place, request.request_uri());
        // Behind us the call goes on, so that a loop ends here at the latest.
        let hops = hops_left(&request);
        let privacy = Privacy::of(&request);
        let refusal = if contacts.is_empty() {
            let in_clear = !self.contacts_of(place).is_empty();
            Some(if in_clear { NOT_IN_CLEAR } else { NOT_REGISTERED })
        } else {
            // Whether the other side takes video is not known yet.
            let offer = unusable(&request).or_else(|| self.unacceptable_offer(&request, caller.flow, false));
            let offer = offer.or_else(|| hops.is_none().then_some(TOO_MANY_HOPS));
            offer.or_else(|| privacy.refused())
        };
        if let Some(refusal) = refusal {
            return self.refuse_caller(transaction, &request, (&caller, &dialled.number), None, refusal);
        }
        self.trying(transaction, &request);
        let realm = caller.account.realm.clone();
        let from_user = match caller.identity.credential() {
            Some(place) => self.directory.credential(place).username.clone(),
            None => "anonymous".to_owned(),
        };
        let from = format!("sip:{from_user}@{realm}");
        let (mix, shard) = (MixId(self.number()), self.quiet_shard());
        let callee = self.directory.credential(place).user;
        let bridge = self.bridges.insert_with(|key| Bridge {
            caller: key, // until the call itself is there, two lines below
            callee,
            from_name: String::new(),
            from_uri: if privacy.hides {
                ANONYMOUS.into()
            } else {
                from.clone()
            },
            real_uri: privacy.hides.then_some(from),
            to_uri: format!("sip:{}@{realm}", dialled.leads_to),
            mix,
            shard,
            contacts,
            forks: Vec::new(),
            winner: None,
            best: None,
            rings_until: Time::default(),
            rings_at_most: Time::default(),
            expires: expiry(&request, self.wire.now),
            hops: hops.unwrap_or_default(),
        });
        let mut leg = self.new_leg(mix, shard, false, false);
        leg.will = direction_said(&request).unwrap_or(Direction::BOTH);
        let place = Place::Bridge(bridge);
        let Some(call) = self.open_call(transaction, request, &caller, place, leg, dialled, false) else {
            self.bridges.remove(bridge);
            return;
        };
        if let (Some(bridge), Some(of)) = (self.bridges.get_mut(bridge), self.calls.get_mut(call)) {
            of.hidden = privacy.hides;
            (bridge.caller, bridge.from_name) = (call, of.shown_name().to_owned());
        }
        self.open_leg(call);
    }

    /// Where a user or device can be reached now: a user by all devices, a device by itself.
    pub(crate) fn contacts_of(&self, place: usize) -> Vec<Binding> {
        self.contacts_where(place, reachable)
    }

    /// The same for what was sent to this URI: where that asks for TLS on each hop, only those that have it.
    pub(crate) fn contacts_for(&self, place: usize, uri: &str) -> Vec<Binding> {
        match is_sips(uri) {
            true => self.contacts_where(place, |binding| reachable(binding) && is_secure(binding)),
            false => self.contacts_of(place),
        }
    }

    fn contacts_where(&self, place: usize, may_be_asked: impl Fn(&Binding) -> bool) -> Vec<Binding> {
        let credential = self.directory.credential(place);
        let devices = if credential.username == credential.owner {
            self.directory.devices(place)
        } else {
            &[place][..]
        };
        let now = self.wire.now;
        let mut contacts: Vec<Binding> = Vec::new();
        for device in devices {
            let address = self.directory.address_of_record(*device);
            let first = contacts.len();
            for binding in self
                .registrar
                .contacts(address, now)
                .filter(|binding| may_be_asked(binding))
            {
                // A phone on several flows is asked by one, that which it renewed last (RFC 5626 section 7), unless it has
                // been silent there since.
                let same =
                    |other: &Binding| binding.phone().is_some_and(|phone| other.phone() == Some(phone));
                let rank = |binding: &Binding| {
                    let flow = binding.flow;
                    (
                        !flow.transport.reliable() || flow.connection != 0,
                        !binding.silent,
                        binding.expires,
                    )
                };
                match contacts[first..].iter_mut().find(|other| same(other)) {
                    Some(other) if rank(other) < rank(binding) => *other = binding.clone(),
                    Some(_) => {}
                    None => contacts.push(binding.clone()),
                }
            }
        }
        contacts.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        contacts
    }

    pub(crate) fn bridge_leg_opened(&mut self, bridge_key: Key, key: Key) {
        let Some(bridge) = self.bridges.get_mut(bridge_key) else {
            return;
        };
        if bridge.caller != key {
            return self.ring(key);
        }
        let contacts = std::mem::take(&mut bridge.contacts);
        if let Some(caller) = self.calls.get_mut(key) {
            caller.stage = Stage::Ringing;
        }
        let most = self.wire.now + RINGING_MOST;
        bridge.rings_at_most = bridge.expires.map_or(most, |expires| expires.min(most));
        bridge.rings_until = (self.wire.now + RINGING).min(bridge.rings_at_most);
        let rings_until = bridge.rings_until;
        self.wire.timers.arm(rings_until, Timer::Ringing(bridge_key));
        let forks: Vec<Key> = contacts
            .iter()
            .filter_map(|contact| self.open_fork(bridge_key, contact))
            .collect();
        for fork in forks {
            self.open_leg(fork);
        }
    }

    /// Makes the call to one contact.
    fn open_fork(&mut self, bridge_key: Key, contact: &Binding) -> Option<Key> {
        let secret = self.wire.token();
        let call_id = self.wire.token();
        let origin = self.new_origin();
        let (mix, shard, caller, callee) = self
            .bridges
            .get(bridge_key)
            .map(|bridge| (bridge.mix, bridge.shard, bridge.caller, bridge.callee))?;
        let mut leg = self.new_leg(mix, shard, false, false);
        // A caller may begin on hold, or only listen.
        leg.flows = self
            .calls
            .get(caller)
            .map_or(Direction::BOTH, |call| call.leg.will);
        leg.bundle = peer_on(contact.flow.transport).then(Box::default);
        let flow = self.contact_flow(contact);
        let sent_by = self.sent_by(flow);
        let bridge = self.bridges.get_mut(bridge_key)?;
        let dialog = Dialog {
            call_id: format!("{call_id}@{}", sent_by.ip()),
            local_tag: String::new(),
            remote_tag: String::new(),
            local_uri: bridge.from_uri.clone(),
            local_name: Some(bridge.from_name.clone()),
            remote: format!("<{}>", bridge.to_uri),
            target: match is_kept(contact) {
                true => Target::on_its_flow(contact.contact.as_ref().to_owned()),
                false => contact.contact.as_ref().to_owned().into(),
            },
            route: routes(&contact.path),
            local_cseq: 0,
            remote_cseq: None,
            we_made_call_id: true,
            max_forwards: bridge.hops,
            contact: String::new(),
            flow,
            sent_by,
            lost: None,
            detour: None,
            own: self.directory.own.clone(),
        };
        let number = self
            .calls
            .get(caller)
            .map(|call| call.number.clone())
            .unwrap_or_default();
        let key = self.calls.insert_with(|key| Call {
            dialog: Dialog {
                local_tag: format!("{}.{secret}", key.text()),
                ..dialog
            },
            stage: Stage::Opening,
            place: Place::Bridge(bridge_key),
            invite: None,
            request: None,
            dialling: None,
            ack: None,
            unacknowledged: None,
            leg,
            origin,
            offered: false,
            owner: Some(callee),
            counted: None,
            user: None,
            name: String::new(),
            number,
            hidden: false,
            role: Role::Member,
            trusted: false,
            abandoned: false,
            greeting: None,
            accepts: None,
            outbox: Outbox::default(),
            peer: Abilities::default(),
            reoffer: Reoffer::default(),
            session: Session::default(),
            progress: Progress::default(),
            early: Vec::new(),
            reason: None,
            why: None,
            pending: VecDeque::new(),
            allowance: (f64::from(self.config.message_rate) * 2.0, self.wire.now),
            seat: Seat::new(self.wire.now),
        });
        if let Some(bridge) = self.bridges.get_mut(bridge_key) {
            bridge.forks.push(key);
        }
        self.carry(key);
        self.record_started(key, self.recorded_account(caller), Some(caller));
        let bridge = self.bridges.get(bridge_key)?;
        let user = bridge.from_uri.trim_start_matches("sip:").split('@').next();
        let user = user.unwrap_or_default().to_owned();
        if let Some(real) = bridge.real_uri.clone() {
            self.record_caller(key, real);
        }
        let contact = self.contact(&user, flow, false);
        if let Some(call) = self.calls.get_mut(key) {
            call.dialog.contact = contact;
        }
        Some(key)
    }

    /// Sends the INVITE to one contact.
    fn ring(&mut self, key: Key) {
        let transaction = self.send_invite(key, Owner::Invite(key));
        if let Some(call) = self.calls.get_mut(key) {
            (call.stage, call.dialling) = (Stage::Ringing, transaction);
        }
    }

    /// What an INVITE of ours came to.
    pub(crate) fn invite_outcome(&mut self, key: Key, transaction: Key, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Response(response) if response.status() < 200 => {
                self.callee_rings(key, transaction, response);
            }
            Outcome::Response(response) if response.status() < 300 => {
                self.callee_answered(key, transaction, response);
            }
            Outcome::Response(response) if response.status() == 422 => self.ring_again(key, response),
            Outcome::Response(response) => self.fork_failed(key, Failure::said(response)),
            Outcome::Silence | Outcome::Unreachable
                if self.calls.get(key).is_some_and(|call| call.abandoned) =>
            {
                self.fork_failed(key, Failure::given_up());
            }
            Outcome::Silence => self.fork_failed(key, Failure::silent()),
            Outcome::Unreachable => self.fork_failed(key, Failure::unreachable()),
        }
    }

    /// The phone wants a longer session (RFC 4028 section 6): once more, with what it asks for.
    fn ring_again(&mut self, key: Key, response: &Message) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        if call.abandoned || !call.session.too_brief(response) {
            return self.fork_failed(key, Failure::said(response));
        }
        self.ring(key);
    }

    fn callee_answered(&mut self, key: Key, transaction: Key, response: &Message) {
        let Some(call) = self.calls.get_mut(key) else {
            return self.dismiss(transaction, response, true);
        };
        let tag = response.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let tag = tag.unwrap_or_default();
        if call.ack.is_some() {
            return match call.dialog.remote_tag == tag {
                true => self.late_answer(response),
                // Another phone behind the same contact.
                false => self.dismiss(transaction, response, true),
            };
        }
        let Place::Bridge(bridge_key) = call.place else {
            return;
        };
        call.dialling = None;
        let early = std::mem::take(&mut call.early);
        let early = early.into_iter().find(|early| early.dialog.remote_tag == tag);
        let heard = early.map(|early| {
            call.dialog = early.dialog;
            early.settled
        });
        if !call.dialog.established_by(response) {
            self.wire.counts.reject("bad_record_route");
        }
        call.accepts = accepted(response);
        call.peer.learn(response);
        call.stage = Stage::Up;
        let abandoned = call.abandoned;
        self.record_answered(key);
        self.look_for_way(key);
        self.acknowledge(key, response);
        let taken = self
            .bridges
            .get(bridge_key)
            .is_none_or(|bridge| bridge.winner.is_some());
        if abandoned || taken {
            return self.hang_up(key, "answered_elsewhere", None);
        }
        let told = self.calls.get(key).and_then(|call| call.leg.audio.clone());
        let settled = match (is_described(response), heard.flatten()) {
            // The answer came before, with a provisional response.
            (false, Some(settled)) => {
                self.settle_media(key, settled);
                self.offer_concluded(key);
                Ok(())
            }
            _ => self.take_answer(key, response),
        };
        if let Err(refusal) = settled {
            self.wire.counts.reject(refusal.reason);
            self.record_failure(
                bridge_key,
                Failure::ours(488, "Not Acceptable Here", "bad_answer"),
            );
            return self.hang_up(key, "bad_answer", Some("SIP;cause=488;text=\"No usable answer\""));
        }
        self.audio_begins(key, told);
        self.session_answered(key, response);
        self.record_kept(key);
        let Some(bridge) = self.bridges.get_mut(bridge_key) else {
            return;
        };
        bridge.winner = Some(key);
        let caller = bridge.caller;
        let others: Vec<Key> = bridge.forks.iter().copied().filter(|fork| *fork != key).collect();
        for other in others {
            self.hang_up(other, "answered_elsewhere", Some(ELSEWHERE));
        }
        if self.take_direction(key, response, false).is_some()
            && self
                .calls
                .get(caller)
                .is_some_and(|call| call.progress.described())
        {
            self.reoffer(caller); // the description in its 183 is the one that holds (RFC 3261 section 13.2.1)
        }
        self.answer(caller);
        self.tell_winner(caller, key);
        self.flush(key);
    }

    /// The caller may have held the call since this phone was called: then it hears so by an offer.
    fn tell_winner(&mut self, caller: Key, winner: Key) {
        let Some(will) = self.calls.get(caller).map(|call| call.leg.will) else {
            return;
        };
        if let Some(call) = self.calls.get_mut(winner).filter(|call| call.leg.flows != will) {
            call.leg.flows = will;
            self.reoffer(winner);
        }
    }

    /// Gives up a call to a phone that has not answered. It stays until the phone's last word: an
    /// answer may be on its way, and wants its ACK and its BYE.
    pub(crate) fn abandon(&mut self, key: Key, why: &'static str, reason: Option<&str>) -> bool {
        let Some(call) = self.calls.get_mut(key) else {
            return false;
        };
        let Some(transaction) = call.dialling else {
            return false;
        };
        if !call.abandoned {
            (call.abandoned, call.why) = (true, Some(why));
            call.reason = reason.map(str::to_owned);
            self.transactions.cancel(transaction, reason, &mut self.wire);
        }
        true
    }

    /// One side of a call between users is gone.
    pub(crate) fn bridge_side_ended(&mut self, bridge_key: Key, key: Key, call: &Call, reason: Option<&str>) {
        let Some(bridge) = self.bridges.get_mut(bridge_key) else {
            return;
        };
        bridge.forks.retain(|fork| *fork != key);
        let ends = if bridge.caller == key {
            true
        } else if bridge.winner == Some(key) {
            let caller = bridge.caller;
            self.bridges.remove(bridge_key);
            return self.hang_up(caller, at_the_other_side(call), reason);
        } else {
            bridge.forks.is_empty() && bridge.winner.is_none()
        };
        if !ends {
            return;
        }
        let Some(bridge) = self.bridges.remove(bridge_key) else {
            return;
        };
        for fork in bridge.forks {
            self.hang_up(fork, at_the_other_side(call), reason);
        }
        if bridge.caller != key {
            let best = bridge
                .best
                .unwrap_or_else(|| Failure::ours(480, "Temporarily Unavailable", at_the_other_side(call)));
            self.refuse_call(
                bridge.caller,
                best.why,
                best.status,
                &best.phrase,
                best.reason.as_deref(),
            );
        }
        debug_assert!(call.place == Place::Bridge(bridge_key));
    }

    /// The other side of a call between users.
    pub(crate) fn other_side(&self, bridge: Key, key: Key) -> Option<Key> {
        let bridge = self.bridges.get(bridge)?;
        if bridge.caller == key {
            bridge.winner
        } else {
            Some(bridge.caller)
        }
    }
}

/// When an invitation is over that says so.
fn expiry(invite: &Message, now: Time) -> Option<Time> {
    let seconds: u32 = invite.header(Name::Expires)?.trim().parse().ok()?;
    Some(now + Duration::from_secs(seconds.into()))
}
