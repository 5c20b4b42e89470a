//! Registrations with digest: what one costs, its challenge included.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use cordboard_tests::client::{Algorithm, Message, digest_answer, token};
use cordboard_tests::switch::Lab;

use crate::bare::Bare;
use crate::compare::{Figures, compare, servers};
use crate::cost::cpu_seconds;
use crate::datagrams::{local, socket};
use crate::kamailio::Kamailio;

/// Registrations that are under way at most: what is more waits until one is done.
const WINDOW: usize = 400;
/// Registrations per second.
const RATE: u32 = 4_000;
/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(4);
/// Users that register in turn.
const USERS: usize = 1000;
/// When a REGISTER without an answer is sent again (RFC 3261's T1).
const REPEAT: Duration = Duration::from_millis(500);

/// Runs the bench.
pub fn run() {
    println!("register: REGISTER, 401, REGISTER with digest, 200; {RATE} a second, {USERS} users in turn");
    let folder = tempfile::tempdir().expect("a folder for logs");
    let bare = Bare::start("register", folder.path());
    // A thousand users behind one address ask more often than strangers may.
    let mut users = String::from("[sip.abuse]\nrequests_per_second = 0\nuser_requests_per_second = 0\n");
    for user in 0..USERS {
        let _ = write!(
            users,
            "\n[[user]]\nid = \"{:032x}\"\naccount = \"00000000000000000000000000000001\"\nusername = \"u{user}\"\n\
             password = \"secret\"\n",
            user + 1000
        );
    }
    let mut switch = Lab::new().also(&users).start();
    let kamailio = Kamailio::start(folder.path(), &["AUTH"]);
    let servers = servers(&bare, (switch.sip(), switch.process().pid()), kamailio.as_ref());
    compare(&servers, "registered", |place| {
        load(servers[place].1, servers[place].2)
    });
}

/// A registration that is under way.
struct Open {
    user: usize,
    proven: bool,
    bytes: Vec<u8>,
    sent: Instant,
}

fn load(server: SocketAddr, pid: u32) -> Figures {
    let socket = socket();
    socket.connect(server).expect("a way there");
    socket.set_nonblocking(true).expect("it is ours");
    let mut figures = Figures {
        cost: 0.0,
        rate: 0.0,
        failed: 0,
        repeated: 0,
    };
    let mut open: HashMap<String, Open> = HashMap::new();
    let (before, begun) = (cpu_seconds(pid), Instant::now());
    let (mut begun_count, mut done, mut swept) = (0, 0_usize, begun);
    let mut bytes = [0; 4096];
    while begun.elapsed() < ROUND || !open.is_empty() && begun.elapsed() < ROUND * 2 {
        let due = (begun.elapsed().min(ROUND).as_secs_f64() * f64::from(RATE)) as usize;
        while begun_count < due && open.len() < WINDOW {
            begun_count += 1;
            let (id, user) = (token(), begun_count % USERS);
            let bytes = register(&socket, user, &id, 1, None).bytes();
            let _ = socket.send(&bytes); // what is lost is repeated
            open.insert(
                id,
                Open {
                    user,
                    proven: false,
                    bytes,
                    sent: Instant::now(),
                },
            );
        }
        let mut quiet = true;
        while let Ok(len) = socket.recv(&mut bytes) {
            quiet = false;
            let Some(answer) = Message::parse(&bytes[..len]) else {
                continue;
            };
            let Some(asked) = open.get_mut(answer.call_id()) else {
                continue;
            };
            match answer.code() {
                Some(401) if !asked.proven => prove(&socket, asked, &answer),
                Some(401) if answer.header("CSeq") == Some("1 REGISTER") => {} // the challenge came twice
                Some(code) if code >= 200 => {
                    (done, figures.failed) = (
                        done + usize::from(code == 200),
                        figures.failed + usize::from(code != 200),
                    );
                    open.remove(answer.call_id());
                }
                _ => {}
            }
        }
        if swept.elapsed() > REPEAT / 10 {
            swept = Instant::now();
            for asked in open.values_mut().filter(|asked| asked.sent.elapsed() > REPEAT) {
                let _ = socket.send(&asked.bytes); // as above
                (asked.sent, figures.repeated) = (Instant::now(), figures.repeated + 1);
            }
        }
        if quiet {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    figures.failed += open.len();
    figures.rate = done as f64 / begun.elapsed().as_secs_f64();
    figures.cost = (cpu_seconds(pid) - before) * 1e5 / done.max(1) as f64;
    figures
}

/// Answers a challenge.
fn prove(socket: &UdpSocket, asked: &mut Open, challenge: &Message) {
    let user = format!("u{}", asked.user);
    let proof = digest_answer(
        challenge,
        Algorithm::Md5,
        &user,
        "secret",
        "REGISTER",
        "sip:lab.test",
    );
    let Some(proof) = proof else { return };
    let request = register(socket, asked.user, challenge.call_id(), 2, Some(proof));
    (asked.proven, asked.bytes, asked.sent) = (true, request.bytes(), Instant::now());
    let _ = socket.send(&asked.bytes); // what is lost is repeated
}

fn register(socket: &UdpSocket, user: usize, id: &str, cseq: u32, proof: Option<(&str, String)>) -> Message {
    let address = local(socket);
    let request = Message::request("REGISTER", "sip:lab.test")
        .with(
            "Via",
            format!("SIP/2.0/UDP {address};branch=z9hG4bK{id}.{cseq};rport"),
        )
        .with("Max-Forwards", "70")
        .with("From", format!("<sip:u{user}@lab.test>;tag={id}"))
        .with("To", format!("<sip:u{user}@lab.test>"))
        .with("Call-ID", id)
        .with("CSeq", format!("{cseq} REGISTER"))
        .with("Contact", format!("<sip:u{user}@{address}>"))
        .with("Expires", "600");
    match proof {
        Some((name, value)) => request.with(name, value),
        None => request,
    }
}
