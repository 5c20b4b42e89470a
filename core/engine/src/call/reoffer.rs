//! Our own offers inside a call: one at a time, the newest state, and quiet while one is open.
//!
//! Between a re-INVITE of ours and its ACK nothing else is sent in the dialog: some peers would then
//! drop the ACK, whose number is the lower one, and hang up. What cannot be sent now waits here; what
//! has changed again meanwhile is offered once, as it is when its turn comes.

use std::time::Duration;

use cordboard_model::Time;
use cordboard_model::media::Direction;

use crate::arena::Key;
use crate::call::ability::Abilities;
use crate::call::media::direction_said;
use crate::call::{Call, Place, Stage};
use crate::conference::seat::Stream;
use crate::door::{ALLOW, SUPPORTED};
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::transaction::{Outcome, Owner};
use crate::timer::{PATIENCE, Timer};

/// How often one offer is made again after refusals that ask for it.
const TRIES: u8 = 10;

/// What we are asking the peer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Invite(Key),
    /// A refresh without an offer: the dialog goes on beside it.
    Update,
}

/// What we have to offer in one call.
#[derive(Debug, Default)]
pub(crate) struct Reoffer {
    /// The description has changed since it was offered last.
    changed: bool,
    /// Who shows what has changed; it may have changed back since.
    videos: bool,
    /// The session wants its refresh.
    refresh: bool,
    open: Option<Open>,
    /// When the next try is due, or an offer without an answer is taken back.
    due: Option<Time>,
    tries: u8,
}

impl Reoffer {
    /// Whether nothing may be sent in the dialog now.
    pub(crate) const fn is_open(&self) -> bool {
        self.open_invite().is_some()
    }

    /// The transaction of the re-INVITE that is not answered yet.
    pub(crate) const fn open_invite(&self) -> Option<Key> {
        match self.open {
            Some(Open::Invite(transaction)) => Some(transaction),
            _ => None,
        }
    }
}

impl Engine {
    /// Our description of this call has changed: the peer hears of it as soon as it may be told.
    pub(crate) fn reoffer(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(key) {
            (call.reoffer.changed, call.reoffer.tries) = (true, 0);
            self.advance_offer(key);
        }
    }

    /// Somebody whom this call may see has come, gone or changed: it is told when it may be told, if there still
    /// is anything to tell then.
    pub(crate) fn videos_changed(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(key).filter(|call| call.leg.bundle.is_some()) {
            (call.reoffer.videos, call.reoffer.tries) = (true, 0);
        }
    }

    /// The session is to be refreshed: by UPDATE where the peer takes it, else by re-INVITE.
    pub(crate) fn refresh(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(key) {
            (call.reoffer.refresh, call.reoffer.tries) = (true, 0);
            self.advance_offer(key);
        }
    }

    /// Sends what waits, if its turn has come.
    pub(crate) fn advance_offer(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        let settled = call.stage == Stage::Up && call.unacknowledged.is_none() && !call.offered;
        let Reoffer {
            changed,
            videos,
            refresh,
            open,
            due,
            ..
        } = call.reoffer;
        if !settled || open.is_some() || due.is_some() || !(changed || videos || refresh) {
            return;
        }
        let changed = changed || videos && self.sees_news(key);
        if let Some(call) = self.calls.get_mut(key) {
            call.reoffer.videos = false;
        }
        if !changed && !refresh {
            return;
        }
        let Some(call) = self.calls.get(key) else { return };
        if changed || !call.peer.update {
            self.send_offer(key);
        } else {
            self.send_refresh(key);
        }
    }

    /// An INVITE with our description, the first of a dialog or one inside it; its transaction.
    pub(crate) fn send_invite(&mut self, key: Key, owner: Owner) -> Option<Key> {
        let offer = self.make_offer(key);
        let (wanted, product) = (self.config.session_expires, self.product.clone());
        let expires = self.invitation_left(key);
        let call = self.calls.get_mut(key)?;
        let flow = call.dialog.next_flow();
        let Call { dialog, session, .. } = call;
        // Inside a dialog nothing comes before the answer that would be worth a confirmation.
        let first = dialog.remote_tag.is_empty();
        let supported = SUPPORTED.iter().filter(|name| first || **name != "100rel");
        let supported = supported.copied().collect::<Vec<_>>().join(", ");
        let transaction =
            self.transactions
                .open_client(Method::Invite, flow, owner, &mut self.wire, |branch| {
                    let invite = dialog
                        .request(Method::Invite, branch, None)
                        .header("Allow", ALLOW)
                        .header("Supported", supported)
                        .header("User-Agent", product);
                    let invite = match expires {
                        Some(seconds) => invite.header("Expires", seconds),
                        None => invite,
                    };
                    Packet::whole(
                        session
                            .ask(invite, wanted)
                            .body("application/sdp", offer.as_bytes()),
                    )
                });
        Some(transaction)
    }

    /// How long a phone may ring, where its caller has said so (RFC 3261 section 13.3.1); seconds, rounded up.
    fn invitation_left(&self, key: Key) -> Option<u64> {
        let call = self
            .calls
            .get(key)
            .filter(|call| call.dialog.remote_tag.is_empty())?;
        let Place::Bridge(bridge) = call.place else {
            return None;
        };
        let left = self.bridges.get(bridge)?.expires?.since(self.wire.now);
        Some(left.as_millis().div_ceil(1000) as u64)
    }

    fn send_offer(&mut self, key: Key) {
        let due = self.wire.now + PATIENCE;
        let Some(transaction) = self.send_invite(key, Owner::Reoffer(key)) else {
            return;
        };
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        (call.reoffer.changed, call.reoffer.refresh) = (false, false);
        call.reoffer.open = Some(Open::Invite(transaction));
        call.reoffer.due = Some(due);
        self.wire.timers.arm(due, Timer::Reoffer(key));
    }

    fn send_refresh(&mut self, key: Key) {
        let wanted = self.config.session_expires;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let flow = call.dialog.next_flow();
        let Call { dialog, session, .. } = call;
        self.transactions.open_client(
            Method::Update,
            flow,
            Owner::Reoffer(key),
            &mut self.wire,
            |branch| {
                let update = dialog
                    .request(Method::Update, branch, None)
                    .header("Supported", SUPPORTED.join(", "));
                Packet::whole(session.ask(update, wanted).finish())
            },
        );
        call.reoffer.refresh = false;
        call.reoffer.open = Some(Open::Update);
    }

    /// What a re-INVITE or UPDATE of ours came to.
    pub(crate) fn reoffer_outcome(&mut self, key: Key, transaction: Key, outcome: Outcome<'_>) {
        if let Outcome::Response(response) = outcome
            && response.status() < 200
        {
            return self.offer_heard_of(key, transaction);
        }
        if self.parted(transaction, &outcome) {
            return;
        }
        let response = match outcome {
            Outcome::Response(response) => response,
            // There is no dialog any more (RFC 3261 section 12.2.1.2).
            Outcome::Silence => return self.offer_unheard(key),
            Outcome::Unreachable => return self.offer_cut_off(key),
        };
        let Some(call) = self.calls.get_mut(key) else {
            return self.dismiss(transaction, response, false);
        };
        let was_invite = response.method() == Method::Invite;
        if was_invite && call.reoffer.open != Some(Open::Invite(transaction)) {
            return self.late_answer(response); // the 2xx came again
        }
        (call.reoffer.open, call.reoffer.due) = (None, None);
        match response.status() {
            200..=299 => self.offer_accepted(key, response, was_invite),
            status => {
                if was_invite {
                    self.offer_concluded(key);
                }
                self.offer_refused(key, status, response, was_invite);
            }
        }
        self.flush(key);
        self.advance_offer(key);
    }

    /// An offer has been heard of. One whose call is over, and that no BYE waits for, is taken back.
    fn offer_heard_of(&mut self, key: Key, transaction: Key) {
        if self.calls.get(key).is_none() && !self.partings.await_answer(transaction) {
            self.transactions.cancel(transaction, None, &mut self.wire);
        }
    }

    /// The connection is gone, or there is none. The peer comes back on another, or takes one from us, and is asked
    /// again, though not for ever; what then becomes of a browser's call, its media tells.
    fn offer_cut_off(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        if call.leg.bundle.is_none() && call.reoffer.tries >= TRIES {
            return self.end_over_offer(key, "connection_lost", LOST);
        }
        self.ask_again(key);
        self.flush(key);
    }

    /// Nobody has answered.
    fn offer_unheard(&mut self, key: Key) {
        self.end_over_offer(key, "no_answer_to_offer", SILENT);
    }

    fn end_over_offer(&mut self, key: Key, why: &'static str, reason: &str) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.reoffer.open = None; // no BYE waits for it
        self.hang_up(key, why, Some(reason));
    }

    /// The way that a re-INVITE or UPDATE of ours went is gone, and the dialog has another.
    pub(crate) fn offer_again(&mut self, key: Key, flow: Flow) {
        if flow.connection == 0 {
            self.set_stream(key, Stream::Fails); // none could be made
        }
        self.ask_again(key);
        self.flush(key);
    }

    /// What we asked the peer was lost: it is asked again, after a pause.
    fn ask_again(&mut self, key: Key) {
        let pause = Duration::from_millis(1000 + self.wire.random() % 2001);
        let now = self.wire.now;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let was_invite = matches!(call.reoffer.open.take(), Some(Open::Invite(_)));
        call.reoffer.changed |= was_invite;
        call.reoffer.refresh |= !was_invite;
        call.reoffer.tries += 1;
        call.reoffer.due = None;
        if call.reoffer.tries <= TRIES {
            call.reoffer.due = Some(now + pause);
            self.wire.timers.arm(now + pause, Timer::Reoffer(key));
        }
        if was_invite {
            self.offer_concluded(key);
        }
    }

    fn offer_accepted(&mut self, key: Key, response: &Message, was_invite: bool) {
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        call.reoffer.tries = 0;
        call.dialog.retarget(response);
        call.peer.learn(response);
        self.look_for_way(key);
        if was_invite {
            self.acknowledge(key, response);
            if let Err(refusal) = self.take_answer(key, response) {
                self.wire.counts.reject(refusal.reason);
                return self.hang_up(key, "bad_answer", Some("SIP;cause=488;text=\"No usable answer\""));
            }
            self.direction_changed(key, response, false);
        }
        self.session_answered(key, response);
    }

    fn offer_refused(&mut self, key: Key, status: u16, response: &Message, was_invite: bool) {
        let wait = match status {
            408 | 481 => {
                self.hang_up(key, "gone", Some("SIP;cause=481;text=\"The dialog is gone\""));
                return;
            }
            // RFC 3261 section 14.1: whoever made the Call-ID waits longer.
            491 => self.glare_pause(key),
            // The ACK of the last offer is still on its way to it, or it is in the middle of something.
            403 | 500 | 503 => self.busy_pause(response),
            422 => Duration::ZERO,
            405 | 501 if !was_invite => Duration::ZERO,
            // It will not have it. What was agreed before still holds.
            _ => return self.wire.counts.reject("offer_refused"),
        };
        let due = self.wire.now + wait;
        let Some(call) = self.calls.get_mut(key) else {
            return;
        };
        let Abilities { update, .. } = &mut call.peer;
        match status {
            422 if !call.session.too_brief(response) => {
                return self.wire.counts.reject("offer_refused");
            }
            405 | 501 => *update = false,
            _ => {}
        }
        call.reoffer.tries += 1;
        if call.reoffer.tries > TRIES {
            return self.wire.counts.reject("offer_refused");
        }
        (call.reoffer.changed, call.reoffer.refresh) = (call.reoffer.changed || was_invite, true);
        if !wait.is_zero() {
            call.reoffer.due = Some(due);
            self.wire.timers.arm(due, Timer::Reoffer(key));
        }
    }

    /// The pause after a 491, in units of 10 ms: within what RFC 3261 section 14.1 allows, but never so short that
    /// a browser is still busy with its own offer.
    fn glare_pause(&mut self, key: Key) -> Duration {
        let ours = self
            .calls
            .get(key)
            .is_some_and(|call| call.dialog.we_made_call_id);
        let random = self.wire.random();
        Duration::from_millis(
            10 * if ours {
                210 + random % 91
            } else {
                100 + random % 101
            },
        )
    }

    /// 1 to 3 s, or what the peer asks for if that is no more than half a minute.
    fn busy_pause(&mut self, response: &Message) -> Duration {
        let asked = response
            .header(Name::RetryAfter)
            .and_then(|text| text.split([';', '(', ' ']).next()?.parse::<u64>().ok())
            .unwrap_or_default();
        let random = Duration::from_millis(1000 + self.wire.random() % 2001);
        random.max(Duration::from_secs(asked.min(30)))
    }

    /// A pause is over, or an offer has waited too long for its answer.
    pub(crate) fn reoffer_timer(&mut self, key: Key, at: Time) {
        let Some(call) = self
            .calls
            .get_mut(key)
            .filter(|call| call.reoffer.due == Some(at))
        else {
            return;
        };
        call.reoffer.due = None;
        match call.reoffer.open {
            Some(Open::Invite(transaction)) => {
                self.transactions.cancel(transaction, None, &mut self.wire);
            }
            _ => self.advance_offer(key),
        }
    }

    /// A call between users: one side holds or resumes, and the other is told by an offer of ours
    /// (`offered`: the peer made an offer, else it answered one).
    pub(crate) fn direction_changed(&mut self, key: Key, message: &Message, offered: bool) {
        if let Some(other) = self.take_direction(key, message, offered) {
            self.reoffer(other);
        }
    }

    /// Which way this side of a call between users wants media to flow is from now on what the other is to be
    /// told; the other side, if that is news to it.
    pub(crate) fn take_direction(&mut self, key: Key, message: &Message, offered: bool) -> Option<Key> {
        let said = direction_said(message)?;
        let call = self.calls.get_mut(key)?;
        let Place::Bridge(bridge) = call.place else {
            return None;
        };
        let (asked, will) = (call.leg.flows, call.leg.will);
        // An answer shows its writer's will only where our offer left it the choice.
        let will = Direction {
            send: if offered || asked.receive {
                said.send
            } else {
                will.send
            },
            receive: if offered || asked.send {
                said.receive
            } else {
                will.receive
            },
        };
        call.leg.will = will;
        let other = self.other_side(bridge, key)?;
        let call = self.calls.get_mut(other).filter(|call| call.leg.flows != will)?;
        call.leg.flows = will;
        Some(other)
    }
}

/// The Reason of the BYE to a peer that did not answer our offer.
const SILENT: &str = "SIP;cause=408;text=\"No answer to an offer\"";
/// The same of a call to whose peer no request finds a way.
const LOST: &str = "SIP;cause=503;text=\"Connection lost\"";
