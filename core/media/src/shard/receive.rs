//! Packets that come.

use std::net::SocketAddr;

use cordboard_model::media::MediaEvent;
use cordboard_model::{LegId, Time};

use super::Shard;
use crate::counts::DropReason;
use crate::inlet::Arrival;
use crate::latch::Door;
use crate::rtp::is_rtcp;

/// Bytes of the longest packet that is unprotected.
const MAX_PACKET: usize = 2048;

impl Shard {
    /// Takes a datagram that came on a leg's RTP port; RTCP is told from RTP here, too (RFC 5761).
    ///
    /// `stamp` is when the kernel received it, `now` when the shell read it.
    pub fn packet(&mut self, leg: LegId, source: SocketAddr, bytes: &[u8], stamp: Time, now: Time) {
        if is_rtcp(bytes) {
            self.control_packet(leg, source, bytes, stamp, now);
        } else if let Err(reason) = self.receive(leg, source, bytes, stamp.min(now)) {
            self.counts.drop(reason);
        }
    }

    /// Takes a datagram that came on a leg's RTCP port.
    pub fn control_packet(&mut self, leg: LegId, source: SocketAddr, bytes: &[u8], stamp: Time, now: Time) {
        if let Err(reason) = self.receive_control(leg, source, bytes, stamp.min(now)) {
            self.counts.drop(reason);
        }
    }

    fn receive(
        &mut self,
        id: LegId,
        source: SocketAddr,
        bytes: &[u8],
        stamp: Time,
    ) -> Result<(), DropReason> {
        let key = self.index.get(&id).ok_or(DropReason::NotReady)?;
        let leg = &mut self.legs[*key];
        let next_tick = self.next_tick.ok_or(DropReason::NotReady)?;
        let listen = leg.may_speak();
        let receives = leg.receives();
        let (Some(inlet), Some(audio)) = (&mut leg.inlet, &leg.audio) else {
            return Err(DropReason::NotReady);
        };
        let door = match leg.srtp {
            Some(_) => Door::Proven,
            None if audio.direction.receive => Door::Open,
            None => Door::Closed,
        };
        let mut open;
        let bytes = match &mut leg.srtp {
            Some(session) => {
                open = [0; MAX_PACKET];
                unprotected(bytes, &mut open, |packet| session.unprotect(packet))?
            }
            None => bytes,
        };
        let arrival = Arrival {
            source,
            stamp,
            next_tick,
            level: None,
            door,
        };
        let key = inlet.receive(bytes, arrival, audio, listen, &mut self.counts)?;
        leg.heard = Some(stamp);
        if let Some(digit) = key.filter(|_| receives) {
            self.events.push_back(MediaEvent::Digit { leg: id, digit });
        }
        Ok(())
    }

    fn receive_control(
        &mut self,
        leg: LegId,
        source: SocketAddr,
        bytes: &[u8],
        stamp: Time,
    ) -> Result<(), DropReason> {
        let key = self.index.get(&leg).ok_or(DropReason::NotReady)?;
        let leg = &mut self.legs[*key];
        let inlet = leg.inlet.as_mut().ok_or(DropReason::NotReady)?;
        if !inlet.admit_control(source) {
            return Err(DropReason::ForeignSource);
        }
        let mut open;
        let bytes = match &mut leg.srtp {
            Some(session) => {
                open = [0; MAX_PACKET];
                unprotected(bytes, &mut open, |packet| session.unprotect_control(packet))?
            }
            None => bytes,
        };
        let clock = leg
            .audio
            .as_ref()
            .map_or(8000, |audio| audio.format.codec.clock());
        leg.reports
            .receive(bytes, (leg.outlet.ssrc, clock), stamp, &mut self.counts)?;
        inlet.reported(source.ip(), bytes, stamp);
        leg.heard = Some(stamp);
        Ok(())
    }
}

/// A copy of a packet, unprotected.
fn unprotected<'a>(
    bytes: &[u8],
    open: &'a mut [u8; MAX_PACKET],
    unprotect: impl FnOnce(&mut [u8]) -> Result<usize, DropReason>,
) -> Result<&'a [u8], DropReason> {
    let packet = open.get_mut(..bytes.len()).ok_or(DropReason::Malformed)?;
    packet.copy_from_slice(bytes);
    let len = unprotect(packet)?;
    Ok(&packet[..len])
}
