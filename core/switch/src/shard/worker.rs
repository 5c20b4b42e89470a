//! What runs on the media thread.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordboard_media::{PortRequest, Shard};
use cordboard_model::media::MediaEvent;
use cordboard_model::{LegId, Time};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::port::{Pair, PortPool, random};
use super::{Message, ShardConfig, ShardCounts};
use crate::clock::{Clock, KernelClock};
use crate::net::udp::MediaRoom;

/// Sockets that one look at the sockets reports; more are found by the next look.
const READY: usize = 1024;
/// Packets taken from one socket in a row, so that a flood on one leg does not starve the others.
const FAIR: usize = 32;
/// How often the counts are published.
const PUBLISH: Duration = Duration::from_millis(250);
/// Steps by which the thread is preferred, where the system allows it.
const NICE: i32 = -10;

struct Leg {
    id: LegId,
    pair: Pair,
}

pub(super) struct Worker {
    shard: Shard,
    clock: Clock,
    commands: Receiver<Message>,
    events: Box<dyn FnMut(MediaEvent) + Send>,
    shared: Arc<Mutex<ShardCounts>>,
    counts: ShardCounts,
    published: Time,
    /// Wakes for commands only.
    sleep: Poll,
    waker: Arc<Waker>,
    /// Knows which sockets have packets; is asked, never waited for.
    sockets: Poll,
    ready: Events,
    /// Sockets that had more packets than their share.
    unfinished: Vec<Token>,
    legs: Slab<Leg>,
    keys: HashMap<LegId, usize>,
    ports: PortPool,
}

impl Worker {
    pub(super) fn new(
        config: ShardConfig,
        commands: Receiver<Message>,
        events: Box<dyn FnMut(MediaEvent) + Send>,
        shared: Arc<Mutex<ShardCounts>>,
    ) -> io::Result<Self> {
        let sleep = Poll::new()?;
        let waker = Arc::new(Waker::new(sleep.registry(), Token(0))?);
        Ok(Self {
            shard: Shard::new(random()),
            clock: config.clock,
            commands,
            events,
            shared,
            counts: ShardCounts::default(),
            published: config.clock.now(),
            sleep,
            waker,
            sockets: Poll::new()?,
            ready: Events::with_capacity(READY),
            unfinished: Vec::new(),
            legs: Slab::new(),
            keys: HashMap::new(),
            ports: PortPool::new(config.ports),
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(super) fn run(mut self) {
        // Allowed only with the right to do so; without it the thread is like the others.
        let _ = rustix::process::nice(NICE);
        let mut woken = Events::with_capacity(4);
        let mut room = MediaRoom::new();
        let mut slept_until = self.clock.now();
        loop {
            let timeout = self.shard.next_timeout().map(|due| due.since(self.clock.now()));
            self.counts.busy += self.clock.now().since(slept_until);
            if let Err(error) = self.sleep.poll(&mut woken, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the media thread cannot wait; it ends");
                return;
            }
            slept_until = self.clock.now();
            let go_on = self.take_commands();
            if self
                .shard
                .next_timeout()
                .is_some_and(|due| due <= self.clock.now())
            {
                self.tick(&mut room);
            }
            self.publish(!go_on);
            if !go_on {
                return;
            }
        }
    }

    /// Takes the commands that wait; `false` if the thread is to end.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Message::Command(command)) => {
                    self.shard.command(command, self.clock.now());
                    self.flush();
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn tick(&mut self, room: &mut MediaRoom) {
        let now = self.clock.now();
        if let Some(due) = self.shard.next_timeout() {
            self.counts.lag.record_duration(now.since(due));
        }
        self.receive(room);
        self.shard.timeout(self.clock.now());
        self.flush();
    }

    /// Does what the shard wants done: packets first, then ports, then events.
    fn flush(&mut self) {
        let Self {
            shard,
            legs,
            keys,
            counts,
            ..
        } = self;
        let mut sent = false;
        shard.drain_packets(|packet| {
            let Some(leg) = keys.get(&packet.leg).map(|key| &legs[*key]) else {
                return;
            };
            let socket = if packet.control {
                &leg.pair.control
            } else {
                &leg.pair.media
            };
            sent = true;
            if !socket.send(packet.bytes, packet.destination) {
                counts.send_errors += 1;
            }
        });
        if sent {
            self.shard.handed_over(self.clock.now());
        }
        while let Some(request) = self.shard.poll_port() {
            match request {
                PortRequest::Bind { leg, local } => {
                    let port = self.ports.bind(local).and_then(|pair| self.register(leg, pair));
                    self.shard.bound(leg, port, self.clock.now());
                }
                PortRequest::Release { leg } => self.release(leg),
            }
        }
        while let Some(event) = self.shard.poll_event() {
            (self.events)(event);
        }
    }

    fn register(&mut self, id: LegId, pair: Pair) -> Result<u16, String> {
        let key = self.legs.vacant_key();
        let registry = self.sockets.registry();
        for (socket, token) in [
            (&pair.media, media_token(key)),
            (&pair.control, control_token(key)),
        ] {
            if let Err(error) =
                registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)
            {
                self.ports.release(pair.port);
                return Err(format!("the socket of an RTP port cannot be watched: {error}"));
            }
        }
        let port = pair.port;
        self.legs.insert(Leg { id, pair });
        self.keys.insert(id, key);
        Ok(port)
    }

    fn release(&mut self, id: LegId) {
        let Some(key) = self.keys.remove(&id) else { return };
        // Closing the sockets ends their registration.
        let leg = self.legs.remove(key);
        self.ports.release(leg.pair.port);
    }

    /// Reads the packets that have come to all sockets.
    fn receive(&mut self, room: &mut MediaRoom) {
        let kernel = self.clock.kernel();
        for token in std::mem::take(&mut self.unfinished) {
            self.receive_from(token, room, &kernel);
        }
        let mut ready = std::mem::replace(&mut self.ready, Events::with_capacity(0));
        loop {
            if let Err(error) = self.sockets.poll(&mut ready, Some(Duration::ZERO)) {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.counts.receive_errors += 1;
                }
                break;
            }
            let count = ready
                .iter()
                .map(|event| self.receive_from(event.token(), room, &kernel))
                .count();
            if count < READY {
                break;
            }
        }
        self.ready = ready;
    }

    fn receive_from(&mut self, token: Token, room: &mut MediaRoom, kernel: &KernelClock) {
        let (key, control) = (token.0 / 2, token.0 % 2 == 1);
        let Some(leg) = self.legs.get(key) else { return };
        let socket = if control {
            &leg.pair.control
        } else {
            &leg.pair.media
        };
        for _ in 0..FAIR {
            match socket.receive(room, kernel) {
                Ok(Some(packet)) if control => {
                    self.shard.control_packet(
                        leg.id,
                        packet.source,
                        packet.bytes,
                        packet.stamp,
                        kernel.now(),
                    );
                }
                Ok(Some(packet)) => {
                    self.shard
                        .packet(leg.id, packet.source, packet.bytes, packet.stamp, kernel.now());
                }
                Ok(None) => return,
                Err(_) => {
                    self.counts.receive_errors += 1;
                    return;
                }
            }
        }
        self.unfinished.push(token);
    }

    /// Lets others see the counts: a few times a second, and whenever the thread may sleep for long.
    fn publish(&mut self, ending: bool) {
        let now = self.clock.now();
        let idle = self.shard.next_timeout().is_none();
        if ending || idle || now.since(self.published) >= PUBLISH {
            self.published = now;
            self.counts.media = self.shard.counts();
            self.shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&self.counts);
        }
    }
}

const fn media_token(key: usize) -> Token {
    Token(key * 2)
}

const fn control_token(key: usize) -> Token {
    Token(key * 2 + 1)
}
