//! One peer's ICE, lite (RFC 8445 section 2.5): we never check, we answer; who proves that he knows our password
//! at an address is at that address, and the pair that he nominates is used. Consent (RFC 7675) is that he goes on
//! proving it.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use cordboard_model::Time;
use cordboard_model::media::peer::IceCredentials;
use zeroize::Zeroizing;

use super::stun::{Check, Refusal};

/// Without a proven check for this long nothing is sent any more (RFC 7675 section 5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Addresses of one peer that are kept; the one unused for longest goes.
const MAX_ADDRESSES: usize = 8;
/// How long a peer's address counts as his, so that another peer's check from there changes nothing.
const HELD: Duration = Duration::from_secs(10);
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";

/// What a proven check changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    /// The address was not known; it is to lead to this peer from now on.
    pub(crate) new: bool,
    /// An address that had to make room.
    pub(crate) forgotten: Option<SocketAddr>,
    /// Packets for the peer go elsewhere now.
    pub(crate) moved: bool,
    /// A fragment of ours that nobody is to name any more: a restart is done.
    pub(crate) retired: Option<String>,
}

/// Credentials of both sides that belong together.
#[derive(Debug)]
struct Pair {
    local: IceCredentials,
    /// Of our password.
    key: hmac::Key,
    remote_ufrag: Option<String>,
}

impl Pair {
    fn new(local: IceCredentials, remote_ufrag: Option<String>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, local.pwd.as_bytes());
        Self {
            local,
            key,
            remote_ufrag,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ice {
    pair: Pair,
    /// What held before a restart, until the peer nominates with the new credentials (RFC 8445 section 9).
    former: Option<Pair>,
    /// What the peer's last check before its description called itself.
    claimed: String,
    /// Where the peer has proven to be, and when last.
    addresses: Vec<(SocketAddr, Time)>,
    selected: Option<SocketAddr>,
    /// When consent was given last; before the first check, when the peer was described.
    consent: Option<Time>,
}

impl Ice {
    /// Fresh credentials: 48 bits of name, 144 of password.
    pub(crate) fn new() -> Self {
        let local = IceCredentials {
            ufrag: letters(8),
            pwd: Zeroizing::new(letters(24)),
        };
        Self {
            pair: Pair::new(local, None),
            former: None,
            claimed: String::new(),
            addresses: Vec::new(),
            selected: None,
            consent: None,
        }
    }

    pub(crate) const fn local(&self) -> &IceCredentials {
        &self.pair.local
    }

    /// Every fragment of ours that checks may name.
    pub(crate) fn fragments(&self) -> impl Iterator<Item = &str> {
        let pairs = std::iter::once(&self.pair).chain(&self.former);
        pairs.map(|pair| pair.local.ufrag.as_str())
    }

    /// The key by which a check is proven and answered.
    pub(crate) fn key(&self, check: &Check<'_>) -> &hmac::Key {
        &self.pair_of(check).key
    }

    fn pair_of(&self, check: &Check<'_>) -> &Pair {
        let ours = check.fragments().map(|(ours, _)| ours);
        let former = self.former.as_ref();
        former
            .filter(|former| ours == Some(&former.local.ufrag))
            .unwrap_or(&self.pair)
    }

    /// Where the peer is, if it has proven it.
    pub(crate) const fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// The descriptions name the credentials of both sides. Others than before are a restart: what was proven holds
    /// until the new checks say otherwise. Returns a fragment of ours that nobody is to name any more.
    pub(crate) fn describe(&mut self, ufrag: &str, local: &IceCredentials, now: Time) -> Option<String> {
        self.consent.get_or_insert(now);
        let same = self.pair.remote_ufrag.as_deref() == Some(ufrag);
        if same && self.pair.local == *local {
            return None;
        }
        if self.pair.remote_ufrag.is_some() {
            self.consent = Some(now);
        }
        if self.pair.local == *local {
            self.pair.remote_ufrag = Some(ufrag.to_owned());
            return None;
        }
        let before = std::mem::replace(&mut self.pair, Pair::new(local.clone(), Some(ufrag.to_owned())));
        match &self.former {
            // The restart before this one came to nothing: what carries media is older.
            Some(_) => Some(before.local.ufrag),
            None => {
                self.former = Some(before);
                None
            }
        }
    }

    /// Whether what was proven before the description was proven by somebody else.
    pub(crate) fn belies(&self, ufrag: &str) -> bool {
        self.pair.remote_ufrag.is_none() && !self.claimed.is_empty() && self.claimed != ufrag
    }

    /// Forgets where the peer has proven to be.
    pub(crate) fn forget(&mut self) {
        self.addresses.clear();
        self.claimed.clear();
        self.selected = None;
    }

    /// Whether the peer is at this address, surely enough that no other peer may take it.
    pub(crate) fn holds(&self, address: SocketAddr, now: Time) -> bool {
        let mut known = self.addresses.iter();
        known.any(|(known, seen)| *known == address && now.since(*seen) < HELD)
    }

    /// Judges a check that names our fragment.
    pub(crate) fn judge(&self, check: &Check<'_>) -> Result<(), Refusal> {
        let pair = self.pair_of(check);
        match check.proves(&pair.key) {
            None => return Err(Refusal::BadRequest),
            Some(false) => return Err(Refusal::Unauthenticated),
            Some(true) => {}
        }
        let theirs = check.fragments().map(|(_, theirs)| theirs);
        let known = pair.remote_ufrag.as_deref();
        if theirs.is_none() || known.is_some_and(|known| theirs != Some(known)) {
            return Err(Refusal::Unauthenticated);
        }
        if let Some(kind) = check.unknown {
            return Err(Refusal::UnknownAttribute(kind));
        }
        if check.controlled {
            return Err(Refusal::RoleConflict);
        }
        Ok(())
    }

    /// Takes a check that [`judge`](Self::judge) has found right.
    pub(crate) fn prove(&mut self, check: &Check<'_>, source: SocketAddr, now: Time) -> Proven {
        self.consent = Some(now);
        if self.pair.remote_ufrag.is_none()
            && let Some((_, theirs)) = check.fragments()
        {
            self.claimed.clear();
            self.claimed.push_str(theirs);
        }
        let restarted = self.former.is_some() && std::ptr::eq(self.pair_of(check), &self.pair);
        let (new, forgotten) = self.know(source, now);
        let before = self.selected;
        if self.selected.is_none() || check.nominates {
            self.selected = Some(source);
        }
        let done = restarted && check.nominates;
        let former = if done { self.former.take() } else { None };
        Proven {
            new,
            forgotten,
            moved: self.selected != before,
            retired: former.map(|former| former.local.ufrag),
        }
    }

    fn know(&mut self, source: SocketAddr, now: Time) -> (bool, Option<SocketAddr>) {
        if let Some(known) = self.addresses.iter_mut().find(|(known, _)| *known == source) {
            known.1 = now;
            return (false, None);
        }
        let mut forgotten = None;
        if self.addresses.len() == MAX_ADDRESSES {
            let mut others = self.addresses.iter().enumerate();
            let oldest = others
                .by_ref()
                .filter(|(_, (address, _))| Some(*address) != self.selected)
                .min_by_key(|(_, (_, seen))| *seen)
                .map(|(at, _)| at);
            forgotten = oldest.map(|at| self.addresses.swap_remove(at).0);
        }
        self.addresses.push((source, now));
        (true, forgotten)
    }

    /// Whether consent is over.
    pub(crate) fn expired(&self, now: Time) -> bool {
        self.consent.is_some_and(|last| now.since(last) > CONSENT)
    }
}

/// Letters of six secret bits each.
fn letters(count: usize) -> String {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut bytes[..count]).expect("the system has random numbers");
    bytes[..count]
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte & 63)]))
        .collect()
}
