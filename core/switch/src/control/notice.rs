//! What operators read in the log of what the engine has decided about sources and users.

use std::net::IpAddr;
use std::time::Duration;

use cordboard_engine::io::Notice;
use cordboard_engine::limits::Ban;
use cordboard_model::{ConferenceId, Time, UserId};

/// What phones can cause as often as they like is told so seldom.
const PAUSE: Duration = Duration::from_secs(1);

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Notices {
    contacts: Seldom,
}

impl Notices {
    pub(super) fn tell(&mut self, notice: &Notice, now: Time) {
        match notice {
            Notice::Banned(ban) => banned(ban, now),
            Notice::PinsRefused {
                user,
                conference,
                source,
                until,
            } => pins_refused(*user, *conference, *source, *until),
            Notice::ContactDropped { address } => self.contact_dropped(address, now),
        }
    }

    /// A reload has ended so many bans.
    pub(super) fn lifted(&self, bans: usize) {
        tracing::info!(
            bans,
            "bans ended: their sources are trusted now, or nobody is banned any more"
        );
    }

    fn contact_dropped(&mut self, address: &str, now: Time) {
        if let Some(before) = self.contacts.tell(now) {
            tracing::warn!(
                address,
                before,
                "a contact gave way to a newer one; `[sip.registration] contacts` says how many there may be"
            );
        }
    }
}

fn banned(ban: &Ban, now: Time) {
    tracing::warn!(
        source = named(ban.source),
        reason = ban.reason.name(),
        offences = ban.offences,
        seconds = ban.until.since(now).as_secs(),
        until = ban.until.unix_seconds(),
        "a source gets no answers for a time; `[sip.abuse]` sets when, `[sip] trusted` and DELETE /v1/bans/ end it"
    );
}

/// One address is no network to who reads the log, or to what bans by it in a firewall.
fn named(source: IpAddr) -> String {
    match source {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(first) => format!("{first}/64"),
    }
}

fn pins_refused(user: UserId, conference: ConferenceId, source: Option<IpAddr>, until: Time) {
    tracing::warn!(
        %user,
        %conference,
        source = source.map_or_else(|| "any".into(), named),
        until = until.unix_seconds(),
        "a user has dialled too many wrong PINs; those of this conference are not taken from him for a time"
    );
}

/// Something that is told once in a while.
#[derive(Debug, Default)]
struct Seldom {
    told: Option<Time>,
    /// How often it was not told since.
    kept: u64,
}

impl Seldom {
    /// Whether to tell it now, and how often it happened untold before.
    fn tell(&mut self, now: Time) -> Option<u64> {
        if self.told.is_some_and(|told| now.since(told) < PAUSE) {
            self.kept += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom_and_how_often_it_was_not() {
        let mut seldom = Seldom::default();
        let now = Time::from_unix_seconds(1_800_000_000);
        let told = [0, 10, 999, 1000, 1001, 5000].map(|ms| seldom.tell(now + Duration::from_millis(ms)));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
