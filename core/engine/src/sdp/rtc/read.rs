//! The peer's offers and answers.

use cordboard_model::media::{AudioFormat, Codec, Direction};

use super::bundle::{Bundle, Terms};
use super::line::{Audio, Camera, Content, Line, Slot, Voice, remote_ssrcs};
use super::plan::best_first;
use super::transport::{self, Remote, Setup, is_active};
use super::{extension, video, write};
use crate::sdp::negotiate::{Capabilities, Origin, common};
use crate::sdp::session::{Media, Session};
use crate::sip::message::Refusal;

/// The longest `a=mid`, in bytes (RFC 8843 section 15.1 asks for short ones; ours are shorter).
const MAX_MID: usize = 32;

const fn not_acceptable(reason: &'static str) -> Refusal {
    Refusal {
        status: 488,
        phrase: "Not Acceptable Here",
        reason,
    }
}

impl Bundle {
    /// Whether the first offer of a call can be answered.
    ///
    /// # Errors
    /// As [`Bundle::answer`].
    pub fn check(offer: &Session<'_>, terms: Terms<'_>) -> Result<(), Refusal> {
        let mut number = 0;
        let mut chance = || {
            number += 1 << 32;
            number
        };
        Self::default().next(offer, terms, &mut chance).map(|_| ())
    }

    /// Answers an offer of the peer; what the answer says holds from now on.
    ///
    /// # Errors
    /// 488 where there is no transport that we can use or another certificate than before, no codec of ours, or
    /// where lines are missing or have other names that were there before; what was agreed before then still holds.
    pub fn answer(
        &mut self,
        offer: &Session<'_>,
        terms: Terms<'_>,
        origin: &mut Origin,
        chance: &mut dyn FnMut() -> u64,
    ) -> Result<String, Refusal> {
        let next = self.next(offer, terms, chance)?;
        let setup = match next.dtls_client {
            Some(true) => "active",
            _ => "passive",
        };
        let text = origin.say(|id, version| write::description(&next, &next.lines, setup, id, version));
        *self = next;
        Ok(text)
    }

    /// What holds after our answer to this offer.
    fn next(
        &self,
        offer: &Session<'_>,
        terms: Terms<'_>,
        chance: &mut dyn FnMut() -> u64,
    ) -> Result<Self, Refusal> {
        if offer.media.len() < self.lines.len() || self.is_renamed(offer) {
            return Err(not_acceptable("sdp_streams"));
        }
        let usable = together(offer, is_muxed);
        let mut next = self.clone();
        next.bundled = group(offer).is_some();
        match remote(offer, &usable) {
            Ok(found) => next.follow_transport(found, chance)?,
            // All lines are turned off for now; the transport stays.
            Err(_) if self.remote.is_some() && !offer.media.iter().any(is_active) => {}
            Err(refusal) => return Err(refusal),
        }
        // An offer that leaves it open lets us begin: the peer's address is proven then (RFC 8842 section 5.3).
        let theirs = next.remote.as_ref().and_then(|remote| remote.setup);
        next.dtls_client.get_or_insert(theirs != Some(Setup::Active));
        let mut lines: Vec<Line> = Vec::with_capacity(offer.media.len());
        for (place, media) in offer.media.iter().enumerate() {
            let before = self.lines.get(place);
            let has_audio = lines.iter().any(|line| line.audio().is_some());
            let content = match media.kind {
                _ if !usable[place] => None,
                "audio" if before.is_some_and(|line| line.voice().is_some()) => {
                    before.and_then(|line| answer_voice(offer, media, line))
                }
                "audio" if !has_audio => self.answer_audio(offer, media, before, &lines, terms, chance),
                "video" if terms.video => answer_video(offer, media, before),
                _ => None,
            };
            let new_video = before.is_none_or(Line::is_refused) && media.kind == "video";
            next.blind &= !(new_video && content.is_some());
            lines.push(line(media, content));
        }
        // Who wants to be heard is not left to believe that it is. Audio that is turned off is another matter.
        let wants_audio = offer
            .media
            .iter()
            .any(|media| media.kind == "audio" && is_active(media));
        let has_audio = lines.iter().any(|line| line.audio().is_some());
        let is_nothing = self.lines.is_empty() && lines.iter().all(Line::is_refused);
        if wants_audio && !has_audio || is_nothing {
            return Err(not_acceptable("sdp_no_codec"));
        }
        next.settle(lines);
        next.proposed = None;
        Ok(next)
    }

    /// Whether a line that is in use is to go on under another name (RFC 8829 section 5.2.2): media that are known by
    /// their mid would be taken for another line's. Who reuses a refused line names it anew.
    fn is_renamed(&self, offer: &Session<'_>) -> bool {
        let known = self.lines.iter().zip(&offer.media);
        let mut used = known.filter(|(line, media)| line.is_used() && is_active(media));
        // Who bundles nothing needs no names, and has not taken ours either.
        let nameless = |media: &Media<'_>| group(offer).is_none() && media.mid().is_none();
        used.any(|(line, media)| line.mid.is_some() && line.mid.as_deref() != mid(media) && !nameless(media))
    }

    fn answer_audio(
        &self,
        offer: &Session<'_>,
        media: &Media<'_>,
        before: Option<&Line>,
        lines: &[Line],
        terms: Terms<'_>,
        chance: &mut dyn FnMut() -> u64,
    ) -> Option<Content> {
        let format = audio_format(media, terms.audio)?;
        let known = before.and_then(Line::audio).map(|audio| &audio.track);
        let track = known
            .or(self.audio.as_ref())
            .cloned()
            .unwrap_or_else(|| self.new_track(lines, chance));
        Some(Content::Audio(Audio {
            format,
            direction: mirrored(offer.direction(media), terms.audio.direction),
            track,
            remote_ssrcs: remote_ssrcs(media).into_iter().map(|(ssrc, _)| ssrc).collect(),
            extensions: extension::read(media),
            off: false,
        }))
    }

    /// What holds if the peer's answer to our offer does. The offer stays open until [`Bundle::conclude`]: what
    /// rings may answer twice.
    ///
    /// # Errors
    /// 488 where there is no offer of ours, the answer has more lines than it, names no transport or no codec.
    pub fn answered(&self, answer: &Session<'_>, terms: Terms<'_>) -> Result<Self, Refusal> {
        let Some(proposed) = &self.proposed else {
            return Err(not_acceptable("sdp_streams"));
        };
        if answer.media.len() > proposed.len() {
            return Err(not_acceptable("sdp_streams"));
        }
        let mut next = self.clone();
        let usable = together(answer, |_| true);
        next.bundled = group(answer).is_some();
        next.take_transport(remote(answer, &usable)?);
        let theirs = next.remote.as_ref().and_then(|remote| remote.setup);
        next.dtls_client.get_or_insert(theirs == Some(Setup::Passive));
        let mut lines = Vec::with_capacity(proposed.len());
        for (place, ours) in proposed.iter().enumerate() {
            let media = answer.media.get(place).filter(|_| usable[place]);
            let content = match (&ours.content, media) {
                (Content::Refused(formats), _) => Content::Refused(formats.clone()),
                (Content::Audio(audio), Some(media)) => {
                    answered_audio(audio, answer, media, terms.audio).ok_or(not_acceptable("sdp_no_codec"))?
                }
                // A first answer without audio is no call; a later one only turns it off.
                (Content::Audio(_), None) if self.lines.is_empty() => {
                    return Err(not_acceptable("sdp_no_audio"));
                }
                (Content::Audio(audio), None) => Content::Audio(Audio {
                    direction: Direction::NONE,
                    off: true,
                    ..audio.clone()
                }),
                (Content::Voice(voice), Some(media)) => answered_voice(voice, answer, media),
                (Content::Voice(voice), None) => refused_voice(voice),
                (Content::Camera(camera), Some(media)) => answered_camera(camera, answer, media),
                (Content::Slot(slot), Some(media)) => answered_slot(slot, answer, media),
                (Content::Camera(_) | Content::Slot(_), None) => refused_video(&ours.content),
            };
            let wanted_more = ours.slot().is_some_and(|slot| slot.shows.is_some());
            next.mixed |= ours.voice().is_some() && matches!(content, Content::Refused(_));
            next.blind |= wanted_more && matches!(content, Content::Refused(_));
            lines.push(Line {
                content,
                ..ours.clone()
            });
        }
        next.settle(lines);
        Ok(next)
    }

    /// Takes what a later offer says about the transport. Other credentials are an ICE restart, which we answer
    /// with new ones of ours; the DTLS association stays (RFC 8842 section 4.4).
    fn follow_transport(
        &mut self,
        found: (Remote, bool),
        chance: &mut dyn FnMut() -> u64,
    ) -> Result<(), Refusal> {
        if let (Some(before), Some(local)) = (&self.remote, &mut self.local) {
            let mut known = before.fingerprints.iter();
            if !known.any(|one| found.0.fingerprints.contains(one)) {
                // Another certificate needs another handshake, while what we have is still in use.
                return Err(not_acceptable("sdp_new_certificate"));
            }
            if before.ice != found.0.ice {
                local.ice = transport::new_credentials(chance);
            }
        }
        self.take_transport(found);
        Ok(())
    }

    fn take_transport(&mut self, (remote, reduced_size): (Remote, bool)) {
        self.remote = Some(remote);
        self.reduced_size = reduced_size;
    }
}

/// The mids that share the first transport: those of the first BUNDLE group, the first of them leading;
/// `None` where there is no group.
fn group<'a>(session: &Session<'a>) -> Option<&'a str> {
    let groups = session.attributes.iter().filter(|a| a.name == "group");
    let mut bundles = groups.filter_map(|a| a.value.strip_prefix("BUNDLE"));
    bundles.next()
}

/// Which lines can travel on our one transport: those of the bundle; where there is none, each line wants a transport
/// of its own, and the first audio has ours, or the first line of all. `muxed` tells whether RTCP may share it.
fn together(session: &Session<'_>, muxed: impl Fn(&Media<'_>) -> bool) -> Vec<bool> {
    let lines = || session.media.iter();
    let Some(group) = group(session) else {
        let usable = |media: &Media<'_>| is_active(media) && muxed(media);
        let audio = lines().position(|media| media.kind == "audio" && usable(media));
        let first = audio.or_else(|| lines().position(usable));
        return (0..session.media.len())
            .map(|place| first == Some(place))
            .collect();
    };
    let grouped = |mid: &str| group.split_ascii_whitespace().any(|other| other == mid);
    let inside = |media: &Media<'_>| is_active(media) && mid(media).is_some_and(grouped);
    // What is said of the transport may stand on one line for all of them (RFC 8829 section 5.2.2).
    let any = lines().any(|media| inside(media) && muxed(media));
    lines().map(|media| any && inside(media)).collect()
}

/// Whether the peer is ready for RTCP on the port of RTP, which only who offers can begin (RFC 5761 section 5.1.1, RFC
/// 8858 section 4.2).
fn is_muxed(media: &Media<'_>) -> bool {
    media.rtcp_mux() || media.attribute("rtcp-mux-only").is_some()
}

/// The name of a line, if it is one that may be written into ours.
fn mid<'a>(media: &Media<'a>) -> Option<&'a str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    media
        .mid()
        .map(str::trim)
        .filter(|mid| !mid.is_empty() && mid.len() <= MAX_MID && mid.bytes().all(is_token))
}

/// The transport of the first line that is used and says how it is reached.
fn remote(session: &Session<'_>, usable: &[bool]) -> Result<(Remote, bool), Refusal> {
    let mut used = session.media.iter().zip(usable).filter(|(_, usable)| **usable);
    let found = used.find_map(|(media, _)| transport::read(session, media));
    let reduced_size = session
        .media
        .iter()
        .any(|media| media.attribute("rtcp-rsize").is_some());
    found
        .map(|remote| (remote, reduced_size))
        .ok_or(not_acceptable("sdp_no_transport"))
}

/// The line of an answer to this line of an offer.
fn line(media: &Media<'_>, content: Option<Content>) -> Line {
    let format = media.formats.first().copied().unwrap_or("0");
    Line {
        mid: mid(media).map(str::to_owned),
        kind: media.kind.to_owned(),
        protocol: media.protocol.to_owned(),
        mux: is_muxed(media),
        content: content.unwrap_or_else(|| Content::Refused(format.to_owned())),
    }
}

/// What is left of the peer's audio formats, the best of ours first.
fn audio_format(media: &Media<'_>, ours: &Capabilities) -> Option<AudioFormat> {
    let ours = best_first(ours);
    let mut format = common(media, &ours)?;
    let rank = |codec| ours.codecs.iter().position(|known| *known == codec);
    format.receive.sort_by_key(|(_, codec)| rank(*codec));
    (format.payload_type, format.codec) = *format.receive.first()?;
    Some(format)
}

/// Which way a line flows, seen from us.
fn mirrored(theirs: Direction, ours: Direction) -> Direction {
    Direction {
        send: theirs.receive && ours.send,
        receive: theirs.send && ours.receive,
    }
}

/// A line on which the peer sends is its camera; any other may show it somebody.
fn answer_video(offer: &Session<'_>, media: &Media<'_>, before: Option<&Line>) -> Option<Content> {
    let formats = video::usable(media);
    if formats.is_empty() {
        return None;
    }
    let extensions = extension::read(media);
    let theirs = offer.direction(media);
    let was_camera = before.is_some_and(|line| matches!(line.content, Content::Camera(_)));
    if theirs.send || was_camera {
        return Some(Content::Camera(Camera {
            formats,
            extensions,
            flowing: theirs.send,
            ssrcs: remote_ssrcs(media),
        }));
    }
    let shows = before.and_then(Line::slot).and_then(|slot| slot.shows.clone());
    Some(Content::Slot(Slot {
        formats,
        extensions,
        held: !theirs.receive,
        shows,
    }))
}

/// A line for a single speaker in an offer of the peer.
fn answer_voice(offer: &Session<'_>, media: &Media<'_>, before: &Line) -> Option<Content> {
    let voice = before.voice()?;
    let opus = opus(media)?;
    Some(Content::Voice(Voice {
        format: AudioFormat {
            payload_type: opus,
            receive: vec![(opus, Codec::Opus)],
            ..voice.format.clone()
        },
        extensions: extension::read(media),
        held: !offer.direction(media).receive,
        track: voice.track.clone(),
    }))
}

/// The payload type of Opus on a line.
fn opus(media: &Media<'_>) -> Option<u8> {
    let ours = Capabilities {
        codecs: vec![Codec::Opus],
        ..Capabilities::default()
    };
    let format = common(media, &ours)?;
    let mut known = format.receive.iter();
    known
        .find(|(_, codec)| *codec == Codec::Opus)
        .map(|(number, _)| *number)
}

fn answered_voice(ours: &Voice, answer: &Session<'_>, media: &Media<'_>) -> Content {
    if opus(media) != Some(ours.format.payload_type) {
        return refused_voice(ours);
    }
    Content::Voice(Voice {
        extensions: extension::common(ours.extensions, extension::read(media)),
        held: !answer.direction(media).receive,
        ..ours.clone()
    })
}

fn refused_voice(ours: &Voice) -> Content {
    Content::Refused(ours.format.payload_type.to_string())
}

fn answered_audio(
    ours: &Audio,
    answer: &Session<'_>,
    media: &Media<'_>,
    capabilities: &Capabilities,
) -> Option<Content> {
    let mut format = audio_format(media, capabilities)?;
    // What comes in may bear the numbers of our offer.
    for (number, codec) in &ours.format.receive {
        if format.receive.iter().all(|(known, _)| known != number) {
            format.receive.push((*number, *codec));
        }
    }
    Some(Content::Audio(Audio {
        format,
        direction: mirrored(answer.direction(media), ours.direction),
        track: ours.track.clone(),
        remote_ssrcs: remote_ssrcs(media).into_iter().map(|(ssrc, _)| ssrc).collect(),
        extensions: extension::common(ours.extensions, extension::read(media)),
        off: false,
    }))
}

fn answered_camera(ours: &Camera, answer: &Session<'_>, media: &Media<'_>) -> Content {
    let formats = video::agreed(&ours.formats, media);
    let flowing = answer.direction(media).send;
    if formats.is_empty() {
        return refused_video(&Content::Camera(ours.clone()));
    }
    Content::Camera(Camera {
        formats,
        extensions: extension::common(ours.extensions, extension::read(media)),
        flowing,
        ssrcs: remote_ssrcs(media),
    })
}

fn answered_slot(ours: &Slot, answer: &Session<'_>, media: &Media<'_>) -> Content {
    let formats = video::agreed(&ours.formats, media);
    if formats.is_empty() {
        return refused_video(&Content::Slot(ours.clone()));
    }
    Content::Slot(Slot {
        formats,
        extensions: extension::common(ours.extensions, extension::read(media)),
        shows: ours.shows.clone(),
        held: ours.shows.is_some() && !answer.direction(media).receive,
    })
}

/// A video line that the peer does not have.
fn refused_video(ours: &Content) -> Content {
    let formats = match ours {
        Content::Camera(camera) => &camera.formats,
        Content::Slot(slot) => &slot.formats,
        Content::Refused(_) | Content::Audio(_) | Content::Voice(_) => return ours.clone(),
    };
    let number = formats.first().map_or(0, |format| format.known.payload_type);
    Content::Refused(number.to_string())
}
