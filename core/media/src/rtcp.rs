//! RTCP (RFC 3550 section 6): the reports that we write, and what we read of the peer's.

use cordboard_model::Time;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// The item of a source description that names it.
const CNAME: u8 = 1;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;
/// Packets in one compound packet that are looked at.
const MAX_PACKETS: usize = 16;

/// The canonical name of our source: 16 characters that say nothing about host or user (RFC 7022).
pub(crate) type Cname = [u8; 16];

/// What a report says about one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    pub(crate) fraction_lost: u8,
    pub(crate) total_lost: u32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    /// Middle half of the NTP time of the last sender report, and 65,536ths of a second since it came.
    pub(crate) last_report: u32,
    pub(crate) delay: u32,
}

/// What a sender says about its own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

/// Something that a compound packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A sender report of this source; the middle half of its NTP time.
    Sender { ssrc: u32, middle: u32 },
    /// What the peer says about a source it receives.
    Block(Block),
    /// The source has left.
    Goodbye { ssrc: u32 },
}

/// The NTP timestamp of a moment: 32 bits of seconds, 32 bits of fraction.
pub(crate) const fn ntp(at: Time) -> u64 {
    let seconds = at.unix_seconds() + NTP_OFFSET;
    let fraction = ((at.0 % 1_000_000_000) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// The middle 32 bits of an NTP timestamp: 65,536ths of a second.
pub(crate) const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Writes a compound packet: a sender report if something was sent, else a receiver report; the name; and
/// a goodbye at the end.
pub(crate) fn write(
    out: &mut Vec<u8>,
    ssrc: u32,
    sent: Option<Sent>,
    block: Option<Block>,
    cname: &Cname,
    leaving: bool,
) {
    let count = u8::from(block.is_some());
    let block_words = u16::from(count) * 6;
    match sent {
        Some(sent) => {
            header(out, count, SENDER_REPORT, 6 + block_words);
            put(out, &[ssrc]);
            out.extend_from_slice(&ntp(sent.at).to_be_bytes());
            put(out, &[sent.timestamp, sent.packets, sent.bytes]);
        }
        None => {
            header(out, count, RECEIVER_REPORT, 1 + block_words);
            put(out, &[ssrc]);
        }
    }
    if let Some(block) = block {
        let lost = u32::from(block.fraction_lost) << 24 | block.total_lost.min(0x7f_ffff);
        put(
            out,
            &[
                block.ssrc,
                lost,
                block.highest,
                block.jitter,
                block.last_report,
                block.delay,
            ],
        );
    }
    // One chunk: source, item header, name, and zeros to a whole word.
    header(out, 1, DESCRIPTION, 6);
    put(out, &[ssrc]);
    out.extend_from_slice(&[CNAME, cname.len() as u8]);
    out.extend_from_slice(cname);
    out.extend_from_slice(&[0, 0]);
    if leaving {
        header(out, 1, GOODBYE, 1);
        put(out, &[ssrc]);
    }
}

fn header(out: &mut Vec<u8>, count: u8, kind: u8, words: u16) {
    out.extend_from_slice(&[0x80 | count, kind]);
    out.extend_from_slice(&words.to_be_bytes());
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Reads a compound packet, item by item; `false` if it is not one.
pub(crate) fn read(mut bytes: &[u8], mut each: impl FnMut(Item)) -> bool {
    for _ in 0..MAX_PACKETS {
        let Some((header, rest)) = bytes.split_first_chunk::<4>() else {
            return false;
        };
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let Some(body) = rest.get(..len) else { return false };
        if header[0] >> 6 != 2 {
            return false;
        }
        read_one(header[0] & 0x1f, header[1], body, &mut each);
        bytes = &rest[len..];
        if bytes.is_empty() {
            return true;
        }
    }
    true
}

fn read_one(count: u8, kind: u8, body: &[u8], each: &mut impl FnMut(Item)) {
    let word = |at: usize| {
        body.get(at * 4..at * 4 + 4)
            .map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]))
    };
    let blocks = match kind {
        SENDER_REPORT => {
            let (Some(ssrc), Some(high), Some(low), Some(_)) = (word(0), word(1), word(2), word(5)) else {
                return;
            };
            each(Item::Sender {
                ssrc,
                middle: high << 16 | low >> 16,
            });
            6
        }
        RECEIVER_REPORT => 1,
        GOODBYE => {
            (0..usize::from(count))
                .filter_map(word)
                .for_each(|ssrc| each(Item::Goodbye { ssrc }));
            return;
        }
        _ => return,
    };
    for block in 0..usize::from(count) {
        let at = blocks + block * 6;
        let fields = (
            word(at),
            word(at + 1),
            word(at + 2),
            word(at + 3),
            word(at + 4),
            word(at + 5),
        );
        let (Some(ssrc), Some(lost), Some(highest), Some(jitter), Some(last_report), Some(delay)) = fields
        else {
            return;
        };
        let (fraction_lost, total_lost) = ((lost >> 24) as u8, lost & 0xff_ffff);
        each(Item::Block(Block {
            ssrc,
            fraction_lost,
            total_lost,
            highest,
            jitter,
            last_report,
            delay,
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &Cname = b"abcdefghijklmnop";
    const BLOCK: Block = Block {
        ssrc: 9,
        fraction_lost: 3,
        total_lost: 70,
        highest: 66_000,
        jitter: 12,
        last_report: 5,
        delay: 6,
    };

    fn items(bytes: &[u8]) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        read(bytes, |item| items.push(item)).then_some(items)
    }

    #[test]
    fn a_compound_packet_is_read_back() {
        let at = Time(1_700_000_000_500_000_000);
        let mut bytes = Vec::new();
        let sent = Sent {
            at,
            timestamp: 1,
            packets: 2,
            bytes: 3,
        };
        write(&mut bytes, 7, Some(sent), Some(BLOCK), NAME, true);
        assert_eq!(bytes.len() % 4, 0);
        let sender = Item::Sender {
            ssrc: 7,
            middle: middle(ntp(at)),
        };
        assert_eq!(
            items(&bytes).unwrap(),
            [sender, Item::Block(BLOCK), Item::Goodbye { ssrc: 7 }]
        );
        assert_eq!(ntp(at) as u32, 1 << 31, "half a second");
    }

    #[test]
    fn the_description_follows_rfc_3550() {
        let mut bytes = Vec::new();
        write(&mut bytes, 0x0102_0304, None, None, NAME, false);
        let mut expected = vec![0x80, 201, 0, 1, 1, 2, 3, 4, 0x81, 202, 0, 6, 1, 2, 3, 4, 1, 16];
        expected.extend(NAME);
        expected.extend([0, 0]);
        assert_eq!(bytes, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            items(&bytes);
        }

        #[test]
        fn a_cut_or_changed_packet_is_read_or_refused(cut in 0usize..80, at in 0usize..80, value: u8) {
            let mut bytes = Vec::new();
            let sent = Sent { at: Time(1), timestamp: 1, packets: 2, bytes: 3 };
            write(&mut bytes, 7, Some(sent), Some(BLOCK), NAME, true);
            let last = bytes.len() - 1;
            bytes[at.min(last)] = value;
            items(&bytes[..cut.min(last)]);
        }
    }
}
