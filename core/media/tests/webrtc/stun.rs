//! Connectivity checks as a browser sends them.

use aws_lc_rs::hmac;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// What a check says.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) nominates: bool,
    pub(crate) extra: Vec<(u16, Vec<u8>)>,
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn set_len(out: &mut [u8], len: usize) {
    out[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
}

impl Check {
    pub(crate) fn bytes(&self, transaction: u64) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0];
        out.extend(COOKIE);
        out.extend([0; 4]);
        out.extend(transaction.to_be_bytes());
        attribute(&mut out, 0x0006, self.username.as_bytes());
        attribute(&mut out, 0x802a, &[7; 8]);
        attribute(&mut out, 0x0024, &[0x6e, 0x7f, 0x1e, 0xff]);
        if self.nominates {
            attribute(&mut out, 0x0025, &[]);
        }
        for (kind, value) in &self.extra {
            attribute(&mut out, *kind, value);
        }
        let len = out.len() + 24;
        set_len(&mut out, len);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.password.as_bytes());
        let tag = hmac::sign(&key, &out);
        attribute(&mut out, 0x0008, tag.as_ref());
        let len = out.len() + 8;
        set_len(&mut out, len);
        let sum = crc(&out) ^ 0x5354_554e;
        attribute(&mut out, 0x8028, &sum.to_be_bytes());
        out
    }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}
