//! What we offer: everybody whom the peer is to see, each on a line of their own.

use cordboard_model::media::peer::{HeaderExtensions, VideoSource};
use cordboard_model::media::{AudioFormat, Codec, OpusLimit};

use super::bundle::{Bundle, Terms, shown};
use super::line::{Audio, Camera, Content, Line, Shown, Slot, Voice};
use super::video::Format;
use super::{extension, video, write};
use crate::sdp::negotiate::{Capabilities, Origin};
use crate::sdp::offer_answer::offered;

/// The most lines of one call: a description must fit into what is read of an answer.
const MOST_LINES: usize = 32;
/// Single speakers that a peer hears.
const VOICES: usize = 3;
/// The profile of our own lines.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// Somebody whom a peer is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The video.
    pub source: VideoSource,
    /// By what conference events call them (RFC 4574).
    pub label: String,
}

impl Bundle {
    /// Our offer: what holds, with the audio as `terms` have it now, and with those whom the peer is to see.
    /// Nothing of it holds before the answer.
    pub fn offer(
        &mut self,
        wanted: &[Wanted],
        terms: Terms<'_>,
        origin: &mut Origin,
        chance: &mut dyn FnMut() -> u64,
    ) -> String {
        let mut lines = self.planned(wanted, terms, chance);
        for line in &mut lines {
            if let Content::Audio(audio) = &mut line.content {
                audio.direction = terms.audio.direction;
            }
        }
        let text = origin.say(|id, version| write::description(self, &lines, write::OFFERED, id, version));
        self.proposed = Some(lines);
        text
    }

    /// Whether our open offer leaves somebody out for whom there is no line any more.
    pub fn is_full(&self, wanted: &[Wanted]) -> bool {
        let Some(lines) = self.proposed.as_ref().filter(|lines| lines.len() >= MOST_LINES) else {
            return false;
        };
        let is_shown = |wanted: &Wanted| lines.iter().any(|line| shown(line) == Some(&wanted.source));
        !wanted.iter().all(is_shown)
    }

    /// Our offer is answered for good, or refused: what was settled by then holds.
    pub fn conclude(&mut self) {
        self.proposed = None;
    }

    /// Whether an offer would change what the peer sees.
    pub fn is_news(&self, wanted: &[Wanted], terms: Terms<'_>) -> bool {
        let mut number = 0;
        let mut chance = || {
            number += 1 << 32;
            number
        };
        let planned = self.planned(wanted, terms, &mut chance);
        planned.len() != self.lines.len() || !planned.iter().map(shown).eq(self.lines.iter().map(shown))
    }

    fn planned(&self, wanted: &[Wanted], terms: Terms<'_>, chance: &mut dyn FnMut() -> u64) -> Vec<Line> {
        if self.lines.is_empty() {
            return self.first_lines(terms, chance);
        }
        let mut lines = self.lines.clone();
        let is_wanted = |source: &VideoSource| wanted.iter().any(|wanted| wanted.source == *source);
        for slot in lines.iter_mut().filter_map(Line::slot_mut) {
            if slot.shows.as_ref().is_some_and(|shown| !is_wanted(&shown.source)) {
                slot.shows = None;
            }
        }
        if !self.bundled {
            // More lines would need transports of their own.
            return lines;
        }
        self.add_voices(&mut lines, terms, chance);
        let Some((formats, extensions)) = self.example().filter(|_| terms.video && !self.blind) else {
            return lines;
        };
        for wanted in wanted {
            if lines
                .iter()
                .any(|line| shown(line).is_some_and(|source| *source == wanted.source))
            {
                continue;
            }
            let track = self.new_track(&lines, chance);
            let rtx = self.new_ssrc(&lines, &[track.ssrc], chance);
            let shows = Shown {
                source: wanted.source.clone(),
                label: wanted.label.clone(),
                track,
                rtx,
            };
            // A line whose video ends with this very offer is not used again before the peer has seen it end:
            // a browser tells its page of a new stream only where there was none.
            let free = lines
                .iter()
                .zip(self.lines.iter())
                .position(|(now, before)| is_free(now) && is_free(before));
            if let Some(slot) = free.and_then(|place| lines[place].slot_mut()) {
                slot.shows = Some(shows);
                continue;
            }
            if lines.len() >= MOST_LINES {
                break;
            }
            let slot = Slot {
                formats: formats.clone(),
                extensions,
                shows: Some(shows),
                held: false,
            };
            let mid = new_mid("video", &lines);
            lines.push(new_line("video", &mid, Content::Slot(slot)));
        }
        lines
    }

    /// Lines for single speakers, where they are heard so: once, and then they stay.
    fn add_voices(&self, lines: &mut Vec<Line>, terms: Terms<'_>, chance: &mut dyn FnMut() -> u64) {
        if !terms.voices || self.mixed || lines.iter().any(|line| line.voice().is_some()) {
            return;
        }
        let Some(audio) = lines.iter().find_map(Line::audio) else {
            return;
        };
        let mut known = audio.format.receive.iter();
        let Some(opus) = known.find(|(_, codec)| *codec == Codec::Opus).copied() else {
            return;
        };
        let format = AudioFormat {
            codec: Codec::Opus,
            payload_type: opus.0,
            receive: vec![opus],
            events: Vec::new(),
            comfort_noise: None,
            opus: OpusLimit::default(),
            packet_ms: 20,
        };
        let extensions = audio.extensions;
        for _ in 0..VOICES {
            let voice = Voice {
                format: format.clone(),
                track: self.new_track(lines, chance),
                extensions,
                held: false,
            };
            let mid = new_mid("audio", lines);
            lines.push(new_line("audio", &mid, Content::Voice(voice)));
        }
    }

    /// The lines of a call that begins with our offer: audio, and where there is video the peer's camera.
    fn first_lines(&self, terms: Terms<'_>, chance: &mut dyn FnMut() -> u64) -> Vec<Line> {
        let format = offered(&best_first(terms.audio), None);
        let audio = Audio {
            format,
            direction: terms.audio.direction,
            track: self.new_track(&[], chance),
            remote_ssrcs: Vec::new(),
            extensions: extension::FIRST_AUDIO,
            off: false,
        };
        let mut lines = vec![new_line("audio", "0", Content::Audio(audio))];
        if terms.video {
            let camera = Camera {
                formats: video::first(),
                extensions: extension::FIRST_VIDEO,
                flowing: true,
                ssrcs: Vec::new(),
            };
            lines.push(new_line("video", "1", Content::Camera(camera)));
        }
        lines
    }

    /// Payload types, feedback and extensions of new lines: those of the peer's first video line.
    fn example(&self) -> Option<(&Vec<Format>, HeaderExtensions)> {
        self.lines.iter().find_map(|line| match &line.content {
            Content::Camera(camera) => Some((&camera.formats, camera.extensions)),
            Content::Slot(slot) => Some((&slot.formats, slot.extensions)),
            _ => None,
        })
    }
}

/// `video-2` for the third line, unless the peer has named one so.
fn new_mid(kind: &str, lines: &[Line]) -> String {
    let taken = |mid: &str| lines.iter().any(|line| line.mid.as_deref() == Some(mid));
    let mut numbers = lines.len()..;
    loop {
        let number = numbers.next().expect("there are more numbers than lines");
        let mid = format!("{kind}-{number}");
        if !taken(&mid) {
            return mid;
        }
    }
}

fn new_line(kind: &str, mid: &str, content: Content) -> Line {
    Line {
        mid: Some(mid.to_owned()),
        kind: kind.to_owned(),
        protocol: PROTOCOL.to_owned(),
        mux: true,
        content,
    }
}

/// Whether a line is a slot that shows nobody.
fn is_free(line: &Line) -> bool {
    line.slot().is_some_and(|slot| slot.shows.is_none())
}

/// Browsers get the best codec first, whatever phones are offered.
pub(super) fn best_first(ours: &Capabilities) -> Capabilities {
    let known = |codec: &Codec| ours.codecs.contains(codec);
    Capabilities {
        codecs: Codec::ALL.into_iter().filter(known).collect(),
        ..ours.clone()
    }
}
