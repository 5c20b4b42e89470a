//! Identifiers as chat clients write them: participants, messages and groups are UUIDs (RFC 9562).

use std::fmt;
use std::str::FromStr;

use cordboard_model::ConferenceId;
use cordboard_model::id::BadId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A UUID; written in lower case with dashes, read with or without them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl Uuid {
    /// Version 4: random but for the six bits that say so.
    pub(crate) const fn random(bytes: [u8; 16]) -> Self {
        Self(with_version(u128::from_be_bytes(bytes), 4))
    }

    /// Version 8: always the same for a name.
    pub(crate) fn of_name(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(name).into();
        let (first, _) = digest.split_first_chunk::<16>().expect("a hash has 32 bytes");
        Self(with_version(u128::from_be_bytes(*first), 8))
    }
}

const fn with_version(value: u128, version: u128) -> u128 {
    value & !(0xf << 76) & !(0b11 << 62) | version << 76 | 0b10 << 62
}

impl From<ConferenceId> for Uuid {
    fn from(id: ConferenceId) -> Self {
        Self(id.0)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            n >> 80 & 0xffff,
            n >> 64 & 0xffff,
            n >> 48 & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse::<ConferenceId>().map(|id| Self(id.0))
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_with_dashes_and_read_either_way() {
        let id: Uuid = "0B5E3D1C7A574B7E8C553F3D6C1D9E21".parse().unwrap();
        assert_eq!(id.to_string(), "0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("0b5e".parse::<Uuid>().is_err());
    }

    #[test]
    fn made_ones_say_which_kind_they_are() {
        assert_eq!(
            Uuid::random([0xff; 16]).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            Uuid::random([0; 16]).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
        let group = Uuid::of_name("/Lab/Backend").to_string();
        assert_eq!((&group[14..15], group.len()), ("8", 36));
        assert_eq!(group, Uuid::of_name("/Lab/Backend").to_string());
    }
}
