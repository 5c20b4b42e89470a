//! Header extensions that are others in every packet: when it left, and its number on the way to a peer.

use cordboard_model::Time;
use cordboard_model::media::peer::HeaderExtensions;

use super::peer::Peer;

/// Packets whose stamps are kept; as many as can be asked for again. A power of two.
const KEPT: usize = 1024;

/// The values in one packet, as they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it left: seconds with 6 bits before the point and 18 after it.
    pub(crate) time: [u8; 3],
    /// Its number among all packets of lines that count.
    pub(crate) number: [u8; 2],
}

impl Peer {
    /// The stamp of the next packet of a line with these extensions.
    pub(crate) fn stamp(&mut self, extensions: &HeaderExtensions, now: Time) -> Stamp {
        let mut stamp = Stamp::default();
        if extensions.abs_send_time.is_some() {
            let units = ((now.0 % 64_000_000_000) << 18) / 1_000_000_000;
            let [_, time @ ..] = (units as u32).to_be_bytes();
            stamp.time = time;
        }
        if extensions.transport_cc.is_some() {
            stamp.number = self.numbered.to_be_bytes();
            self.numbered = self.numbered.wrapping_add(1);
        }
        stamp
    }
}

/// The stamps of the last packets of a stream, for lines on which a packet is sent again as it was. There are none
/// where retransmissions have a stream and numbers of their own.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// By the index of the packet.
    slots: Vec<(u64, Stamp)>,
}

impl Stamps {
    /// From now on stamps are kept, or not.
    pub(crate) fn begin(&mut self, kept: bool) {
        let len = if kept { KEPT } else { 0 };
        if self.slots.len() != len {
            self.slots = vec![(u64::MAX, Stamp::default()); len];
        }
    }

    pub(crate) const fn are_kept(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(crate) fn keep(&mut self, index: u64, stamp: Stamp) {
        if let Some(slot) = self.slots.get_mut(index as usize % KEPT) {
            *slot = (index, stamp);
        }
    }

    pub(crate) fn of(&self, index: u64) -> Option<Stamp> {
        let slot = self.slots.get(index as usize % KEPT);
        slot.filter(|(known, _)| *known == index).map(|(_, stamp)| *stamp)
    }
}
