//! Wrong PINs of conferences, counted for a day: who guesses slowly guesses, too.
//!
//! They are counted by the user and the source that he calls from, and by the user alone with four times the bound.
//! A source counts there for no more than it may guess itself: where many share a user, one of them does not lock the
//! others out, and all of them together do not guess for long.

use std::net::IpAddr;
use std::time::Duration;

use cordboard_model::{ConferenceId, Time, UserId};

use super::{Bounded, SHARED, source, span};
use crate::config::AbuseLimits;

/// In which wrong PINs are counted together.
const DAY: Duration = Duration::from_secs(86_400);

/// From now on no PIN of a conference is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinsRefused {
    /// Of the user at this source; `None`: of the user, wherever he calls from.
    pub(crate) source: Option<IpAddr>,
    pub(crate) until: Time,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    /// Within the window that began then.
    wrong: u32,
    window: Time,
    /// Refusals so far: each is twice as long as the one before.
    refusals: u8,
    /// Until when no PIN is looked at.
    refused: Option<Time>,
}

impl Tries {
    const fn new(now: Time) -> Self {
        Self {
            wrong: 0,
            window: now,
            refusals: 0,
            refused: None,
        }
    }

    fn is_refused(&self, now: Time) -> bool {
        self.refused.is_some_and(|until| until > now)
    }

    /// Counts a wrong one; gives until when no other is looked at if it was one too many.
    fn count(&mut self, bound: u32, config: &AbuseLimits, now: Time) -> Option<Time> {
        if now.since(self.window) > DAY {
            (self.window, self.wrong) = (now, 0);
        }
        self.wrong = self.wrong.saturating_add(1);
        if !self.wrong.is_multiple_of(bound) {
            return None;
        }
        self.refused = Some(now + span(config, self.refusals));
        self.refusals = self.refusals.saturating_add(1);
        self.refused
    }
}

/// Who has dialled wrong PINs of which conference.
#[derive(Debug)]
pub(super) struct Guesses {
    /// By where the user called from.
    places: Bounded<(UserId, ConferenceId, IpAddr), Tries>,
    /// From wherever he called. No flood of sources drives a line out of it.
    users: Bounded<(UserId, ConferenceId), Tries>,
}

impl Guesses {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Bounded::new(most),
            users: Bounded::new(most),
        }
    }

    /// Other bounds hold. Nothing is left where nobody is refused any more, and of trusted sources.
    pub(super) fn reconfigure(&mut self, config: &AbuseLimits, trusted: impl Fn(IpAddr) -> bool) {
        (self.places.most, self.users.most) = (config.sources, config.sources);
        let none = config.ban_after == 0;
        self.places.retain(|(.., place), _| !none && !trusted(*place));
        self.users.retain(|_, _| !none);
    }

    pub(super) fn are_refused(
        &self,
        user: UserId,
        conference: ConferenceId,
        address: IpAddr,
        now: Time,
    ) -> bool {
        let here = self.places.lines.get(&(user, conference, source(address)));
        let anywhere = self.users.lines.get(&(user, conference));
        [here, anywhere]
            .into_iter()
            .flatten()
            .any(|tries| tries.is_refused(now))
    }

    /// Notes a wrong PIN; `ban_after` is not 0.
    pub(super) fn wrong(
        &mut self,
        user: UserId,
        conference: ConferenceId,
        address: IpAddr,
        config: &AbuseLimits,
        now: Time,
    ) -> Option<PinsRefused> {
        let refused = |tries: &Tries| tries.is_refused(now);
        let (place, bound) = (source(address), config.ban_after);
        let tries = self
            .places
            .line((user, conference, place), refused, || Tries::new(now));
        let here = tries.count(bound, config, now);
        let here = here.map(|until| PinsRefused {
            source: Some(place),
            until,
        });
        if tries.wrong > bound {
            return here; // it has counted for the user as often as one source does in a day
        }
        let tries = self.users.line((user, conference), refused, || Tries::new(now));
        let anywhere = tries.count(bound.saturating_mul(SHARED), config, now);
        anywhere.map(|until| PinsRefused { source: None, until }).or(here)
    }

    /// PINs are looked at again from a source, and its wrong ones are forgotten; what it was refused for so far makes
    /// the next time longer.
    pub(super) fn lift(&mut self, address: IpAddr, now: Time) {
        let source = source(address);
        for ((.., place), tries) in &mut self.places.lines {
            if *place == source {
                (tries.wrong, tries.window, tries.refused) = (0, now, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const SECOND: Duration = Duration::from_secs(1);
    const CONFERENCE: ConferenceId = ConferenceId(7);
    const USER: UserId = UserId(1);

    fn limits(change: impl FnOnce(&mut AbuseLimits)) -> (Limits, Time) {
        let mut config = AbuseLimits::default();
        change(&mut config);
        (Limits::new(config), Time::from_unix_seconds(1_800_000_000))
    }

    fn at(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn wrong(limits: &mut Limits, address: IpAddr, now: Time) -> Option<PinsRefused> {
        limits.wrong_pin(USER, CONFERENCE, address, now)
    }

    fn refused(limits: &Limits, address: IpAddr, now: Time) -> bool {
        limits.pins_are_refused(USER, CONFERENCE, address, now)
    }

    #[test]
    fn pins_that_are_guessed_are_refused_for_this_user_and_conference_for_a_time() {
        let (mut limits, now) = limits(|config| (config.ban_after, config.sources) = (3, 10));
        assert_eq!(wrong(&mut limits, at(1), now), None);
        assert_eq!(wrong(&mut limits, at(1), now), None);
        assert!(!refused(&limits, at(1), now));
        let told = wrong(&mut limits, at(1), now).unwrap();
        assert_eq!((told.source, told.until.since(now)), (Some(at(1)), 600 * SECOND));
        let until = told.until;
        assert!(refused(&limits, at(1), until - SECOND) && !refused(&limits, at(1), until));
        let other = UserId(2);
        assert!(!limits.pins_are_refused(other, CONFERENCE, at(1), now));
        assert!(!limits.pins_are_refused(USER, ConferenceId(8), at(1), now));
        for number in 0..100 {
            limits.wrong_pin(other, ConferenceId(number), at(1), now);
        }
        let guesses = &limits.pins;
        assert_eq!((guesses.places.lines.len(), guesses.places.order.len()), (10, 10));
        assert_eq!((guesses.users.lines.len(), guesses.users.order.len()), (10, 10));
        assert!(refused(&limits, at(1), now), "no flood ends it");
        let config = AbuseLimits {
            ban_after: 0,
            ..limits.config
        };
        limits.reconfigure(config, now, |_| false);
        assert!(!refused(&limits, at(1), now));
        assert_eq!(wrong(&mut limits, at(1), now), None);
    }

    #[test]
    fn who_guesses_slowly_is_refused_for_longer_and_longer() {
        let (mut limits, mut now) = limits(|config| config.ban_time_max = 5000 * SECOND);
        let mut spans = Vec::new();
        for _ in 0..95 {
            if let Some(told) = wrong(&mut limits, at(1), now) {
                spans.push(told.until.since(now).as_secs());
                now = told.until;
            }
            now = now + 301 * SECOND;
        }
        // Ninety-five times five minutes and four pauses: less than a day.
        assert_eq!(spans, [600, 1200, 2400, 4800]);
        for day in 1..=4 {
            now = now + DAY + SECOND;
            for number in 1..=20 {
                let told = wrong(&mut limits, at(1), now);
                assert_eq!(told.is_some(), number == 20, "{day} {number}");
                spans.extend(told.map(|told| told.until.since(now).as_secs()));
            }
        }
        assert_eq!(spans[4..], [5000; 4]);
    }

    #[test]
    fn one_source_does_not_lock_out_the_others_of_its_user_and_many_do() {
        let (mut limits, mut now) = limits(|config| config.ban_after = 3);
        for _ in 0..5 {
            let told = (0..3)
                .filter_map(|_| wrong(&mut limits, at(1), now))
                .last()
                .unwrap();
            assert_eq!(told.source, Some(at(1)));
            assert!(!refused(&limits, at(2), now));
            now = told.until;
        }
        for number in 2..=4 {
            assert!(!refused(&limits, at(5), now), "{number}");
            for _ in 0..3 {
                wrong(&mut limits, at(number), now);
            }
        }
        assert!(refused(&limits, at(5), now) && !refused(&limits, at(5), now + 600 * SECOND));
        assert!(!limits.pins_are_refused(UserId(2), CONFERENCE, at(5), now));
    }

    #[test]
    fn a_lifted_ban_has_pins_looked_at_again() {
        let (mut limits, now) = limits(|config| config.ban_after = 2);
        for number in [1, 2] {
            wrong(&mut limits, at(number), now);
            wrong(&mut limits, at(number), now);
            limits.offence(at(number), super::super::Offence::WrongPin, now);
            limits.offence(at(number), super::super::Offence::WrongPin, now);
        }
        assert!(limits.lift(at(1), now));
        assert!(!refused(&limits, at(1), now) && refused(&limits, at(2), now));
        assert_eq!(wrong(&mut limits, at(1), now), None);
        let told = wrong(&mut limits, at(1), now).unwrap();
        assert_eq!(told.until.since(now), 1200 * SECOND);
        limits.reconfigure(limits.config, now, |source| source == at(2));
        assert!(!refused(&limits, at(2), now) && refused(&limits, at(1), now));
    }
}
