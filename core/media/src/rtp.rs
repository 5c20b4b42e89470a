//! RTP packets (RFC 3550 section 5.1): bounded reading, and the fixed header that we write.

/// Bytes of the fixed header, which is all that we write before the payload.
pub const HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRtp {
    /// Fewer than the twelve bytes of the fixed header.
    #[error("the packet is shorter than an RTP header")]
    Short,
    /// The version field is not 2.
    #[error("the RTP version is not 2")]
    Version,
    /// The list of contributing sources runs past the end.
    #[error("the CSRC list runs past the end of the packet")]
    Csrc,
    /// The header extension runs past the end.
    #[error("the header extension runs past the end of the packet")]
    Extension,
    /// The padding is zero or longer than the payload.
    #[error("the padding does not fit into the packet")]
    Padding,
}

/// An RTP packet as it arrived; the payload is without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The marker bit: for audio, the first packet after silence.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling instant of the first sample, in units of the codec's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// What the packet carries; may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// Says which part does not fit; nothing is read outside of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedRtp> {
        let (header, mut rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(MalformedRtp::Short)?;
        if header[0] >> 6 != 2 {
            return Err(MalformedRtp::Version);
        }
        let csrc_len = usize::from(header[0] & 0x0f) * 4;
        rest = rest.get(csrc_len..).ok_or(MalformedRtp::Csrc)?;
        if header[0] & 0x10 != 0 {
            let (extension, after) = rest.split_first_chunk::<4>().ok_or(MalformedRtp::Extension)?;
            let len = usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
            rest = after.get(len..).ok_or(MalformedRtp::Extension)?;
        }
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last().ok_or(MalformedRtp::Padding)?);
            let kept = rest.len().checked_sub(padding).ok_or(MalformedRtp::Padding)?;
            if padding == 0 {
                return Err(MalformedRtp::Padding);
            }
            rest = &rest[..kept];
        }
        Ok(Self {
            marker: header[1] & 0x80 != 0,
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload: rest,
        })
    }

    /// The fixed header of this packet: no padding, extension or contributing sources.
    pub const fn header(&self) -> [u8; HEADER_LEN] {
        let sequence = self.sequence.to_be_bytes();
        let timestamp = self.timestamp.to_be_bytes();
        let ssrc = self.ssrc.to_be_bytes();
        [
            0x80,
            (self.marker as u8) << 7 | self.payload_type & 0x7f,
            sequence[0],
            sequence[1],
            timestamp[0],
            timestamp[1],
            timestamp[2],
            timestamp[3],
            ssrc[0],
            ssrc[1],
            ssrc[2],
            ssrc[3],
        ]
    }
}

/// Whether a packet on an RTP port is RTCP (RFC 5761 section 4).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() >= 2 && (192..=223).contains(&bytes[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn csrc_extension_and_padding_are_skipped() {
        let mut bytes = vec![0xb2, 0x88, 0x01, 0x02, 0, 0, 0, 9, 1, 2, 3, 4];
        bytes.extend([0; 8]); // two contributing sources
        bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]); // extension of one word
        bytes.extend([7, 8, 0, 2]); // two bytes of payload, two of padding
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(
            packet,
            RtpPacket {
                marker: true,
                payload_type: 8,
                sequence: 0x0102,
                timestamp: 9,
                ssrc: 0x0102_0304,
                payload: &[7, 8]
            }
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let with = |first: u8, tail: &[u8]| {
            let mut bytes = vec![first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(tail);
            RtpPacket::parse(&bytes).map(|_| ())
        };
        assert_eq!(RtpPacket::parse(&[0x80; 11]), Err(MalformedRtp::Short));
        assert_eq!(with(0x40, &[]), Err(MalformedRtp::Version));
        assert_eq!(with(0x81, &[1, 2, 3]), Err(MalformedRtp::Csrc));
        assert_eq!(with(0x90, &[0, 0, 0]), Err(MalformedRtp::Extension));
        assert_eq!(
            with(0x90, &[0, 0, 0, 2, 1, 1, 1, 1]),
            Err(MalformedRtp::Extension)
        );
        assert_eq!(with(0xa0, &[]), Err(MalformedRtp::Padding));
        assert_eq!(with(0xa0, &[1, 0]), Err(MalformedRtp::Padding));
        assert_eq!(with(0xa0, &[1, 3]), Err(MalformedRtp::Padding));
        assert_eq!(with(0xa0, &[1, 2]), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let packet = RtpPacket { marker, payload_type, sequence, timestamp, ssrc, payload: &payload };
            let mut bytes = packet.header().to_vec();
            bytes.extend(&payload);
            prop_assert_eq!(RtpPacket::parse(&bytes), Ok(packet));
        }
    }
}
