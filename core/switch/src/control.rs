//! The control thread: one engine. What has come is handed in, the outputs are drained, what is to be
//! sent goes out in a batch.

mod connection;
mod handle;
mod notice;
mod outgoing;
mod pace;
mod report;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cordboard_engine::Engine;
use cordboard_engine::config::Config;
use cordboard_engine::io::{Flow, Input, Output, Packet, StoreWrite, Transport};
use cordboard_engine::limits::Ban;
use cordboard_engine::quality::Participant;
use cordboard_engine::record::CallRecord;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{Ask, ConferenceId, ShardId, Ticket, Time, Verdict};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

pub(crate) use handle::ControlHandle;

use self::notice::Notices;
use self::pace::Pace;
pub(crate) use self::report::Report;
use crate::chat::{ChatArrival, ChatDesk};
use crate::clock::Clock;
use crate::net::backlog::Writer;
use crate::net::connection::Waits;
use crate::net::keep_alive::{KeepAlive, keep_alive};
use crate::net::udp::{Batch, Outgoing, SipSocket};

/// Messages from connections that may wait for control; their peers are slowed down by TCP meanwhile.
const ARRIVALS: usize = 4096;
/// Packets that may wait for a connection that is being made.
const DIALLING: usize = 64;
/// Inputs taken in a row before the outputs are sent.
const ROUND: usize = 256;
/// One of so many datagrams of strangers is read when there is no time for all.
const SAMPLE: u64 = 16;
const WAKE: Token = Token(usize::MAX);

/// What comes from connections, in the order in which it came.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "the largest is what comes most: a box would be an allocation each"
)]
pub(crate) enum Arrival {
    Opened {
        flow: Flow,
        writer: Writer,
    },
    /// Nothing more comes from there; answers are still taken.
    HalfClosed {
        connection: u64,
    },
    Closed {
        connection: u64,
    },
    Message {
        flow: Flow,
        message: Message,
        stamp: Time,
        /// What the message takes of the bytes that may wait.
        waits: Waits,
    },
    Garbage {
        reason: &'static str,
    },
    Chat(ChatArrival),
}

/// What comes from the switch's own threads: answers to what control asked, so their number is bounded by
/// the questions.
#[derive(Debug)]
pub(crate) enum Answer {
    Verdict {
        ticket: Ticket,
        verdict: Verdict,
    },
    Media(MediaEvent),
    Stored {
        ticket: Ticket,
        ok: bool,
    },
    /// No connection could be made.
    NotDialled {
        flow: Flow,
        reason: &'static str,
    },
    Drain {
        deadline: Time,
    },
    /// Every call ends now.
    End,
    /// Nobody looks after a chat connection any more that control had let in.
    Deserted(u64),
    /// The configuration is another from now on.
    Reconfigure(Box<Config>),
    Report(oneshot::Sender<Report>),
    Bans(oneshot::Sender<Vec<Ban>>),
    /// An operator ends the bans of a source: whether there was one.
    LiftBan {
        /// An address of it.
        source: IpAddr,
        /// Where the answer goes.
        lifted: oneshot::Sender<bool>,
    },
    Participants(ConferenceId, oneshot::Sender<Option<Vec<Participant>>>),
    /// Somebody has shown a token of an operator, right or wrong: is it heard, or is its source banned?
    Token {
        source: IpAddr,
        right: bool,
        /// What comes of it; in an error, how long its source is still banned.
        heard: oneshot::Sender<Result<(), Duration>>,
    },
    Stop,
}

/// What control hands on: to plugins, shards, store and dialler.
pub(crate) trait Shell: Send {
    fn ask(&mut self, ticket: Ticket, ask: Ask);
    fn media(&mut self, shard: ShardId, command: MediaCommand);
    fn store(&mut self, ticket: Ticket, write: StoreWrite);
    fn dial(&mut self, flow: Flow);
    fn answered(&mut self, record: Box<CallRecord>);
    fn record(&mut self, record: Box<CallRecord>);
    fn drained(&mut self);
}

/// Everything that the thread owns.
pub(crate) struct Control {
    engine: Engine,
    clock: Clock,
    poll: Poll,
    woken: Arc<AtomicBool>,
    /// Before the writers of connections, so that whoever loses one at the end can see that this is the end.
    arrivals: mpsc::Receiver<Arrival>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// The UDP sockets, by listener index.
    sockets: Vec<(u16, SipSocket)>,
    /// Datagrams, arrivals and answers that were taken.
    taken: u64,
    /// Messages of strangers that came while there was no time for them.
    unread: u64,
    /// What goes out by each of them, by listener index.
    outgoing: Vec<Vec<Outgoing>>,
    connections: HashMap<u64, (Flow, Writer)>,
    /// Those of them that take answers alone.
    half_closed: HashSet<u64>,
    by_peer: HashMap<(Transport, SocketAddr), u64>,
    dialling: HashMap<(Transport, SocketAddr), (Flow, Vec<Packet>)>,
    chat: ChatDesk,
    /// Messages of the present batch of datagrams.
    inbox: Vec<Input>,
    relayed: Vec<Time>,
    fanned_out: Vec<(&'static str, Time)>,
    /// Flows that turned out to lead nowhere, for the engine.
    unreachable: Vec<Flow>,
    report: Report,
    notices: Notices,
    shell: Box<dyn Shell>,
}

/// Makes the way to a control thread and what it is built from.
pub(crate) struct ControlParts {
    poll: Poll,
    arrivals: mpsc::Receiver<Arrival>,
    answers: mpsc::UnboundedReceiver<Answer>,
    woken: Arc<AtomicBool>,
}

impl ControlParts {
    /// # Errors
    /// If the system gives nothing to wait with.
    pub(crate) fn new() -> io::Result<(Self, ControlHandle)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
        let (answers_in, answers) = mpsc::unbounded_channel();
        let woken = Arc::new(AtomicBool::new(false));
        let handle = ControlHandle {
            arrivals: arrivals_in,
            answers: answers_in,
            waker,
            woken: Arc::clone(&woken),
        };
        Ok((
            Self {
                poll,
                arrivals,
                answers,
                woken,
            },
            handle,
        ))
    }

    /// What was handed over last, for tests of those who hand it over.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> (Option<Arrival>, Option<Answer>) {
        (self.arrivals.try_recv().ok(), self.answers.try_recv().ok())
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread, or a socket cannot be waited for.
    pub(crate) fn start(
        self,
        engine: Engine,
        clock: Clock,
        sockets: Vec<(u16, SipSocket)>,
        shell: Box<dyn Shell>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let control = self.build(engine, clock, sockets, shell)?;
        thread::Builder::new()
            .name("control".into())
            .spawn(move || control.run())
    }

    fn build(
        self,
        engine: Engine,
        clock: Clock,
        sockets: Vec<(u16, SipSocket)>,
        shell: Box<dyn Shell>,
    ) -> io::Result<Control> {
        for (index, socket) in &sockets {
            let token = Token(usize::from(*index));
            self.poll
                .registry()
                .register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        }
        Ok(Control {
            engine,
            clock,
            poll: self.poll,
            woken: self.woken,
            arrivals: self.arrivals,
            answers: self.answers,
            sockets,
            taken: 0,
            unread: 0,
            outgoing: Vec::new(),
            connections: HashMap::new(),
            half_closed: HashSet::new(),
            by_peer: HashMap::new(),
            dialling: HashMap::new(),
            chat: ChatDesk::default(),
            inbox: Vec::new(),
            relayed: Vec::new(),
            fanned_out: Vec::new(),
            unreachable: Vec::new(),
            report: Report::default(),
            notices: Notices::default(),
            shell,
        })
    }
}

impl Control {
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut batch = Batch::new();
        let mut readable = HashSet::new();
        let mut pace = Pace::new(Instant::now());
        let mut rested = false;
        self.drain(); // what the engine has to say of what it was loaded with
        loop {
            let behind = rested || !readable.is_empty() || !self.arrivals.is_empty();
            let wait = if behind { Some(Duration::ZERO) } else { self.wait() };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the control thread cannot wait for packets and ends");
                    return;
                }
            }
            readable.extend(
                events
                    .iter()
                    .map(mio::event::Event::token)
                    .filter(|token| *token != WAKE),
            );
            let taken = self.taken;
            // Before the queues are emptied: what comes later wakes again. What saw that control is awake is in them:
            // hence a swap, which the reading of the queues cannot overtake.
            self.woken.swap(false, Ordering::AcqRel);
            // First what was settled before the packets came: a config that is said to hold, holds.
            if !self.take_answers() {
                // The last words were said in this very round.
                return self.send(&mut batch);
            }
            self.receive(&mut readable, &mut batch);
            self.take_arrivals();
            let now = self.clock.now();
            if self.engine.next_timeout().is_some_and(|at| at <= now) {
                self.engine.timeout(now);
            }
            self.drain();
            self.send(&mut batch);
            let rest = if self.taken > taken && readable.is_empty() {
                pace.rest(Instant::now())
            } else {
                None
            };
            if let Some(rest) = rest {
                // Nobody needs to wake a thread that comes back by itself.
                self.woken.store(true, Ordering::Release);
                thread::sleep(rest);
            }
            rested = rest.is_some();
        }
    }

    /// Until the engine's next timeout, rounded up so that it is due on waking.
    fn wait(&self) -> Option<Duration> {
        let at = self.engine.next_timeout()?;
        Some(at.since(self.clock.now()) + Duration::from_micros(50))
    }

    fn receive(&mut self, readable: &mut HashSet<Token>, batch: &mut Batch) {
        let (inbox, clock, garbage) = (&mut self.inbox, &self.clock, &mut self.report.garbage);
        let (engine, unread, now) = (&self.engine, &mut self.unread, self.clock.now());
        let (stun, mut answers) = (&mut self.report.stun, Vec::new());
        for (index, socket) in &mut self.sockets {
            let token = Token(usize::from(*index));
            if !readable.contains(&token) {
                continue;
            }
            let more = socket.receive(batch, clock, |datagram| {
                let flow = Flow {
                    transport: Transport::Udp,
                    listener: *index,
                    peer: datagram.source,
                    connection: 0,
                };
                let (source, stamp) = (datagram.source.ip(), datagram.stamp);
                // So that the kernel's buffer keeps room for phones that are known.
                if engine.is_late(stamp, now) && !engine.is_known(source, now) {
                    *unread += 1;
                    if !unread.is_multiple_of(SAMPLE) {
                        return;
                    }
                }
                let banned = engine.is_banned(source, stamp);
                match keep_alive(datagram.bytes, datagram.source) {
                    None => {}
                    Some(KeepAlive::Empty) => return,
                    Some(KeepAlive::Stun(answer)) if !banned => {
                        *stun += 1;
                        return answers.push((*index, (answer, Bytes::new(), datagram.source)));
                    }
                    Some(KeepAlive::Stun(_)) => return *garbage.entry("banned").or_default() += 1,
                    Some(KeepAlive::BadStun) => return *garbage.entry("bad_stun").or_default() += 1,
                }
                match Message::parse(Bytes::copy_from_slice(datagram.bytes), Framing::Datagram) {
                    // The engine knows which of its messages belong to calls that are up.
                    Ok(message) => inbox.push(Input::Message {
                        flow,
                        message,
                        stamp: datagram.stamp,
                    }),
                    Err(_) if banned => *garbage.entry("banned").or_default() += 1,
                    Err(malformed) => *garbage.entry(malformed.reason).or_default() += 1,
                }
            });
            match more {
                Ok(true) => {}
                Ok(false) => {
                    readable.remove(&token);
                }
                Err(error) => {
                    readable.remove(&token);
                    tracing::error!(%error, address = %socket.local(), "a SIP socket failed");
                }
            }
        }
        for (listener, answer) in answers {
            self.taken += 1;
            self.post(listener, answer);
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        for input in inbox.drain(..) {
            self.taken += 1;
            self.engine.handle(input, self.clock.now());
            self.drain();
        }
        self.inbox = inbox;
    }

    fn take_arrivals(&mut self) {
        for _ in 0..ROUND {
            let Ok(arrival) = self.arrivals.try_recv() else {
                break;
            };
            self.taken += 1;
            self.arrived(arrival);
            self.drain();
        }
    }

    /// False when the thread is to end.
    fn take_answers(&mut self) -> bool {
        while let Ok(answer) = self.answers.try_recv() {
            self.taken += 1;
            let input = match answer {
                Answer::Verdict { ticket, verdict } => Input::Verdict { ticket, verdict },
                Answer::Media(event) => Input::Media(event),
                Answer::Stored { ticket, ok } => Input::Stored { ticket, ok },
                Answer::Drain { deadline } => Input::Drain { deadline },
                Answer::End => Input::End,
                Answer::Deserted(connection) => Input::Chat(self.chat.deserted(connection)),
                Answer::NotDialled { flow, reason } => {
                    *self.report.garbage.entry(reason).or_default() += 1;
                    self.dialling.remove(&(flow.transport, flow.peer));
                    Input::Unreachable { flow }
                }
                Answer::Reconfigure(config) => {
                    self.reconfigure(*config);
                    continue;
                }
                Answer::Report(reply) => {
                    let _ = reply.send(self.report()); // the scraper may have gone away
                    continue;
                }
                Answer::Bans(reply) => {
                    let _ = reply.send(self.engine.bans(self.clock.now())); // as above
                    continue;
                }
                Answer::LiftBan { source, lifted } => {
                    let _ = lifted.send(self.engine.lift_ban(source, self.clock.now())); // as above
                    continue;
                }
                Answer::Participants(id, reply) => {
                    let _ = reply.send(self.engine.participants(id)); // as above
                    continue;
                }
                Answer::Token { source, right, heard } => {
                    let now = self.clock.now();
                    let admitted = self.engine.may_show_token(source, right, now);
                    let left = || {
                        let ban = self.engine.ban_of(source, now);
                        ban.map_or(Duration::ZERO, |ban| ban.until.since(now))
                    };
                    let _ = heard.send(if admitted { Ok(()) } else { Err(left()) }); // as above
                    if right || !admitted {
                        continue;
                    }
                    Input::WrongToken { source }
                }
                Answer::Stop => return false,
            };
            self.engine.handle(input, self.clock.now());
            self.drain();
        }
        true
    }

    fn reconfigure(&mut self, config: Config) {
        let now = self.clock.now();
        let before = self.engine.bans(now).len();
        self.engine.reconfigure(config, now);
        let lifted = before - self.engine.bans(now).len();
        if lifted > 0 {
            self.notices.lifted(lifted);
        }
        self.drain();
    }

    /// Does what the engine says, until it has nothing more to say.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.engine.output() {
                match output {
                    Output::Send { flow, packet } => self.route(flow, packet),
                    Output::Relayed { stamp } => self.relayed.push(stamp),
                    Output::FannedOut { kind, accepted } => self.fanned_out.push((kind, accepted)),
                    Output::Ask { ticket, ask } => self.shell.ask(ticket, ask),
                    Output::Media { shard, command } => self.shell.media(shard, command),
                    Output::Store { ticket, write } => self.shell.store(ticket, write),
                    Output::Close { connection } => self.forget(connection),
                    Output::Chat(output) => self.chat.act(output),
                    Output::Proven { connection } => {
                        if let Some((_, writer)) = self.connections.get(&connection) {
                            writer.prove();
                        }
                    }
                    Output::Answered(record) => self.shell.answered(record),
                    Output::Record(record) => self.shell.record(record),
                    Output::Notice(notice) => self.notices.tell(&notice, self.clock.now()),
                    Output::Drained => self.shell.drained(),
                }
            }
            let input = if let Some(flow) = self.unreachable.pop() {
                Input::Unreachable { flow }
            } else {
                return;
            };
            self.engine.handle(input, self.clock.now());
        }
    }
}
