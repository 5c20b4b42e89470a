//! Connections: their handshake, the pace of their frames, their end.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use cordboard_model::ConferenceId;
use serde_json::Value;

use super::command::{Command, Envelope, Unreadable};
use super::frame::{error, event};
use super::io::{ChatOutput, Departure};
use super::participant::Presence;
use super::refusal::{BANNED, DRAINING, GUESSED, Refusal, refused};
use super::ticket::Admission;
use super::uuid::Uuid;
use super::{Connection, Waiting};
use crate::engine::Engine;
use crate::timer::Timer;

/// The subprotocol, and its name of old.
const PROTOCOLS: [&str; 2] = ["opentalk-signaling-json-v1.0", "k3k-signaling-json-v1.0"];
/// What stands before the ticket in the list of subprotocols.
const TICKET: &str = "ticket#";
const TICKET_LENGTH: usize = 64;
/// Frames that wait because their sender is too fast, or a verdict on an earlier one is awaited.
const BACKLOG: usize = 256;

/// A connection that somebody wants to open.
pub(super) struct Wish {
    pub(super) connection: u64,
    pub(super) source: IpAddr,
    pub(super) secure: bool,
    pub(super) upgradable: bool,
}

/// Where a connection's participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has not joined.
    Outside,
    /// It waits; a moderator may have accepted it.
    Waiting { accepted: bool },
    /// It is in the room.
    Joined,
}

/// Who speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker {
    pub(super) connection: u64,
    pub(super) room: ConferenceId,
    pub(super) participant: Uuid,
    pub(super) step: Step,
}

impl Engine {
    pub(super) fn on_chat_open(&mut self, wish: &Wish, protocols: Option<&str>) {
        match self.open_chat(wish, protocols) {
            Ok((admission, protocol)) => {
                let connection = wish.connection;
                self.connect_chat(wish, admission);
                self.chat_out(ChatOutput::Opened { connection, protocol });
            }
            Err(refusal) => {
                self.chat_dropped(refusal.code);
                self.chat_out(ChatOutput::Refused {
                    connection: wish.connection,
                    status: refusal.status,
                    body: refusal.body(),
                });
            }
        }
    }

    /// The checks of a handshake, in the order of the contract.
    fn open_chat(
        &mut self,
        wish: &Wish,
        protocols: Option<&str>,
    ) -> Result<(Admission, &'static str), Refusal> {
        let Some(list) = protocols else {
            return Err(refused(
                400,
                "missing_protocol",
                "a Sec-WebSocket-Protocol header must be there",
            ));
        };
        if self.is_banned(wish.source, self.wire.now) {
            return Err(GUESSED);
        }
        let offered: Vec<&str> = list.split(',').map(str::trim).collect();
        let known = PROTOCOLS.into_iter().find(|known| offered.contains(known));
        let Some(protocol) = known else {
            return Err(refused(
                400,
                "invalid_protocol",
                "offer the subprotocol opentalk-signaling-json-v1.0",
            ));
        };
        let Some(ticket) = offered.iter().find_map(|name| name.strip_prefix(TICKET)) else {
            return Err(refused(
                401,
                "missing_ticket",
                "offer the ticket as a subprotocol: ticket#...",
            ));
        };
        let now = self.wire.now;
        if ticket.len() != TICKET_LENGTH || !self.chat.tickets.knows(ticket, now) {
            return Err(refused(
                401,
                "invalid_ticket",
                "the ticket is unknown, used or too old",
            ));
        }
        if !wish.upgradable {
            return Err(refused(
                400,
                "no_websocket",
                "this is no request that opens a WebSocket (RFC 6455)",
            ));
        }
        if self.draining {
            return Err(DRAINING);
        }
        let from_there = self.chat.sources.get(&wish.source).copied().unwrap_or_default();
        if self.chat.connections.len() >= self.config.chat.connections
            || from_there >= self.config.chat.connections_per_source
        {
            return Err(refused(
                503,
                "too_many_connections",
                "too many chat connections are open",
            ));
        }
        let admission = self.chat.tickets.take(ticket, now);
        let admission = admission.ok_or(refused(401, "invalid_ticket", "the ticket is used"))?;
        // The ticket may be older than the ban.
        if self.chat_bans(admission.room, admission.principal.user()) {
            return Err(BANNED);
        }
        Ok((admission, protocol))
    }

    fn connect_chat(&mut self, wish: &Wish, admission: Admission) {
        // Two tickets of one participant: the later connection is the one that counts.
        let same =
            |other: &Connection| (other.room, other.participant) == (admission.room, admission.participant);
        let older = self.chat.connections.iter().find(|(_, other)| same(other));
        if let Some(older) = older.map(|(number, _)| *number) {
            self.depart(older, "quit", true);
            self.show_out(admission.room, older, "the session goes on elsewhere");
        }
        self.chat.resumptions.hold(&admission);
        *self.chat.sources.entry(wish.source).or_default() += 1;
        let allowance = (f64::from(self.config.message_rate) * 2.0, self.wire.now);
        let connection = Connection {
            room: admission.room,
            participant: admission.participant,
            principal: admission.principal,
            resumption: admission.resumption,
            source: wish.source,
            transport: if wish.secure { "wss" } else { "ws" },
            allowance,
            asking: None,
            backlog: std::collections::VecDeque::new(),
            woken: false,
        };
        self.chat.connections.insert(wish.connection, connection);
    }

    pub(super) fn on_chat_frame(&mut self, number: u64, frame: Bytes) {
        let Some(connection) = self.chat.connections.get_mut(&number) else {
            return self.chat_dropped("after_close");
        };
        if connection.backlog.len() >= BACKLOG {
            return self.expel_hasty(number);
        }
        connection.backlog.push_back(Waiting::Frame(frame));
        self.work_off(number);
    }

    pub(super) fn on_chat_closed(&mut self, number: u64, departure: Departure) {
        let Some(connection) = self.chat.connections.get_mut(&number) else {
            return; // we have closed it
        };
        connection.backlog.push_back(Waiting::Closed(departure));
        self.work_off(number);
    }

    /// Takes what waits on a connection, as far as its pace allows and no verdict is awaited.
    pub(super) fn work_off(&mut self, number: u64) {
        let (rate, now) = (f64::from(self.config.message_rate), self.wire.now);
        while let Some(connection) = self.chat.connections.get_mut(&number) {
            if connection.asking.is_some() {
                return;
            }
            let Some(first) = connection.backlog.front() else {
                return;
            };
            if rate > 0.0 && matches!(first, Waiting::Frame(_)) {
                let (left, at) = connection.allowance;
                let left = (left + now.since(at).as_secs_f64() * rate).min(rate * 2.0);
                connection.allowance = (left, now);
                if left < 1.0 {
                    if !connection.woken {
                        connection.woken = true;
                        let wait = Duration::from_secs_f64((1.0 - left) / rate) + Duration::from_micros(1);
                        self.wire.timers.arm(now + wait, Timer::Chat(number));
                    }
                    return;
                }
                connection.allowance.0 = left - 1.0;
            }
            match connection.backlog.pop_front() {
                Some(Waiting::Frame(frame)) => self.take_frame(number, &frame),
                Some(Waiting::Closed(departure)) => {
                    let (reason, seat) = match departure {
                        Departure::Quit => ("quit", false),
                        Departure::Lost => ("timeout", true),
                    };
                    self.depart(number, reason, seat);
                }
                None => return,
            }
        }
    }

    pub(crate) fn chat_timer(&mut self, number: u64) {
        if let Some(connection) = self.chat.connections.get_mut(&number) {
            connection.woken = false;
            self.work_off(number);
        }
    }

    /// Far too fast for far too long.
    fn expel_hasty(&mut self, number: u64) {
        self.chat_dropped("rate_limited");
        let Some(connection) = self.chat.connections.get(&number) else {
            return;
        };
        let id = connection.room;
        self.say_to(number, |at| {
            event("control", at, "rate_limit_exceeded", Value::Null)
        });
        self.depart(number, "quit", false);
        self.show_out(id, number, "too many frames");
    }

    pub(super) fn speaker(&self, number: u64) -> Option<Speaker> {
        let connection = self.chat.connections.get(&number)?;
        let room = self.chat.rooms.get(&connection.room);
        let known = room.and_then(|room| room.participants.get(&connection.participant));
        let step = match known.map(|participant| participant.presence) {
            Some(Presence::Connection(own)) if own == number => Step::Joined,
            Some(Presence::Waiting {
                connection: own,
                accepted,
            }) if own == number => Step::Waiting { accepted },
            _ => Step::Outside,
        };
        Some(Speaker {
            connection: number,
            room: connection.room,
            participant: connection.participant,
            step,
        })
    }

    /// There is no such conference any more.
    pub(super) fn close_without_room(&mut self, number: u64) {
        self.depart(number, "quit", false);
        self.chat_out(ChatOutput::Close {
            connection: number,
            code: 1000,
            reason: "the room is gone",
        });
    }

    fn take_frame(&mut self, number: u64, frame: &[u8]) {
        let Some(speaker) = self.speaker(number) else {
            return;
        };
        if self.chat_room(speaker.room).is_none() {
            return self.close_without_room(number);
        }
        let envelope = match Envelope::read(frame) {
            Ok(envelope) => envelope,
            Err(_) => return self.refuse_command(number, "control", "invalid_json"),
        };
        if speaker.step != Step::Joined && envelope.namespace != "control" {
            return self.chat_dropped("not_joined");
        }
        match envelope.command() {
            Ok(Command::Control(command)) => self.on_control(speaker, command),
            Ok(Command::Chat(command)) => self.on_chat_command(speaker, command),
            Ok(Command::Moderation(command)) => self.on_moderation(speaker, command),
            Ok(Command::Livekit(command)) => self.on_livekit(speaker, command),
            Err(Unreadable::Json) => self.refuse_command(number, "control", "invalid_json"),
            Err(Unreadable::Namespace) => self.refuse_command(number, "control", "invalid_namespace"),
        }
    }

    /// Says something to one connection, in its place among what the room says.
    pub(super) fn say_to(&mut self, number: u64, say: impl FnOnce(cordboard_model::Time) -> Bytes) {
        let Some(id) = self
            .chat
            .connections
            .get(&number)
            .map(|connection| connection.room)
        else {
            return;
        };
        let now = self.wire.now;
        let Some(room) = self.chat_room(id) else {
            return;
        };
        let frame = say(room.stamp(now));
        self.tell_room(id, [number].into(), frame);
    }

    /// An error of a namespace, to one connection.
    pub(super) fn refuse_command(&mut self, number: u64, namespace: &'static str, why: &'static str) {
        self.say_to(number, |at| error(namespace, at, why));
    }

    /// Takes a connection out, whose end the others hear of. With a seat, an empty room waits for it a while.
    pub(super) fn depart(&mut self, number: u64, reason: &'static str, seat: bool) {
        let step = self.speaker(number).map(|speaker| speaker.step);
        let Some(connection) = self.chat.connections.remove(&number) else {
            return;
        };
        if let Some(count) = self.chat.sources.get_mut(&connection.source) {
            *count -= 1;
            if *count == 0 {
                self.chat.sources.remove(&connection.source);
            }
        }
        if let Some(ticket) = connection.asking {
            self.subjects.remove(&ticket);
            self.chat_dropped("sender_gone");
        }
        let lost = connection.backlog.len();
        if lost > 0 {
            *self.wire.counts.chat_dropped.entry("sender_gone").or_default() += lost as u64;
        }
        let now = self.wire.now;
        if matches!(reason, "kicked" | "banned") {
            self.chat.resumptions.remove(&connection.resumption);
        } else {
            self.chat.resumptions.release(&connection.resumption, now);
        }
        match step {
            Some(Step::Joined) => {
                self.leave_room(connection.room, connection.participant, reason, seat);
            }
            Some(Step::Waiting { .. }) => {
                self.leave_waiting_room(connection.room, connection.participant);
            }
            Some(Step::Outside) | None => {}
        }
        self.empty_room(connection.room);
    }

    /// Closes every chat connection: the switch ends.
    pub(crate) fn end_chat(&mut self) {
        let all: Vec<u64> = self.chat.connections.keys().copied().collect();
        for number in all {
            self.depart(number, "quit", true);
            self.chat_out(ChatOutput::Close {
                connection: number,
                code: 1001,
                reason: "the switch ends",
            });
        }
    }
}
