//! A video stream that a peer publishes: where each packet stands, what is missing, what is kept, and when a
//! picture is asked for.

use std::time::Duration;

use cordboard_model::Time;
use cordboard_model::media::peer::{HeaderExtensions, VideoCodec, VideoFormat, VideoSource};

use super::cache::Cache;
use super::missing::Missing;
use crate::counts::DropReason;
use crate::sequence::{Order, Reception};

/// Between two requests for a picture.
const REQUEST_PAUSE: Duration = Duration::from_millis(500);
/// A layer that was silent for so long is over, if another one is not.
const SILENT: Duration = Duration::from_secs(1);
/// Units of a video timestamp per second.
const CLOCK: u32 = 90_000;

/// One encoding of a source; so far each source has one.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) ssrc: u32,
    /// The SSRC of its retransmissions.
    pub(crate) rtx: Option<u32>,
    pub(crate) reception: Option<Reception>,
    pub(crate) cache: Cache,
    pub(crate) missing: Missing,
    /// Packets that came, and bytes of their payloads.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets that were asked for, and those that came for that.
    pub(crate) nacks: u64,
    pub(crate) recovered: u64,
    /// The peer's last sender report: the middle of its NTP time, and when it came.
    pub(crate) sender: Option<(u32, Time)>,
    /// Its next packet begins the stream anew.
    anew: bool,
    /// When its last packet came.
    pub(crate) seen: Time,
    /// The highest index; the first one is far from those of every other layer.
    highest: u64,
}

/// Where a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its sequence number with rollovers.
    pub(crate) index: u64,
    /// The stream has begun anew with it.
    pub(crate) anew: bool,
}

impl Layer {
    /// `number` is one that no other layer of the shard's life has.
    pub(crate) fn new(number: u64, ssrc: u32, rtx: Option<u32>) -> Self {
        Self {
            ssrc,
            rtx,
            reception: None,
            cache: Cache::default(),
            missing: Missing::default(),
            packets: 0,
            bytes: 0,
            nacks: 0,
            recovered: 0,
            sender: None,
            anew: false,
            seen: Time(0),
            highest: number << 36,
        }
    }

    /// Places a packet that came; returns how many are given up with it.
    pub(crate) fn place(
        &mut self,
        sequence: u16,
        timestamp: u32,
        stamp: Time,
        asks: bool,
    ) -> Result<(Place, u64), DropReason> {
        self.seen = stamp;
        let Some(reception) = &mut self.reception else {
            let mut reception = Reception::new(self.ssrc, sequence);
            reception.set_clock(CLOCK);
            reception.arrive(self.ssrc, sequence, timestamp, stamp);
            self.reception = Some(reception);
            // One round ahead, so that packets from before the first do not go below zero.
            self.highest += 1 << 16 | u64::from(sequence);
            self.anew = false; // it begins with this one
            return Ok((
                Place {
                    index: self.highest,
                    anew: true,
                },
                0,
            ));
        };
        match reception.arrive(self.ssrc, sequence, timestamp, stamp) {
            Order::Astray => Err(DropReason::OutOfSequence),
            Order::Restarted => {
                let lost = self.missing.clear();
                self.highest = ((self.highest >> 16) + 2) << 16 | u64::from(sequence);
                Ok((
                    Place {
                        index: self.highest,
                        anew: true,
                    },
                    lost,
                ))
            }
            // Copies are told by the cache, which looks farther back.
            Order::Newest | Order::Overtaken | Order::Duplicate => {
                let index = self.index(sequence);
                let anew = std::mem::take(&mut self.anew);
                let mut lost = 0;
                if index > self.highest {
                    if asks && index > self.highest + 1 {
                        lost = self.missing.pass(self.highest + 1, index, stamp);
                    }
                    self.highest = index;
                }
                Ok((Place { index, anew }, lost))
            }
        }
    }

    /// Places a packet that was sent again.
    pub(crate) fn place_again(&self, sequence: u16) -> Option<Place> {
        self.reception.as_ref()?;
        let index = self.index(sequence);
        (index <= self.highest).then_some(Place { index, anew: false })
    }

    fn index(&self, sequence: u16) -> u64 {
        let ahead = u64::from(sequence.wrapping_sub(self.highest as u16));
        if ahead < 1 << 15 {
            self.highest + ahead
        } else {
            self.highest + ahead - (1 << 16)
        }
    }
}

/// When a picture was asked for, and whether one is to be.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    asked: Option<Time>,
    wanted: bool,
    /// How often one was asked for.
    pub(crate) requests: u64,
    pub(crate) demands: u8,
}

impl Pictures {
    /// Somebody needs one.
    pub(crate) const fn want(&mut self) {
        self.wanted = true;
    }

    /// One has begun to arrive.
    pub(crate) const fn came(&mut self) {
        self.wanted = false;
    }

    /// Whether it is to be asked for now.
    pub(crate) fn due(&mut self, now: Time) -> bool {
        let due = self.wanted && self.asked.is_none_or(|last| now.since(last) >= REQUEST_PAUSE);
        if due {
            (self.asked, self.wanted) = (Some(now), false);
            self.requests += 1;
        }
        due
    }

    /// Whether it is time to ask again for somebody who still waits.
    pub(crate) fn overdue(&self, now: Time) -> bool {
        self.asked.is_none_or(|last| now.since(last) >= 2 * REQUEST_PAUSE)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) id: VideoSource,
    pub(crate) peer: usize,
    pub(crate) formats: Vec<VideoFormat>,
    pub(crate) extensions: HeaderExtensions,
    pub(crate) muted: bool,
    pub(crate) layers: Vec<Layer>,
    /// Keys of subscriptions.
    pub(crate) subscribers: Vec<usize>,
    pub(crate) pictures: Pictures,
}

impl Source {
    /// The format of a payload type, and whether it is that of its retransmissions.
    pub(crate) fn format(&self, payload_type: u8) -> Option<(&VideoFormat, bool)> {
        let mut formats = self.formats.iter();
        formats.find_map(|format| {
            let again = format.rtx == Some(payload_type);
            (again || format.payload_type == payload_type).then_some((format, again))
        })
    }

    /// The codec of a payload type that carries media.
    pub(crate) fn codec(&self, payload_type: u8) -> Option<VideoCodec> {
        let mut formats = self.formats.iter();
        formats
            .find(|format| format.payload_type == payload_type)
            .map(|format| format.codec)
    }

    /// Whether lost packets may be asked for.
    pub(crate) fn takes_nack(&self) -> bool {
        self.formats.iter().any(|format| format.feedback.nack)
    }

    /// The layer of this SSRC, where `None` is one that nobody has named yet.
    pub(crate) fn layer(&mut self, ssrc: u32) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|layer| layer.ssrc == ssrc)
    }

    /// Whether the layer of this SSRC is the one that is forwarded: the first, unless it is silent and another one
    /// is not.
    pub(crate) fn is_main(&mut self, ssrc: u32, now: Time) -> bool {
        let Some(at) = self.layers.iter().position(|layer| layer.ssrc == ssrc) else {
            return false;
        };
        if at > 0 && now.since(self.layers[0].seen) > SILENT {
            self.layers.swap(0, at);
            // Subscribers see it begin: its numbers are others.
            self.layers[0].anew = true;
            self.pictures.want();
        }
        self.layers[0].ssrc == ssrc
    }
}
