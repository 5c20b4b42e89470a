//! Who asks too much: a bounded table of sources with what each may still ask, what speaks against it
//! and how long it is banned, and the same for users, shorter. Where somebody has proved himself stands in
//! a table of its own: no flood of strangers drives a known phone out of it.
//!
//! A source is an IPv4 address or an IPv6 /64: whoever has one address of such a network has them all.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use cordboard_model::{ConferenceId, Time, UserId};
use ipnet::IpNet;

use self::guess::Guesses;
pub(crate) use self::guess::PinsRefused;
use crate::config::AbuseLimits;

mod guess;

/// A bucket holds this many seconds' worth: phones behind one address come back together after an outage.
const BURST: f64 = 4.0;
/// Where somebody has proved himself, so many times more failures are forgiven: many phones share the
/// address of a company, and one of them has a stale password.
const SHARED: u32 = 4;
/// Addresses of scanners that are remembered for being shown.
const SCANNERS: usize = 1000;
/// How often the eldest line of a full table is spared because it is a ban, before it goes all the same.
const SPARED: usize = 16;

/// What is counted against a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// Wrong passwords or unknown users, proven to come from this address.
    BadProof,
    /// Wrong tokens of operators, over HTTP.
    BadToken,
    /// A program known for searching networks for weak passwords.
    Scanner,
    /// Wrong PINs of conferences.
    WrongPin,
}

impl Offence {
    /// Every offence.
    pub const ALL: [Self; 4] = [Self::BadProof, Self::BadToken, Self::Scanner, Self::WrongPin];

    /// The word in logs, metrics and over HTTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadProof => "bad_credentials",
            Self::BadToken => "bad_token",
            Self::Scanner => "scanner",
            Self::WrongPin => "wrong_pin",
        }
    }
}

/// What of a source gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is new.
    Source,
    /// What calls itself a scanner, and nobody else: whoever sent it over UDP may have written another's
    /// address onto it.
    Scanner,
}

impl Scope {
    /// The word over HTTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Scanner => "scanner",
        }
    }
}

/// A source that gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// The address; of IPv6 the first address of the /64 that is banned as a whole.
    pub source: IpAddr,
    /// Whether all of it is meant.
    pub scope: Scope,
    /// What it did last.
    pub reason: Offence,
    /// How often within the window.
    pub offences: u32,
    /// Until when.
    pub until: Time,
}

impl Ban {
    /// Everything that is banned: one IPv4 address, or an IPv6 /64.
    pub fn network(&self) -> IpNet {
        let length = if self.source.is_ipv4() { 32 } else { 64 };
        IpNet::new_assert(self.source, length)
    }
}

/// So many in a second on average.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f32,
    at: Time,
}

impl Bucket {
    fn full(rate: u32, now: Time) -> Self {
        let left = (f64::from(rate) * BURST) as f32; // precise enough for counting requests
        Self { left, at: now }
    }

    fn fill(&mut self, rate: u32, now: Time) {
        let rate = f64::from(rate);
        let left = f64::from(self.left) + now.since(self.at).as_secs_f64() * rate;
        self.left = left.min(rate * BURST) as f32;
        self.at = now;
    }

    fn take(&mut self) -> bool {
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

#[derive(Debug, Clone, Copy)]
struct Line {
    bucket: Bucket,
    /// Offences within the window that began then.
    offences: u32,
    window: Time,
    /// Bans so far: each is twice as long as the one before.
    bans: u8,
    ban: Option<Ban>,
}

impl Line {
    /// As if nothing had been counted against it, what it may ask left aside.
    const fn clear(&mut self, now: Time) {
        self.bans = 0;
        self.lift(now);
    }

    /// Ends the ban; that there was one makes the next one longer.
    const fn lift(&mut self, now: Time) {
        (self.offences, self.window, self.ban) = (0, now, None);
    }

    fn ban_at(&self, now: Time) -> Option<Ban> {
        self.ban.filter(|ban| ban.until > now)
    }
}

/// A table that forgets its eldest lines when it is full.
#[derive(Debug)]
struct Bounded<K, V> {
    lines: HashMap<K, V>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    fn new(most: usize) -> Self {
        Self {
            lines: HashMap::new(),
            order: VecDeque::new(),
            most: most.max(1),
        }
    }

    /// The line of a key, made if there is none; `spare` says which lines are not to be forgotten yet.
    fn line(&mut self, key: K, spare: impl Fn(&V) -> bool, make: impl FnOnce() -> V) -> &mut V {
        if !self.lines.contains_key(&key) {
            for turn in 0..=SPARED {
                if self.order.len() < self.most {
                    break;
                }
                let Some(eldest) = self.order.pop_front() else {
                    break;
                };
                if turn < SPARED && self.lines.get(&eldest).is_some_and(&spare) {
                    self.order.push_back(eldest);
                } else {
                    self.lines.remove(&eldest);
                }
            }
            self.order.push_back(key);
        }
        match self.lines.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()),
        }
    }

    fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.lines.retain(|key, value| keep(key, value));
        self.order.retain(|key| self.lines.contains_key(key));
    }
}

/// What is known of sources and users.
#[derive(Debug)]
pub(crate) struct Limits {
    config: AbuseLimits,
    sources: Bounded<IpAddr, Line>,
    /// When somebody proved himself there last.
    proven: Bounded<IpAddr, Time>,
    users: Bounded<usize, Bucket>,
    pins: Guesses,
    /// Where scanners seem to be, for whoever looks.
    scanners: Bounded<IpAddr, Ban>,
}

impl Limits {
    pub(crate) fn new(config: AbuseLimits) -> Self {
        Self {
            sources: Bounded::new(config.sources),
            proven: Bounded::new(config.sources),
            users: Bounded::new(config.sources),
            pins: Guesses::new(config.sources),
            scanners: Bounded::new(SCANNERS.min(config.sources)),
            config,
        }
    }

    /// Other bounds hold from now on. What was counted stays but where nobody is banned any more: bans of sources that
    /// are trusted now, or of all where `ban_after` is 0, end, and nothing of them is left.
    pub(crate) fn reconfigure(&mut self, config: AbuseLimits, now: Time, trusted: impl Fn(IpAddr) -> bool) {
        self.sources.most = config.sources;
        self.proven.most = config.sources;
        self.users.most = config.sources;
        self.pins.reconfigure(&config, &trusted);
        self.config = config;
        for (source, line) in &mut self.sources.lines {
            if config.ban_after == 0 || trusted(*source) {
                line.clear(now);
            }
        }
        self.scanners
            .retain(|source, _| !config.answer_scanners && !trusted(*source));
    }

    /// Ends what holds against a source, whoever had noted it; false if there is nothing. Its bans so far stay counted:
    /// who has them lifted may not guess for ever at the price of a first one. PINs are looked at again from there.
    pub(crate) fn lift(&mut self, address: IpAddr, now: Time) -> bool {
        let source = source(address);
        let line = self.sources.lines.get_mut(&source);
        let line = line.filter(|line| line.ban_at(now).is_some());
        let banned = line.map(|line| line.lift(now)).is_some();
        if banned {
            self.pins.lift(source, now);
        }
        let listed = self
            .scanners
            .lines
            .get(&source)
            .is_some_and(|ban| ban.until > now);
        if listed {
            self.scanners.retain(|other, _| *other != source);
        }
        banned || listed
    }

    pub(crate) fn is_banned(&self, address: IpAddr, now: Time) -> bool {
        !self.sources.lines.is_empty() && self.ban_of(address, now).is_some()
    }

    /// The ban of this source, if it has one.
    pub(crate) fn ban_of(&self, address: IpAddr, now: Time) -> Option<Ban> {
        self.sources.lines.get(&source(address))?.ban_at(now)
    }

    /// The bans that hold, the one that ends first before the others.
    pub(crate) fn bans(&self, now: Time) -> Vec<Ban> {
        let mut bans: Vec<Ban> = self
            .sources
            .lines
            .values()
            .filter_map(|line| line.ban_at(now))
            .collect();
        let scanners = self.scanners.lines.values();
        bans.extend(scanners.filter(|ban| ban.until > now));
        bans.sort_unstable_by_key(|ban| (ban.until, ban.source));
        bans
    }

    /// A scanner seems to be at this address, which may be forged.
    pub(crate) fn scanner_seen(&mut self, address: IpAddr, now: Time) {
        let until = now + self.config.ban_time;
        let source = source(address);
        let ban = self.scanners.line(
            source,
            |_| false,
            || Ban {
                source,
                scope: Scope::Scanner,
                reason: Offence::Scanner,
                offences: 0,
                until,
            },
        );
        if ban.until <= now {
            ban.offences = 0;
        }
        ban.offences = ban.offences.saturating_add(1);
        ban.until = until;
    }

    /// How many sources are banned as a whole.
    pub(crate) fn banned(&self, now: Time) -> usize {
        let lines = self.sources.lines.values();
        lines.filter(|line| line.ban_at(now).is_some()).count()
    }

    /// Whether somebody at this address has proved himself lately.
    pub(crate) fn has_proven(&self, address: IpAddr, now: Time) -> bool {
        let at = self.proven.lines.get(&source(address));
        at.is_some_and(|at| now.since(*at) <= self.config.proven_for)
    }

    /// Takes one request from what a stranger may ask; false if nothing is left.
    pub(crate) fn stranger_may_ask(&mut self, address: IpAddr, now: Time) -> bool {
        let rate = self.config.requests_per_second;
        if rate == 0 {
            return true;
        }
        let bucket = &mut self.line(address, now).bucket;
        bucket.fill(rate, now);
        bucket.take()
    }

    /// Takes one request from what a user (by credential) may ask.
    pub(crate) fn user_may_ask(&mut self, place: usize, now: Time) -> bool {
        let rate = self.config.user_requests_per_second;
        if rate == 0 {
            return true;
        }
        let bucket = self.users.line(place, |_| false, || Bucket::full(rate, now));
        bucket.fill(rate, now);
        bucket.take()
    }

    /// Somebody at this address has proved himself. Where nobody was known, his request was taken from what
    /// strangers may ask and is none of theirs.
    pub(crate) fn proven(&mut self, address: IpAddr, now: Time) {
        if !self.has_proven(address, now)
            && let Some(line) = self.sources.lines.get_mut(&source(address))
        {
            line.bucket.left += 1.0; // one that was full is cut when it is filled
        }
        let lasts = self.config.proven_for;
        let lately = |at: &Time| now.since(*at) <= lasts;
        *self.proven.line(source(address), lately, || now) = now;
    }

    /// Notes an offence; gives the ban if it was one too many.
    pub(crate) fn offence(&mut self, address: IpAddr, reason: Offence, now: Time) -> Option<Ban> {
        let config = self.config;
        if config.ban_after == 0 {
            return None;
        }
        let forgiven = match self.has_proven(address, now) {
            true => config.ban_after.saturating_mul(SHARED),
            false => config.ban_after,
        };
        let line = self.line(address, now);
        if now.since(line.window) > config.window {
            (line.window, line.offences) = (now, 0);
        }
        line.offences = line.offences.saturating_add(1);
        if line.offences < forgiven {
            return None;
        }
        let until = now + span(&config, line.bans);
        line.bans = line.bans.saturating_add(1);
        line.ban = Some(Ban {
            source: source(address),
            scope: Scope::Source,
            reason,
            offences: line.offences,
            until,
        });
        // After the ban it begins anew.
        (line.window, line.offences) = (until, 0);
        line.ban
    }

    /// Whether the PINs of a conference open nothing for a user at this address, as he has guessed.
    pub(crate) fn pins_are_refused(
        &self,
        user: UserId,
        conference: ConferenceId,
        address: IpAddr,
        now: Time,
    ) -> bool {
        self.pins.are_refused(user, conference, address, now)
    }

    /// Notes a wrong PIN; tells whether it was one too many. A right one forgives nothing: who knows that of the members
    /// may guess that of the moderators.
    pub(crate) fn wrong_pin(
        &mut self,
        user: UserId,
        conference: ConferenceId,
        address: IpAddr,
        now: Time,
    ) -> Option<PinsRefused> {
        if self.config.ban_after == 0 {
            return None;
        }
        self.pins.wrong(user, conference, address, &self.config, now)
    }

    fn line(&mut self, address: IpAddr, now: Time) -> &mut Line {
        let rate = self.config.requests_per_second;
        let banned = |line: &Line| line.ban_at(now).is_some();
        self.sources.line(source(address), banned, || Line {
            bucket: Bucket::full(rate, now),
            offences: 0,
            window: now,
            bans: 0,
            ban: None,
        })
    }

    /// Sources that are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.sources.lines.len()
    }
}

impl Default for AbuseLimits {
    fn default() -> Self {
        Self {
            ban_after: 20,
            window: Duration::from_secs(300),
            ban_time: Duration::from_secs(600),
            ban_time_max: Duration::from_secs(86_400),
            proven_for: Duration::from_secs(7200),
            requests_per_second: 50,
            user_requests_per_second: 100,
            sources: 50_000,
            answer_scanners: false,
        }
    }
}

/// How long a ban or a refusal lasts after so many others.
fn span(config: &AbuseLimits, before: u8) -> Duration {
    let doubled = 2u32.saturating_pow(u32::from(before));
    config.ban_time.saturating_mul(doubled).min(config.ban_time_max)
}

/// What an address counts as: whoever has one address of an IPv6 /64 has them all.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut AbuseLimits)) -> (Limits, Time) {
        let mut config = AbuseLimits::default();
        change(&mut config);
        (Limits::new(config), Time::from_unix_seconds(1_800_000_000))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ban_is_for_the_whole_network_of_an_ipv6_address_and_one_ipv4_address() {
        let (mut limits, now) = limits(|config| config.ban_after = 1);
        for text in ["2001:db8:1:2::5", "192.0.2.5", "::ffff:192.0.2.6"] {
            assert!(limits.offence(address(text), Offence::BadProof, now).is_some());
        }
        for (text, banned) in [
            ("2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:3::5", false),
            ("192.0.2.5", true),
            ("192.0.2.6", true),
            ("192.0.2.7", false),
        ] {
            assert_eq!(limits.is_banned(address(text), now), banned, "{text}");
        }
    }

    #[test]
    fn where_scanners_seem_to_be_is_shown_for_a_time_and_bans_nobody() {
        let (mut limits, now) = limits(|config| config.ban_time = 10 * SECOND);
        let forged = address("192.0.2.5");
        for number in 0..5 {
            limits.scanner_seen(forged, now + number * SECOND);
        }
        let [ban] = limits.bans(now)[..] else {
            panic!("one line, not {:?}", limits.bans(now))
        };
        assert_eq!((ban.scope, ban.offences), (Scope::Scanner, 5));
        assert_eq!(ban.until, now + 14 * SECOND);
        assert!(!limits.is_banned(forged, now) && limits.banned(now) == 0);
        assert!(limits.bans(now + 14 * SECOND).is_empty());
        for number in 0..5000u32 {
            limits.scanner_seen(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(limits.bans(now).len(), SCANNERS);
    }

    #[test]
    fn each_ban_is_twice_as_long_up_to_the_longest() {
        let (mut limits, mut now) = limits(|config| {
            config.ban_after = 2;
            config.ban_time = 10 * SECOND;
            config.ban_time_max = 35 * SECOND;
        });
        let mut spans = Vec::new();
        for _ in 0..4 {
            assert_eq!(limits.offence(address("192.0.2.5"), Offence::Scanner, now), None);
            let ban = limits
                .offence(address("192.0.2.5"), Offence::Scanner, now)
                .unwrap();
            assert_eq!((ban.offences, limits.bans(now).len()), (2, 1));
            spans.push(ban.until.since(now).as_secs());
            now = ban.until;
            assert!(!limits.is_banned(address("192.0.2.5"), now) && limits.bans(now).is_empty());
        }
        assert_eq!(spans, [10, 20, 35, 35]);
    }

    #[test]
    fn what_was_lifted_counts_for_nothing_later_but_for_the_length_of_the_next_ban() {
        let (mut limits, now) = limits(|config| config.ban_after = 2);
        let at = address("192.0.2.5");
        limits.offence(at, Offence::BadProof, now);
        assert!(limits.offence(at, Offence::BadProof, now).is_some());
        assert!(limits.lift(at, now) && !limits.lift(at, now));
        assert_eq!(limits.offence(at, Offence::BadProof, now), None);
        let later = now + 301 * SECOND;
        assert_eq!(
            limits.offence(at, Offence::BadProof, later),
            None,
            "another window"
        );
        let ban = limits.offence(at, Offence::BadProof, later).unwrap();
        assert_eq!(ban.until.since(later), 1200 * SECOND);
    }

    #[test]
    fn offences_are_counted_within_a_window() {
        let (mut limits, mut now) = limits(|config| config.ban_after = 2);
        for _ in 0..10 {
            assert_eq!(limits.offence(address("192.0.2.5"), Offence::BadProof, now), None);
            now = now + 301 * SECOND;
        }
    }

    #[test]
    fn where_somebody_is_proven_more_is_forgiven() {
        let (mut limits, now) = limits(|config| config.ban_after = 2);
        let nat = address("192.0.2.5");
        limits.proven(nat, now);
        let banned_at = (1..).find(|_| limits.offence(nat, Offence::BadProof, now).is_some());
        assert_eq!(banned_at, Some(8));
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_table_nor_end_a_ban() {
        let (mut limits, now) = limits(|config| (config.sources, config.ban_after) = (100, 1));
        let bad = address("192.0.2.5");
        assert!(limits.offence(bad, Offence::BadProof, now).is_some());
        for number in 0..1000u32 {
            limits.stranger_may_ask(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!((limits.len(), limits.sources.order.len()), (100, 100));
        assert!(limits.is_banned(bad, now));
    }

    #[test]
    fn a_flood_of_sources_does_not_make_a_phone_unknown() {
        let (mut limits, now) = limits(|config| config.sources = 100);
        let phone = address("192.0.2.5");
        limits.proven(phone, now);
        for number in 0..1000u32 {
            limits.stranger_may_ask(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(limits.has_proven(phone, now));
        for number in 0..100u32 {
            limits.proven(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(limits.proven.lines.len(), 100);
    }

    #[test]
    fn even_where_all_are_banned_the_table_does_not_grow() {
        let (mut limits, now) = limits(|config| (config.sources, config.ban_after) = (10, 1));
        for number in 0..100u32 {
            limits.offence(IpAddr::from(number.to_be_bytes()), Offence::BadProof, now);
        }
        assert_eq!((limits.len(), limits.sources.order.len()), (10, 10));
    }

    #[test]
    fn a_stranger_may_ask_so_often_and_then_again() {
        let (mut limits, now) = limits(|config| config.requests_per_second = 2);
        let at = address("192.0.2.5");
        let asked = |limits: &mut Limits, now| (0..100).filter(|_| limits.stranger_may_ask(at, now)).count();
        assert_eq!(asked(&mut limits, now), 8);
        limits.proven(at, now);
        limits.proven(at, now);
        assert_eq!(asked(&mut limits, now), 1, "what proves somebody is not counted");
        assert_eq!(asked(&mut limits, now + SECOND), 2);
        assert_eq!(asked(&mut limits, now + 100 * SECOND), 8);
    }
}
