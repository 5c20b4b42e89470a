//! A leg: what it takes from its peer, what it sends, and how both take part in a mix.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_model::media::{AudioSetup, LegTotals, Srtp};
use cordboard_model::{LegId, MixId, Time};

use crate::code::{Own, has_memory};
use crate::dial::Dial;
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::random::Random;
use crate::rate::Rate;
use crate::report::Reports;
use crate::sequence::Reception;
use crate::sound::{Gate, Pass};
use crate::srtp::Session;
use crate::voice::Voice;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) mix: MixId,
    /// The key of its WebRTC peer, if that is its transport; then it is `bound` while the peer can be reached.
    pub(crate) peer: Option<usize>,
    /// The mix that it goes to once its audio has faded out of the present one.
    pub(crate) next_mix: Option<MixId>,
    pub(crate) bound: bool,
    /// It was closed before its port was bound.
    pub(crate) closed: bool,
    /// For how long the peer may be silent; zero: for ever.
    pub(crate) patience: Duration,
    /// When its last packet came; `None` before the first, and once its silence has been told.
    pub(crate) heard: Option<Time>,
    pub(crate) audio: Option<AudioSetup>,
    /// The rate of what it hears.
    pub(crate) rate: Rate,
    /// Whether its peer takes keys as events.
    pub(crate) takes_events: bool,
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    mouth: Gate,
    ear: Gate,
    /// Keys that are pressed towards the peer.
    pub(crate) dial: Dial,
    /// Its own encoder, if its codec has a memory and it does not go along with the mix's.
    pub(crate) own: Option<Box<Own>>,
    pub(crate) srtp: Option<Box<Session>>,
    /// The one that was in use before plain RTP.
    left_srtp: Option<Box<Session>>,
    /// Packets of the peer; there is one as soon as the peer is described.
    pub(crate) inlet: Option<Inlet>,
    pub(crate) outlet: Outlet,
    pub(crate) reports: Reports,
    /// What it adds to the present frame of the mix, if it `speaks`.
    pub(crate) voice: Voice,
    pub(crate) speaks: bool,
    /// What it says is forwarded to those who hear single speakers, and is not in what else they hear.
    pub(crate) sends_apart: bool,
    /// It hears single speakers, and beside them only who cannot be forwarded.
    pub(crate) hears_apart: bool,
    /// Its last frame was only what the filters still held.
    fades: bool,
    /// What it hears of the present frame.
    pub(crate) hears: Pass,
}

impl Leg {
    pub(crate) fn new(
        id: LegId,
        mix: MixId,
        muted: bool,
        deaf: bool,
        now: Time,
        random: &mut Random,
    ) -> Self {
        Self {
            id,
            mix,
            peer: None,
            next_mix: None,
            bound: false,
            closed: false,
            patience: Duration::ZERO,
            heard: None,
            audio: None,
            rate: Rate::Narrow,
            takes_events: false,
            muted,
            deaf,
            mouth: Gate::default(),
            ear: Gate::default(),
            dial: Dial::default(),
            own: None,
            srtp: None,
            left_srtp: None,
            inlet: None,
            outlet: Outlet::new(random),
            reports: Reports::new(now, random),
            voice: Voice::new(),
            speaks: false,
            sends_apart: false,
            hears_apart: false,
            fades: false,
            hears: Pass::Closed,
        }
    }

    /// The peer is described, or described anew.
    pub(crate) fn describe(&mut self, audio: AudioSetup, now: Time) {
        self.inlet
            .get_or_insert_with(|| Inlet::new(&audio, now))
            .signal(&audio, now);
        if self
            .audio
            .as_ref()
            .is_none_or(|before| before.format != audio.format)
        {
            self.outlet.restart(audio.format.codec);
            if !has_memory(audio.format.codec) {
                self.own = None;
            }
        }
        self.protect(audio.srtp.as_ref());
        self.rate = Rate::of(audio.format.codec);
        self.takes_events = !audio.format.events.is_empty();
        self.audio = Some(audio);
    }

    /// What was counted under a key outlives plain RTP, as the key may come back.
    fn protect(&mut self, keys: Option<&Srtp>) {
        match (&mut self.srtp, keys) {
            (None, None) => {}
            (Some(_), None) => self.left_srtp = self.srtp.take(),
            (Some(session), Some(keys)) => session.renew(keys),
            (None, Some(keys)) => {
                let before = self.left_srtp.take();
                self.srtp = Some(before.map_or_else(
                    || Box::new(Session::new(keys)),
                    |mut session| {
                        session.resume(keys);
                        session
                    },
                ));
            }
        }
    }

    /// Whether the mix may hear the peer from now on.
    pub(crate) fn may_speak(&self) -> bool {
        !self.muted && self.next_mix.is_none() && self.receives()
    }

    /// Whether packets of the peer are taken.
    pub(crate) fn receives(&self) -> bool {
        self.bound && self.audio.as_ref().is_some_and(|audio| audio.direction.receive)
    }

    /// Where audio goes, if the peer is to get any.
    pub(crate) fn sends_to(&self) -> Option<SocketAddr> {
        let sends = self.bound && self.audio.as_ref().is_some_and(|audio| audio.direction.send);
        let to = self.inlet.as_ref()?.latch.destination();
        (sends && usable(to)).then_some(to)
    }

    /// Where reports go.
    pub(crate) fn reports_to(&self) -> Option<SocketAddr> {
        let to = self.inlet.as_ref()?.control_destination()?;
        (self.bound && usable(to)).then_some(to)
    }

    /// Whether its audio is in its mix.
    pub(crate) const fn is_heard(&self) -> bool {
        self.mouth.is_open()
    }

    /// Whether nothing of it is in its mix any more, so that it may change to another at once.
    pub(crate) fn detached(&self) -> bool {
        !self.mouth.is_open() && !self.ear.is_open() && !self.voice.rings()
    }

    /// Prepares the leg's part of the next frame; says whether the peer began or stopped to talk.
    pub(crate) fn prepare(&mut self, arrivals: &mut Vec<Time>) -> Option<bool> {
        self.hears = self
            .ear
            .step(!self.deaf && self.next_mix.is_none() && self.sends_to().is_some());
        let may_speak = self.may_speak();
        let pass = self.mouth.step(may_speak);
        let (heard, change) = self.listen(pass, arrivals);
        // What the filters still hold is heard in the next frame.
        if !heard && self.voice.rings() {
            self.voice.own().fill(0);
            self.speaks = !std::mem::replace(&mut self.fades, true);
        } else {
            (self.speaks, self.fades) = (heard, false);
        }
        change
    }

    /// Takes the next frame of the peer; says whether it is to be heard.
    fn listen(&mut self, pass: Pass, arrivals: &mut Vec<Time>) -> (bool, Option<bool>) {
        let Some(inlet) = self.inlet.as_mut().filter(|_| pass != Pass::Closed) else {
            return (false, None);
        };
        let (heard, mut change) = inlet.take(&mut self.voice.frame, arrivals);
        if let Some(rate) = heard {
            self.voice.rate = rate;
            pass.shape(self.voice.own());
        }
        if pass == Pass::Closing {
            change = inlet.stop();
        }
        (heard.is_some(), change)
    }

    /// Whether the peer has become silent. While it is not to send it has all the time it wants.
    pub(crate) fn falls_silent(&mut self, now: Time) -> bool {
        let Some(heard) = self.heard.filter(|_| !self.patience.is_zero()) else {
            return false;
        };
        if !self.receives() {
            self.heard = Some(now);
            return false;
        }
        let silent = now.since(heard) >= self.patience;
        if silent {
            self.heard = None;
        }
        silent
    }

    /// What the leg moved so far.
    pub(crate) fn totals(&self) -> LegTotals {
        let (packets_in, late) = self
            .inlet
            .as_ref()
            .map_or((0, 0), |inlet| (inlet.packets, inlet.late));
        let reception = self.inlet.as_ref().and_then(|inlet| inlet.reception.as_ref());
        LegTotals {
            packets_in,
            packets_out: self.outlet.packets,
            lost: reception.map_or(0, Reception::lost),
            late,
            jitter_ms: reception.map_or(0.0, Reception::jitter_ms),
            peer: self.reports.peer,
        }
    }
}

/// Whether packets can go there; a peer on hold may name no address (RFC 3264 section 8.4).
fn usable(to: SocketAddr) -> bool {
    to.port() != 0 && !to.ip().is_unspecified()
}
