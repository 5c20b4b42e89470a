//! What runs on the media thread.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordboard_media::{PortRequest, Shard};
use cordboard_model::media::MediaEvent;
use cordboard_model::{LegId, Time};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::port::{Pair, PortPool, random};
use super::webrtc::WebRtc;
use super::{Message, ShardConfig, ShardCounts};
use crate::clock::{Clock, KernelClock};
use crate::net::udp::{Datagram, MediaRoom, MediaSocket};

/// Packets taken from one leg's socket in a row, so that a flood on one leg does not starve the others.
const FAIR: usize = 30;
/// Batches taken from the port for WebRTC in a row; each is followed by its forwarding.
const BATCHES: usize = 10;
/// Ticks between two looks at a leg's RTCP: reports are rare, and stamped on arrival.
const CONTROL_EVERY: usize = 25;
/// How long forwarded packets may wait for those that come right behind them: what goes to one peer leaves by one call,
/// which costs hardly more than one packet does. Only what has arrived already is taken meanwhile, nothing is waited for.
const GATHER: Duration = Duration::from_micros(300);
/// Handshake datagrams that are taken before the thread looks at everything else again.
const HANDSHAKES: usize = 4;
/// How often the counts are published.
const PUBLISH: Duration = Duration::from_millis(250);
/// Steps by which the thread is preferred, where the system allows it.
const NICE: i32 = -10;

struct Leg {
    id: LegId,
    pair: Pair,
    /// Whether exactly one packet came between the last two looks: then one is what is looked for.
    steady: bool,
}

pub(super) struct Worker {
    shard: Shard,
    clock: Clock,
    commands: Receiver<Message>,
    /// How many commands wait, as who sends them counts.
    waiting: Arc<AtomicUsize>,
    events: Box<dyn FnMut(MediaEvent) + Send>,
    shared: Arc<Mutex<ShardCounts>>,
    counts: ShardCounts,
    published: Time,
    /// Wakes for commands, and for packets of WebRTC peers.
    sleep: Poll,
    waker: Arc<Waker>,
    ticks: usize,
    /// When the legs' sockets were read last.
    last_look: Time,
    legs: Slab<Leg>,
    keys: HashMap<LegId, usize>,
    ports: PortPool,
    webrtc: WebRtc,
}

impl Worker {
    pub(super) fn new(
        config: ShardConfig,
        (commands, waiting): (Receiver<Message>, Arc<AtomicUsize>),
        events: Box<dyn FnMut(MediaEvent) + Send>,
        shared: Arc<Mutex<ShardCounts>>,
    ) -> io::Result<Self> {
        let sleep = Poll::new()?;
        let waker = Arc::new(Waker::new(sleep.registry(), Token(0))?);
        let mut shard = Shard::new(random());
        let mut webrtc = WebRtc::none();
        if let Some(port) = config.webrtc {
            shard = shard.with_webrtc(port.config);
            webrtc = WebRtc::new(port.sockets, port.listeners, sleep.registry())?;
        }
        Ok(Self {
            shard,
            clock: config.clock,
            commands,
            waiting,
            events,
            shared,
            counts: ShardCounts::default(),
            published: config.clock.now(),
            sleep,
            waker,
            ticks: 0,
            last_look: config.clock.now(),
            legs: Slab::new(),
            keys: HashMap::new(),
            ports: PortPool::new(config.ports),
            webrtc,
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(super) fn run(mut self) {
        // Allowed only with the right to do so; without it the thread is like the others.
        let _ = rustix::process::nice(NICE);
        let mut woken = Events::with_capacity(64);
        let mut room = MediaRoom::new();
        let mut slept_until = self.clock.now();
        loop {
            let timeout = self.timeout();
            self.counts.busy += self.clock.now().since(slept_until);
            if let Err(error) = self.sleep.poll(&mut woken, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the media thread cannot wait; it ends");
                return;
            }
            slept_until = self.clock.now();
            self.webrtc.wake(&woken, slept_until);
            let go_on = self.take_commands();
            self.take_webrtc();
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

    /// How long it may sleep.
    fn timeout(&self) -> Option<Duration> {
        if self.webrtc.is_ready() || self.shard.has_work() {
            return Some(Duration::ZERO);
        }
        self.shard.next_timeout().map(|due| due.since(self.clock.now()))
    }

    /// Takes and forwards what WebRTC peers have sent, and goes on with their handshakes.
    fn take_webrtc(&mut self) {
        let mut begun = None;
        for turn in 1..=BATCHES {
            if !self.webrtc.is_ready() {
                break;
            }
            let kernel = self.clock.kernel();
            let shard = &mut self.shard;
            self.counts.receive_errors += self.webrtc.receive(&kernel, |packet| {
                shard.webrtc_packet(packet.source, packet.bytes, packet.stamp, kernel.now());
            });
            let waited = self.clock.now().since(*begun.get_or_insert(kernel.now()));
            if waited >= GATHER || turn == BATCHES || !self.webrtc.is_ready() {
                self.flush();
                begun = None;
            }
        }
        if self.shard.has_work() {
            self.shard.work(HANDSHAKES, self.clock.now());
            self.flush();
        }
    }

    /// Takes the commands that wait; `false` if the thread is to end.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Message::Command(command)) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.shard.command(command, self.clock.now());
                    self.flush();
                }
                Ok(Message::Totals(legs, reply)) => {
                    let totals = |leg: LegId| Some((leg, self.shard.leg(leg)?));
                    let _ = reply.send(legs.into_iter().filter_map(totals).collect()); // nobody may wait any more
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
            webrtc,
            ..
        } = self;
        let mut sent = false;
        shard.drain_packets(|packet| {
            let Some(leg) = keys.get(&packet.leg).map(|key| &legs[*key]) else {
                // A leg without ports of its own is that of a WebRTC peer.
                sent = true;
                counts.send_errors += webrtc.send(packet.destination, packet.bytes, packet.bytes.len());
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
        shard.drain_webrtc(|burst| {
            sent = true;
            counts.send_errors += webrtc.send(burst.destination, burst.bytes, burst.segment);
        });
        if sent {
            self.shard.handed_over(self.clock.now());
        }
        while let Some(request) = self.shard.poll_port() {
            match request {
                PortRequest::Bind { leg, local } => {
                    let port = self.ports.bind(local).map(|pair| self.adopt(leg, pair));
                    self.shard.bound(leg, port, self.clock.now());
                }
                PortRequest::Release { leg } => self.release(leg),
            }
        }
        while let Some(event) = self.shard.poll_event() {
            (self.events)(event);
        }
    }

    fn adopt(&mut self, id: LegId, pair: Pair) -> u16 {
        let port = pair.port;
        self.keys.insert(
            id,
            self.legs.insert(Leg {
                id,
                pair,
                steady: false,
            }),
        );
        port
    }

    fn release(&mut self, id: LegId) {
        let Some(key) = self.keys.remove(&id) else { return };
        let leg = self.legs.remove(key);
        self.ports.release(leg.pair.port);
    }

    /// Reads the packets that have come. Nearly every leg has one in each tick, so asking each socket costs
    /// less than asking which ones to ask, and asking whether there is a second one costs as much as taking the first:
    /// a phone that sends steadily is not asked. If it has sent two all the same, the second is read at the next tick,
    /// and known for what was left by its stamp.
    fn receive(&mut self, room: &mut MediaRoom) {
        let kernel = self.clock.kernel();
        let last_look = std::mem::replace(&mut self.last_look, kernel.now());
        // Ticks that are made up for want the packets of all of them.
        let behind = self.shard.is_behind(kernel.now());
        let Self {
            shard, legs, counts, ..
        } = self;
        self.ticks += 1;
        for (key, leg) in legs.iter_mut() {
            let mut taken = 0;
            let media = |packet: Datagram<'_>| {
                shard.packet(leg.id, packet.source, packet.bytes, packet.stamp, kernel.now());
                taken += 1;
                !leg.steady || behind || packet.stamp < last_look
            };
            counts.receive_errors += u64::from(!take(&leg.pair.media, room, &kernel, media));
            leg.steady = taken == 1;
            if key % CONTROL_EVERY == self.ticks % CONTROL_EVERY {
                let control = |packet: Datagram<'_>| {
                    shard.control_packet(leg.id, packet.source, packet.bytes, packet.stamp, kernel.now());
                    true
                };
                counts.receive_errors += u64::from(!take(&leg.pair.control, room, &kernel, control));
            }
        }
    }

    /// Lets others see the counts: a few times a second, and whenever the thread may sleep for long.
    fn publish(&mut self, ending: bool) {
        let now = self.clock.now();
        let idle = self.shard.next_timeout().is_none();
        if ending || idle || now.since(self.published) >= PUBLISH {
            self.published = now;
            let shard = &self.shard;
            self.webrtc.sweep(now, |address| shard.has_webrtc_peer(address));
            self.counts.stream_ends = self.webrtc.stream_ends();
            self.counts.media = self.shard.counts();
            self.shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&self.counts);
        }
    }
}

/// Takes what waits in a socket, up to its share and as long as `each` wants more; `false` if the socket fails.
fn take(
    socket: &MediaSocket,
    room: &mut MediaRoom,
    kernel: &KernelClock,
    mut each: impl FnMut(Datagram<'_>) -> bool,
) -> bool {
    for _ in 0..FAIR {
        match socket.receive(room, kernel) {
            Ok(Some(packet)) => {
                if !each(packet) {
                    return true;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    true
}
