//! Calls: one dialog, one media leg, one place where it belongs.

pub(crate) mod ability;
pub(crate) mod answer;
pub(crate) mod bridge;
pub(crate) mod contact;
pub(crate) mod description;
pub(crate) mod early;
pub(crate) mod ending;
pub(crate) mod failing;
pub(crate) mod incoming;
pub(crate) mod info;
pub(crate) mod media;
pub(crate) mod offer;
pub(crate) mod outbox;
pub(crate) mod parting;
pub(crate) mod peer;
pub(crate) mod privacy;
pub(crate) mod reach;
pub(crate) mod reliable;
pub(crate) mod reoffer;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod stray;
pub(crate) mod way;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordboard_model::hook::conference::Role;
use cordboard_model::hook::message::MessageVerdict;
use cordboard_model::media::peer::PeerSetup;
use cordboard_model::media::{AudioSetup, Direction};
use cordboard_model::{ConferenceId, LegId, MixId, ShardId, Ticket, Time, UserId};

use self::ability::Abilities;
use self::early::Early;
use self::outbox::Outbox;
use self::privacy::ANONYMOUS_NAME;
use self::reliable::Progress;
use self::reoffer::Reoffer;
use self::session::Session;
use crate::arena::Key;
use crate::conference::message::PendingMessage;
use crate::conference::seat::Seat;
use crate::engine::Engine;
use crate::io::{Flow, Packet, address_of_family};
use crate::sdp::Origin;
use crate::sdp::rtc::Bundle;
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The plugins are asked whether it may join.
    Deciding,
    /// The shard is asked for a port.
    Opening,
    /// We called: the peer has not answered. They called: somebody's phones ring.
    Ringing,
    /// Our 2xx is out, its ACK awaited.
    Answered,
    /// Both sides have what they need.
    Up,
}

/// Where a call belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a conference.
    Conference(ConferenceId),
    /// One side of a call between users.
    Bridge(Key),
}

/// The media of a call.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) mix: MixId,
    pub(crate) shard: ShardId,
    /// Our RTP port, when the shard has named it.
    pub(crate) port: Option<u16>,
    /// Where the peer's first offer wants media: its family is that of our address, where we have one of it.
    pub(crate) offered_from: Option<IpAddr>,
    /// What holds on it now.
    pub(crate) audio: Option<AudioSetup>,
    /// The lines of a WebRTC peer; `None` for every other.
    pub(crate) bundle: Option<Box<Bundle>>,
    /// What the shard was told of them last.
    pub(crate) described: Option<Box<PeerSetup>>,
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    /// Nobody sees what it shows.
    pub(crate) hidden: bool,
    /// Which way we offer and take media: less than both ways while the other side holds.
    pub(crate) flows: Direction,
    /// Which way the peer itself wants media to flow, seen from the peer.
    pub(crate) will: Direction,
}

/// A 2xx that is repeated until its ACK comes (RFC 3261 section 13.3.1.4).
#[derive(Debug, Clone)]
pub(crate) struct Unacknowledged {
    pub(crate) packet: Packet,
    pub(crate) flow: Flow,
    /// Where it goes when the connection of that is gone.
    pub(crate) anew: Option<Flow>,
    pub(crate) cseq: u32,
    pub(crate) interval: Duration,
    pub(crate) repeat_at: Time,
    pub(crate) give_up_at: Time,
}

/// A message and its verdict, while earlier ones of the same sender have none.
pub(crate) type Decided = (Box<PendingMessage>, MessageVerdict);

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) dialog: Dialog,
    pub(crate) stage: Stage,
    pub(crate) place: Place,
    /// The transaction of the peer's INVITE while it is not answered.
    pub(crate) invite: Option<Key>,
    /// That INVITE.
    pub(crate) request: Option<Message>,
    /// The transaction of our INVITE while it is not answered.
    pub(crate) dialling: Option<Key>,
    /// The number of our last accepted INVITE, for the ACKs of repeats of its 2xx.
    pub(crate) ack: Option<u32>,
    pub(crate) unacknowledged: Option<Unacknowledged>,
    pub(crate) leg: Leg,
    /// What we have said about our media (RFC 3264).
    pub(crate) origin: Origin,
    /// The last thing that we said is an offer, and the answer to it has not come.
    pub(crate) offered: bool,
    /// The user whose phone is at the other end, if it is one of ours.
    pub(crate) owner: Option<UserId>,
    /// The user whose calls it is counted among: the caller, unless he is trusted.
    pub(crate) counted: Option<UserId>,
    /// The user name that was proven, or that a trusted peer named.
    pub(crate) user: Option<String>,
    /// The name that the others see where a request carries none.
    pub(crate) name: String,
    /// What was dialled.
    pub(crate) number: String,
    /// The other side of a call between users is not told who this is.
    pub(crate) hidden: bool,
    pub(crate) role: Role,
    pub(crate) trusted: bool,
    /// Our INVITE was given up: whatever answer comes ends the call.
    pub(crate) abandoned: bool,
    /// A text for this participant alone, sent when the call is up.
    pub(crate) greeting: Option<String>,
    /// What the peer's Accept header lists, where it sent one.
    pub(crate) accepts: Option<String>,
    pub(crate) outbox: Outbox,
    pub(crate) peer: Abilities,
    pub(crate) reoffer: Reoffer,
    pub(crate) session: Session,
    pub(crate) progress: Progress,
    /// Dialogs that phones behind one contact have begun and not confirmed.
    pub(crate) early: Vec<Early>,
    /// Why our INVITE was given up (RFC 3326), for its CANCEL.
    pub(crate) reason: Option<String>,
    /// Why it is over, or is given up, in the word of records; the first cause counts.
    pub(crate) why: Option<&'static str>,
    /// This sender's messages whose verdict is awaited, in the order in which they came.
    pub(crate) pending: VecDeque<(Ticket, Option<Decided>)>,
    /// Messages per second: what is left of the allowance, and when it was counted.
    pub(crate) allowance: (f64, Time),
    /// Its part in a conference.
    pub(crate) seat: Seat,
}

impl Call {
    /// Whether nobody hears it now.
    pub(crate) const fn is_muted(&self) -> bool {
        self.leg.muted || self.seat.waits
    }

    /// The name that the other side is shown.
    pub(crate) fn shown_name(&self) -> &str {
        if self.hidden { ANONYMOUS_NAME } else { &self.name }
    }

    /// Whether nobody sees it now.
    pub(crate) const fn is_hidden(&self) -> bool {
        self.leg.hidden || self.seat.waits
    }

    /// Whether it hears nobody now.
    pub(crate) const fn is_deaf(&self) -> bool {
        self.leg.deaf || self.seat.waits
    }
}

impl Engine {
    /// Our address in Via and Contact on a listener, the family of the peer preferred.
    pub(crate) fn sent_by(&self, flow: Flow) -> SocketAddr {
        let address = self.config.listeners[usize::from(flow.listener)].address;
        if address.ip().is_unspecified() {
            let ip = address_of_family(&self.config.public_ip, flow.peer.ip()).unwrap_or(address.ip());
            return SocketAddr::new(ip, address.port());
        }
        address
    }

    /// The value of our Contact towards a flow.
    pub(crate) fn contact(&self, user: &str, flow: Flow, focus: bool) -> String {
        let address = self.sent_by(flow);
        let transport = match flow.transport {
            crate::io::Transport::Udp => String::new(),
            other => format!(";transport={}", other.name()),
        };
        format!(
            "<sip:{user}@{address}{transport}>{}",
            if focus { ";isfocus" } else { "" }
        )
    }
}
