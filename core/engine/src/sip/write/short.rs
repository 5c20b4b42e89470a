//! A short text that is put together without allocating: a branch, a number, an address.

use std::net::{IpAddr, SocketAddr};

/// Bytes that fit: an IPv6 address with its port has at most 49, a branch less than 48.
const ROOM: usize = 64;

/// The text. What does not fit is left out; nothing that is written here is ever so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    bytes: [u8; ROOM],
    len: usize,
}

impl Short {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            len: 0,
        }
    }

    /// An address as `host:port`, an IPv6 host in brackets.
    pub(crate) fn address(address: SocketAddr) -> Self {
        let ip = Self::ip(address.ip());
        let host = match address.ip() {
            IpAddr::V4(_) => ip,
            IpAddr::V6(_) => Self::new().text("[").text(ip.as_str()).text("]"),
        };
        host.text(":").decimal(address.port().into())
    }

    /// An address without a port.
    pub(crate) fn ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets().map(u64::from);
                Self::new()
                    .decimal(a)
                    .text(".")
                    .decimal(b)
                    .text(".")
                    .decimal(c)
                    .text(".")
                    .decimal(d)
            }
            IpAddr::V6(ip) => Self::new().text(&ip.to_string()),
        }
    }

    /// A number in decimal digits.
    pub(crate) fn number(value: u64) -> Self {
        Self::new().decimal(value)
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.len += text.len();
        }
        self
    }

    /// Adds a number in decimal digits.
    pub(crate) fn decimal(self, value: u64) -> Self {
        self.digits::<10>(value, 1)
    }

    /// Adds a number in at least so many decimal digits.
    pub(crate) fn decimals(self, value: u64, least: usize) -> Self {
        self.digits::<10>(value, least)
    }

    /// Adds a number in at least so many hexadecimal digits.
    pub(crate) fn hexadecimal(self, value: u64, least: usize) -> Self {
        self.digits::<16>(value, least)
    }

    fn digits<const BASE: u64>(mut self, mut value: u64, least: usize) -> Self {
        let mut digits = [0; 20];
        let mut first = digits.len();
        while value > 0 || digits.len() - first < least {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(value % BASE) as usize];
            value /= BASE;
        }
        let digits = &digits[first..];
        if let Some(room) = self.bytes.get_mut(self.len..self.len + digits.len()) {
            room.copy_from_slice(digits);
            self.len += digits.len();
        }
        self
    }

    /// What was put together.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only whole texts are added")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_numbers_and_addresses_are_put_together() {
        let text = Short::new()
            .text("z9hG4bK")
            .hexadecimal(0x2a, 1)
            .text(".")
            .hexadecimal(7, 16);
        assert_eq!(text.as_str(), "z9hG4bK2a.0000000000000007");
        for value in [0, 9, 10, u64::MAX] {
            assert_eq!(Short::number(value).as_str(), value.to_string());
            assert_eq!(Short::new().hexadecimal(value, 1).as_str(), format!("{value:x}"));
        }
        for address in ["1.2.3.4:5060", "255.255.255.255:65535", "[2001:db8::1]:0"] {
            assert_eq!(Short::address(address.parse().unwrap()).as_str(), address);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let text = Short::new().text(&"x".repeat(60)).text("longer").text("fits");
        assert_eq!(text.as_str(), "x".repeat(60) + "fits");
    }
}
