//! Subscriptions (RFC 6665): SUBSCRIBE makes or renews one, NOTIFY tells its state, at once and whenever
//! it has changed. What can be subscribed to stands in [`PACKAGES`].

mod guest;
mod reach;

use std::time::Duration;

use cordboard_model::{ConferenceId, Time, UserId};

use self::reach::Lost;
use crate::arena::Key;
use crate::auth::Identity;
use crate::call::description::is_required;
use crate::call::incoming::accepted;
use crate::conference::copies::accepts as covers;
use crate::conference::info::{TYPE, Told};
use crate::conference::seat::Stream;
use crate::directory::Destination;
use crate::door::taken_instead;
use crate::engine::Engine;
use crate::io::{Flow, Packet};
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Refusal};
use crate::sip::method::Method;
use crate::sip::mime::parameter;
use crate::sip::name::Name;
use crate::sip::target::unusable;
use crate::sip::transaction::{Outcome, Owner};
use crate::timer::{Alarm, Timer};

/// RFC 4575 section 3.9: one NOTIFY in five seconds is enough.
const PACE: Duration = Duration::from_secs(5);
/// How long a subscription holds where the subscriber does not say (RFC 4575 section 3.4).
const USUAL: Duration = Duration::from_secs(3600);
/// Shorter ones are refused with 423, longer ones shortened.
const BRIEFEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(7200);
/// Subscriptions of one user, or of one address in a trusted network for each of its names.
const PER_SUBSCRIBER: usize = 50;

/// An event package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Package {
    /// Who is in a conference (RFC 4575).
    Conference,
}

/// Every event package, with its name.
const PACKAGES: &[(&str, Package)] = &[("conference", Package::Conference)];
/// Their names, for Allow-Events.
pub(crate) const EVENTS: &str = "conference";

/// Why a subscription ends, in the words of RFC 6665 section 4.1.3.
const TIMEOUT: &str = "timeout";
const NO_RESOURCE: &str = "noresource";
const REJECTED: &str = "rejected";
const PROBATION: &str = "probation;retry-after=30";

/// A subscription to the state of one conference.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) dialog: Dialog,
    /// The value of its Event header.
    event: String,
    /// The conference, and the URI that was subscribed to.
    conference: ConferenceId,
    entity: String,
    subscriber: Subscriber,
    /// Whose phone it is, if it is a user's.
    owner: Option<UserId>,
    /// Who has not dialled the PIN, and watches only while he takes part.
    guest: Option<Identity>,
    /// Its connection is gone.
    lost: Option<Lost>,
    expires: Time,
    alarm: Alarm,
    /// The number of the next document.
    version: u32,
    told: Told,
    /// A NOTIFY is on its way.
    waiting: bool,
    /// The way that the last one went.
    sent: Flow,
    /// Whether a connection leads to a subscriber on UDP whose Contact asks for one.
    stream: Stream,
    /// The next NOTIFY tells everything.
    whole: bool,
    /// No NOTIFY before this.
    quiet_until: Time,
    /// A timer is armed for that.
    timed: bool,
}

/// What a NOTIFY says.
#[derive(Debug)]
pub(crate) struct Notify {
    /// The values of its Event and Subscription-State.
    event: String,
    state: String,
    body: Option<String>,
}

impl Notify {
    /// The next request of this dialog.
    pub(crate) fn write(&self, dialog: &mut Dialog, branch: &str) -> Packet {
        let notify = dialog
            .request(Method::Notify, branch, None)
            .header("Event", &self.event)
            .header("Subscription-State", &self.state);
        Packet::whole(match &self.body {
            Some(body) => notify.body(TYPE, body.as_bytes()),
            None => notify.finish(),
        })
    }
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscriber {
    User(usize),
    Address(std::net::IpAddr),
}

impl Engine {
    /// SUBSCRIBE outside of any dialog.
    pub(crate) fn on_subscribe(&mut self, request: Message, flow: Flow) {
        if self.closing(&request, flow) {
            return;
        }
        let Some((transaction, caller, dialled)) = self.let_in(&request, flow) else {
            return;
        };
        if self.refused_for_its_body(transaction, &request) {
            return;
        }
        let Some(Package::Conference) = package(&request) else {
            self.wire.counts.reject("bad_event");
            return self.respond_with(transaction, &request, 489, "Bad Event", |response| {
                response.header("Allow-Events", EVENTS)
            });
        };
        let (number, pin) = self.directory.without_pin(caller.account.id, dialled);
        let Some(Destination::Conference(conference, role)) =
            self.directory.destination(caller.account.id, &number)
        else {
            return self.refuse_in(transaction, &request, 404, "Not Found", "unknown_destination");
        };
        let guest = match self.may_watch(conference, role, pin.as_deref(), &caller) {
            Ok(guest) => guest,
            Err(refusal) => {
                let Refusal { status, phrase, .. } = refusal;
                self.refuse_in(transaction, &request, status, phrase, refusal.reason);
                return self.pin_was_wrong(refusal, &caller);
            }
        };
        if !accepts(&request) {
            self.wire.counts.reject("unsupported_body");
            return self.respond_with(transaction, &request, 406, "Not Acceptable", |response| {
                response.header("Accept", TYPE)
            });
        }
        let subscriber = match caller.identity {
            Identity::User(place) => Subscriber::User(place),
            Identity::Trusted(_) => Subscriber::Address(flow.peer.ip()),
        };
        let owner = match subscriber {
            Subscriber::User(place) => Some(self.directory.credential(place).user),
            Subscriber::Address(_) => None,
        };
        let held = self.subscriptions.values().filter(|s| s.subscriber == subscriber);
        let full =
            held.count() >= PER_SUBSCRIBER || self.subscriptions.len() >= self.config.limits.subscriptions;
        if full && !self.forget_a_lost_one(owner) {
            self.wire.counts.reject("too_many_subscriptions");
            return self.respond_with(transaction, &request, 503, "Too Many Subscriptions", |response| {
                response.header("Retry-After", 60)
            });
        }
        if let Some(refusal) = unusable(&request) {
            let (status, phrase) = (refusal.status, refusal.phrase);
            return self.refuse_in(transaction, &request, status, phrase, refusal.reason);
        }
        let Some(expires) = self.subscription_time(transaction, &request) else {
            return;
        };
        let entity = format!("sip:{number}@{}", caller.account.realm);
        let secret = self.wire.token();
        let sent_by = self.sent_by(flow);
        let Some(mut dialog) = Dialog::server(&request, flow, String::new(), sent_by, &self.directory.own)
        else {
            return self.refuse_in(transaction, &request, 400, "Bad Dialog", "bad_dialog");
        };
        dialog.contact = self.contact(&number, flow, true);
        dialog.local_uri.clone_from(&entity);
        let event = request.header(Name::Event).unwrap_or_default().to_owned();
        let now = self.wire.now;
        let key = self.subscriptions.insert_with(|key| {
            dialog.local_tag = format!("{}.{secret}", key.text());
            Subscription {
                dialog,
                event,
                conference,
                entity,
                subscriber,
                owner,
                guest,
                lost: None,
                expires: now + expires,
                alarm: Alarm::default(),
                version: 0,
                told: Told::default(),
                waiting: false,
                sent: flow,
                stream: Stream::Unknown,
                whole: true,
                quiet_until: now,
                timed: false,
            }
        });
        self.watchers.carry(flow.connection, key);
        self.look_for_subscriber(key);
        self.subscribed(key, transaction, &request, expires);
    }

    /// The subscription whose dialog a request belongs to.
    pub(crate) fn subscription_of(&self, request: &Message) -> Option<Key> {
        let to = request.to().ok()?;
        let tag = to.tag()?;
        let (key, _) = Key::read(tag)?;
        let dialog = &self.subscriptions.get(key)?.dialog;
        (dialog.local_tag == tag && dialog.is_of(request)).then_some(key)
    }

    /// A request inside the dialog of a subscription: only SUBSCRIBE has a meaning there.
    pub(crate) fn on_subscription_request(&mut self, key: Key, request: &Message, flow: Flow) {
        let Some(transaction) = self.open_server(request, flow) else {
            return;
        };
        let number = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if !subscription.dialog.advance(number) {
            return self.refuse_in(transaction, request, 500, "Out Of Order", "cseq_out_of_order");
        }
        if flow.transport == subscription.dialog.flow.transport && flow.transport.reliable() {
            self.move_subscription(key, flow);
        }
        match request.method() {
            Method::Subscribe => {}
            Method::Options => return self.tell_abilities(transaction, request),
            _ => {
                self.wire.counts.reject("method_not_allowed");
                return self.respond_with(transaction, request, 405, "Method Not Allowed", |response| {
                    response.header("Allow", "SUBSCRIBE, OPTIONS")
                });
            }
        }
        if self.refused_for_its_body(transaction, request) {
            return;
        }
        if package(request).is_none() {
            self.wire.counts.reject("bad_event");
            return self.respond_with(transaction, request, 489, "Bad Event", |response| {
                response.header("Allow-Events", EVENTS)
            });
        }
        // Another id is another subscription (RFC 6665 section 8.2.1); there is one to a dialog.
        let id = event_id(request.header(Name::Event).unwrap_or_default());
        if self
            .subscriptions
            .get(key)
            .is_some_and(|s| event_id(&s.event) != id)
        {
            return self.refuse_in(
                transaction,
                request,
                481,
                "Subscription Does Not Exist",
                "no_dialog",
            );
        }
        let Some(expires) = self.subscription_time(transaction, request) else {
            return;
        };
        let now = self.wire.now;
        self.refresh_subscriber(key, request, flow);
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.expires = now + expires;
            // RFC 6665 section 4.2.1.2: the whole state, whatever was told before.
            subscription.whole = true;
            subscription.quiet_until = now;
        }
        self.subscribed(key, transaction, request, expires);
    }

    /// Refuses a SUBSCRIBE with a body that must be understood (RFC 3261 section 20.11), as none is; true if it was. What
    /// else stands in one narrows down what is told, and whoever does not read it tells everything.
    fn refused_for_its_body(&mut self, transaction: Key, request: &Message) -> bool {
        let demanded = is_required(request);
        if demanded {
            self.wire.counts.reject("unsupported_body");
            self.respond_with(transaction, request, 415, "Unsupported Media Type", |response| {
                taken_instead(response, request, "")
            });
        }
        demanded
    }

    /// How long the subscription is to hold; answers the request where it is for too short a time.
    fn subscription_time(&mut self, transaction: Key, request: &Message) -> Option<Duration> {
        let asked = match request.expires() {
            Some(Ok(seconds)) => Duration::from_secs(seconds.into()),
            Some(Err(_)) | None => USUAL,
        };
        if !asked.is_zero() && asked < BRIEFEST {
            self.wire.counts.reject("interval_too_brief");
            self.respond_with(transaction, request, 423, "Interval Too Brief", |response| {
                response.header("Min-Expires", BRIEFEST.as_secs())
            });
            return None;
        }
        Some(asked.min(LONGEST))
    }

    /// Accepts a SUBSCRIBE, and tells the state at once.
    fn subscribed(&mut self, key: Key, transaction: Key, request: &Message, expires: Duration) {
        let Some(subscription) = self.subscriptions.get(key) else {
            return;
        };
        let (tag, contact) = (
            subscription.dialog.local_tag.clone(),
            subscription.dialog.contact.clone(),
        );
        let Some(way) = self.transactions.flow(transaction) else {
            return;
        };
        let mut response = crate::sip::write::respond(request, way.peer, 200, "OK", Some(&tag));
        for route in request.headers(Name::RecordRoute) {
            response = response.header("Record-Route", route);
        }
        let response = response
            .header("Contact", contact)
            .header("Expires", expires.as_secs())
            .header("Allow-Events", EVENTS)
            .header("Server", &self.product);
        self.transactions
            .respond(transaction, 200, Packet::whole(response.finish()), &mut self.wire);
        if expires.is_zero() {
            return self.end_subscription(key, TIMEOUT);
        }
        self.await_end(key);
        self.notify(key);
    }

    fn await_end(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            let at = subscription.expires;
            if subscription.alarm.set(at) {
                self.wire.timers.arm(at, Timer::Subscription(key));
            }
        }
    }

    /// The configuration is another: subscriptions to conferences that do not exist any more end.
    pub(crate) fn end_lost_subscriptions(&mut self) {
        let lost: Vec<Key> = self
            .subscriptions
            .keys()
            .into_iter()
            .filter(|key| {
                self.subscriptions
                    .get(*key)
                    .is_some_and(|s| self.conference_config(s.conference).is_none())
            })
            .collect();
        for key in lost {
            self.lose_subscription(key, NO_RESOURCE);
        }
    }

    fn lose_subscription(&mut self, key: Key, why: &'static str) {
        *self.wire.counts.subscriptions_ended.entry(why).or_default() += 1;
        self.end_subscription(key, why);
    }

    /// Tells what is new, unless a NOTIFY is on its way or the last was a moment ago: then later.
    pub(crate) fn notify(&mut self, key: Key) {
        let now = self.wire.now;
        let may = |s: &&mut Subscription| !s.waiting && s.is_reachable();
        let Some(subscription) = self.subscriptions.get_mut(key).filter(may) else {
            return;
        };
        if subscription.quiet_until > now {
            if !subscription.timed {
                subscription.timed = true;
                let at = subscription.quiet_until;
                self.wire.timers.arm(at, Timer::Notify(key));
            }
            return;
        }
        let Some(subscription) = self.subscriptions.get(key) else {
            return;
        };
        let info = self.conference_info(subscription.conference, subscription.entity.clone());
        if !subscription.whole && info.is_none_or(|info| !info.is_news(&subscription.told)) {
            return;
        }
        let left = subscription.expires.since(now).as_secs();
        self.send_state(key, Owner::Notify(key), format!("active;expires={left}"));
    }

    /// Tells everything at once: what was told before may not have come.
    fn tell_again(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.whole = true;
            subscription.quiet_until = self.wire.now;
        }
        self.notify(key);
    }

    /// The subscriber may be told again.
    pub(crate) fn notify_timer(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.timed = false;
        }
        self.notify(key);
    }

    /// Sends a NOTIFY with the state as it is now.
    fn send_state(&mut self, key: Key, owner: Owner, state: String) {
        let Some(notify) = self.state_of(key, state) else {
            return;
        };
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        subscription.waiting = true;
        let dialog = &mut subscription.dialog;
        let flow = dialog.next_flow();
        subscription.sent = flow;
        self.transactions
            .open_client(Method::Notify, flow, owner, &mut self.wire, |branch| {
                notify.write(dialog, branch)
            });
    }

    /// What a NOTIFY says of the state as it is now; the subscriber counts as told.
    fn state_of(&mut self, key: Key, state: String) -> Option<Notify> {
        let now = self.wire.now;
        let subscription = self.subscriptions.get(key)?;
        let info = self.conference_info(subscription.conference, subscription.entity.clone());
        let subscription = self.subscriptions.get_mut(key)?;
        let version = subscription.version;
        let body = match &info {
            Some(info) if subscription.whole => {
                let (text, told) = info.full(version);
                subscription.told = told;
                Some(text)
            }
            Some(info) => info.partial(&mut subscription.told, version),
            None => None, // the conference is gone: there is nothing left to tell
        };
        subscription.version += u32::from(body.is_some());
        subscription.whole = false;
        // What did not fit into this document is not held back.
        if info.is_none_or(|info| !info.is_news(&subscription.told)) {
            subscription.quiet_until = now + PACE;
        }
        let event = subscription.event.clone();
        Some(Notify { event, state, body })
    }

    /// Sends the last NOTIFY of a subscription and forgets it.
    fn end_subscription(&mut self, key: Key, why: &str) {
        let last = self.state_of(key, format!("terminated;reason={why}"));
        if let (Some(subscription), Some(last)) = (self.drop_subscription(key), last) {
            self.say_farewell(subscription.dialog, last);
        }
    }

    /// A NOTIFY was answered, or not.
    pub(crate) fn notify_outcome(&mut self, key: Key, outcome: Outcome<'_>) {
        let keeps = match outcome {
            Outcome::Response(response) if response.status() < 200 => return,
            // RFC 6665 section 4.2.2: with Retry-After it is only for now.
            Outcome::Response(response) => {
                response.status() < 300
                    || (response.status() >= 500 && response.header(Name::RetryAfter).is_some())
            }
            Outcome::Silence | Outcome::Unreachable => return self.notify_unanswered(key),
        };
        if !keeps {
            return self.notify_refused(key);
        }
        self.subscriber_answers(key);
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.waiting = false;
        }
        self.notify(key);
    }

    /// A NOTIFY was refused. Who was called at the address of a Contact may be somebody else.
    fn notify_refused(&mut self, key: Key) {
        let elsewhere = self
            .subscriptions
            .get(key)
            .is_some_and(|s| s.has_moved() || s.went_beside() || s.lost.is_some() && s.was_called());
        if elsewhere {
            self.notify_unanswered(key);
        } else {
            self.notify_failed(key);
        }
    }

    /// A NOTIFY got no answer. Over a connection that is gone that says nothing about the subscriber, nor does it where
    /// that has come back by another way.
    fn notify_unanswered(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        subscription.waiting = false;
        let lost = subscription.lost.is_some();
        if subscription.went_beside() {
            self.leave_stream(key);
        } else if lost || subscription.is_called() {
            // What went by the connection that broke does not count as a call.
            let tried = subscription.is_called() && subscription.was_called();
            self.subscriber_lost(key, tried);
        } else if !subscription.has_moved() && !self.subscriber_has_returned(key) {
            return self.notify_failed(key);
        }
        self.tell_again(key);
    }

    fn notify_failed(&mut self, key: Key) {
        if self.drop_subscription(key).is_some() {
            let ended = &mut self.wire.counts.subscriptions_ended;
            *ended.entry("notify_failed").or_default() += 1;
        }
    }

    /// A subscription's time is up, if it was not renewed.
    pub(crate) fn subscription_timer(&mut self, key: Key, at: Time) {
        let rang = |subscription: &mut &mut Subscription| subscription.alarm.rang(at);
        let Some(subscription) = self.subscriptions.get_mut(key).take_if(rang) else {
            return;
        };
        if subscription.expires > at {
            self.await_end(key);
        } else {
            *self.wire.counts.subscriptions_ended.entry(TIMEOUT).or_default() += 1;
            self.end_subscription(key, TIMEOUT);
        }
    }

    /// The switch goes down: subscribers may come back when it is up again.
    pub(crate) fn end_subscriptions(&mut self) {
        for key in self.subscriptions.keys() {
            self.end_subscription(key, PROBATION);
        }
    }
}

/// The event package that a SUBSCRIBE names.
fn package(request: &Message) -> Option<Package> {
    let event = request.header(Name::Event)?;
    let name = event.split(';').next().unwrap_or_default().trim();
    PACKAGES
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, package)| *package)
}

/// What tells subscriptions to one package in one dialog apart.
fn event_id(event: &str) -> Option<&str> {
    parameter(event, "id")
}

/// Whether the subscriber takes the document: everybody who says nothing does (RFC 4575 section 3.5).
fn accepts(request: &Message) -> bool {
    covers(accepted(request).as_deref(), TYPE)
}
