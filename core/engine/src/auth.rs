//! Who sent a request: digest authentication (RFC 7616, RFC 8760) without state for strangers.

use std::collections::VecDeque;
use std::net::IpAddr;

use cordboard_model::Time;

use crate::config::{Account, DigestAlgorithm};
use crate::engine::Engine;
use crate::io::{Flow, Output, Transport};
use crate::sip::digest::{Credentials, Ha1, NONCE_LIFE, Stamp, challenge, is_fresh, same_resource, verify};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::uri::Uri;
use crate::sip::write::quote_display;
use crate::table::Table;

/// Nonces whose counters are kept at once; with more, the oldest is forgotten and its next use is
/// answered by a fresh challenge.
const COUNTED_NONCES: usize = 100_000;

/// Phones that give up as soon as one challenge is not MD5, even beside one that is (seen with Debian's
/// baresip 1.0), by the beginning of their User-Agent. They are offered MD5 alone, where MD5 is offered.
const MD5_ONLY: [&str; 3] = ["baresip v0.", "baresip v1.", "baresip v2."];

/// Who is behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The digest proved this credential.
    User(usize),
    /// The request came from a trusted network; the credential that its From names, if it is one.
    Trusted(Option<usize>),
}

impl Identity {
    pub(crate) const fn credential(self) -> Option<usize> {
        match self {
            Self::User(place) => Some(place),
            Self::Trusted(place) => place,
        }
    }

    pub(crate) const fn trusted(self) -> bool {
        matches!(self, Self::Trusted(_))
    }
}

/// A request that is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// 401 with a new nonce. `knows`: the digest was that of the password, though its nonce is old or used up.
    Challenge { stale: bool, knows: bool },
    /// 403: proven, but not the one it claims to be.
    Forbidden,
    /// 503: proven, but asks too often.
    TooOften,
}

/// The highest counter seen of each nonce that has proved somebody: a replay has none higher.
#[derive(Debug, Default)]
pub(crate) struct NonceCounts {
    /// Nobody but us makes their names.
    highest: Table<Stamp, u32>,
    order: VecDeque<Stamp>,
    /// Nonces of this moment or before may have been forgotten: what is unknown of them is not new.
    forgotten: Option<Time>,
}

impl NonceCounts {
    /// Whether this use of a fresh nonce is new.
    fn advance(&mut self, nonce: Stamp, count: u32, now: Time) -> bool {
        if let Some(highest) = self.highest.get_mut(&nonce) {
            let new = count > *highest;
            *highest = count.max(*highest);
            return new;
        }
        if self.forgotten.is_some_and(|moment| nonce.0 <= moment) {
            return false;
        }
        while let Some(oldest) = self.order.front().copied() {
            let stale = now.since(oldest.0) > NONCE_LIFE;
            if !stale && self.order.len() < COUNTED_NONCES {
                break;
            }
            self.order.pop_front();
            self.highest.remove(&oldest);
            if !stale {
                self.forgotten = self.forgotten.max(Some(oldest.0));
            }
        }
        self.highest.insert(nonce, count);
        self.order.push_back(nonce);
        true
    }
}

impl Engine {
    /// Finds out who sent a request. Changes nothing for a stranger.
    pub(crate) fn authenticate(
        &mut self,
        request: &Message,
        flow: Flow,
        account: &Account,
    ) -> Result<Identity, Denial> {
        if self.directory.trusts(flow.peer.ip()) {
            self.connection_proven(flow);
            return Ok(Identity::Trusted(self.claimed(request, account)));
        }
        let mut denial = Denial::Challenge {
            stale: false,
            knows: false,
        };
        // A phone may answer the challenge of each algorithm (RFC 3261 section 22.3), and none twice: more are
        // guesses.
        let mut tried = [false; DigestAlgorithm::ALL.len()];
        for value in request.headers(Name::Authorization) {
            let Some((credentials, algorithm)) = self.addressed_to_us(value, account) else {
                continue;
            };
            if std::mem::replace(&mut tried[algorithm as usize], true) {
                self.wire.counts.reject("surplus_credentials");
                break;
            }
            match self.prove(&credentials, algorithm, request, flow, account) {
                Ok(place) => return self.let_through(place, request, flow, account),
                Err(reason) => denial = reason,
            }
        }
        Err(denial)
    }

    /// The credentials in a header, if they are for this account and can be looked at: a phone that has accounts
    /// elsewhere may send all of its proofs.
    fn addressed_to_us<'a>(
        &mut self,
        value: &'a str,
        account: &Account,
    ) -> Option<(Credentials<'a>, DigestAlgorithm)> {
        let credentials = Credentials::parse(value).ok()?;
        if credentials.realm != account.realm {
            self.wire.counts.reject("other_realm");
            return None;
        }
        let algorithm = credentials.algorithm()?;
        Some((credentials, algorithm))
    }

    /// Somebody has proved himself: whether he may ask this, now.
    fn let_through(
        &mut self,
        place: usize,
        request: &Message,
        flow: Flow,
        account: &Account,
    ) -> Result<Identity, Denial> {
        let now = self.wire.now;
        self.limits.proven(flow.peer.ip(), now);
        self.connection_proven(flow);
        if !self.limits.user_may_ask(place, now) {
            return Err(Denial::TooOften);
        }
        let claimed = self.claimed(request, account);
        let impostor = claimed.is_some_and(|claimed| !self.directory.is_same_owner(claimed, place));
        match impostor {
            true => Err(Denial::Forbidden),
            false => Ok(Identity::User(place)),
        }
    }

    /// The credential that the From of a request names.
    fn claimed(&self, request: &Message, account: &Account) -> Option<usize> {
        let user = Uri::parse(request.from().ok()?.uri).ok()?.user()?;
        self.directory.find(account.id, &user)
    }

    fn prove(
        &mut self,
        credentials: &Credentials<'_>,
        algorithm: DigestAlgorithm,
        request: &Message,
        flow: Flow,
        account: &Account,
    ) -> Result<usize, Denial> {
        let refused = |stale, knows| Err(Denial::Challenge { stale, knows });
        // Without a nonce of ours nothing says to whom it went, and wherever it went elsewhere over UDP nobody is
        // banned for it: nothing may be learned with such a one either, so what the proof is worth is not looked at. A
        // phone that has moved, or whose switch was started anew, tries again with a nonce of its own.
        let Some(nonce) = self.nonces.open(credentials.nonce) else {
            self.wire.counts.reject("unknown_nonce");
            return refused(true, false);
        };
        let theirs = self.nonces.went_to(nonce.1, flow.peer.ip());
        if !theirs && !flow.transport.reliable() {
            self.wire.counts.reject("foreign_nonce");
            return refused(true, false);
        }
        let known = self.directory.find(account.id, &credentials.username());
        let ha1 = known.and_then(|place| {
            let credential = self.directory.credential(place);
            match algorithm {
                DigestAlgorithm::Md5 => credential.ha1_md5.map(Ha1::Md5),
                DigestAlgorithm::Sha256 => credential.ha1_sha256.map(Ha1::Sha256),
            }
        });
        let offered = self.config.digests.contains(&algorithm);
        // An unknown name costs the same hashing as a known one.
        let checked = ha1.unwrap_or(match algorithm {
            DigestAlgorithm::Md5 => Ha1::Md5([0; 16]),
            DigestAlgorithm::Sha256 => Ha1::Sha256([0; 32]),
        });
        let ours = |host: &str| self.is_our_host(host);
        let proven = verify(credentials, checked, request.method_text())
            && same_resource(credentials.uri, request.request_uri(), ours);
        let (Some(place), Some(_), true, true) = (known, ha1, offered, proven) else {
            self.bad_proof(flow, theirs);
            return refused(false, false);
        };
        let now = self.wire.now;
        if !is_fresh(nonce, now) {
            return refused(true, true);
        }
        if self.nonce_counts.advance(nonce, use_of(credentials), now) {
            return Ok(place);
        }
        self.wire.counts.reject("nonce_replayed");
        refused(true, true)
    }

    /// Whether a host in a URI is this switch: one of its domains or addresses.
    fn is_our_host(&self, host: &str) -> bool {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        self.config
            .accounts
            .iter()
            .any(|account| account.realm.eq_ignore_ascii_case(host))
            || address.is_ok_and(|address| {
                self.config.public_ip.contains(&address)
                    || self
                        .config
                        .listeners
                        .iter()
                        .any(|listener| listener.address.ip() == address)
            })
    }

    /// The algorithms to challenge the phone behind a request with. What browsers run knows MD5 alone, and
    /// JsSIP takes the last challenge for the only one and gives up when it is another.
    fn offered(&self, request: &Message, transport: Transport) -> &[DigestAlgorithm] {
        let agent = request.header(Name::UserAgent).unwrap_or_default();
        let all = self.config.digests.as_slice();
        let chokes = matches!(transport, Transport::Ws | Transport::Wss)
            || MD5_ONLY.iter().any(|start| agent.starts_with(start));
        if chokes && all.contains(&DigestAlgorithm::Md5) {
            &[DigestAlgorithm::Md5]
        } else {
            all
        }
    }

    fn connection_proven(&mut self, flow: Flow) {
        if flow.connection != 0 {
            let connection = flow.connection;
            self.wire.out.push_back(Output::Proven { connection });
        }
    }

    /// Answers a request that was not let in. No state is made: a challenge can be repeated at will.
    pub(crate) fn deny(&mut self, request: &Message, flow: Flow, account: &Account, denial: Denial) {
        if self.is_banned(flow.peer.ip(), self.wire.now) {
            return; // since this very request
        }
        match denial {
            Denial::TooOften => {
                self.wire.counts.reject("user_rate_limited");
                self.respond_stateless(request, flow, 503, "Too Many Requests", |response| {
                    response.header("Retry-After", 1)
                });
            }
            Denial::Forbidden => {
                self.wire.counts.reject("not_the_user");
                self.respond_stateless(request, flow, 403, "Forbidden", |response| response);
            }
            Denial::Challenge { stale, knows } => {
                // What strangers ask in a phone's name must not keep it from its next nonce.
                if !knows && !self.may_be_challenged(request, flow) {
                    return;
                }
                let salt = self.salt_for(flow.peer.ip());
                let nonce = self.nonces.issue(self.wire.now, salt);
                let reason = if stale { "stale_nonce" } else { "unauthorised" };
                self.wire.counts.reject(reason);
                let realm = quote_display(&account.realm);
                let mut offered = self.offered(request, flow.transport).iter().copied();
                let first = offered.next();
                let second = offered.find(|other| Some(*other) != first);
                let value = |algorithm| challenge(&realm, &nonce, stale, algorithm);
                let (first, second) = (first.map(value), second.map(value));
                // Phones that know only the second algorithm ask in more words than scanners do.
                let others = second.as_ref().map(|value| ("WWW-Authenticate", &value[..], 2));
                self.reply(
                    request,
                    flow,
                    (401, "Unauthorized"),
                    |response| match first {
                        Some(value) => response.pieces("WWW-Authenticate", value),
                        None => response,
                    },
                    others.as_slice(),
                );
            }
        }
    }
}

/// The how manieth use of its nonce a proof is. Without a quality of protection no count is part of the proof (RFC
/// 7616 section 3.4.1), so that it would hold as often as anybody sends it: such a nonce serves once.
fn use_of(credentials: &Credentials<'_>) -> u32 {
    match credentials.qop {
        Some(_) => credentials.nc.unwrap_or_default(),
        None => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Time = Time::from_unix_seconds(1_800_000_000);

    fn moment(number: usize) -> Time {
        START + Duration::from_micros(number as u64)
    }

    #[test]
    fn a_nonce_that_was_forgotten_is_not_taken_for_a_new_one() {
        let mut counts = NonceCounts::default();
        let now = START + Duration::from_secs(10);
        for number in 0..COUNTED_NONCES + 10 {
            assert!(counts.advance((moment(number), 7), 1, now));
        }
        assert_eq!(
            (counts.highest.len(), counts.order.len()),
            (COUNTED_NONCES, COUNTED_NONCES)
        );
        assert!(!counts.advance((moment(3), 7), 1, now), "forgotten");
        assert!(!counts.advance((moment(3), 7), 2, now), "whatever its count");
        assert!(!counts.advance((moment(500), 7), 1, now), "replayed");
        assert!(counts.advance((moment(500), 7), 2, now));
        assert!(counts.advance((now, 8), 1, now));
    }

    #[test]
    fn nonces_that_are_too_old_to_be_used_are_not_kept() {
        let mut counts = NonceCounts::default();
        for number in 0..1000 {
            assert!(counts.advance((moment(number), 7), 1, START));
        }
        let later = START + NONCE_LIFE * 2;
        assert!(counts.advance((later, 7), 1, later));
        assert_eq!((counts.highest.len(), counts.order.len()), (1, 1));
        assert_eq!(counts.forgotten, None);
    }
}
