//! What phones say of a kept message that they do not take: whether another attempt may fare better, when, and whether
//! it is the message's own fault.

use std::time::Duration;

use super::relay::SILENCE;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// The longest pause that a phone may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// What one refusal says of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Its user has no time now: nothing of the message.
    Busy,
    /// Now is not the time for the phone or the way to it, hardly because of the message.
    Later,
    /// Something else went wrong, perhaps for a while, perhaps because of the message.
    Unclear,
    /// What is wrong is what the message is, what the phone can do, or that it is not its addressee's.
    Never,
}

/// What a final status of 300 or more says (RFC 3261 section 21; RFC 3428 section 7: after a 6xx the message was
/// delivered and refused); `asked`: whether it came with a Retry-After.
const fn says(status: u16, asked: bool) -> Says {
    match status {
        // With Retry-After it is for now, and without it is not (RFC 3261 sections 21.4.11 and 21.6.2).
        413 if asked => Says::Later,
        603 if asked => Says::Busy,
        // Of the 6xx only 600 speaks of this time.
        480 | 486 | 600 => Says::Busy,
        // A proxy or gateway says 408, 502 and 504 of what is behind it, and 430 (RFC 5626) of a flow that has to be made
        // anew.
        408 | 430 | 491 | 502..=504 => Says::Later,
        400
        | 402
        | 403
        | 405
        | 406
        | 410
        | 413..=417
        | 420
        | 421
        | 424
        | 428
        | 433
        | 436..=440
        | 469
        | 470
        | 483..=485
        | 488
        | 493
        | 494
        | 501
        | 505
        | 513
        | 555
        | 601..=699 => Says::Never, // also 603
        // Also 404: a phone that has just been switched on may not have loaded its accounts.
        _ => match asked {
            true => Says::Later,
            false => Says::Unclear,
        },
    }
}

/// What the phones of one user have said of one message so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// One has refused it that may take it later.
    pub(super) refused: bool,
    /// One has said that its user has no time.
    pub(super) busy: bool,
    /// One has said that now is not the time, for whatever reason.
    pub(super) later: bool,
    /// One will never take it.
    pub(super) never: bool,
    /// Another attempt may succeed.
    pub(super) hopeful: bool,
    /// The shortest of the pauses that they have asked for, once one has refused it that may take it later.
    pause: Option<Duration>,
}

impl Answers {
    /// A phone has refused it with this status, or said nothing; `asked`: the pause that it asked for.
    pub(super) fn add(&mut self, status: u16, asked: Option<Duration>) {
        if status == SILENCE {
            self.hopeful = true;
            return;
        }
        let says = says(status, asked.is_some());
        if says == Says::Never {
            self.never = true;
            return;
        }
        (self.refused, self.hopeful) = (true, true);
        self.busy |= says == Says::Busy;
        self.later |= matches!(says, Says::Busy | Says::Later);
        let asked = asked.unwrap_or_default();
        self.pause = Some(self.pause.map_or(asked, |pause| pause.min(asked)));
    }

    /// How long they want to be left in peace at least. Where one of them asks for nothing, it is not made to wait for the
    /// others.
    pub(super) fn pause(&self) -> Duration {
        self.pause.unwrap_or_default()
    }
}

/// The pause that a refusal asks for (RFC 3261 section 20.33), at most an hour; none where it asks for none.
pub(super) fn asked_in(response: &Message) -> Option<Duration> {
    asked(response.header(Name::RetryAfter)?)
}

/// The seconds that a value begins with; a comment and parameters may follow.
fn asked(value: &str) -> Option<Duration> {
    let digits = value.trim_start().bytes().take_while(u8::is_ascii_digit);
    let seconds = digits.fold(0_u64, |seconds, digit| {
        seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    (seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_for_now_for_ever_or_unclear() {
        use Says::{Busy, Later, Never, Unclear};
        for (statuses, without, with) in [
            (&[480, 486, 600][..], Busy, Busy),
            (&[408, 430, 491, 502, 503, 504], Later, Later),
            (&[413], Never, Later),
            (&[603], Never, Busy),
            (
                &[302, 401, 404, 407, 429, 481, 482, 487, 489, 500, 580],
                Unclear,
                Later,
            ),
            (
                &[
                    400, 402, 403, 405, 406, 410, 414, 415, 416, 417, 420, 421, 424, 428, 433, 436, 437, 438,
                    439, 440, 469, 470, 483, 484, 485, 488, 493, 494, 501, 505, 513, 555, 604, 606, 607, 608,
                    699,
                ],
                Never,
                Never,
            ),
        ] {
            for status in statuses {
                assert_eq!(
                    (says(*status, false), says(*status, true)),
                    (without, with),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn what_several_phones_say_is_taken_together() {
        let minutes = |count: u64| Some(Duration::from_secs(60 * count));
        for (said, refused, [busy, later, never, hopeful], pause) in [
            (&[(SILENCE, None)][..], false, [false, false, false, true], 0),
            (
                &[(415, None), (606, minutes(1))],
                false,
                [false, false, true, false],
                0,
            ),
            (
                &[(415, None), (SILENCE, None)],
                false,
                [false, false, true, true],
                0,
            ),
            (
                &[(486, minutes(9)), (405, None)],
                true,
                [true, true, true, true],
                9,
            ),
            (
                &[(486, minutes(9)), (503, minutes(5))],
                true,
                [true, true, false, true],
                5,
            ),
            (
                &[(502, minutes(9)), (404, None)],
                true,
                [false, true, false, true],
                0,
            ),
            (
                &[(500, None), (SILENCE, None)],
                true,
                [false, false, false, true],
                0,
            ),
        ] {
            let mut answers = Answers::default();
            for (status, asked) in said {
                answers.add(*status, *asked);
            }
            assert_eq!(
                (
                    answers.refused,
                    [answers.busy, answers.later, answers.never, answers.hopeful]
                ),
                (refused, [busy, later, never, hopeful]),
                "{said:?}"
            );
            assert_eq!(answers.pause(), Duration::from_secs(60 * pause), "{said:?}");
        }
    }

    #[test]
    fn a_pause_is_read_with_what_follows_it_and_has_a_bound() {
        for (value, seconds) in [
            ("60", Some(60)),
            (" 120 (in a meeting)", Some(120)),
            ("18;duration=3600", Some(18)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked(value), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
