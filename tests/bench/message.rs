//! Messages between two registered users: what each costs, and whether an overload leaves the goodput where it was.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use cordboard_tests::client::{Message, token};
use cordboard_tests::switch::Lab;

use crate::bare::Bare;
use crate::best;
use crate::compare::{Figures, compare, servers};
use crate::cost::{cpu_seconds, resident_bytes};
use crate::datagrams::{local, socket};
use crate::kamailio::Kamailio;

/// How long a round sends.
const ROUND: Duration = Duration::from_secs(4);
/// How long what is under way may take to arrive.
const REST: Duration = Duration::from_millis(500);
/// Messages per second at which the cost is taken.
const STEADY: u32 = 7_000;
/// What is offered to find the peak of the goodput, and what lies far beyond it.
const OFFERED: [u32; 5] = [7_000, 10_000, 13_000, 16_000, 20_000];
/// When a sender that has no answer repeats its message (RFC 3261's T1).
const REPEAT: Duration = Duration::from_millis(500);

/// Runs the bench.
pub fn run() {
    println!("message: MESSAGE from one registered user to another, {STEADY} a second");
    let folder = tempfile::tempdir().expect("a folder for logs");
    let bare = Bare::start("message", folder.path());
    let mut switch = Lab::new().trust("127.0.0.0/8").start();
    let (sip, pid) = (switch.sip(), switch.process().pid());
    let kamailio = Kamailio::start(folder.path(), &[]);

    let servers = servers(&bare, (sip, pid), kamailio.as_ref());
    let pairs: Vec<Pair> = servers.iter().map(|(_, at, _)| Pair::at(*at)).collect();
    compare(&servers, "answered", |place| {
        load(&pairs[place], servers[place].2, STEADY)
    });

    println!("message: more than that");
    let mut peak = 0.0_f64;
    for offered in OFFERED {
        let figures = best((0..2).map(|_| load(&pairs[1], pid, offered)).collect(), |f| {
            -f.rate
        });
        peak = peak.max(figures.rate);
        println!(
            "  {offered:6} offered/s  {:6.0} answered/s, {:3.0} % of the peak  failed {}  repeated {}",
            figures.rate,
            figures.rate * 100.0 / peak,
            figures.failed,
            figures.repeated
        );
    }
    println!("  {} MiB resident", resident_bytes(pid) >> 20);
}

/// One message that has no answer yet.
struct Open {
    bytes: Vec<u8>,
    sent: Instant,
}

/// Alice, and bob who is registered, at one server.
struct Pair {
    alice: UdpSocket,
    bob: UdpSocket,
}

impl Pair {
    fn at(server: SocketAddr) -> Self {
        let pair = Self {
            alice: socket(),
            bob: socket(),
        };
        for socket in [&pair.alice, &pair.bob] {
            socket.connect(server).expect("a way there");
            socket.set_nonblocking(true).expect("it is ours");
        }
        register(&pair.bob);
        pair
    }
}

/// Sends `rate` messages a second from alice to bob.
fn load(Pair { alice, bob }: &Pair, pid: u32, rate: u32) -> Figures {
    let mut figures = Figures {
        cost: 0.0,
        rate: 0.0,
        failed: 0,
        repeated: 0,
    };
    let mut open: HashMap<String, Open> = HashMap::new();
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    let (mut sent, mut good, mut swept) = (0_usize, 0_usize, begun);
    loop {
        let now = begun.elapsed();
        if now > ROUND + REST {
            break;
        }
        let due = (now.min(ROUND).as_secs_f64() * f64::from(rate)) as usize;
        // In portions: the answers must be taken, too.
        let portion = sent..due.min(sent + 64);
        for number in portion {
            sent = number + 1;
            let (id, bytes) = message(alice, sent);
            let _ = alice.send(&bytes); // what is lost is repeated
            open.insert(
                id,
                Open {
                    bytes,
                    sent: Instant::now(),
                },
            );
        }
        drain(bob, |request| {
            if request.code().is_none() {
                let _ = bob.send(&Message::response(&request, 200, "OK").bytes()); // as above
            }
        });
        drain(alice, |answer| {
            if answer.code().is_some_and(|code| code >= 200) && open.remove(answer.call_id()).is_some() {
                let ok = answer.code() == Some(200) && begun.elapsed() <= ROUND;
                good += usize::from(ok);
                figures.failed += usize::from(answer.code() != Some(200));
            }
        });
        if swept.elapsed() > REPEAT / 10 {
            swept = Instant::now();
            for message in open
                .values_mut()
                .filter(|message| message.sent.elapsed() > REPEAT)
            {
                let _ = alice.send(&message.bytes); // as above
                message.sent = Instant::now();
                figures.repeated += 1;
            }
        }
        if sent >= due {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    figures.failed += open.len();
    figures.rate = good as f64 / ROUND.as_secs_f64();
    figures.cost = (cpu_seconds(pid) - before) * 1e5 / good.max(1) as f64;
    figures
}

fn drain(socket: &UdpSocket, mut each: impl FnMut(Message)) {
    let mut bytes = [0; 4096];
    for _ in 0..256 {
        let Ok(len) = socket.recv(&mut bytes) else { return };
        if let Some(message) = Message::parse(&bytes[..len]) {
            each(message);
        }
    }
}

fn register(bob: &UdpSocket) {
    let (request, until) = (
        base(bob, "REGISTER", "sip:lab.test", "bob", &token())
            .with("Contact", format!("<sip:bob@{}>", local(bob)))
            .with("Expires", "600"),
        Instant::now() + Duration::from_secs(10),
    );
    let (bytes, mut done) = (request.bytes(), false);
    while !done {
        assert!(Instant::now() < until, "no answer to REGISTER");
        bob.send(&bytes).expect("a way there");
        std::thread::sleep(Duration::from_millis(50));
        drain(bob, |answer| {
            done |= answer.code().is_some_and(|code| code >= 200)
        });
    }
}

fn message(alice: &UdpSocket, number: usize) -> (String, Vec<u8>) {
    let id = format!("{}-{number}", token());
    let message = base(alice, "MESSAGE", "sip:bob@lab.test", "alice", &id)
        .with("Content-Type", "text/plain")
        .with_body(format!(
            "Message number {number} from alice to bob by way of the switch between them."
        ));
    (id, message.bytes())
}

/// A request of a user; a MESSAGE is for bob, a REGISTER for the user itself.
fn base(socket: &UdpSocket, method: &str, target: &str, user: &str, id: &str) -> Message {
    Message::request(method, target)
        .with(
            "Via",
            format!("SIP/2.0/UDP {};branch=z9hG4bK{id};rport", local(socket)),
        )
        .with("Max-Forwards", "70")
        .with("From", format!("\"{user}\" <sip:{user}@lab.test>;tag=1"))
        .with("To", "<sip:bob@lab.test>")
        .with("Call-ID", id)
        .with("CSeq", format!("1 {method}"))
}
