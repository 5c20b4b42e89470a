//! What stands before the DTLS library: datagrams whose records are not whole, or that would make it keep more
//! than a handshake needs, never reach it.

/// Records in one datagram that are looked at.
const MAX_RECORDS: usize = 16;
/// Bytes of a record's header, and of a handshake message's.
const RECORD: usize = 13;
const MESSAGE: usize = 12;
/// The longest handshake message, a certificate chain included.
const MAX_MESSAGE: usize = 16 << 10;
/// Messages of one side of a handshake have smaller numbers.
const MAX_SEQUENCE: u16 = 16;
/// What one handshake may use, repeats included.
const DATAGRAMS: u32 = 150;
const FRAGMENTS: u32 = 300;
const BYTES: usize = 96 << 10;
/// Repeats of the last flight that are answered once the handshake is done.
const REPEATS: u32 = 30;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Why a datagram does not reach the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// Its parts do not fit.
    Malformed,
    /// The handshake has used all that it may.
    Excess,
    /// Anybody can have sent it: an alert in the clear, or what belongs into a handshake that is over.
    Unproven,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    datagrams: u32,
    fragments: u32,
    bytes: usize,
    repeats: u32,
}

impl Guard {
    /// Whether a datagram may reach the library; `done` says that the handshake is over.
    pub(crate) fn admit(&mut self, datagram: &[u8], done: bool) -> Result<(), Barred> {
        let mut rest = datagram;
        let mut unproven = false;
        for _ in 0..MAX_RECORDS {
            let Some((header, after)) = rest.split_first_chunk::<RECORD>() else {
                return Err(Barred::Malformed);
            };
            let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let body = after.get(..len).ok_or(Barred::Malformed)?;
            let epoch = u16::from_be_bytes([header[3], header[4]]);
            if header[1] != 254 || !(header[2] == 253 || header[2] == 255) || epoch > 1 {
                return Err(Barred::Malformed);
            }
            unproven |= self.record(header[0], epoch, body)?;
            rest = &after[len..];
            if rest.is_empty() {
                return self.charge(datagram.len(), done, unproven);
            }
        }
        Err(Barred::Malformed)
    }

    /// Says whether the record is of a handshake in the clear.
    fn record(&mut self, kind: u8, epoch: u16, body: &[u8]) -> Result<bool, Barred> {
        match (kind, epoch) {
            (HANDSHAKE, 0) => self.messages(body).map(|()| true),
            (CHANGE_CIPHER_SPEC, 0) if body == [1] => Ok(true),
            (ALERT, 0) => Err(Barred::Unproven),
            (CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE | APPLICATION_DATA, 1) => Ok(false),
            _ => Err(Barred::Malformed),
        }
    }

    fn messages(&mut self, mut body: &[u8]) -> Result<(), Barred> {
        while !body.is_empty() {
            let (header, after) = body.split_first_chunk::<MESSAGE>().ok_or(Barred::Malformed)?;
            let number = |at: usize| {
                usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2])
            };
            let (len, offset, part) = (number(1), number(6), number(9));
            let whole = offset == 0 && part == len;
            if len > MAX_MESSAGE
                || u16::from_be_bytes([header[4], header[5]]) >= MAX_SEQUENCE
                || offset + part > len
                || (part == 0 && len > 0)
                || part > after.len()
                // The library takes what follows a piece for the rest of its message.
                || (!whole && part != after.len())
            {
                return Err(Barred::Malformed);
            }
            self.fragments += 1;
            if self.fragments > FRAGMENTS {
                return Err(Barred::Excess);
            }
            body = &after[part..];
        }
        Ok(())
    }

    fn charge(&mut self, len: usize, done: bool, unproven: bool) -> Result<(), Barred> {
        if !done {
            self.datagrams += 1;
            self.bytes += len;
            return if self.datagrams > DATAGRAMS || self.bytes > BYTES {
                Err(Barred::Excess)
            } else {
                Ok(())
            };
        }
        if unproven {
            self.repeats += 1;
            if self.repeats > REPEATS {
                return Err(Barred::Unproven);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 0];
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn fragment(sequence: u8, len: u32, offset: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(&len.to_be_bytes()[1..]);
        bytes.extend([0, sequence]);
        bytes.extend(&offset.to_be_bytes()[1..]);
        bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend(body);
        record(HANDSHAKE, 0, &bytes)
    }

    #[test]
    fn whole_messages_and_pieces_pass() {
        let mut guard = Guard::default();
        assert_eq!(guard.admit(&fragment(0, 5, 0, b"hello"), false), Ok(()));
        assert_eq!(guard.admit(&fragment(1, 10, 5, b"hello"), false), Ok(()));
        let mut flight = fragment(2, 0, 0, b"");
        flight.extend(record(CHANGE_CIPHER_SPEC, 0, &[1]));
        flight.extend(record(HANDSHAKE, 1, &[9; 40]));
        assert_eq!(guard.admit(&flight, false), Ok(()));
    }

    #[test]
    fn hoarding_ends_where_a_handshake_would_have_ended() {
        let mut guard = Guard::default();
        let passed = (0..10_000u32)
            .filter(|at| {
                guard
                    .admit(&fragment(0, 16_000, at % 15_000, b"x"), false)
                    .is_ok()
            })
            .count();
        assert_eq!(passed, DATAGRAMS as usize);
        let mut guard = Guard::default();
        for (sequence, len, offset, body) in [
            (200, 5, 0, &b"hello"[..]),
            (0, 1 << 20, 0, b"hello"),
            (0, 5, 3, b"hello"),
            (0, 5, 0, b""),
        ] {
            assert_eq!(
                guard.admit(&fragment(sequence, len, offset, body), false),
                Err(Barred::Malformed)
            );
        }
    }

    #[test]
    fn alerts_in_the_clear_end_nothing() {
        let mut guard = Guard::default();
        assert_eq!(
            guard.admit(&record(ALERT, 0, &[2, 40]), false),
            Err(Barred::Unproven)
        );
        assert_eq!(guard.admit(&record(ALERT, 1, &[7; 26]), true), Ok(()));
        let repeats = (0..100)
            .filter(|_| guard.admit(&fragment(4, 1, 0, b"x"), true).is_ok())
            .count();
        assert_eq!(repeats, REPEATS as usize);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), done: bool) {
            let _ = Guard::default().admit(&bytes, done);
        }
    }
}
