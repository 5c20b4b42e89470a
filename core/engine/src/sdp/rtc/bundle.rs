//! What both descriptions of a WebRTC call say, from the first offer to the last.

use cordboard_model::media::Codec;
use cordboard_model::media::peer::{LocalPeer, PeerSetup, VideoSource};

use super::line::{Content, Line, Track};
use super::transport::Remote;
use crate::sdp::negotiate::Capabilities;

/// What we take and give in a call with a WebRTC peer.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Audio: codecs, and which way it may flow.
    pub audio: &'a Capabilities,
    /// Whether there is any video.
    pub video: bool,
    /// Whether the peer is to hear single speakers on lines of their own.
    pub voices: bool,
}

/// All lines of a call, which share one transport (RFC 9143).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    pub(super) local: Option<LocalPeer>,
    pub(super) remote: Option<Remote>,
    /// Whether we begin the handshake: settled once (RFC 8842 section 5).
    pub(super) dtls_client: Option<bool>,
    /// Whether the peer's last description had its lines share the transport: otherwise there is only one.
    pub(super) bundled: bool,
    /// What holds.
    pub(super) lines: Vec<Line>,
    /// What we have offered and the peer has not answered.
    pub(super) proposed: Option<Vec<Line>>,
    /// The peer has refused to see somebody: it is not asked again before it offers video itself.
    pub(super) blind: bool,
    /// The peer has refused a line for a single speaker: it hears the mix.
    pub(super) mixed: bool,
    /// What our audio is called, also while the peer has turned its line off: one stream of one source for life.
    pub(super) audio: Option<Track>,
    /// RTCP of reduced size (RFC 5506) is taken.
    pub(super) reduced_size: bool,
}

impl Bundle {
    /// For a peer whose transport the media side has made.
    pub fn open(&mut self, local: LocalPeer) {
        self.local = Some(local);
    }

    /// Whether [`Bundle::open`] was called: before that nothing can be described.
    pub const fn is_open(&self) -> bool {
        self.local.is_some()
    }

    /// What the media side is to do; `None` before both have described themselves. `hidden`: nobody is to see
    /// what the peer shows; `blind`: it is to see nobody, whatever it was shown before.
    pub fn setup(&self, hidden: bool, blind: bool) -> Option<PeerSetup> {
        let (local, remote) = (self.local.as_ref()?, self.remote.as_ref()?);
        Some(PeerSetup {
            ice: remote.ice.clone(),
            local: local.ice.clone(),
            dtls_client: self.dtls_client?,
            fingerprints: remote.fingerprints.clone(),
            audio: self.lines.iter().find_map(Line::audio_setup),
            voices: self.lines.iter().filter_map(Line::voice_setup).collect(),
            video: self
                .lines
                .iter()
                .filter_map(|line| line.video_setup(hidden, blind))
                .collect(),
        })
    }

    /// The line on which the peer shows itself now, if it does.
    pub fn camera(&self) -> Option<&str> {
        let shows = |line: &&Line| matches!(&line.content, Content::Camera(camera) if camera.flowing);
        self.lines.iter().find(shows)?.mid.as_deref()
    }

    /// Whether there is any video line that is not refused.
    pub fn has_video(&self) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(line.content, Content::Camera(_) | Content::Slot(_)))
    }

    /// Whose videos the peer sees by what both have said.
    pub fn seen(&self) -> impl Iterator<Item = &VideoSource> {
        self.lines.iter().filter_map(shown)
    }

    /// The codec of the audio line.
    pub fn codec(&self) -> Option<Codec> {
        let audio = self.lines.iter().find_map(Line::audio)?;
        Some(audio.format.codec)
    }

    /// These lines hold from now on. Our audio keeps its name while its line is turned off.
    pub(super) fn settle(&mut self, lines: Vec<Line>) {
        if let Some(audio) = lines.iter().find_map(Line::audio) {
            self.audio = Some(audio.track.clone());
        }
        self.lines = lines;
    }

    /// A track that nothing else in this call is named like.
    pub(super) fn new_track(&self, lines: &[Line], chance: &mut dyn FnMut() -> u64) -> Track {
        Track {
            ssrc: self.new_ssrc(lines, &[], chance),
            cname: format!("{:016x}", chance()),
            stream: uuid(chance),
            id: uuid(chance),
        }
    }

    /// An SSRC that nobody in this call has (RFC 3550 section 8).
    pub(super) fn new_ssrc(&self, lines: &[Line], more: &[u32], chance: &mut dyn FnMut() -> u64) -> u32 {
        let proposed = self.proposed.iter().flatten();
        let all = self.lines.iter().chain(lines).chain(proposed);
        let audio = self.audio.iter().map(|track| track.ssrc);
        let taken: Vec<u32> = all
            .flat_map(Line::ssrcs)
            .chain(audio)
            .chain(more.iter().copied())
            .collect();
        loop {
            let ssrc = (chance() >> 32) as u32;
            if ssrc != 0 && !taken.contains(&ssrc) {
                return ssrc;
            }
        }
    }
}

/// Whom a slot shows.
pub(super) fn shown(line: &Line) -> Option<&VideoSource> {
    line.slot()?.shows.as_ref().map(|shown| &shown.source)
}

/// A random UUID (RFC 9562 section 5.4).
fn uuid(chance: &mut dyn FnMut() -> u64) -> String {
    let (high, low) = (chance(), chance());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}
