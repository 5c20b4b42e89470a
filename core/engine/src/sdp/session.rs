//! Reading a session description.

use std::net::{IpAddr, SocketAddr};

use cordboard_model::media::Direction;

use crate::sip::message::Malformed;

/// The largest description that is read, in bytes.
const MAX_SIZE: usize = 64 * 1024;
/// The most media lines of one description.
const MAX_MEDIA: usize = 64;
/// The most attributes of one description, all media together.
const MAX_ATTRIBUTES: usize = 2048;
/// The most formats of one media line.
const MAX_FORMATS: usize = 64;

const fn fault() -> Malformed {
    Malformed::new("sdp")
}

/// A session description, borrowed from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<'a> {
    /// What follows `o=`: user name, session id, version, network and address.
    pub origin: &'a str,
    /// What follows `t=`; `0 0` where there is none.
    pub time: &'a str,
    /// The address for all media that have none of their own.
    pub connection: Option<Connection<'a>>,
    /// The attributes before the first media line.
    pub attributes: Vec<Attribute<'a>>,
    /// The media in their order.
    pub media: Vec<Media<'a>>,
}

/// A `c=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The address as written: IPv4, IPv6 or a name, possibly with `/ttl`.
    pub address: &'a str,
}

/// An `a=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What stands before the colon.
    pub name: &'a str,
    /// What follows it; empty where there is none.
    pub value: &'a str,
}

/// An `m=` line and all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// `audio`, `video`, `application` ...
    pub kind: &'a str,
    /// The port; 0 where the stream is refused or gone.
    pub port: u16,
    /// The protocol, such as `RTP/AVP`.
    pub protocol: &'a str,
    /// The formats in the order of preference: payload types where the protocol is RTP.
    pub formats: Vec<&'a str>,
    /// The address of this stream.
    pub connection: Option<Connection<'a>>,
    /// Its attributes.
    pub attributes: Vec<Attribute<'a>>,
}

/// What an `rtpmap` says of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// The encoding's name, in any case.
    pub encoding: &'a str,
    /// Its clock rate in Hz.
    pub clock: u32,
    /// Its channels.
    pub channels: u8,
}

impl<'a> Session<'a> {
    /// Reads a description. Lines may end with LF alone; lines of unknown types are skipped.
    ///
    /// # Errors
    /// It does not begin with `v=0`, has no origin, a media or connection line cannot be read, or one of
    /// the bounds is passed (64 KiB, 64 media, 2048 attributes, 64 formats).
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > MAX_SIZE {
            return Err(Malformed::new("sdp_too_large"));
        }
        let mut lines = text
            .split('\n')
            .map(|line| line.trim_end_matches('\r'))
            .filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(fault());
        }
        let mut session = Self {
            origin: "",
            time: "0 0",
            connection: None,
            attributes: Vec::new(),
            media: Vec::new(),
        };
        let mut attributes = 0;
        for line in lines {
            let (kind, value) = line
                .split_once('=')
                .filter(|(kind, _)| kind.len() == 1)
                .ok_or(fault())?;
            attributes += usize::from(kind == "a");
            if attributes > MAX_ATTRIBUTES {
                return Err(Malformed::new("sdp_too_large"));
            }
            session.take(kind, value)?;
        }
        if session.origin.split_whitespace().count() < 6 {
            Err(fault())
        } else {
            Ok(session)
        }
    }

    fn take(&mut self, kind: &str, value: &'a str) -> Result<(), Malformed> {
        let full = self.media.len() == MAX_MEDIA;
        match (kind, self.media.last_mut()) {
            ("m", _) if full => return Err(Malformed::new("sdp_too_large")),
            ("m", _) => self.media.push(Media::parse(value).ok_or(fault())?),
            ("c", Some(media)) if media.connection.is_none() => media.connection = Some(connection(value)?),
            ("c", None) => self.connection = Some(connection(value)?),
            ("a", Some(media)) => media.attributes.push(attribute(value)),
            ("a", None) => self.attributes.push(attribute(value)),
            ("o", None) => self.origin = value,
            ("t", None) => self.time = value,
            _ => {}
        }
        Ok(())
    }

    /// The value of the first session attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute_of(&self.attributes, name)
    }

    /// The version in the origin; 0 if it cannot be read. It is sought from the end: some write a user name with
    /// blanks in it.
    pub fn version(&self) -> u64 {
        self.origin
            .split_whitespace()
            .rev()
            .nth(3)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Where a stream is to be sent, if that is an address and not a name.
    pub fn address(&self, media: &Media<'_>) -> Option<IpAddr> {
        media.connection.or(self.connection)?.ip()
    }

    /// Where the RTCP of a stream is to be sent, if its attribute `rtcp` names a port (RFC 3605): on the address of the
    /// stream, or on one of its own.
    pub fn rtcp_address(&self, media: &Media<'_>) -> Option<SocketAddr> {
        let port = media.rtcp_port().filter(|port| *port != 0)?;
        let mut words = media.attribute("rtcp")?.split_ascii_whitespace().skip(1);
        let own = match (words.next(), words.next(), words.next()) {
            (Some(_), Some(_), Some(address)) => address.parse().ok(),
            _ => None,
        };
        Some(SocketAddr::new(own.or_else(|| self.address(media))?, port))
    }

    /// Which way a stream flows, seen from whoever wrote the description.
    pub fn direction(&self, media: &Media<'_>) -> Direction {
        direction_of(&media.attributes)
            .or_else(|| direction_of(&self.attributes))
            .unwrap_or(Direction::BOTH)
    }
}

impl<'a> Media<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (kind, port, protocol) = (words.next()?, words.next()?, words.next()?);
        let port = port.split('/').next()?.parse().ok()?;
        let formats: Vec<&str> = words.by_ref().take(MAX_FORMATS).collect();
        if formats.is_empty() || words.next().is_some() {
            return None;
        }
        Some(Self {
            kind,
            port,
            protocol,
            formats,
            connection: None,
            attributes: Vec::new(),
        })
    }

    /// The value of the first attribute of this name; empty where it has none.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute_of(&self.attributes, name)
    }

    /// What the payload type means, if there is an `rtpmap` for it that can be read.
    pub fn rtpmap(&self, format: &str) -> Option<RtpMap<'a>> {
        let mut parts = self.per_format("rtpmap", format)?.split('/');
        let (encoding, clock) = (parts.next()?, parts.next()?.parse().ok()?);
        let channels = parts.next().map_or(Some(1), |text| text.trim().parse().ok())?;
        Some(RtpMap {
            encoding,
            clock,
            channels,
        })
    }

    /// The parameters of a payload type.
    pub fn fmtp(&self, format: &str) -> Option<&'a str> {
        self.per_format("fmtp", format)
    }

    fn per_format(&self, name: &str, format: &str) -> Option<&'a str> {
        let values = self.attributes.iter().filter(|a| a.name == name).map(|a| a.value);
        let mut split = values.filter_map(|value| value.trim().split_once(' '));
        split.find(|(f, _)| *f == format).map(|(_, value)| value.trim())
    }

    /// The milliseconds of audio per packet that are asked for.
    pub fn ptime(&self) -> Option<u32> {
        self.milliseconds("ptime")
    }

    /// The most milliseconds of audio per packet that are taken.
    pub fn maxptime(&self) -> Option<u32> {
        self.milliseconds("maxptime")
    }

    /// Some write a fraction (RFC 8866 section 6.4 has none); it is cut off.
    fn milliseconds(&self, name: &str) -> Option<u32> {
        self.attribute(name)?.trim().split('.').next()?.parse().ok()
    }

    /// The name of the stream (RFC 5888).
    pub fn mid(&self) -> Option<&'a str> {
        self.attribute("mid")
    }

    /// The RTCP port, if it is not the next one (RFC 3605).
    pub fn rtcp_port(&self) -> Option<u16> {
        self.attribute("rtcp")?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    }

    /// Whether RTCP may come on the port of RTP (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.attribute("rtcp-mux").is_some()
    }
}

impl Connection<'_> {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.split('/').next()?.parse().ok()
    }
}

fn connection(value: &str) -> Result<Connection<'_>, Malformed> {
    let mut words = value.split_ascii_whitespace();
    let (net, kind, address) = (words.next(), words.next(), words.next());
    match (net, kind, address) {
        (Some(_), Some(_), Some(address)) => Ok(Connection { address }),
        _ => Err(fault()),
    }
}

fn attribute(value: &str) -> Attribute<'_> {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    Attribute {
        name: name.trim(),
        value,
    }
}

fn attribute_of<'a>(attributes: &[Attribute<'a>], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.name == name).map(|a| a.value)
}

fn direction_of(attributes: &[Attribute<'_>]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| {
        Some(match attribute.name {
            "sendrecv" => Direction::BOTH,
            "sendonly" => Direction {
                send: true,
                receive: false,
            },
            "recvonly" => Direction {
                send: false,
                receive: true,
            },
            "inactive" => Direction {
                send: false,
                receive: false,
            },
            _ => return None,
        })
    })
}

/// The value of `key=value` among parameters.
pub(super) fn parameter<'a>(parameters: &'a str, key: &str) -> Option<&'a str> {
    let pairs = parameters
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(key))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "v=0\r\no=alice 2890844526 7 IN IP4 host.example\r\ns=\r\nc=IN IP4 192.0.2.1/127\r\nt=0 0\r\na=sendonly\r\n\
        m=audio 49170/2 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000/1\r\na=fmtp:101 0-16\r\na=ptime:30.0\r\na=mid:a\r\n\
        m=video 0 RTP/SAVPF 31\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp:5 IN IP4 1.1.1.1\r\n";

    #[test]
    fn a_description_is_read() {
        let session = Session::parse(PHONE).unwrap();
        let [audio, video] = &session.media[..] else {
            panic!("two streams")
        };
        assert_eq!((session.version(), session.time), (7, "0 0"));
        assert_eq!(
            (audio.kind, audio.port, audio.protocol, &audio.formats[..]),
            ("audio", 49170, "RTP/AVP", &["0", "101"][..])
        );
        assert_eq!(session.address(audio), "192.0.2.1".parse().ok());
        assert_eq!(
            session.direction(audio),
            Direction {
                send: true,
                receive: false
            }
        );
        let event = RtpMap {
            encoding: "telephone-event",
            clock: 8000,
            channels: 1,
        };
        assert_eq!((audio.rtpmap("101"), audio.rtpmap("8")), (Some(event), None));
        assert_eq!(
            (audio.fmtp("101"), audio.ptime(), audio.mid()),
            (Some("0-16"), Some(30), Some("a"))
        );
        assert_eq!(session.address(video), "2001:db8::1".parse().ok());
        assert_eq!(
            session.direction(video),
            Direction {
                send: false,
                receive: true
            }
        );
        assert_eq!(
            (video.rtcp_mux(), video.rtcp_port(), audio.rtcp_mux()),
            (true, Some(5), false)
        );
        assert_eq!(
            (session.rtcp_address(video), session.rtcp_address(audio)),
            ("1.1.1.1:5".parse().ok(), None)
        );
    }

    #[test]
    fn line_feeds_alone_end_lines_too() {
        assert_eq!(
            Session::parse(&PHONE.replace("\r\n", "\n")),
            Session::parse(PHONE)
        );
    }

    #[test]
    fn a_user_name_may_have_blanks() {
        let session = Session::parse("v=0\no=Anna B 11 12 IN IP4 192.0.2.1\ns=-\n").unwrap();
        assert_eq!(session.version(), 12);
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let texts = [
            "",
            "v=1\r\n",
            "o=a 1 1 IN IP4 b\r\n",
            "v=0\r\n",
            "v=0\r\no=a 1 1 IN IP4\r\n",
            "v=0\r\no=a 1 1 IN IP4 b\r\nfoo\r\n",
            "v=0\r\no=a 1 1 IN IP4 b\r\nm=audio x RTP/AVP 0\r\n",
            "v=0\r\no=a 1 1 IN IP4 b\r\nm=audio 70000 RTP/AVP 0\r\n",
            "v=0\r\no=a 1 1 IN IP4 b\r\nm=audio 1 RTP/AVP\r\n",
            "v=0\r\no=a 1 1 IN IP4 b\r\nc=IN IP4\r\n",
        ];
        for text in texts {
            assert!(Session::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_bounds_hold() {
        let head = "v=0\r\no=a 1 1 IN IP4 b\r\n";
        let cases = [
            ("m=audio 1 RTP/AVP 0\r\n", MAX_MEDIA),
            ("a=x\r\n", MAX_ATTRIBUTES),
        ];
        for (line, most) in cases {
            assert!(
                Session::parse(&format!("{head}{}", line.repeat(most))).is_ok(),
                "{line}"
            );
            assert!(
                Session::parse(&format!("{head}{}", line.repeat(most + 1))).is_err(),
                "{line}"
            );
        }
        let formats = |count| format!("{head}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(count));
        assert!(Session::parse(&formats(MAX_FORMATS)).is_ok());
        assert!(Session::parse(&formats(MAX_FORMATS + 1)).is_err());
        assert!(Session::parse(&format!("{head}s={}\r\n", "x".repeat(MAX_SIZE))).is_err());
    }
}
