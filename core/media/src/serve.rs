//! What a leg is sent in a tick: its share of the mix, or the keys that are pressed towards it.

use std::net::SocketAddr;

use cordboard_model::media::AudioFormat;

use crate::code::{Code, Coding, Own, has_memory};
use crate::g711;
use crate::leg::Leg;
use crate::mix::{Mix, Round};
use crate::outlet::Way;
use crate::output::Outbox;
use crate::rate::LONGEST_FRAME;

/// What a leg is to get.
enum Share {
    /// What all who only listen get.
    Common,
    /// What only it hears.
    Own,
    /// The tone of a key.
    Tone,
}

impl Leg {
    /// Begins a stream of its own before the shared one goes on without it, if it will need one in this tick.
    pub(crate) fn part(&mut self, mix: &Mix, round: &Round) {
        let Some(format) = self.audio.as_ref().map(|audio| &audio.format) else {
            return;
        };
        let coding = Coding::of(format);
        if !has_memory(format.codec) || self.sends_to().is_none() {
            return;
        }
        if self.own.as_ref().is_some_and(|own| own.coding() != coding) {
            self.own = None;
        }
        if self.own.is_none() && !matches!(self.share(round), Share::Common) {
            let own = mix
                .part(coding, self.hears_apart)
                .unwrap_or_else(|| Own::new(coding));
            self.own = Some(Box::new(own));
        }
    }

    fn share(&self, round: &Round) -> Share {
        if self.dial.is_down() && !self.takes_events {
            Share::Tone
        } else if round.is_common_to(self) {
            Share::Common
        } else {
            Share::Own
        }
    }

    /// Sends the leg its share; returns how many packets and bytes became complete.
    pub(crate) fn serve(
        &mut self,
        mix: &mut Mix,
        round: &mut Round,
        to: SocketAddr,
        outbox: &mut Outbox,
    ) -> (u64, u64) {
        let Some(audio) = &self.audio else { return (0, 0) };
        let (format, mut sent) = (&audio.format, (0, 0));
        let mut way = Way {
            leg: self.id,
            to,
            srtp: self.srtp.as_deref_mut(),
            outbox,
        };
        if let Some((payload_type, clock)) = event_type(format)
            && let Some(event) = self.dial.event(clock)
        {
            add(&mut sent, self.outlet.send_event(&event, payload_type, &mut way));
        }
        if self.dial.is_down() && self.takes_events {
            self.outlet.skip();
        } else if has_memory(format.codec) {
            add(&mut sent, self.serve_with_memory(mix, round, to, outbox));
        } else {
            add(&mut sent, self.serve_g711(round, to, outbox));
        }
        sent
    }

    fn serve_g711(&mut self, round: &mut Round, to: SocketAddr, outbox: &mut Outbox) -> (u64, u64) {
        let Some(audio) = &self.audio else { return (0, 0) };
        let codec = audio.format.codec;
        let mut own = None;
        let code = match self.share(round) {
            Share::Common => round.common_g711(codec).map(Code::bytes),
            Share::Own => round.heard_by(self).map(|frame| {
                let own = own.insert(Code::new());
                own.set_g711(codec, frame);
                own.bytes()
            }),
            Share::Tone => {
                let mut frame = [0; g711::FRAME];
                self.dial.tone(self.rate, &mut frame);
                let own = own.insert(Code::new());
                own.set_g711(codec, &frame);
                Some(own.bytes())
            }
        };
        let mut way = Way {
            leg: self.id,
            to,
            srtp: self.srtp.as_deref_mut(),
            outbox,
        };
        let silent = code.is_none();
        let code = code.unwrap_or(g711::silence(codec));
        self.outlet.send(code, silent, &audio.format, &mut way)
    }

    fn serve_with_memory(
        &mut self,
        mix: &mut Mix,
        round: &mut Round,
        to: SocketAddr,
        outbox: &mut Outbox,
    ) -> (u64, u64) {
        let Some(audio) = &self.audio else { return (0, 0) };
        let (coding, rate) = (Coding::of(&audio.format), self.rate);
        let share = self.share(round);
        let mut own = self.own.take();
        let mut keep = true;
        let mut tone = [0; LONGEST_FRAME];
        let (code, silent) = match (share, own.as_deref_mut()) {
            (Share::Common, own) => {
                let frame = round.common(rate);
                let silent = frame.is_none();
                // The shared stream goes on even while this leg only prepares to join it.
                let shared = mix.shared(coding, self.hears_apart).code(frame);
                match own {
                    Some(own) => {
                        let (code, alike) = own.code_alike(frame);
                        keep = !alike;
                        (code, silent)
                    }
                    None => (shared, silent),
                }
            }
            (Share::Tone, Some(own)) => {
                self.dial.tone(rate, &mut tone[..rate.frame()]);
                (own.code(Some(&tone[..rate.frame()])), false)
            }
            (Share::Own, Some(own)) => {
                let frame = round.heard_by(self);
                let silent = frame.is_none();
                (own.code(frame.as_deref()), silent)
            }
            // `part` has made one.
            (_, None) => return (0, 0),
        };
        let mut way = Way {
            leg: self.id,
            to,
            srtp: self.srtp.as_deref_mut(),
            outbox,
        };
        let sent = self.outlet.send(code.bytes(), silent, &audio.format, &mut way);
        self.own = own.filter(|_| keep);
        sent
    }
}

fn add(sum: &mut (u64, u64), more: (u64, u64)) {
    sum.0 += more.0;
    sum.1 += more.1;
}

/// The payload type and clock of the events that we send.
fn event_type(format: &AudioFormat) -> Option<(u8, u32)> {
    let mut events = format.events.iter();
    let alike = events.find(|(_, clock)| *clock == format.codec.clock());
    alike.or(format.events.first()).copied()
}
