//! Who gets past the door: what comes from banned sources, known scanners and strangers who ask too
//! often ends here, and while the switch is overloaded strangers are refused first, then new calls.
//!
//! The source of a datagram can be forged, so nothing that anybody could send in another's name bans
//! that other: over UDP only a proof made with a nonce that went to the very address counts, and only such a
//! proof is looked at. Over a connection every proof counts that is looked at: those made with a nonce of ours.

use std::net::IpAddr;

use cordboard_model::Time;

use crate::engine::Engine;
use crate::io::{Flow, Notice, Output};
use crate::limits::{Ban, Offence};
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;

/// What stands in the User-Agent headers of programs that search networks for weak passwords, in lower case. A short
/// one counts only as a word of its own: phones have names, too.
pub const SCANNERS: &[&str] = &[
    "friendly-scanner",
    "sipvicious",
    "sipcli",
    "sundayddr",
    "vaxsipuseragent",
    "sip-scan",
    "sipscan",
    "siparmyknife",
    "pplsip",
    "iwar",
    "sivus",
    "gulp",
];

/// The letters that they begin with, by their place in the alphabet: nearly no byte needs a longer look.
const INITIALS: u32 = {
    let (mut letters, mut at) = (0, 0);
    while at < SCANNERS.len() {
        letters |= 1 << (SCANNERS[at].as_bytes()[0] & 31);
        at += 1;
    }
    letters
};

/// Names up to this long are short.
const SHORT: usize = 6;

/// The part of the lag at which datagrams of strangers begin to be left unread.
const EARLY: u32 = 8;

/// How much the switch can still take, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pressure {
    None,
    /// Strangers are refused.
    Strangers,
    /// Nothing new is taken.
    NewCalls,
}

impl Engine {
    /// Whether an address is banned at `now`: nothing that comes from it needs to be looked at but what
    /// belongs to a dialog or transaction that there is.
    pub fn is_banned(&self, address: IpAddr, now: Time) -> bool {
        self.limits.is_banned(address, now) && !self.directory.trusts(address)
    }

    /// The ban of an address as a whole, if one holds at `now`.
    pub fn ban_of(&self, address: IpAddr, now: Time) -> Option<Ban> {
        self.limits.ban_of(address, now)
    }

    /// Whether an operator's token from here is looked at. A right one is where the ban has another cause: who looks
    /// after a switch must be able to see why his address is banned.
    pub fn may_show_token(&self, address: IpAddr, right: bool, now: Time) -> bool {
        let ban = self.limits.ban_of(address, now);
        self.directory.trusts(address) || ban.is_none_or(|ban| right && ban.reason != Offence::BadToken)
    }

    /// Whether an address is in one of the networks whose senders need no proof.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.directory.trusts(address)
    }

    /// Whether somebody at an address has proved himself lately, or needs no proof: such sources are heard
    /// first when not all can be.
    pub fn is_known(&self, address: IpAddr, now: Time) -> bool {
        self.directory.trusts(address) || self.limits.has_proven(address, now)
    }

    /// Whether a datagram has waited so long that those of strangers should not be read at all: by then
    /// the queue is on its way to be as long as `[sip.limits] lag` and to be full.
    pub fn is_late(&self, stamp: Time, now: Time) -> bool {
        let lag = self.config.limits.lag;
        !lag.is_zero() && now.since(stamp) > lag / EARLY
    }

    /// The bans that hold at `now`, the one that ends first before the others.
    pub fn bans(&self, now: Time) -> Vec<Ban> {
        self.limits.bans(now)
    }

    /// Ends the bans of a source before their time, and what calls itself a scanner there is listed no more until it
    /// is heard of again. The source's next ban is twice as long all the same. False if none holds.
    pub fn lift_ban(&mut self, address: IpAddr, now: Time) -> bool {
        self.limits.lift(address, now)
    }

    /// Whether a message is looked at. What is not is counted, and answered only where that helps. `identity` is
    /// that of a request's own transaction.
    pub(crate) fn admits(
        &mut self,
        message: &Message,
        identity: Option<u128>,
        flow: Flow,
        stamp: Time,
    ) -> bool {
        let (peer, now) = (flow.peer.ip(), self.wire.now);
        // Before anything else: a ban is for what is new. Whoever knows the tags and branches of a call
        // that is up is in it, and may end it.
        let belongs = !message.is_request() || self.belongs_to_something(message, identity);
        if self.is_banned(peer, now) {
            let within = belongs && (message.method() != Method::Ack || self.acknowledges(message));
            if !within {
                self.wire.counts.reject("banned");
            }
            return within;
        }
        if belongs {
            return true;
        }
        let trusted = self.directory.trusts(peer);
        let proven = self.limits.has_proven(peer, now);
        if !trusted && !self.config.abuse.answer_scanners && is_scanner(message) {
            self.wire.counts.reject("scanner");
            if flow.transport.reliable() {
                self.offended(flow, Offence::Scanner);
            } else {
                self.limits.scanner_seen(peer, now);
            }
            return false;
        }
        let known = trusted || proven && brings_proof(message);
        // A phone's first request bears no proof yet: that it comes from where phones are must do.
        let stranger = !(trusted || proven);
        let pressure = self.pressure(stamp);
        if pressure == Pressure::NewCalls || (pressure == Pressure::Strangers && stranger) {
            self.wire.counts.reject(match stranger {
                true => "overload_stranger",
                false => "overload",
            });
            // Not all at the same moment again.
            let after = 5 + self.wire.random() % 10;
            self.respond_stateless(message, flow, 503, "Overloaded", |response| {
                response.header("Retry-After", after)
            });
            return false;
        }
        // Who proves himself after all gets it back; what only looked like a proof of somebody known pays when it
        // is refused.
        let left = known || self.limits.stranger_may_ask(peer, now);
        if !left {
            self.asks_too_often(message, flow);
        }
        left
    }

    fn asks_too_often(&mut self, request: &Message, flow: Flow) {
        self.wire.counts.reject("rate_limited");
        if flow.transport.reliable() {
            self.respond_stateless(request, flow, 503, "Too Many Requests", |response| {
                response.header("Retry-After", 1)
            });
        }
    }

    /// Whether a request that bears no right digest may be told so; otherwise it has its answer. It was let in without a
    /// look at how much is asked from there where it came with a proof from somebody known.
    pub(crate) fn may_be_challenged(&mut self, request: &Message, flow: Flow) -> bool {
        let (peer, now) = (flow.peer.ip(), self.wire.now);
        let unpaid = brings_proof(request) && self.limits.has_proven(peer, now);
        let may = !unpaid || self.limits.stranger_may_ask(peer, now);
        if !may {
            self.asks_too_often(request, flow);
        }
        may
    }

    /// Whether a request is part of what is going on already: such requests come last when the switch
    /// must refuse, and those that end something help it.
    fn belongs_to_something(&self, request: &Message, identity: Option<u128>) -> bool {
        let lives = |identity: Option<u128>| {
            identity.is_some_and(|identity| self.transactions.server(identity).is_some())
        };
        // All dialogs of ours are found by the tag in To.
        let in_dialog = || request.to().is_ok_and(|to| to.tag().is_some());
        match request.method() {
            Method::Ack => true,
            Method::Cancel => lives(self.transactions.identity(request, Method::Invite)) || lives(identity),
            _ if !in_dialog() => lives(identity),
            Method::Subscribe if self.subscription_of(request).is_some() => true,
            _ => self.call_of(request).is_some() || self.early_of(request).is_some() || lives(identity),
        }
    }

    /// Whether an ACK is that of an INVITE that there is.
    fn acknowledges(&self, ack: &Message) -> bool {
        let identity = self.transactions.identity(ack, Method::Invite);
        let refused = identity.is_some_and(|identity| self.transactions.server(identity).is_some());
        refused || self.call_of(ack).is_some()
    }

    /// By the transactions that are alive, and by how long this message has waited to be read.
    fn pressure(&self, stamp: Time) -> Pressure {
        let (limits, open) = (self.config.limits, self.transactions.len());
        let waited = self.wire.now.since(stamp);
        let late = |times: u32| !limits.lag.is_zero() && waited > limits.lag.saturating_mul(times);
        let full = |tenths: usize| open >= (limits.transactions / 10).saturating_mul(tenths);
        if late(2) || full(9) {
            Pressure::NewCalls
        } else if late(1) || full(8) {
            Pressure::Strangers
        } else {
            Pressure::None
        }
    }

    /// A proof was wrong. `theirs`: its nonce went to the very source, which is thereby no forgery.
    pub(crate) fn bad_proof(&mut self, flow: Flow, theirs: bool) {
        self.wire.counts.reject("bad_credentials");
        if theirs || flow.transport.reliable() {
            self.offended(flow, Offence::BadProof);
        }
    }

    /// A token of an operator was wrong: it came over a connection, whose source is no forgery.
    pub(crate) fn wrong_token(&mut self, source: IpAddr) {
        if !self.directory.trusts(source) {
            self.note_offence(source, Offence::BadToken);
        }
    }

    /// A token or a password of the chat was wrong: as above.
    pub(crate) fn wrong_secret(&mut self, source: IpAddr) {
        if !self.directory.trusts(source) {
            self.note_offence(source, Offence::BadProof);
        }
    }

    /// Counts an offence; whether it was one too many.
    fn note_offence(&mut self, source: IpAddr, offence: Offence) -> bool {
        let Some(ban) = self.limits.offence(source, offence, self.wire.now) else {
            return false;
        };
        *self.wire.counts.bans.entry(offence.name()).or_default() += 1;
        self.wire.out.push_back(Output::Notice(Notice::Banned(ban)));
        true
    }

    pub(crate) fn offended(&mut self, flow: Flow, offence: Offence) {
        if !self.note_offence(flow.peer.ip(), offence) {
            return;
        }
        // A connection that carries a call stays open for it: nothing else on it is listened to.
        let connection = flow.connection;
        let carries = |dialog: &Dialog| dialog.flow.connection == connection;
        let in_use = self.calls.values().any(|call| carries(&call.dialog))
            || self.subscriptions.values().any(|line| carries(&line.dialog));
        if connection != 0 && !in_use {
            self.wire.out.push_back(Output::Close { connection });
        }
    }

    /// The salt of a nonce for this address.
    pub(crate) fn salt_for(&mut self, address: IpAddr) -> u64 {
        self.nonces.mark(address) << 32 | self.wire.random() >> 32
    }
}

/// Whether a request brings what may be a proof, and is one that needs it.
fn brings_proof(request: &Message) -> bool {
    let begins = || request.to().is_ok_and(|to| to.tag().is_none());
    matches!(
        request.method(),
        Method::Register | Method::Invite | Method::Message | Method::Subscribe
    ) && request.headers(Name::Authorization).next().is_some()
        && begins()
}

/// Whether a word goes on with this byte.
fn goes_on(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
}

fn is_scanner(request: &Message) -> bool {
    request.headers(Name::UserAgent).any(|agent| {
        let agent = agent.as_bytes();
        let begins = |at: &usize| INITIALS >> (agent[*at] & 31) & 1 == 1;
        (0..agent.len()).filter(begins).any(|at| {
            let (before, rest) = agent.split_at(at);
            let is = |name: &&str| {
                let (part, after) = rest.split_at_checked(name.len()).unwrap_or_default();
                part.eq_ignore_ascii_case(name.as_bytes())
                    && (name.len() > SHORT || !goes_on(before.last()) && !goes_on(after.first()))
            };
            SCANNERS.iter().any(is)
        })
    })
}
