//! The tick: every 20 ms each mix is added up and each leg gets its share.

use std::time::Duration;

use cordboard_model::Time;
use cordboard_model::media::MediaEvent;

use super::Shard;
use crate::inlet::Inlet;
use crate::mix::Mix;
use crate::outlet::Way;

/// Time between two frames.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// Ticks that are made up for when the thread comes late; more are left out.
const MAX_CATCH_UP: u32 = 10;

impl Shard {
    /// Whether more than one tick is due: packets of all of them are to be handed in before they are made up for.
    pub fn is_behind(&self, now: Time) -> bool {
        self.next_tick.is_some_and(|due| due + TICK <= now)
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Time) {
        let mut done = 0;
        while let Some(due) = self.next_tick.filter(|due| *due <= now) {
            if done < MAX_CATCH_UP {
                self.tick(now);
            } else {
                self.counts.ticks_skipped += 1;
                self.legs.iter_mut().for_each(|(_, leg)| leg.outlet.skip());
            }
            done += 1;
            if self.next_tick.is_some() {
                self.next_tick = Some(due + TICK);
            }
        }
    }

    fn tick(&mut self, now: Time) {
        let mut mixes = std::mem::take(&mut self.mixes);
        for mix in mixes.values_mut() {
            self.tick_mix(mix, now);
        }
        self.mixes = mixes;
        while let Some(key) = self.moving.pop() {
            self.change_mix(key);
        }
        self.tick_peers(now);
    }

    fn tick_mix(&mut self, mix: &mut Mix, now: Time) {
        let mixed_before = self.mixed.len();
        for key in &mix.members {
            let leg = &mut self.legs[*key];
            if let Some(on) = leg.prepare(&mut self.mixed) {
                self.events.push_back(MediaEvent::Talking { leg: leg.id, on });
            }
            if leg.falls_silent(now) {
                self.events.push_back(MediaEvent::Silent { leg: leg.id });
            }
            if leg.next_mix.is_some() && leg.detached() {
                self.moving.push(*key);
            }
        }
        mix.add_up(&mut self.legs, &mut self.round, &mut self.apart);
        if self.round.is_silent() && self.apart.is_silent() {
            self.mixed.truncate(mixed_before);
        }
        for key in &mix.members {
            let leg = &mut self.legs[*key];
            leg.dial.step();
            leg.part(mix, if leg.hears_apart { &self.apart } else { &self.round });
        }
        for at in 0..mix.members.len() {
            let key = mix.members[at];
            self.serve(mix, key);
            if self.legs[key].reports.due(now) {
                self.send_report(key, now, false);
            }
        }
        mix.end_tick();
    }

    /// Sends a leg its share of the present round.
    fn serve(&mut self, mix: &mut Mix, key: usize) {
        let leg = &mut self.legs[key];
        let Some(to) = leg.sends_to() else {
            leg.outlet.skip();
            return;
        };
        let round = if leg.hears_apart {
            &mut self.apart
        } else {
            &mut self.round
        };
        let (packets, bytes) = leg.serve(mix, round, to, &mut self.outbox);
        self.counts.packets_out += packets;
        self.counts.bytes_out += bytes;
    }

    /// Sends a leg's report; `leaving` says that it is the last.
    pub(super) fn send_report(&mut self, key: usize, now: Time, leaving: bool) {
        let leg = &mut self.legs[key];
        let Some(to) = leg.reports_to() else { return };
        let muxed = leg.inlet.as_ref().is_some_and(Inlet::is_muxed);
        let reception = leg.inlet.as_mut().and_then(|inlet| inlet.reception.as_mut());
        if let Some(reception) = &reception {
            self.counts.reported(reception);
        }
        let mut way = Way {
            leg: leg.id,
            to,
            srtp: leg.srtp.as_deref_mut(),
            outbox: &mut self.outbox,
        };
        self.counts.lost += leg.reports.send(
            now,
            reception,
            &leg.outlet,
            (&mut way, muxed),
            leaving,
            &mut self.random,
        );
        self.counts.control_out += 1;
    }
}
