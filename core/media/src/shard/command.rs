//! What the engine asks of a shard, and what the shell answers about ports.

use std::time::Duration;

use cordboard_model::media::{AudioSetup, MediaCommand, MediaEvent};
use cordboard_model::{LegId, MixId, Time};

use super::Shard;
use super::tick::TICK;
use crate::leg::Leg;
use crate::output::PortRequest;
use crate::sound::Pass;
use crate::voice::Voice;

impl Shard {
    /// Takes a command. One for a leg that does not exist is ignored: it may have failed to open.
    pub fn command(&mut self, command: MediaCommand, now: Time) {
        match command {
            MediaCommand::Open {
                leg,
                mix,
                local,
                audio,
                muted,
                deaf,
                patience,
            } => {
                if self.index.contains_key(&leg) {
                    self.events.push_back(MediaEvent::Failed {
                        leg,
                        reason: "the leg is open already".to_owned(),
                    });
                    return;
                }
                self.ports.push_back(PortRequest::Bind { leg, local });
                let mut leg = Leg::new(leg, mix, muted, deaf, now, &mut self.random);
                leg.patience = patience;
                self.open(leg, audio, now);
            }
            MediaCommand::Modify { leg, audio } => {
                if let Some(leg) = self.leg_mut(leg) {
                    leg.describe(audio, now);
                }
            }
            MediaCommand::Gate { leg, muted, deaf } => {
                if let Some(leg) = self.leg_mut(leg) {
                    (leg.muted, leg.deaf) = (muted, deaf);
                }
            }
            MediaCommand::Move { leg, mix } => self.redirect(leg, mix),
            MediaCommand::Digits { leg, text } => {
                if let Some(leg) = self.leg_mut(leg) {
                    leg.dial.add(&text);
                }
            }
            MediaCommand::Peer(command) => self.peer_command(command, now),
            MediaCommand::Close { leg } => self.close(leg, now),
        }
    }

    /// The answer to [`PortRequest::Bind`]: the RTP port, or why there is none.
    pub fn bound(&mut self, leg: LegId, port: Result<u16, String>, now: Time) {
        let Some(key) = self.index.get(&leg).copied() else {
            self.ports.push_back(PortRequest::Release { leg });
            return;
        };
        match port {
            Ok(port) => {
                self.legs[key].bound = true;
                self.events.push_back(MediaEvent::Opened { leg, port });
                self.next_tick.get_or_insert(next_tick(now));
                if self.legs[key].closed {
                    self.close(leg, now);
                }
            }
            Err(reason) => {
                self.remove(key);
                self.events.push_back(MediaEvent::Failed { leg, reason });
            }
        }
    }

    fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.index.get(&leg).map(|key| &mut self.legs[*key])
    }

    pub(super) fn open(&mut self, mut leg: Leg, audio: Option<AudioSetup>, now: Time) {
        if let Some(audio) = audio {
            leg.describe(audio, now);
        }
        let (id, mix) = (leg.id, leg.mix);
        let key = self.legs.insert(leg);
        self.index.insert(id, key);
        self.mixes.entry(mix).or_default().members.push(key);
    }

    fn redirect(&mut self, leg: LegId, mix: MixId) {
        let Some(key) = self.index.get(&leg).copied() else {
            return;
        };
        let leg = &mut self.legs[key];
        leg.next_mix = (mix != leg.mix).then_some(mix);
        if leg.detached() {
            self.change_mix(key);
        }
    }

    /// Puts a leg into the mix that it is bound for.
    pub(super) fn change_mix(&mut self, key: usize) {
        let leg = &mut self.legs[key];
        let Some(mix) = leg.next_mix.take() else { return };
        let before = std::mem::replace(&mut leg.mix, mix);
        self.leave_mix(key, before);
        self.mixes.entry(mix).or_default().members.push(key);
        self.move_peer(key);
    }

    fn leave_mix(&mut self, key: usize, mix: MixId) {
        if let Some(members) = self.mixes.get_mut(&mix).map(|mix| &mut mix.members) {
            members.retain(|member| *member != key);
            if members.is_empty() {
                self.mixes.remove(&mix);
            }
        }
    }

    fn close(&mut self, leg: LegId, now: Time) {
        let Some(key) = self.index.get(&leg).copied() else {
            return;
        };
        let peer = self.legs[key].peer.is_some();
        if !self.legs[key].bound && !peer {
            // Each Open is answered, so the end waits for the port.
            self.legs[key].closed = true;
            return;
        }
        self.fade_away(key);
        self.send_report(key, now, true);
        let totals = self.legs[key].totals();
        self.close_peer(key, now);
        self.remove(key);
        if !peer {
            self.ports.push_back(PortRequest::Release { leg });
        }
        self.events.push_back(MediaEvent::Closed { leg, totals });
    }

    /// Leaves the fading end of a leg's audio to its mix.
    fn fade_away(&mut self, key: usize) {
        let leg = &mut self.legs[key];
        let before = self.mixed.len();
        if leg.is_heard()
            && let Some(inlet) = &mut leg.inlet
            && let (Some(rate), _) = inlet.take(&mut leg.voice.frame, &mut self.mixed)
            && let Some(mix) = self.mixes.get_mut(&leg.mix)
        {
            let mut voice = std::mem::replace(&mut leg.voice, Voice::new());
            voice.rate = rate;
            Pass::Closing.shape(voice.own());
            mix.leave_tail(voice, leg.sends_apart);
        }
        self.mixed.truncate(before);
    }

    fn remove(&mut self, key: usize) {
        let leg = self.legs.remove(key);
        self.index.remove(&leg.id);
        self.leave_mix(key, leg.mix);
        if self.legs.is_empty() {
            self.next_tick = None;
        }
    }
}

/// The first tick after `now`; all ticks are at whole multiples of their length.
pub(super) fn next_tick(now: Time) -> Time {
    let length = TICK.as_nanos() as u64;
    Time(now.0 / length * length) + Duration::from_nanos(length)
}
