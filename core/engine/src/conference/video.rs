//! Who sees whom: each browser every other one, on a line of its own.

use cordboard_model::media::peer::VideoSource;

use crate::arena::Key;
use crate::call::{Call, Place, Stage};
use crate::engine::Engine;
use crate::sdp::rtc::Wanted;

/// How many others are thought of for one participant; those who came first. There are fewer lines.
const MOST_SEEN: usize = 60;

impl Engine {
    /// Everybody in a place who may be shown something, in the order in which they came.
    fn audience(&self, place: Place) -> Vec<Key> {
        match place {
            Place::Conference(id) => self
                .conferences
                .get(&id)
                .map(|conference| conference.members.clone())
                .unwrap_or_default(),
            Place::Bridge(key) => self
                .bridges
                .get(key)
                .map(|bridge| std::iter::once(bridge.caller).chain(bridge.winner).collect())
                .unwrap_or_default(),
        }
    }

    /// Whom a call is to see now.
    pub(crate) fn videos_for(&self, key: Key) -> Vec<Wanted> {
        let shown_to = |call: &&Call| call.leg.bundle.is_some() && !call.seat.waits;
        let Some(call) = self.calls.get(key).filter(shown_to) else {
            return Vec::new();
        };
        let others = self
            .audience(call.place)
            .into_iter()
            .filter(|other| *other != key);
        let shown = others.filter_map(|other| shown_by(self.calls.get(other)?));
        shown.take(MOST_SEEN).collect()
    }

    /// Whether a call sees others than it is to see.
    pub(crate) fn sees_news(&self, key: Key) -> bool {
        let audio = self.peer_audio(key);
        let (terms, wanted) = (self.terms(key, &audio), self.videos_for(key));
        self.calls
            .get(key)
            .and_then(|call| call.leg.bundle.as_ref())
            .is_some_and(|bundle| bundle.is_news(&wanted, terms))
    }

    /// A call has come up: the others are told first, then it is told of them.
    pub(crate) fn show_around(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        self.others_look(key, call.place);
        self.videos_changed(key);
    }

    /// What a call shows, or whether it shows anything, has changed.
    pub(crate) fn camera_changed(&mut self, key: Key, changed: bool) {
        let up = self
            .calls
            .get(key)
            .filter(|call| changed && call.stage == Stage::Up);
        if let Some(place) = up.map(|call| call.place) {
            self.others_look(key, place);
        }
    }

    /// Everybody else in a place is told what has changed there.
    pub(crate) fn others_look(&mut self, key: Key, place: Place) {
        if let Place::Conference(id) = place
            && self
                .conferences
                .get(&id)
                .is_none_or(|conference| conference.ending)
        {
            return; // they are about to leave too
        }
        let others = self.audience(place).into_iter().filter(|other| *other != key);
        for other in others.collect::<Vec<_>>() {
            self.videos_changed(other);
            self.advance_offer(other);
        }
    }
}

/// What a call shows to others.
fn shown_by(call: &Call) -> Option<Wanted> {
    let camera = call.leg.bundle.as_ref()?.camera()?;
    (call.stage == Stage::Up).then(|| Wanted {
        source: VideoSource {
            leg: call.leg.id,
            mid: camera.to_owned(),
        },
        label: call.channel(),
    })
}
