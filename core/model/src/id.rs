//! Identifiers: one newtype each, so that no two kinds can be mixed up.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an identifier of 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 32 hexadecimal digits, with or without dashes")
    }
}

impl std::error::Error for BadId {}

macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Written as 32 lower-case hexadecimal digits; read with or without dashes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut value = 0u128;
                let mut digits = 0;
                for c in text.chars().filter(|c| *c != '-') {
                    value = value << 4 | u128::from(c.to_digit(16).ok_or(BadId)?);
                    digits += 1;
                    if digits > 32 {
                        return Err(BadId);
                    }
                }
                if digits == 32 { Ok(Self(value)) } else { Err(BadId) }
            }
        }
    };
}

macro_rules! narrow_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

wide_id!(
    /// An account (tenant) of the switch.
    AccountId
);
wide_id!(
    /// A user, who owns one or more devices.
    UserId
);
wide_id!(
    /// A conference; it is also the id of the chat room.
    ConferenceId
);
narrow_id!(
    /// One participant of one conference, unique while the switch runs.
    ParticipantId,
    u64
);
narrow_id!(
    /// One leg of media: the packets exchanged with one peer of one call.
    LegId,
    u64
);
narrow_id!(
    /// The set of legs that hear each other: a conference, or the two legs of a call between users.
    MixId,
    u64
);
narrow_id!(
    /// A media shard: one thread with its own sockets.
    ShardId,
    u16
);
narrow_id!(
    /// A question that the engine has put to a worker; the answer carries the same ticket.
    Ticket,
    u64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_with_and_without_dashes_and_written_without() {
        let plain: ConferenceId = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0".parse().unwrap();
        let dashed: ConferenceId = "C0C0C0C0-c0c0-c0c0-c0c0-c0c0c0c0c0c0".parse().unwrap();
        assert_eq!(plain, dashed);
        assert_eq!(plain.to_string(), "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0");
    }

    #[test]
    fn ids_of_any_other_length_or_alphabet_are_refused() {
        for text in [
            "",
            "c0",
            "g0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0",
            "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
        ] {
            assert_eq!(text.parse::<UserId>(), Err(BadId), "{text}");
        }
    }
}
