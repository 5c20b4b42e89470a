//! What goes into the engine and what comes out of it.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use cordboard_model::hook::conference::Role;
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{Ask, ConferenceId, ParticipantId, ShardId, Ticket, Time, UserId, Verdict};

use crate::chat::io::{ChatInput, ChatOutput, ChatWrite};
use crate::limits::Ban;
use crate::record::CallRecord;
use crate::sip::message::Message;

/// How SIP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// RFC 3261 section 18, one message per datagram.
    Udp,
    /// RFC 3261 section 18, framed by Content-Length.
    Tcp,
    /// As TCP, inside TLS.
    Tls,
    /// RFC 7118, one message per WebSocket frame.
    Ws,
    /// As WebSocket, inside TLS.
    Wss,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether the transport itself repeats what is lost.
    pub const fn reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether nobody on the way can read what is sent.
    pub const fn encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The name in a Via header.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The name in a `transport` parameter, in metrics and for plugins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The way to and from one peer: a UDP socket and an address, or one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// How SIP travels on it.
    pub transport: Transport,
    /// Which of the engine's [`Listener`](crate::config::Listener)s it belongs to (index).
    pub listener: u16,
    /// The other end.
    pub peer: SocketAddr,
    /// The connection's number, from 1 and never used twice; 0 on UDP, and for "any connection to
    /// `peer`, or a new one" on TCP.
    pub connection: u64,
}

/// A message to send: two parts, so that the second can be shared by many copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Start line and the headers of this copy.
    pub head: Bytes,
    /// The common headers, the empty line and the body; empty where `head` is whole.
    pub tail: Bytes,
}

/// Everything that the engine can be told.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "the largest is what comes most: a box would be an allocation each"
)]
pub enum Input {
    /// A SIP message has come.
    Message {
        /// Where from.
        flow: Flow,
        /// The message.
        message: Message,
        /// When it came: the kernel's stamp on UDP, read-readiness on streams.
        stamp: Time,
    },
    /// A connection is gone; nothing can be sent on it any more.
    FlowClosed {
        /// The connection's number.
        connection: u64,
    },
    /// A message could not be sent: no connection could be made, or the address is unreachable.
    Unreachable {
        /// The flow it was meant for.
        flow: Flow,
    },
    /// The answer to [`Output::Ask`].
    Verdict {
        /// The question's ticket.
        ticket: Ticket,
        /// The chain's verdict.
        verdict: Verdict,
    },
    /// A media shard reports.
    Media(MediaEvent),
    /// Something for the chat.
    Chat(ChatInput),
    /// Somebody who may changes a conference that is alive. Nothing happens where it is over, or the
    /// participant gone.
    Conference {
        /// The conference.
        id: ConferenceId,
        /// What to do.
        command: ConferenceCommand,
    },
    /// Somebody has shown a token over HTTP that is none of an operator's.
    WrongToken {
        /// The other end; a connection's source is no forgery.
        source: IpAddr,
    },
    /// The commands of this ticket are on disk (or could not be written).
    Stored {
        /// The ticket of [`Output::Store`].
        ticket: Ticket,
        /// Whether they are safe.
        ok: bool,
    },
    /// Take no new calls; end those that are left at `deadline`.
    Drain {
        /// When calls that are still up get a BYE.
        deadline: Time,
    },
    /// End now: every call gets its BYE at once, for nobody will be there to hear an answer.
    End,
}

/// What can be done to a conference that is alive. A participant's id is the number of its media leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConferenceCommand {
    /// Nobody hears this participant, or everybody does again.
    Mute {
        /// Who.
        participant: ParticipantId,
        /// Whether nobody hears it.
        muted: bool,
    },
    /// This participant hears nobody, or everybody again.
    Deafen {
        /// Who.
        participant: ParticipantId,
        /// Whether it hears nobody.
        deaf: bool,
    },
    /// Nobody is sent this participant's video, or everybody is again. Its line to the others stays as it is.
    Hide {
        /// Who.
        participant: ParticipantId,
        /// Whether nobody sees it.
        hidden: bool,
    },
    /// This participant may not write, or may again.
    Silence {
        /// Who.
        participant: ParticipantId,
        /// Whether its messages are refused.
        silenced: bool,
    },
    /// This participant has another standing.
    Role {
        /// Who.
        participant: ParticipantId,
        /// Its standing from now on.
        role: Role,
    },
    /// Put this participant out.
    Kick {
        /// Who.
        participant: ParticipantId,
    },
    /// Let only moderators in, or everybody again.
    Lock(bool),
    /// Put everybody out.
    End,
}

/// Everything that the engine asks its shell to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a SIP message.
    Send {
        /// The way.
        flow: Flow,
        /// The message.
        packet: Packet,
    },
    /// Every copy of a message that may leave at once stands before this in the queue: when they are handed over,
    /// the relay latency is known.
    Relayed {
        /// When the original came in.
        stamp: Time,
    },
    /// The last copy of a message stands before this in the queue, also where it had to wait for a peer: when it is
    /// handed over, it is known how long the fan-out took.
    FannedOut {
        /// What is counted: `conference` or `pager`.
        kind: &'static str,
        /// When the original was accepted.
        accepted: Time,
    },
    /// Ask the plugins. Answered by [`Input::Verdict`] at the latest at the hook's deadline; later
    /// answers are dropped and counted.
    Ask {
        /// Comes back with the verdict.
        ticket: Ticket,
        /// The question.
        ask: Ask,
    },
    /// Tell a media shard.
    Media {
        /// The shard.
        shard: ShardId,
        /// What it is to do.
        command: MediaCommand,
    },
    /// Write to the store; answered by [`Input::Stored`] after the commit.
    Store {
        /// Comes back when the write is safe.
        ticket: Ticket,
        /// What to write.
        write: StoreWrite,
    },
    /// Something of the chat.
    Chat(ChatOutput),
    /// Close a SIP connection after what was sent on it.
    Close {
        /// The connection's number.
        connection: u64,
    },
    /// A call was answered: its record as it will be if nothing more is heard of the call, to be kept for
    /// [`Engine::load_call`](crate::Engine::load_call) until [`Output::Record`] comes with its id.
    Answered(Box<CallRecord>),
    /// A call is over: what there is to say about it.
    Record(Box<CallRecord>),
    /// Something for the log.
    Notice(Notice),
    /// Somebody has proved himself over a connection, or needs no proof: it is no stranger's.
    Proven {
        /// The connection.
        connection: u64,
    },
    /// After [`Input::Drain`]: no call is left.
    Drained,
}

/// What operators should read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A source gets no answer any more, for a time.
    Banned(Ban),
    /// A user has guessed PINs of a conference, and for a time none of them opens it for him.
    PinsRefused {
        /// The user.
        user: UserId,
        /// The conference.
        conference: ConferenceId,
        /// Where he guessed, as a ban names it; `None`: it is so from wherever he calls.
        source: Option<IpAddr>,
        /// Until when.
        until: Time,
    },
    /// A contact that was registered gave way to a newer one, as there is no room for more.
    ContactDropped {
        /// The address of record.
        address: Arc<str>,
    },
}

/// What the engine keeps on disk.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreWrite {
    /// A registered contact, new or refreshed: the row of this address of record, contact URI and instance.
    PutBinding(Box<StoredBinding>),
    /// A contact is gone.
    DeleteBinding {
        /// The address of record: `user@realm`.
        aor: Arc<str>,
        /// The contact's URI as it was registered.
        contact: Arc<str>,
        /// Its phone and flow, as in [`StoredBinding::instance`].
        instance: String,
    },
    /// All of these, or none.
    All(Vec<StoreWrite>),
    /// A change of what is kept of a chat room.
    Chat(ChatWrite),
    /// A message between users, kept until it is delivered.
    PutMessage(Box<StoredMessage>),
    /// A message was delivered, or is not kept any longer.
    DeleteMessage {
        /// Its id.
        id: u128,
    },
    /// A call that is up, as [`Output::Answered`] tells of it. Nobody waits for it.
    PutCall(Box<CallRecord>),
    /// A call is over, and its record written elsewhere. Nobody waits for it.
    DeleteCall {
        /// The id of its record.
        id: u128,
    },
    /// A call that is over, and up no longer. Nobody waits for it.
    PutRecord {
        /// The record.
        record: Box<CallRecord>,
        /// Older ones may be forgotten.
        forget_before: Time,
    },
    /// The switch runs. Nobody waits for it.
    Alive {
        /// Now.
        at: Time,
        /// The ids of the calls that are up: the time is not of others that have not been taken out.
        up: HashSet<u128>,
    },
}

/// A registration as it is kept on disk and loaded at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBinding {
    /// The address of record: `user@realm`.
    pub aor: Arc<str>,
    /// The contact's URI as it was registered.
    pub contact: Arc<str>,
    /// When it ends.
    pub expires: Time,
    /// Preference, 0 to 1000 (the q value times 1000).
    pub q: u16,
    /// The Call-ID of the REGISTER.
    pub call_id: Arc<str>,
    /// Its CSeq.
    pub cseq: u32,
    /// How the REGISTER came.
    pub transport: Transport,
    /// The listener's address that it came to.
    pub local: SocketAddr,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The connection, valid only while the process lives that wrote it: not stored, 0 when loaded.
    pub connection: u64,
    /// The User-Agent header, cut to 256 bytes.
    pub user_agent: Arc<str>,
    /// The Path header values (RFC 3327), in order, joined by commas; empty if none.
    pub path: String,
    /// The phone and which of its flows (RFC 5626): the contact's `+sip.instance` value, `;reg-id=` and the
    /// number; empty unless it gave both.
    pub instance: String,
}

/// A message between users as it is kept on disk and loaded at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Random, unique; the Call-ID of every attempt to deliver it.
    pub id: u128,
    /// Higher than that of every message before it.
    pub number: u64,
    /// The address of record that it is for: `user@realm`.
    pub to: String,
    /// The sender's URI.
    pub from: String,
    /// The sender's URI where `from` names nobody and it asks to be told of the delivery; otherwise empty. No recipient
    /// is told it.
    pub hidden: String,
    /// The sender's display name; empty if there is none.
    pub name: String,
    /// Content-Type and what else travels with it, one header a line, each ended by CR LF.
    pub headers: String,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The Max-Forwards of every attempt to deliver it: of what goes on from switch to switch there is an end.
    pub hops: u8,
    /// When it came.
    pub accepted: Time,
    /// Until when it is kept.
    pub expires: Time,
}

/// An address that may be put into SDP, by the family of the peer.
pub(crate) fn address_of_family(addresses: &[IpAddr], like: IpAddr) -> Option<IpAddr> {
    let like = like.to_canonical(); // a socket of both families shows IPv4 peers as IPv6 ones
    addresses
        .iter()
        .copied()
        .find(|a| a.is_ipv4() == like.is_ipv4())
        .or_else(|| addresses.first().copied())
}
