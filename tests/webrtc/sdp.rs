//! Session descriptions: what a client offers, what it answers, what it reads of the other side.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::peer::{Peer, Remote};

/// What a client takes part with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The SSRC of its camera; without one it only watches.
    pub camera: Option<u32>,
    /// Whether it has a microphone and a loudspeaker; without them its audio line is inactive.
    pub audio: bool,
}

/// One line of a description.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// `audio` or `video`.
    pub kind: String,
    /// Its name.
    pub mid: String,
    /// 0 where it is refused.
    pub port: u16,
    /// `sendrecv`, `sendonly`, `recvonly` or `inactive`.
    pub direction: String,
    /// The first SSRC.
    pub ssrc: Option<u32>,
    /// Protocol and payload types as the line has them.
    rest: String,
    /// Lines that an answer repeats.
    formats: Vec<String>,
}

/// What the other side says.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Its lines.
    pub lines: Vec<Line>,
    ufrag: String,
    password: String,
    setup: String,
    address: Option<SocketAddr>,
}

/// What every line of ours says of the transport.
fn transport(text: &mut String, peer: &Peer, setup: &str, mid: &str) {
    let _ = write!(
        text,
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n\
         a=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
        peer.ufrag,
        peer.password,
        peer.fingerprint()
    );
    if let Ok(address) = peer.socket.local_addr() {
        let (ip, port) = (address.ip(), address.port());
        let _ = write!(
            text,
            "a=candidate:1 1 udp 2122194687 {ip} {port} typ host\r\na=end-of-candidates\r\n"
        );
    }
}

fn head(text: &mut String, version: u64, mids: &[&str]) {
    let _ = write!(
        text,
        "v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=msid-semantic: WMS *\r\n",
        mids.join(" ")
    );
}

/// The extensions that Chromium has for video and that cost something to serve.
const EXTENSIONS: &str = "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
    a=extmap:13 urn:3gpp:video-orientation\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
/// VP8 as Chromium offers it.
const VP8: &str = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n\
    a=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";

/// The first offer of a client.
pub fn offer(peer: &Peer, part: Part) -> String {
    let mut text = String::new();
    head(&mut text, 1, &["0", "1"]);
    text.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n");
    transport(&mut text, peer, "actpass", "0");
    let flows = if part.audio { "sendrecv" } else { "inactive" };
    let _ = write!(text, "a=rtpmap:111 opus/48000/2\r\na={flows}\r\n");
    text.push_str(&video(peer, part, "1"));
    text
}

/// An offer of a video line alone.
pub fn video_offer(peer: &Peer, part: Part) -> String {
    let mut text = String::new();
    head(&mut text, 1, &["0"]);
    text.push_str(&video(peer, part, "0"));
    text
}

fn video(peer: &Peer, part: Part, mid: &str) -> String {
    let mut text = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n".to_owned();
    transport(&mut text, peer, "actpass", mid);
    text.push_str(EXTENSIONS);
    text.push_str(VP8);
    match part.camera {
        Some(ssrc) => {
            let again = ssrc + 1;
            let _ = write!(
                text,
                "a=sendonly\r\na=msid:camera track\r\na=ssrc-group:FID {ssrc} {again}\r\na=ssrc:{ssrc} cname:camera\r\n\
                 a=ssrc:{again} cname:camera\r\n"
            );
        }
        None => text.push_str("a=recvonly\r\n"),
    }
    text
}

/// The answer to an offer; `setup` as it was settled first.
pub fn answer(offer: &Description, peer: &Peer, part: Part, setup: &str, version: u64) -> String {
    let used = |line: &&Line| line.port != 0;
    let mids: Vec<&str> = offer
        .lines
        .iter()
        .filter(used)
        .map(|line| line.mid.as_str())
        .collect();
    let mut text = String::new();
    head(&mut text, version, &mids);
    for line in &offer.lines {
        let port = if line.port == 0 { 0 } else { 9 };
        let _ = write!(text, "m={} {port} {}\r\n", line.kind, line.rest);
        transport(&mut text, peer, setup, &line.mid);
        for kept in &line.formats {
            let _ = write!(text, "{kept}\r\n");
        }
        let shows = part.camera.filter(|_| line.kind == "video");
        let may_send = line.kind == "audio" || shows.is_some();
        let flows = match line.direction.as_str() {
            _ if line.kind == "audio" && !part.audio => "inactive",
            "sendrecv" if may_send => "sendrecv",
            "sendrecv" | "sendonly" => "recvonly",
            "recvonly" if may_send => "sendonly",
            _ => "inactive",
        };
        let _ = write!(text, "a={flows}\r\n");
        if let (Some(ssrc), "sendonly" | "sendrecv") = (shows, flows) {
            let again = ssrc + 1;
            let _ = write!(
                text,
                "a=msid:camera track\r\na=ssrc-group:FID {ssrc} {again}\r\na=ssrc:{ssrc} cname:camera\r\na=ssrc:{again} cname:camera\r\n"
            );
        }
    }
    text
}

impl Description {
    /// Reads one.
    pub fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("m=") {
                let mut words = rest.splitn(3, ' ');
                let mut word = || words.next().unwrap_or_default().to_owned();
                all.lines.push(Line {
                    kind: word(),
                    port: word().parse().unwrap_or_default(),
                    rest: word(),
                    ..Line::default()
                });
                continue;
            }
            let Some(rest) = line.strip_prefix("a=") else {
                continue;
            };
            let (name, value) = rest.split_once(':').unwrap_or((rest, ""));
            all.attribute(line, name, value);
        }
        all
    }

    fn attribute(&mut self, whole: &str, name: &str, value: &str) {
        match name {
            "ice-ufrag" => value.clone_into(&mut self.ufrag),
            "ice-pwd" => value.clone_into(&mut self.password),
            "setup" if self.setup.is_empty() => value.clone_into(&mut self.setup),
            "candidate" if self.address.is_none() => self.address = candidate(value),
            _ => {}
        }
        let Some(line) = self.lines.last_mut() else { return };
        match name {
            "mid" => value.clone_into(&mut line.mid),
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => name.clone_into(&mut line.direction),
            "ssrc" if line.ssrc.is_none() => {
                line.ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse().ok());
            }
            "rtpmap" | "fmtp" | "rtcp-fb" | "extmap" => line.formats.push(whole.to_owned()),
            _ => {}
        }
    }

    /// How its transport is reached.
    pub fn remote(&self) -> Option<Remote> {
        Some(Remote {
            address: self.address?,
            ufrag: self.ufrag.clone(),
            password: self.password.clone(),
            active: self.setup == "active",
        })
    }

    /// How many videos it sends.
    pub fn videos(&self) -> usize {
        let sent = |line: &&Line| line.kind == "video" && line.port != 0 && line.direction == "sendonly";
        self.lines.iter().filter(sent).count()
    }
}

/// The address of a candidate by UDP.
fn candidate(value: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = value.split(' ').collect();
    let is_udp = words.get(2)?.eq_ignore_ascii_case("udp");
    let ip = words.get(4)?.parse().ok()?;
    let port = words.get(5)?.parse().ok()?;
    is_udp.then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::Identity;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1 2\r\nm=audio 10000 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:secret\r\na=setup:actpass\r\na=mid:0\r\na=candidate:1 1 tcp 9 192.0.2.9 9 typ host tcptype passive\r\n\
        a=candidate:2 1 udp 9 192.0.2.1 10000 typ host\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n\
        m=video 10000 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n\
        m=video 10000 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=sendonly\r\na=ssrc:77 cname:x\r\na=ssrc:78 cname:x\r\n";

    #[test]
    fn an_offer_is_read_and_answered_line_by_line() {
        let offer = Description::read(OFFER);
        assert_eq!(offer.videos(), 1);
        assert_eq!(offer.lines[2].ssrc, Some(77));
        let remote = offer.remote().expect("it says where it is");
        assert_eq!(
            (remote.address, remote.active),
            ("192.0.2.1:10000".parse().unwrap(), false)
        );
        let address = "127.0.0.1".parse().unwrap();
        let peer = Peer::new(&Identity::new(), address).expect("a socket");
        for (camera, directions) in [
            (Some(5), ["sendrecv", "sendonly", "recvonly"]),
            (None, ["sendrecv", "inactive", "recvonly"]),
        ] {
            let part = Part { camera, audio: true };
            let answer = Description::read(&answer(&offer, &peer, part, "active", 2));
            let said: Vec<&str> = answer.lines.iter().map(|line| line.direction.as_str()).collect();
            assert_eq!(said, directions);
            assert_eq!(answer.lines[1].ssrc, camera);
            assert!(answer.remote().is_some_and(|remote| remote.active));
        }
    }
}
