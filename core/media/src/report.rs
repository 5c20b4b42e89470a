//! When a leg reports by RTCP, and what the peer's reports say.

use std::time::Duration;

use cordboard_model::Time;
use cordboard_model::media::PeerReport;

use crate::counts::{Counts, DropReason};
use crate::outlet::{Outlet, Way};
use crate::random::Random;
use crate::rtcp::{self, Block, Item, Sent};
use crate::sequence::Reception;

/// Mean time between two reports; each interval is half to one and a half of it (RFC 3550 section 6.2).
const INTERVAL_MS: u64 = 5000;

/// One leg's reports.
#[derive(Debug)]
pub(crate) struct Reports {
    due: Time,
    sent_packets: u64,
    /// The peer's last sender report: source, middle of its NTP time, and when it came.
    sender: Option<(u32, u32, Time)>,
    pub(crate) peer: Option<PeerReport>,
}

impl Reports {
    pub(crate) fn new(now: Time, random: &mut Random) -> Self {
        Self {
            due: next_due(now, random),
            sent_packets: 0,
            sender: None,
            peer: None,
        }
    }

    pub(crate) fn due(&self, now: Time) -> bool {
        now >= self.due
    }

    /// Takes a packet from the peer, if it is RTCP. Our own stream is `ssrc`, its RTP clock `clock`.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        (ssrc, clock): (u32, u32),
        stamp: Time,
        counts: &mut Counts,
    ) -> Result<(), DropReason> {
        let read = rtcp::read(bytes, |item| match item {
            Item::Sender { ssrc, middle } => self.sender = Some((ssrc, middle, stamp)),
            Item::Block(block) if block.ssrc == ssrc => {
                let report = peer_report(&block, clock, stamp);
                counts.peer_reported(self.peer.replace(report), &report);
            }
            Item::Block(_) | Item::Goodbye { .. } => {}
        });
        counts.control_in += u64::from(read);
        read.then_some(()).ok_or(DropReason::Malformed)
    }

    /// Writes the next report, the last one if the leg is `leaving`; returns how many packets are newly known to be lost.
    pub(crate) fn send(
        &mut self,
        now: Time,
        reception: Option<&mut Reception>,
        outlet: &Outlet,
        (way, muxed): (&mut Way<'_>, bool),
        leaving: bool,
        random: &mut Random,
    ) -> u64 {
        self.due = next_due(now, random);
        let mut newly_lost = 0;
        let block = reception.map(|reception| {
            let interval = reception.interval();
            newly_lost = interval.newly_lost;
            let (last_report, delay) = self.echo(reception.ssrc(), now);
            Block {
                ssrc: reception.ssrc(),
                fraction_lost: interval.fraction_lost,
                total_lost: interval.total_lost.min(0x7f_ffff) as u32,
                highest: interval.highest,
                jitter: interval.jitter,
                last_report,
                delay,
            }
        });
        let sent = (outlet.packets > self.sent_packets).then(|| Sent {
            at: now,
            timestamp: outlet.timestamp(),
            packets: outlet.packets as u32,
            bytes: outlet.payload_bytes as u32,
        });
        self.sent_packets = outlet.packets;
        let write = |bytes: &mut Vec<u8>| {
            rtcp::write(bytes, outlet.ssrc, sent, block, &outlet.cname, leaving);
        };
        way.outbox
            .push_control(way.leg, muxed, way.to, way.srtp.as_deref_mut(), write);
        newly_lost
    }

    /// Which sender report the peer can measure its round trip by.
    fn echo(&self, ssrc: u32, now: Time) -> (u32, u32) {
        match self.sender {
            Some((from, middle, came)) if from == ssrc => {
                (middle, (now.since(came).as_micros() * 65_536 / 1_000_000) as u32)
            }
            _ => (0, 0),
        }
    }
}

/// What a block says about our stream, whose RTP clock is `clock`.
pub(crate) fn peer_report(block: &Block, clock: u32, stamp: Time) -> PeerReport {
    let round_trip = (block.last_report != 0).then(|| {
        let now = rtcp::middle(rtcp::ntp(stamp));
        now.wrapping_sub(block.last_report).wrapping_sub(block.delay)
    });
    // Clocks that disagree by a little give a negative time; what is over a minute is nonsense.
    let round_trip = round_trip.map(|units| if units.cast_signed() < 0 { 0 } else { units });
    PeerReport {
        // 24 bits with a sign: duplicates may make it negative.
        lost: if block.total_lost < 0x80_0000 {
            block.total_lost
        } else {
            0
        },
        jitter_ms: block.jitter as f32 * 1000.0 / clock as f32,
        round_trip: round_trip
            .filter(|units| *units < 60 << 16)
            .map(|units| Duration::from_micros(u64::from(units) * 1_000_000 / 65_536)),
    }
}

const fn interval_ms(random: &mut Random) -> u64 {
    random.between(INTERVAL_MS / 2, INTERVAL_MS * 3 / 2)
}

fn next_due(now: Time, random: &mut Random) -> Time {
    now + Duration::from_millis(interval_ms(random))
}
