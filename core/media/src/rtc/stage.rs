//! Who of a mix is heard where the loudest are forwarded: three places that all listen to, and a fourth for those who
//! are on one of the three themselves.
//!
//! A place is kept as long as possible, because each change is a cut: it goes to somebody else only when its holder
//! has stopped talking and another begins, or after a second for another who is clearly louder.

/// Places that a listener hears.
pub(crate) const PLACES: usize = 3;
/// Ticks that a holder who talks is left alone: one second.
const TENURE: u32 = 50;

/// Somebody who may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speaker {
    /// The key of its peer.
    pub(crate) peer: usize,
    pub(crate) talking: bool,
    /// Mean magnitude, smoothed.
    pub(crate) loudness: u16,
}

/// Somebody on a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    peer: usize,
    /// The number of this holding: no other has it.
    grant: u64,
    /// Ticks since it was given the place, and since it last talked.
    here: u32,
    silent: u32,
}

/// See the module. The last place is the one for those on the others.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    places: [Option<Holder>; PLACES + 1],
    /// Keys of the peers that listen.
    pub(crate) listeners: Vec<usize>,
}

impl Stage {
    /// A tick: `candidates` are all who may be heard now. `numbers` gives each holding its own.
    pub(crate) fn choose(&mut self, candidates: &[Speaker], numbers: &mut u64) {
        for place in &mut self.places {
            let known = place.and_then(|holder| find(candidates, holder.peer));
            match (place.as_mut(), known) {
                (Some(holder), Some(now)) => {
                    holder.here = holder.here.saturating_add(1);
                    holder.silent = if now.talking {
                        0
                    } else {
                        holder.silent.saturating_add(1)
                    };
                }
                _ => *place = None,
            }
        }
        if let Some(newcomer) = self.next(candidates)
            && let Some(at) = self.place_for(newcomer, candidates)
        {
            self.give(at, newcomer.peer, numbers);
        }
        let spare = self.next(candidates).map(|next| next.peer);
        if spare != self.places[PLACES].map(|holder| holder.peer) {
            match spare {
                Some(peer) => self.give(PLACES, peer, numbers),
                None => self.places[PLACES] = None,
            }
        }
    }

    /// The loudest who talks and is not heard by all; where nobody talks, whoever is there.
    fn next<'a>(&self, candidates: &'a [Speaker]) -> Option<&'a Speaker> {
        let heard = self.places[..PLACES].iter().flatten();
        let is_heard = |peer| heard.clone().any(|holder| holder.peer == peer);
        let others = candidates.iter().filter(|other| !is_heard(other.peer));
        others.max_by_key(|other| (other.talking, other.loudness))
    }

    /// Which place a newcomer gets, if any.
    fn place_for(&self, newcomer: &Speaker, candidates: &[Speaker]) -> Option<usize> {
        let heard = &self.places[..PLACES];
        if let Some(free) = heard.iter().position(Option::is_none) {
            return Some(free);
        }
        if !newcomer.talking {
            return None;
        }
        let held = heard
            .iter()
            .enumerate()
            .filter_map(|(at, place)| Some((at, place.as_ref()?)));
        let silent = held.clone().filter(|(_, holder)| holder.silent > 0);
        if let Some((at, _)) = silent.max_by_key(|(_, holder)| holder.silent) {
            return Some(at);
        }
        let loudness = |holder: &Holder| find(candidates, holder.peer).map_or(0, |found| found.loudness);
        let (at, quietest) = held.min_by_key(|(_, holder)| loudness(holder))?;
        // By more than 3 dB.
        let louder = 5 * u32::from(newcomer.loudness) > 7 * u32::from(loudness(quietest));
        (louder && quietest.here >= TENURE).then_some(at)
    }

    fn give(&mut self, at: usize, peer: usize, numbers: &mut u64) {
        *numbers += 1;
        self.places[at] = Some(Holder {
            peer,
            grant: *numbers,
            here: 0,
            silent: 0,
        });
    }

    /// The place of a peer.
    pub(crate) fn place_of(&self, peer: usize) -> Option<usize> {
        let holds = |place: &Option<Holder>| place.is_some_and(|holder| holder.peer == peer);
        self.places.iter().position(holds)
    }

    /// On which of its lines a listener hears who holds this place, and the number of the holding.
    pub(crate) fn line(&self, place: usize, listener: usize) -> Option<(usize, u64)> {
        let grant = self.places[place]?.grant;
        if place < PLACES {
            return Some((place, grant));
        }
        // Its own place is free for it.
        let own = self.place_of(listener).filter(|own| *own < PLACES)?;
        Some((own, grant))
    }

    /// The stream of a peer has begun anew.
    pub(crate) fn renew(&mut self, peer: usize, numbers: &mut u64) {
        for holder in self
            .places
            .iter_mut()
            .flatten()
            .filter(|holder| holder.peer == peer)
        {
            *numbers += 1;
            holder.grant = *numbers;
        }
    }

    /// A peer is gone.
    pub(crate) fn forget(&mut self, peer: usize) {
        self.listeners.retain(|listener| *listener != peer);
        for place in &mut self.places {
            if place.is_some_and(|holder| holder.peer == peer) {
                *place = None;
            }
        }
    }
}

fn find(candidates: &[Speaker], peer: usize) -> Option<&Speaker> {
    candidates.iter().find(|candidate| candidate.peer == peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loudness of the peers 0, 1, ...; 0 is one who does not talk.
    fn crowd(loudness: &[u16]) -> Vec<Speaker> {
        let one = |(peer, loudness): (usize, &u16)| Speaker {
            peer,
            talking: *loudness > 0,
            loudness: *loudness,
        };
        loudness.iter().enumerate().map(one).collect()
    }

    fn after(stage: &mut Stage, ticks: usize, loudness: &[u16]) -> Vec<usize> {
        let mut numbers = stage
            .places
            .iter()
            .flatten()
            .map(|holder| holder.grant)
            .max()
            .unwrap_or(0);
        for _ in 0..ticks {
            stage.choose(&crowd(loudness), &mut numbers);
        }
        stage.places.iter().flatten().map(|holder| holder.peer).collect()
    }

    #[test]
    fn the_loudest_three_are_heard_and_keep_their_places() {
        let mut stage = Stage::default();
        assert_eq!(after(&mut stage, 5, &[900, 800, 700, 600, 500]), [0, 1, 2, 3]);
        // A little louder is no reason; clearly louder is, after a second.
        assert_eq!(after(&mut stage, 10, &[900, 800, 700, 900, 500]), [0, 1, 2, 3]);
        assert_eq!(after(&mut stage, 10, &[900, 800, 700, 1500, 500]), [0, 1, 2, 3]);
        assert_eq!(after(&mut stage, 50, &[900, 800, 700, 1500, 500]), [0, 1, 3, 2]);
        // Who stops talking makes room at once, but only for somebody who talks.
        assert_eq!(after(&mut stage, 9, &[0, 800, 700, 1500, 0]), [2, 1, 3, 4]);
        assert_eq!(after(&mut stage, 9, &[0, 0, 0, 0, 0]), [2, 1, 3, 4]);
    }

    #[test]
    fn who_is_heard_hears_the_fourth_instead_of_itself() {
        let mut stage = Stage::default();
        after(&mut stage, 5, &[900, 800, 700, 600, 500]);
        let line = |speaker: usize, listener| {
            let place = stage.place_of(speaker)?;
            stage.line(place, listener).map(|(line, _)| line)
        };
        assert_eq!(
            [line(0, 4), line(1, 4), line(2, 4), line(3, 4)],
            [Some(0), Some(1), Some(2), None]
        );
        assert_eq!(line(3, 1), Some(1), "on its own place");
        assert_eq!([line(0, 1), line(2, 1), line(4, 1)], [Some(0), Some(2), None]);
    }

    #[test]
    fn each_holding_has_a_number_of_its_own() {
        let mut stage = Stage::default();
        let mut numbers = 0;
        stage.choose(&crowd(&[5]), &mut numbers);
        let first = stage.line(0, 9).unwrap();
        stage.choose(&[], &mut numbers);
        assert_eq!(stage.place_of(0), None, "it may not be heard any more");
        stage.choose(&crowd(&[5]), &mut numbers);
        let second = stage.line(0, 9).unwrap();
        assert!(first.0 == second.0 && first.1 != second.1);
        stage.renew(0, &mut numbers);
        assert_ne!(stage.line(0, 9).unwrap().1, second.1);
        stage.forget(0);
        assert_eq!(stage.place_of(0), None);
    }
}
