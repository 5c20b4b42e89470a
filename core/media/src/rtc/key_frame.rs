//! Whether a packet begins a picture that can be decoded without any other, told from the head of its payload.

use cordboard_model::media::peer::VideoCodec;

/// See the module. A stream of temporal or spatial layers begins one with its lowest layer.
pub(crate) fn begins(codec: VideoCodec, payload: &[u8]) -> bool {
    match codec {
        VideoCodec::Vp8 => vp8(payload),
        VideoCodec::Vp9 => vp9(payload),
        VideoCodec::H264 => h264(payload),
        VideoCodec::Av1 => av1(payload),
    }
    .unwrap_or(false)
}

/// RFC 7741 sections 4.2 and 4.3: the start of the first partition, and no P bit in its header.
fn vp8(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extended = *payload.get(at)?;
        at += 1;
        if extended & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extended & 0x40 != 0);
        at += usize::from(extended & 0x30 != 0);
    }
    let start = first & 0x10 != 0 && first & 0x07 == 0;
    Some(start && payload.get(at)? & 1 == 0)
}

/// RFC 9628 section 4.2: the start of a frame that is not predicted from another picture, of the lowest spatial
/// layer.
fn vp9(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let layer = if first & 0x20 != 0 {
        payload.get(at)? >> 1 & 7
    } else {
        0
    };
    Some(first & 0x40 == 0 && first & 0x08 != 0 && layer == 0)
}

/// RFC 6184 section 5: parameter sets or an IDR slice, alone, among others, or the first piece of one.
fn h264(payload: &[u8]) -> Option<bool> {
    const fn is_key(kind: u8) -> bool {
        matches!(kind & 31, 5 | 7)
    }
    match payload.first()? & 31 {
        24 => {
            let mut rest = &payload[1..];
            while let Some((head, after)) = rest.split_first_chunk::<2>() {
                let unit = after.get(..usize::from(u16::from_be_bytes(*head)))?;
                if unit.first().is_some_and(|kind| is_key(*kind)) {
                    return Some(true);
                }
                rest = &after[unit.len()..];
            }
            Some(false)
        }
        28 | 29 => {
            let head = *payload.get(1)?;
            Some(head & 0x80 != 0 && is_key(head))
        }
        kind => Some(is_key(kind)),
    }
}

/// The AV1 payload format, section 4.4: the N bit begins a coded video sequence.
fn av1(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    Some(first & 0x08 != 0 && first & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_codec_shows_its_key_frames() {
        use VideoCodec::{Av1, H264, Vp8, Vp9};
        for (codec, payload, expected) in [
            (Vp8, &[0x10, 0x00][..], true),
            (Vp8, &[0x10, 0x01], false),
            (Vp8, &[0x00, 0x00], false),
            (Vp8, &[0x90, 0x80, 0x12, 0x00], true),
            (Vp8, &[0x90, 0xe0, 0x92, 0x11, 0x01, 0x20, 0x00], true),
            (Vp8, &[0x90, 0xe0, 0x92, 0x11, 0x01, 0x20, 0x01], false),
            (Vp8, &[0x11, 0x00], false),
            (Vp9, &[0x8a, 0x85, 0x01], true),
            (Vp9, &[0xca, 0x85, 0x01], false),
            (Vp9, &[0xaa, 0x05, 0x02], false),
            (H264, &[0x65], true),
            (H264, &[0x41], false),
            (H264, &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68], true),
            (H264, &[0x78, 0, 1, 0x41], false),
            (H264, &[0x7c, 0x85], true),
            (H264, &[0x7c, 0x05], false),
            (Av1, &[0x08], true),
            (Av1, &[0x10], false),
        ] {
            assert_eq!(begins(codec, payload), expected, "{codec:?} {payload:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_judged(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            for codec in VideoCodec::ALL {
                begins(codec, &payload);
            }
        }
    }
}
