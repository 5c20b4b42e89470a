//! A browser: JsSIP in Chromium, as far as SIP and session descriptions show it. It holds every offer of the
//! switch against what a browser insists on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cordboard_engine::io::Transport;
use cordboard_engine::sdp::{Media, Session};
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::name::Name;

use crate::phone::{Line, Phone, SDP_TYPE};
use crate::world::World;

/// What Chromium 156 offers with a camera and a microphone.
const CHROMIUM: &str = include_str!("../corpus/sdp/chromium-156-offer.sdp");

/// What a line of the switch shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    pub(crate) label: String,
    pub(crate) stream: String,
    pub(crate) track: String,
    pub(crate) ssrc: u32,
}

/// One browser in one call.
pub(crate) struct Browser {
    pub(crate) phone: Phone,
    pub(crate) line: Line,
    /// Whether it answers video lines with port 0.
    pub(crate) blind: bool,
    /// The mids of all lines so far, in their order.
    pub(crate) mids: Vec<String>,
    /// What it sees, by mid.
    pub(crate) views: BTreeMap<String, View>,
    version: u64,
    /// Session and version of the switch's last description.
    origin: Option<(String, u64)>,
    /// That description.
    last: String,
    /// The payload types of each line.
    formats: BTreeMap<String, Vec<String>>,
}

/// A browser's own offer: fingerprints, credentials and SSRCs of its own.
pub(crate) fn offer_of(name: &str) -> String {
    let number = u32::from_be_bytes([name.as_bytes()[0], name.as_bytes()[1], 0, 0]);
    CHROMIUM
        .replace("4bC0", &format!("uf{name}"))
        .replace("876960535", &(number + 1).to_string())
        .replace("3714162018", &(number + 2).to_string())
        .replace("2305241996", &(number + 3).to_string())
}

/// The same without the camera.
pub(crate) fn audio_offer_of(name: &str) -> String {
    let offer = offer_of(name).replace("BUNDLE 0 1", "BUNDLE 0");
    let end = offer.find("m=video").expect("Chromium offers video");
    offer[..end].to_owned()
}

/// The certificate of every browser.
fn fingerprint() -> &'static str {
    let line = CHROMIUM
        .lines()
        .find_map(|line| line.strip_prefix("a=fingerprint:"));
    line.expect("Chromium names its certificate")
}

pub(crate) fn body(message: &Message) -> String {
    String::from_utf8(message.body_slice().to_vec()).expect("a description is text")
}

pub(crate) fn attribute<'a>(media: &Media<'a>, name: &str) -> &'a str {
    media
        .attribute(name)
        .unwrap_or_else(|| panic!("a={name} on {media:?}"))
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

pub(crate) fn direction(media: &Media<'_>) -> &'static str {
    let all: Vec<&str> = DIRECTIONS
        .into_iter()
        .filter(|word| media.attributes.iter().any(|a| a.name == *word))
        .collect();
    assert_eq!(all.len(), 1, "{media:?}");
    all[0]
}

impl Browser {
    pub(crate) fn new(name: &'static str, host: u8) -> Self {
        let mut phone = Phone::new(name, host).over(Transport::Ws, u64::from(host));
        phone.sdp = offer_of(name).leak();
        Self {
            phone,
            line: Line {
                call_id: String::new(),
                own: String::new(),
                theirs: String::new(),
                target: String::new(),
                cseq: 0,
            },
            blind: false,
            mids: Vec::new(),
            views: BTreeMap::new(),
            version: 1,
            origin: None,
            last: String::new(),
            formats: BTreeMap::new(),
        }
    }

    /// Calls a number; the 200 is read, its ACK not sent.
    pub(crate) fn invite(&mut self, world: &mut World, number: &str) -> Message {
        let headers = "Session-Expires: 90\r\nSupported: timer,ice,replaces,outbound\r\n\
                       Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n";
        let (line, response) = self.phone.invite_with(world, number, headers);
        let response = response.expect("the call is answered at once");
        assert_eq!(response.status(), 200, "{}", response.reason());
        self.line = line;
        self.read(&body(&response), true);
        response
    }

    /// Calls a number and sends the ACK.
    pub(crate) fn call(&mut self, world: &mut World, number: &str) -> Message {
        let response = self.invite(world, number);
        self.phone.ack(world, &self.line);
        response
    }

    /// Takes a description of the switch as a browser does.
    fn read(&mut self, text: &str, answer: bool) {
        let session = Session::parse(text).expect("a description of the switch can be read");
        assert!(session.attribute("ice-lite").is_some(), "{text}");
        let group = session.attribute("group");
        assert_eq!(group.is_some(), self.phone.sdp.contains("a=group"), "{text}");
        let bundled: Vec<&str> = group.unwrap_or_default().split(' ').skip(1).collect();
        let used = session.media.iter().filter(|media| media.port != 0).count();
        assert!(
            group.is_some() || used == 1,
            "lines share a way in a group: {text}"
        );
        let mids: Vec<String> = session
            .media
            .iter()
            .map(|m| attribute(m, "mid").to_owned())
            .collect();
        assert!(mids.starts_with(&self.mids), "{mids:?} after {:?}", self.mids);
        self.check_origin(text);
        let first = session.media.iter().position(|media| media.port != 0);
        let mut ways = None;
        let mut views = BTreeMap::new();
        let mut ssrcs = Vec::new();
        for (place, media) in session.media.iter().enumerate() {
            let mid = attribute(media, "mid");
            if media.port == 0 {
                assert!(!bundled.contains(&mid), "{text}");
                continue;
            }
            assert!(group.is_none() || bundled.contains(&mid), "{text}");
            let own = Session::parse(self.phone.sdp).expect("it is ours");
            let protocol = own.media.get(place).map(|media| media.protocol);
            assert_eq!(media.protocol, protocol.unwrap_or("UDP/TLS/RTP/SAVPF"), "{text}");
            for name in ["ice-ufrag", "ice-pwd", "fingerprint", "rtcp-mux"] {
                attribute(media, name);
            }
            let setup = attribute(media, "setup");
            assert_eq!(setup, if answer { "active" } else { "actpass" }, "{text}");
            assert_eq!(
                media.attribute("candidate").is_some(),
                Some(place) == first,
                "{text}"
            );
            let way = ["ice-ufrag", "ice-pwd", "fingerprint"].map(|name| attribute(media, name));
            assert_eq!(ways.get_or_insert(way), &way, "all lines have one way: {text}");
            let formats: Vec<String> = media.formats.iter().map(|&format| format.to_owned()).collect();
            let known = self
                .formats
                .entry(mid.to_owned())
                .or_insert_with(|| formats.clone());
            assert_eq!(*known, formats, "a line keeps its numbers: {text}");
            let sends = matches!(direction(media), "sendrecv" | "sendonly");
            assert_eq!(media.attribute("msid").is_some(), sends, "{text}");
            assert_eq!(media.attribute("ssrc").is_some(), sends, "{text}");
            if !sends {
                continue;
            }
            let (stream, track) = attribute(media, "msid")
                .split_once(' ')
                .expect("stream and track");
            let own: Vec<u32> = media
                .attributes
                .iter()
                .filter(|a| a.name == "ssrc")
                .map(|a| a.value.split(' ').next().unwrap().parse().unwrap())
                .collect();
            if media.kind == "video" {
                assert_eq!(direction(media), "sendonly");
                assert_eq!(
                    attribute(media, "ssrc-group"),
                    format!("FID {} {}", own[0], own[1])
                );
                let view = View {
                    label: attribute(media, "label").to_owned(),
                    stream: stream.to_owned(),
                    track: track.to_owned(),
                    ssrc: own[0],
                };
                views.insert(mid.to_owned(), view);
            }
            ssrcs.extend(own);
        }
        let count = ssrcs.len();
        ssrcs.sort_unstable();
        ssrcs.dedup();
        assert_eq!(ssrcs.len(), count, "SSRCs are unique: {text}");
        (self.mids, self.views) = (mids, views);
    }

    /// The session keeps its name, and every description that says something new is the next version
    /// (RFC 3264 section 8).
    fn check_origin(&mut self, text: &str) {
        let origin = text
            .lines()
            .find(|line| line.starts_with("o="))
            .expect("an origin");
        let words: Vec<&str> = origin.split(' ').collect();
        let now = (words[1].to_owned(), words[2].parse::<u64>().unwrap());
        if let Some((id, version)) = &self.origin {
            assert_eq!(*id, now.0, "{text}");
            assert_eq!(version + u64::from(text != self.last), now.1, "{text}");
        }
        (self.origin, self.last) = (Some(now), text.to_owned());
    }

    /// The answer to an offer of the switch.
    pub(crate) fn answer_to(&mut self, offer: &str) -> String {
        self.version += 1;
        let session = Session::parse(offer).unwrap();
        let taken = |media: &Media<'_>| media.port != 0 && !(self.blind && is_slot(media));
        let mids: Vec<&str> = session
            .media
            .iter()
            .filter(|media| taken(media))
            .map(|media| attribute(media, "mid"))
            .collect();
        let mut text = format!(
            "v=0\r\no=- 7 {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=msid-semantic: WMS\r\n",
            self.version,
            mids.join(" ")
        );
        for media in &session.media {
            let port = if taken(media) { 9 } else { 0 };
            let _ = write!(
                text,
                "m={} {port} {} {}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:uf{}\r\na=ice-pwd:q2pMju6HMvlNbnr/S1pqadq3\r\n\
                 a=fingerprint:{}\r\na=setup:passive\r\na=mid:{}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
                media.kind,
                media.protocol,
                media.formats.join(" "),
                self.phone.name,
                fingerprint(),
                attribute(media, "mid")
            );
            let flows = match direction_of_used(media) {
                "sendrecv" => "sendrecv",
                "sendonly" => "recvonly",
                "recvonly" => "sendonly",
                _ => "inactive",
            };
            let _ = write!(text, "a={}\r\n", if port == 0 { "inactive" } else { flows });
            keep(&mut text, media, &["rtpmap", "fmtp", "rtcp-fb", "extmap"]);
            if matches!(flows, "sendrecv" | "sendonly") && port != 0 {
                let own = offer_of(self.phone.name);
                let own = Session::parse(&own).unwrap();
                let shown = own.media.iter().find(|own| own.kind == media.kind).unwrap();
                keep(&mut text, shown, &["ssrc", "ssrc-group"]);
            }
        }
        text
    }

    /// An offer of its own that changes nothing: its microphone and camera, and a line for each that the switch
    /// has made.
    pub(crate) fn own_offer(&self) -> String {
        let mut text = self
            .phone
            .sdp
            .replace("BUNDLE 0 1", &format!("BUNDLE {}", self.mids.join(" ")));
        let known = Session::parse(&self.last).expect("it was read before");
        for media in known.media.iter().skip(2) {
            let _ = write!(
                text,
                "m={} 9 {} {}\r\na=mid:{}\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=recvonly\r\n",
                media.kind,
                media.protocol,
                media.formats.join(" "),
                attribute(media, "mid")
            );
            keep(&mut text, media, &["rtpmap", "fmtp", "rtcp-fb", "extmap"]);
        }
        text
    }

    /// Makes an offer inside its call, which is taken and confirmed.
    pub(crate) fn offers(&mut self, world: &mut World, offer: &str) -> Message {
        let answer = self.tries(world, offer);
        assert_eq!(answer.status(), 200, "{}", answer.reason());
        self.check_origin(&body(&answer));
        self.phone.ack(world, &self.line);
        answer
    }

    /// Makes an offer inside its call; what is answered.
    pub(crate) fn tries(&mut self, world: &mut World, offer: &str) -> Message {
        self.phone
            .within(world, &mut self.line, "INVITE", SDP_TYPE, offer.as_bytes())
    }

    /// The next message must be a re-INVITE; its description is read.
    pub(crate) fn offered(&mut self, world: &mut World) -> Message {
        self.phone.listen(world);
        self.phone
            .inbox
            .retain(|delivery| delivery.message.is_request() || delivery.message.status() >= 200);
        let offer = self.phone.gets(world, "INVITE", false);
        self.read(&body(&offer), false);
        offer
    }

    /// Answers a re-INVITE; the ACK must follow at once.
    pub(crate) fn answers(&mut self, world: &mut World, offer: &Message) {
        let text = self.answer_to(&body(offer));
        self.answers_with(world, offer, &text);
    }

    pub(crate) fn answers_with(&mut self, world: &mut World, offer: &Message, text: &str) {
        let headers = format!(
            "Contact: {}\r\nContent-Type: application/sdp\r\n",
            self.phone.contact()
        );
        self.phone.respond(world, offer, 200, &headers, text);
        let ack = self.phone.gets(world, "ACK", false);
        assert_eq!(ack.cseq().unwrap().number, offer.cseq().unwrap().number);
    }

    /// Takes one offer and answers it; what it sees then, by label.
    pub(crate) fn looks(&mut self, world: &mut World) -> Vec<String> {
        let offer = self.offered(world);
        self.answers(world, &offer);
        self.sees()
    }

    /// The labels of those whom it sees, in the order of the lines.
    pub(crate) fn sees(&self) -> Vec<String> {
        let known = |mid: &String| self.views.get(mid).map(|view| view.label.clone());
        self.mids.iter().filter_map(known).collect()
    }

    /// Nothing has come.
    pub(crate) fn is_left_alone(&mut self, world: &mut World) {
        self.phone.has_nothing_but_provisionals(world);
    }

    pub(crate) fn hangs_up(&mut self, world: &mut World) {
        let answer = self.phone.within(world, &mut self.line, "BYE", "", b"");
        assert_eq!(answer.status(), 200);
    }

    /// Picks up a call of the switch.
    pub(crate) fn picks_up(&mut self, world: &mut World) -> Message {
        let invite = self.phone.gets(world, "INVITE", false);
        self.read(&body(&invite), false);
        let answer = self.answer_to(&body(&invite)).leak();
        self.phone.sdp = answer;
        self.line = self.phone.pick_up(world, &invite);
        let ack = self.phone.gets(world, "ACK", false);
        assert_eq!(ack.header(Name::CallId), invite.header(Name::CallId));
        invite
    }
}

/// Which way a line flows; one that is refused needs not say it.
fn direction_of_used(media: &Media<'_>) -> &'static str {
    if media.port == 0 {
        "inactive"
    } else {
        direction(media)
    }
}

/// Writes some of a line's attributes.
fn keep(text: &mut String, media: &Media<'_>, names: &[&str]) {
    for kept in media.attributes.iter().filter(|a| names.contains(&a.name)) {
        let _ = write!(text, "a={}:{}\r\n", kept.name, kept.value);
    }
}

/// A line on which the switch shows somebody, or did.
fn is_slot(media: &Media<'_>) -> bool {
    media.kind == "video" && direction_of_used(media) != "recvonly"
}
