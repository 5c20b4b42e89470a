//! One media line of a WebRTC call.

use cordboard_model::media::peer::{
    AudioLine, HeaderExtensions, VideoFlow, VideoFormat, VideoLine, VideoSource, VoiceLine,
};
use cordboard_model::media::{AudioFormat, Direction};

use super::video::Format;

/// A line, as we describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// `a=mid`; `None` for a refused line without one.
    pub(super) mid: Option<String>,
    pub(super) kind: String,
    pub(super) protocol: String,
    /// Whether RTCP on the port of RTP was offered on this very line; a line of a bundle may leave that to another.
    pub(super) mux: bool,
    pub(super) content: Content,
}

/// What a line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Port 0, for good; the formats mean nothing, but there must be one.
    Refused(String),
    Audio(Audio),
    Voice(Voice),
    Camera(Camera),
    Slot(Slot),
}

/// The mix, and what the peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Audio {
    pub(super) format: AudioFormat,
    /// Which way it flows, seen from us.
    pub(super) direction: Direction,
    pub(super) track: Track,
    pub(super) remote_ssrcs: Vec<u32>,
    pub(super) extensions: HeaderExtensions,
    /// The peer has refused the line in its last answer; we offer it again.
    pub(super) off: bool,
}

/// A line on which the peer hears one speaker, whoever that is at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voice {
    /// Opus, and nothing else.
    pub(super) format: AudioFormat,
    pub(super) track: Track,
    pub(super) extensions: HeaderExtensions,
    /// The peer does not want to hear it now.
    pub(super) held: bool,
}

/// What the peer shows to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Camera {
    pub(super) formats: Vec<Format>,
    pub(super) extensions: HeaderExtensions,
    /// Whether the peer sends on it now.
    pub(super) flowing: bool,
    pub(super) ssrcs: Vec<(u32, Option<u32>)>,
}

/// A line on which the peer sees another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) formats: Vec<Format>,
    pub(super) extensions: HeaderExtensions,
    pub(super) shows: Option<Shown>,
    /// The peer does not want to see it now.
    pub(super) held: bool,
}

/// What a slot shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) source: VideoSource,
    pub(super) label: String,
    pub(super) track: Track,
    /// The SSRC of retransmissions.
    pub(super) rtx: u32,
}

/// How what we send on a line is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) ssrc: u32,
    pub(super) cname: String,
    /// The media stream and its track (RFC 8830).
    pub(super) stream: String,
    pub(super) id: String,
}

impl Line {
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.content, Content::Refused(_))
    }

    /// Whether both sides have the line; one that either refuses may get another name (RFC 8829 section 5.2.2).
    pub(super) fn is_used(&self) -> bool {
        !self.is_refused() && !self.audio().is_some_and(|audio| audio.off)
    }

    pub(super) fn slot(&self) -> Option<&Slot> {
        match &self.content {
            Content::Slot(slot) => Some(slot),
            _ => None,
        }
    }

    pub(super) fn slot_mut(&mut self) -> Option<&mut Slot> {
        match &mut self.content {
            Content::Slot(slot) => Some(slot),
            _ => None,
        }
    }

    pub(super) fn audio(&self) -> Option<&Audio> {
        match &self.content {
            Content::Audio(audio) => Some(audio),
            _ => None,
        }
    }

    pub(super) fn voice(&self) -> Option<&Voice> {
        match &self.content {
            Content::Voice(voice) => Some(voice),
            _ => None,
        }
    }

    /// What the media side is told of it.
    pub(super) fn audio_setup(&self) -> Option<AudioLine> {
        let audio = self.audio()?;
        Some(AudioLine {
            mid: self.mid.clone().unwrap_or_default(),
            format: audio.format.clone(),
            direction: audio.direction,
            ssrc: audio.track.ssrc,
            remote_ssrcs: audio.remote_ssrcs.clone(),
            extensions: audio.extensions,
        })
    }

    /// The same of a line for a single speaker, unless nothing is to travel on it.
    pub(super) fn voice_setup(&self) -> Option<VoiceLine> {
        let voice = self.voice().filter(|voice| !voice.held)?;
        Some(VoiceLine {
            mid: self.mid.clone().unwrap_or_default(),
            payload_type: voice.format.payload_type,
            ssrc: voice.track.ssrc,
            extensions: voice.extensions,
        })
    }

    /// The same of a video line; `hidden`: nobody is to see what the peer sends, `blind`: it is to see nobody.
    pub(super) fn video_setup(&self, hidden: bool, blind: bool) -> Option<VideoLine> {
        let (formats, extensions, flow) = match &self.content {
            Content::Camera(camera) if camera.flowing => {
                let flow = VideoFlow::Publish {
                    ssrcs: camera.ssrcs.clone(),
                    muted: hidden,
                };
                (&camera.formats, camera.extensions, flow)
            }
            Content::Camera(camera) => (&camera.formats, camera.extensions, VideoFlow::Inactive),
            Content::Slot(slot) => {
                let shows = slot.shows.as_ref().filter(|_| !slot.held && !blind);
                let flow = shows.map_or(VideoFlow::Inactive, |shown| VideoFlow::Subscribe {
                    source: shown.source.clone(),
                    ssrc: shown.track.ssrc,
                    rtx: Some(shown.rtx).filter(|_| slot.has_rtx()),
                });
                (&slot.formats, slot.extensions, flow)
            }
            _ => return None,
        };
        let formats: Vec<VideoFormat> = formats.iter().map(|format| format.known.clone()).collect();
        Some(VideoLine {
            mid: self.mid.clone().unwrap_or_default(),
            formats,
            extensions,
            flow,
        })
    }

    /// Every SSRC that is taken by this line, at either end.
    pub(super) fn ssrcs(&self) -> Vec<u32> {
        match &self.content {
            Content::Refused(_) => Vec::new(),
            Content::Audio(audio) => {
                let theirs = audio.remote_ssrcs.iter().copied();
                theirs.chain([audio.track.ssrc]).collect()
            }
            Content::Voice(voice) => vec![voice.track.ssrc],
            Content::Camera(camera) => camera
                .ssrcs
                .iter()
                .flat_map(|(own, rtx)| std::iter::once(*own).chain(*rtx))
                .collect(),
            Content::Slot(slot) => slot
                .shows
                .iter()
                .flat_map(|shown| [shown.track.ssrc, shown.rtx])
                .collect(),
        }
    }
}

impl Slot {
    pub(super) fn has_rtx(&self) -> bool {
        self.formats.iter().any(|format| format.known.rtx.is_some())
    }
}

/// The SSRCs that a line of the peer names, each with that of its retransmissions; what only repeats others
/// (FEC) is left out.
pub(super) fn remote_ssrcs(media: &crate::sdp::Media<'_>) -> Vec<(u32, Option<u32>)> {
    /// One camera in three layers with retransmissions has six.
    const MOST: usize = 8;
    let mut streams: Vec<(u32, Option<u32>)> = Vec::new();
    let mut others: Vec<u32> = Vec::new();
    for line in media.attributes.iter().filter(|a| a.name == "ssrc-group") {
        let mut words = line.value.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<u32> = words.map_while(|word| word.parse().ok()).take(MOST).collect();
        match (kind, &numbers[..]) {
            ("FID", [own, rtx]) => {
                streams.push((*own, Some(*rtx)));
                others.push(*rtx);
            }
            ("FEC-FR" | "FEC", [_, fec]) => others.push(*fec),
            _ => {}
        }
    }
    for line in media.attributes.iter().filter(|a| a.name == "ssrc") {
        let number = line.value.split_ascii_whitespace().next();
        let Some(number) = number.and_then(|text| text.parse().ok()) else {
            continue;
        };
        let known = others.contains(&number) || streams.iter().any(|(own, _)| *own == number);
        if !known && streams.len() < MOST {
            streams.push((number, None));
        }
    }
    streams.retain(|(own, _)| !others.contains(own));
    streams.truncate(MOST);
    streams
}
