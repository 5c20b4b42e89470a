//! Who must not suffer: a call with a tone in it, messages inside that call, a registered phone that refreshes
//! and calls; and the memory of the switch meanwhile.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard_tests::client::{Account, Call, Note, Phone, longest_gap, sequence_holes};
use cordboard_tests::http::metric;
use cordboard_tests::switch::Switch;

/// The most memory of the switch, in MiB.
const MEMORY: u64 = 256;
/// What an ear takes for an interruption.
const GAP: Duration = Duration::from_millis(100);
/// How long things that happen at once may take.
const SOON: Duration = Duration::from_secs(20);

/// The phones whose connections must hold.
struct Connected {
    tcp: Phone,
    ws: Phone,
}

/// Phones at work and what they have seen.
pub(crate) struct Witness<'a> {
    switch: &'a Switch,
    /// Speaks.
    call: Call,
    /// Hears.
    other: Call,
    /// Whose calls these are: they listen as long as they live.
    _phones: [Phone; 2],
    known: Phone,
    caller: Phone,
    connected: Option<Connected>,
    /// Packets heard before the flood.
    before: usize,
    began: Instant,
    pub(crate) seen: Seen,
}

/// What was seen during the flood.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    refreshes: Vec<(Option<u16>, Duration)>,
    arrivals: Vec<(Option<u16>, Duration)>,
    calls: Vec<(Option<u16>, Duration)>,
    messages: Vec<(Option<u16>, Duration)>,
    memory: u64,
    heard: usize,
    expected: usize,
    gap: Duration,
    holes: usize,
}

impl<'a> Witness<'a> {
    /// Alice speaks to bob in a conference, carol is registered, dave calls now and then.
    pub(crate) fn new(switch: &'a Switch) -> Self {
        let (alice, bob) = (switch.phone("alice"), switch.phone("bob"));
        let (call, other) = (alice.call("3000"), bob.call("3000"));
        call.rtp.play(440.0);
        cordboard_tests::until(SOON, || (other.rtp.count() > 50).then_some(())).expect("audio flows before");
        let known = switch.registered("carol");
        let caller = switch.registered("dave");
        let before = other.rtp.count();
        Self {
            switch,
            call,
            other,
            _phones: [alice, bob],
            known,
            caller,
            connected: None,
            before,
            began: Instant::now(),
            seen: Seen::default(),
        }
    }

    /// Where the switch takes the audio of both calls.
    pub(crate) fn ports(&self) -> Vec<SocketAddr> {
        let calls = [&self.call, &self.other];
        calls
            .into_iter()
            .filter_map(|call| call.media_address())
            .collect()
    }

    /// Also carol on a connection over TCP, dave on a WebSocket, and phones that come anew.
    pub(crate) fn with_connections(mut self) -> Self {
        let tcp = tcp_phone(self.switch, "carol").expect("a connection");
        let account = Account::lab("dave", "secret");
        let ws = Phone::ws(self.switch.ws(), account).expect("a WebSocket");
        for phone in [&tcp, &ws] {
            assert_eq!(refresh(phone), Some(200));
        }
        self.connected = Some(Connected { tcp, ws });
        self
    }

    /// The known phones do what phones do until `over` says so, and at least once.
    pub(crate) fn watch(&mut self, over: impl Fn() -> bool) {
        let mut call: Option<(Instant, Call)> = None;
        self.before = self.other.rtp.count();
        self.began = Instant::now();
        loop {
            let last = over();
            self.seen.refreshes.push(timed(|| refresh(&self.known)));
            if let Some(Connected { tcp, ws }) = &self.connected {
                self.seen.refreshes.push(timed(|| refresh(tcp)));
                self.seen.refreshes.push(timed(|| refresh(ws)));
                let anew = || refresh(&tcp_phone(self.switch, "carol").ok()?);
                self.seen.arrivals.push(timed(anew));
            }
            let (answer, took) = timed(|| {
                self.call
                    .send(&Note::text("still there"))
                    .ok()
                    .and_then(|a| a.code())
            });
            self.seen.messages.push((answer, took));
            let (answer, took) = timed(|| self.dial());
            let code = match answer {
                Ok(up) => {
                    let code = up.hang_up().ok().and_then(|answer| answer.code());
                    call = Some((Instant::now(), up));
                    code
                }
                Err(code) => code,
            };
            self.seen.calls.push((code, took));
            self.seen.memory = self.seen.memory.max(resident(self.switch));
            if last {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(call);
        let (from, span) = (self.before, self.began.elapsed());
        let packets = self.other.rtp.packets();
        let heard = &packets[from..];
        self.seen.heard = heard.len();
        self.seen.expected = usize::try_from(span.as_millis() / 20).expect("not that long");
        self.seen.gap = longest_gap(heard).unwrap_or(span);
        self.seen.holes = sequence_holes(heard);
    }

    fn dial(&self) -> Result<Call, Option<u16>> {
        match self.caller.try_call("3000") {
            Ok(Ok(call)) => Ok(call),
            Ok(Err(refusal)) => Err(refusal.code()),
            Err(error) => {
                println!("a call failed: {error}");
                Err(None)
            }
        }
    }

    /// Fails where somebody suffered.
    pub(crate) fn is_unharmed(&self) {
        let all =
            |tries: &[(Option<u16>, Duration)], code| tries.iter().all(|(answer, _)| *answer == Some(code));
        let seen = &self.seen;
        assert!(all(&seen.refreshes, 200), "refreshes: {:?}", seen.refreshes);
        assert!(all(&seen.arrivals, 200), "new connections: {:?}", seen.arrivals);
        assert!(all(&seen.calls, 200), "calls: {:?}", seen.calls);
        assert!(all(&seen.messages, 202), "messages: {:?}", seen.messages);
        assert!(seen.memory < MEMORY, "{} MiB", seen.memory);
        assert_eq!(seen.holes, 0, "packets are missing: {self}");
        assert!(seen.heard * 100 >= seen.expected * 98, "audio is missing: {self}");
        // How late is a matter of the machine: it counts where nothing else runs there.
        assert!(
            !crate::is_long() || seen.gap <= GAP,
            "audio was interrupted: {self}"
        );
        let dialogs = || metric(&self.switch.metrics(), "cordboard_sip_dialogs", &[]);
        let left = cordboard_tests::until(SOON, || (dialogs() == 2.0).then_some(()));
        assert!(
            left.is_some(),
            "{} dialogs, not those of alice and bob",
            dialogs()
        );
    }
}

impl fmt::Display for Witness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.seen;
        let slowest = |tries: &[(Option<u16>, Duration)]| tries.iter().map(|(_, took)| *took).max();
        let worst = |tries| slowest(tries).unwrap_or_default();
        write!(
            f,
            "audio {} of {} packets, {} missing, longest gap {:.1?}; {} refreshes, slowest {:.1?}; \
             {} new connections, slowest {:.1?}; {} calls, \
             slowest {:.1?}; {} messages, slowest {:.1?}; {} MiB resident",
            seen.heard,
            seen.expected,
            seen.holes,
            seen.gap,
            seen.refreshes.len(),
            worst(&seen.refreshes),
            seen.arrivals.len(),
            worst(&seen.arrivals),
            seen.calls.len(),
            worst(&seen.calls),
            seen.messages.len(),
            worst(&seen.messages),
            seen.memory,
        )
    }
}

/// A phone of a user of the lab on a TCP connection of its own.
fn tcp_phone(switch: &Switch, user: &str) -> io::Result<Phone> {
    Phone::tcp(switch.sip(), Account::lab(user, "secret"))
}

fn refresh(phone: &Phone) -> Option<u16> {
    phone.register(600).ok()?.code()
}

/// What the switch refused or dropped, by reason.
pub(crate) fn rejected(switch: &Switch) -> String {
    let text = switch.metrics();
    let reasons = text.lines().filter_map(|line| {
        let (reason, count) = line
            .strip_prefix("cordboard_sip_rejected_total{reason=\"")?
            .split_once("\"} ")?;
        (count != "0").then(|| format!("{reason} {count}"))
    });
    reasons.collect::<Vec<_>>().join(", ")
}

fn timed<A>(work: impl FnOnce() -> A) -> (A, Duration) {
    let begun = Instant::now();
    let answer = work();
    (answer, begun.elapsed())
}

/// The resident memory of the switch, in MiB.
pub(crate) fn resident(switch: &Switch) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", switch.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("the kernel says how much") / 1_024
}
