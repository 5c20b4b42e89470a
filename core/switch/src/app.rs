//! Runs the switch: wires what the config asks for, serves, and ends.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cordboard_engine::Engine;
use cordboard_engine::io::{Flow, StoreWrite};
use cordboard_engine::quality::Participant;
use cordboard_engine::record::CallRecord;
use cordboard_host::{Asked, Host, HostConfig};
use cordboard_media::Identity;
use cordboard_model::media::peer::PeerCommand;
use cordboard_model::media::{MediaCommand, MediaEvent};
use cordboard_model::{Ask, LegId, ShardId, Ticket};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::cdr::{Cdr, Pace};
use crate::chat::ChatDoor;
use crate::clock::Clock;
use crate::config::Resolved;
use crate::control::{Answer, ControlHandle, ControlParts, Shell};
use crate::http::{
    self, HttpSetup, LiftBan, NotReady, Reason, ShowToken, TakeBans, TakeQuality, TakeSnapshot,
};
use crate::log::Level;
use crate::metric::Snapshot;
use crate::net::bind::{Bound, Stream};
use crate::net::connection::Connections;
use crate::net::listen;
use crate::plugins::Loader;
use crate::reload::Running;
use crate::shard::{self, ShardConfig, ShardHandle, WebRtcPort};
use crate::store::{Sqlite, Store};
use crate::tls::{Keys, Material};

/// Between the BYEs at the end of a drain and the end of the process: time for the phones' answers.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// For what is said last to get from the queues of connections into the kernel.
const WRITING: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT, drains, and ends; a second signal ends at once. SIGHUP reloads the config.
///
/// # Errors
/// What keeps the switch from starting.
pub(crate) fn run(config: Resolved, level: Level) -> anyhow::Result<()> {
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // From here on no signal ends the process unasked; one that comes early is served when all is up.
    let signals = runtime.block_on(async { Signals::new() })?;
    let (parts, control) = ControlParts::new().context("cannot start the control thread")?;
    let store = open_store(&config, &control)?;
    let host = open_host(&config, &store, &control)?;
    let shards = Arc::new(start_shards(&config, clock, &control)?);
    let limits = (config.sip.connections, config.messages.max_size);
    let keys = Arc::new(Keys::new(Material::of(&config)?));
    let connections = Connections::new(control.clone(), clock, Arc::clone(&keys), limits.0, limits.1);
    let bound = runtime.block_on(async { Bound::new(&config.sip) })?;

    let mut engine = Engine::new(
        config.engine_config(bound.listeners.clone()),
        seed()?,
        clock.now(),
    );
    for binding in store.load_bindings(clock.now())? {
        engine.load(binding);
    }
    for room in store.load_chat()? {
        engine.load_chat(room);
    }
    for message in store.load_messages()? {
        engine.load_message(message);
    }
    let cdr = Arc::new(Cdr::start(
        &config.cdr,
        &config.node.data_dir,
        Arc::clone(&store),
        clock,
        Pace::default(),
    )?);
    for call in cdr.cut_off()? {
        engine.load_call(call);
    }
    let drained = Arc::new(Notify::new());
    let wiring = Wiring {
        host: Arc::clone(&host),
        shards: Arc::clone(&shards),
        store: Arc::clone(&store),
        cdr: Arc::clone(&cdr),
        control: control.clone(),
        connections: connections.clone(),
        runtime: runtime.handle().clone(),
        drained: Arc::clone(&drained),
    };
    let thread = parts
        .start(engine, clock, bound.udp, Box::new(wiring))
        .context("cannot start the control thread")?;
    let plugins = Loader::start(&host, &config).context("cannot start the thread that builds plugins")?;
    plugins.follow(&config);
    let (tokens, _) = watch::channel(config.tokens.clone());
    let mut running = Running {
        config,
        listeners: bound.listeners,
        control: control.clone(),
        connections,
        plugins,
        level,
        reloads: Arc::default(),
        tokens,
    };

    let served = Served {
        clock,
        control,
        host,
        shards,
        store,
        cdr,
        drained,
    };
    runtime.block_on(serve(&mut running, &served, signals, bound.streams))?;
    served.control.answer(Answer::Stop);
    if thread.join().is_err() {
        tracing::error!("the control thread panicked");
    }
    // Connections say what waits, and goodbye; not all end in time, such as those in the middle of a handshake.
    let parting = running.connections.places.empty();
    let _ = runtime.block_on(async { tokio::time::timeout(LAST_WORDS, parting).await });
    end(runtime, &served);
    Ok(())
}

/// What serves, and is asked for metrics.
struct Served {
    clock: Clock,
    control: ControlHandle,
    host: Arc<Host>,
    shards: Arc<Vec<ShardHandle>>,
    store: Arc<dyn Store>,
    cdr: Arc<Cdr>,
    drained: Arc<Notify>,
}

fn end(runtime: Runtime, served: &Served) {
    runtime.shutdown_timeout(Duration::from_millis(200));
    served.cdr.close();
    served.store.close();
    tracing::info!("the switch has ended");
}

fn open_store(config: &Resolved, control: &ControlHandle) -> anyhow::Result<Arc<dyn Store>> {
    let control = control.clone();
    let stored = Arc::new(move |tickets: &[Ticket], ok| {
        let answer = |ticket: &Ticket| Answer::Stored { ticket: *ticket, ok };
        control.answer_all(tickets.iter().map(answer));
    });
    Ok(Arc::new(Sqlite::open(
        &config.node.data_dir,
        &config.store,
        stored,
    )?))
}

fn open_host(
    config: &Resolved,
    store: &Arc<dyn Store>,
    control: &ControlHandle,
) -> anyhow::Result<Arc<Host>> {
    let (control, keeper) = (control.clone(), Arc::clone(store));
    let mut host = HostConfig::new(Arc::new(move |ticket, verdict| {
        control.answer(Answer::Verdict { ticket, verdict });
    }));
    host.kv = store.load_kv()?;
    host.on_kv_write = Arc::new(move |write| keeper.keep(write));
    let host = Host::new(host).context("cannot run plugins")?;
    tracing::debug!(plugins = config.plugins.list.len(), "the plugin host is ready");
    Ok(Arc::new(host))
}

fn start_shards(
    config: &Resolved,
    clock: Clock,
    control: &ControlHandle,
) -> anyhow::Result<Vec<ShardHandle>> {
    let identity = Identity::new((Instant::now(), clock.now()))?;
    (0..config.media.shards)
        .map(|number| {
            let webrtc = config
                .media
                .webrtc_port
                .map(|first| WebRtcPort::bind(&config.node.public_ip, first + number, identity.clone()));
            let control = control.clone();
            let ports = shard::part(&config.media.rtp_ports, number, config.media.shards);
            let setup = ShardConfig {
                id: ShardId(number),
                ports,
                clock,
                webrtc: webrtc.transpose()?,
            };
            shard::start(setup, move |event| control.answer(Answer::Media(event)))
                .with_context(|| format!("cannot start media thread {number}"))
        })
        .collect()
}

/// The secret from which the engine draws its keys, tags and branches.
fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(seed)
}

/// The signals that the switch answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The switch is to end; until then, each SIGHUP reloads the config.
    async fn end_or_reload(&mut self, running: &mut Running) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => running.reload(),
            }
        }
    }
}

async fn serve(
    running: &mut Running,
    served: &Served,
    mut signals: Signals,
    streams: Vec<Stream>,
) -> anyhow::Result<()> {
    let config = &running.config;
    for stream in streams {
        stream.serve(running.connections.clone());
    }
    let draining = Arc::new(AtomicBool::new(false));
    let over = Arc::new(Notify::new());
    let setup = HttpSetup {
        node: config.node.name.clone(),
        limits: config.http.clone(),
        snapshot: take_snapshot(running, served),
        not_ready: not_ready(served, &draining),
        tokens: running.tokens.subscribe(),
        show_token: show_token(served),
        bans: take_bans(served),
        lift_ban: lift_ban(served),
        chat: ChatDoor::new(served.control.clone()),
        quality: take_quality(served),
        keys: Arc::clone(&running.connections.keys),
    };
    let http = http::bind(&config.http)?;
    let http = tokio::spawn(http::serve(http, setup, {
        let over = Arc::clone(&over);
        async move {
            over.notified().await;
        }
    }));
    tracing::info!(
        name = config.node.name,
        version = env!("CARGO_PKG_VERSION"),
        "the switch is up"
    );

    signals.end_or_reload(running).await;
    draining.store(true, Ordering::Release);
    let timeout = running.drain_timeout();
    tracing::info!(?timeout, "draining: no new calls; a second signal ends at once");
    tokio::select! {
        () = drain(timeout, served) => {}
        () = signals.end_or_reload(running) => end_now(served).await,
    }
    over.notify_one();
    let _ = tokio::time::timeout(Duration::from_millis(200), http).await; // it may be answering a scrape
    Ok(())
}

/// Waits until no call is left, at the longest for the configured time, the BYEs and their answers included.
async fn drain(whole: Duration, served: &Served) {
    let deadline = served.clock.now() + whole.saturating_sub(LAST_WORDS * 2);
    served.control.answer(Answer::Drain { deadline });
    let patience = tokio::time::timeout(whole.saturating_sub(LAST_WORDS), served.drained.notified());
    if patience.await.is_err() {
        tracing::warn!("some calls did not end in time");
    }
    let busy = served
        .control
        .report()
        .await
        .is_some_and(|report| report.gauges.transactions > 0);
    if busy {
        tokio::time::sleep(LAST_WORDS.min(whole)).await;
    }
}

/// Ends every call and waits for no answers: until all BYEs are on their way, at the longest for [`LAST_WORDS`].
async fn end_now(served: &Served) {
    tracing::warn!("ending at once: calls that are up get their BYE now");
    served.control.answer(Answer::End);
    let _ = tokio::time::timeout(LAST_WORDS, served.drained.notified()).await; // some phones may be silent
    tokio::time::sleep(WRITING).await;
}

fn not_ready(served: &Served, draining: &Arc<AtomicBool>) -> NotReady {
    let (host, draining) = (Arc::clone(&served.host), Arc::clone(draining));
    Arc::new(move || {
        let mut reasons = Reason::of_plugins(&host);
        if draining.load(Ordering::Acquire) {
            reasons.push(Reason::draining());
        }
        reasons
    })
}

fn show_token(served: &Served) -> ShowToken {
    let control = served.control.clone();
    Arc::new(move |source, right| {
        let control = control.clone();
        Box::pin(async move { control.token(source, right).await })
    })
}

fn take_bans(served: &Served) -> TakeBans {
    let control = served.control.clone();
    Arc::new(move || {
        let control = control.clone();
        Box::pin(async move { control.bans().await.unwrap_or_default() })
    })
}

fn lift_ban(served: &Served) -> LiftBan {
    let control = served.control.clone();
    Arc::new(move |source| {
        let control = control.clone();
        Box::pin(async move { control.lift_ban(source).await })
    })
}

/// Participants come from control, what they have moved from their shards.
fn take_quality(served: &Served) -> TakeQuality {
    let (control, shards) = (served.control.clone(), Arc::clone(&served.shards));
    Arc::new(move |id| {
        let (control, shards) = (control.clone(), Arc::clone(&shards));
        Box::pin(async move {
            let participants = control.participants(id).await?;
            let mut totals = HashMap::new();
            for (place, shard) in shards.iter().enumerate() {
                let here = participants.iter().filter(|p| usize::from(p.shard.0) == place);
                let legs: Vec<LegId> = here.map(|participant| participant.leg).collect();
                if !legs.is_empty() {
                    totals.extend(shard.totals(legs).await);
                }
            }
            let with = |participant: Participant| {
                let moved = totals.remove(&participant.leg);
                (participant, moved)
            };
            Some(participants.into_iter().map(with).collect())
        })
    })
}

fn take_snapshot(running: &Running, served: &Served) -> TakeSnapshot {
    let node = running.config.node.name.clone();
    let reloads = Arc::clone(&running.reloads);
    let (control, host) = (served.control.clone(), Arc::clone(&served.host));
    let (shards, store) = (Arc::clone(&served.shards), Arc::clone(&served.store));
    let cdr = Arc::clone(&served.cdr);
    Arc::new(move || {
        let mut snapshot = Snapshot {
            shards: shards.iter().map(ShardHandle::counts).collect(),
            host: host.counts(),
            plugins: host.state(),
            store: store.counts(),
            records: cdr.counts(),
            reloads: reloads.counts().to_vec(),
            ..Snapshot::new(node.clone())
        };
        let control = control.clone();
        let filled: std::pin::Pin<Box<dyn Future<Output = Snapshot> + Send>> = Box::pin(async move {
            if let Some(report) = control.report().await {
                snapshot.refused = report.garbage;
                snapshot.refused.insert("kernel_buffer_full", report.kernel_drops);
                snapshot.refused.insert("send_buffer_full", report.sent.full);
                snapshot.refused.insert("send_failed", report.sent.failed);
                snapshot.refused.insert("slow_reader", report.slow_readers);
                snapshot.stun_keep_alives = report.stun;
                snapshot.slow_chat_readers = report.slow_chat_readers;
                snapshot.chat_frames = report.chat_frames;
                snapshot.engine = report.counts;
                snapshot.engine.fanout_seconds.extend(report.fanout);
                snapshot.gauges = report.gauges;
                snapshot.message_latency = report.relay;
                snapshot.connections = report.connections;
            }
            snapshot
        });
        filled
    })
}

/// What the control thread hands on, and to whom.
struct Wiring {
    host: Arc<Host>,
    shards: Arc<Vec<ShardHandle>>,
    store: Arc<dyn Store>,
    cdr: Arc<Cdr>,
    control: ControlHandle,
    connections: Connections,
    runtime: Handle,
    drained: Arc<Notify>,
}

impl Shell for Wiring {
    fn ask(&mut self, ticket: Ticket, ask: Ask) {
        if let Asked::Answered(verdict) = self.host.ask(ticket, ask) {
            self.control.answer(Answer::Verdict { ticket, verdict });
        }
    }

    fn media(&mut self, shard: ShardId, command: MediaCommand) {
        let opened = match &command {
            MediaCommand::Open { leg, .. } | MediaCommand::Peer(PeerCommand::Open { leg, .. }) => Some(*leg),
            _ => None,
        };
        let Err(error) = self.shards[usize::from(shard.0)].send(command) else {
            return;
        };
        tracing::error!(%shard, %error, "a media command was lost");
        if let Some(leg) = opened {
            self.control.answer(Answer::Media(MediaEvent::Failed {
                leg,
                reason: error.to_string(),
            }));
        }
    }

    fn store(&mut self, ticket: Ticket, write: StoreWrite) {
        self.store.write(ticket, write);
    }

    fn answered(&mut self, record: Box<CallRecord>) {
        self.cdr.answered(record);
    }

    fn record(&mut self, record: Box<CallRecord>) {
        self.cdr.keep(record);
    }

    fn dial(&mut self, flow: Flow) {
        let (connections, control) = (self.connections.clone(), self.control.clone());
        self.runtime.spawn(async move {
            if let Err(error) = listen::dial(flow, connections).await {
                tracing::debug!(peer = %flow.peer, transport = flow.transport.name(), %error, "no connection to a phone");
                control.answer(Answer::NotDialled { flow, reason: error.reason() });
            }
        });
    }

    fn drained(&mut self) {
        self.drained.notify_one();
    }
}
