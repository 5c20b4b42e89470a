//! What one peer is sent of another's video: its numbers, its payload types, and what it may ask for again.

use std::time::Duration;

use cordboard_model::Time;
use cordboard_model::media::PeerReport;
use cordboard_model::media::peer::{HeaderExtensions, VideoFormat, VideoSource};

use super::rewrite::Rewrite;
use super::stamp::Stamps;

/// Packets that may be asked for again at once, and per second.
const RESENDS: u32 = 400;
/// A stream whose key frames nobody can tell is forwarded as it is after this long.
const BLIND: Duration = Duration::from_secs(3);

/// From a payload type of the source to ours: its media, and its retransmissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypePair {
    pub(crate) theirs: u8,
    pub(crate) ours: u8,
    pub(crate) rtx: Option<u8>,
}

/// What was sent, as a sender report says it, and what was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SentTotals {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) reported: u64,
    /// Packets that the peer asked for again, and those that it got.
    pub(crate) nacks: u64,
    pub(crate) resends: u64,
    /// Pictures that it asked for.
    pub(crate) plis: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) peer: usize,
    pub(crate) mid: String,
    pub(crate) wanted: VideoSource,
    /// The key of the source, while it is there and in the same mix.
    pub(crate) source: Option<usize>,
    pub(crate) ssrc: u32,
    /// The SSRC of our retransmissions.
    pub(crate) rtx: Option<u32>,
    pub(crate) formats: Vec<VideoFormat>,
    pub(crate) extensions: HeaderExtensions,
    pub(crate) types: Vec<TypePair>,
    pub(crate) rewrite: Rewrite,
    /// What was written into packets that are sent again as they were.
    pub(crate) stamps: Stamps,
    /// The index of the next retransmission.
    pub(crate) rtx_next: u64,
    /// Nothing is forwarded before the next key frame.
    pub(crate) waits: bool,
    waits_since: Option<Time>,
    /// The last demand for a full picture (RFC 5104 section 4.3.1.1: repeats have its number).
    pub(crate) demand: Option<u8>,
    resends: u32,
    refilled: Time,
    pub(crate) sent: SentTotals,
    /// What the peer reported last.
    pub(crate) report: Option<PeerReport>,
}

impl Subscription {
    pub(crate) fn new(
        peer: usize,
        mid: String,
        wanted: VideoSource,
        ssrc: u32,
        rewrite: Rewrite,
        now: Time,
    ) -> Self {
        Self {
            peer,
            mid,
            wanted,
            source: None,
            ssrc,
            rtx: None,
            formats: Vec::new(),
            extensions: HeaderExtensions::default(),
            types: Vec::new(),
            rewrite,
            stamps: Stamps::default(),
            rtx_next: 0,
            waits: true,
            waits_since: None,
            demand: None,
            resends: RESENDS,
            refilled: now,
            sent: SentTotals::default(),
            report: None,
        }
    }

    /// Waits for the next key frame.
    pub(crate) const fn wait(&mut self) {
        (self.waits, self.waits_since) = (true, None);
    }

    /// Which payload types of the source we can send, and as which.
    pub(crate) fn pair_types(&mut self, theirs: &[VideoFormat]) {
        let before = std::mem::take(&mut self.types);
        for format in theirs {
            let mut ours = self.formats.iter();
            let alike = ours.find(|ours| {
                ours.codec == format.codec && ours.parameters.eq_ignore_ascii_case(&format.parameters)
            });
            if let Some(ours) = alike {
                self.types.push(TypePair {
                    theirs: format.payload_type,
                    ours: ours.payload_type,
                    rtx: ours.rtx,
                });
            }
        }
        if self.types != before {
            self.rewrite.forget();
            self.wait();
        }
    }

    pub(crate) fn pair(&self, payload_type: u8) -> Option<TypePair> {
        self.types
            .iter()
            .find(|pair| pair.theirs == payload_type)
            .copied()
    }

    /// Whether a packet may be forwarded: everything after the first key frame.
    pub(crate) fn opens(&mut self, key_frame: bool, now: Time) -> bool {
        let since = *self.waits_since.get_or_insert(now);
        key_frame || now.since(since) >= BLIND
    }

    /// Whether one more packet may be sent again.
    pub(crate) fn may_resend(&mut self, now: Time) -> bool {
        let more = now.since(self.refilled).as_millis() as u64 * u64::from(RESENDS) / 1000;
        if more > 0 {
            self.refilled = now;
            self.resends = RESENDS.min(self.resends + more.min(u64::from(RESENDS)) as u32);
        }
        let may = self.resends > 0;
        self.resends -= u32::from(may);
        may
    }

    /// The index of the next retransmission.
    pub(crate) const fn next_rtx(&mut self) -> u64 {
        self.rtx_next += 1;
        self.rtx_next
    }
}
