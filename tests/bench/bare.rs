//! The bare loops: processes that receive and send what the switch would, and think of nothing.
//!
//! A bare loop is this program again, called `load bare KIND`. It names its ports on its output and serves until it
//! is killed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cordboard_tests::program::Program;

use crate::datagrams::{Batch, local, send, socket};

/// The first argument of such a process.
pub const WORD: &str = "bare";
/// Between two packets of a phone.
const FRAME: Duration = Duration::from_millis(20);

/// A running bare loop.
pub struct Bare {
    /// The process; killed when dropped.
    pub process: Program,
    /// Where it listens.
    pub ports: Vec<u16>,
}

impl Bare {
    /// Starts one; `kind` is `fanout`, `streams`, `message`, `register` or a number of audio ports.
    pub fn start(kind: &str, folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([WORD, kind]);
        let process = Program::start(&format!("bare-{kind}"), folder, &mut command).expect("it starts");
        let ports = cordboard_tests::until(Duration::from_secs(10), || {
            let output = process.output();
            let ports = output.strip_suffix(" ready\n")?.split(' ');
            ports.map(|port| port.parse().ok()).collect()
        });
        Self {
            process,
            ports: ports.expect("the bare loop names its ports"),
        }
    }
}

/// The process itself.
pub fn serve(kind: &str) {
    match kind {
        "fanout" => relay(fan_out()),
        "streams" => streams(),
        "message" => relay(between_two()),
        "register" => relay(answer),
        count => frames(count.parse().expect("a number of ports")),
    }
}

fn announce(sockets: &[UdpSocket]) {
    let ports: Vec<String> = sockets
        .iter()
        .map(|socket| local(socket).port().to_string())
        .collect();
    println!("{} ready", ports.join(" "));
}

type Outgoing = Vec<(Vec<u8>, SocketAddrV4)>;

/// Receives a batch, lets `rule` say what goes out for each datagram, sends a batch.
fn relay(mut rule: impl FnMut(&[u8], SocketAddrV4, &mut Outgoing)) {
    let socket = socket();
    announce(std::slice::from_ref(&socket));
    let (mut batch, mut out) = (Batch::new(), Outgoing::new());
    loop {
        batch.receive(&socket, |bytes, source| rule(bytes, source, &mut out));
        send(&socket, &out);
        out.clear();
    }
}

/// A MESSAGE goes to everybody else who has said anything before, and its sender gets an answer.
fn fan_out() -> impl FnMut(&[u8], SocketAddrV4, &mut Outgoing) {
    let mut known: Vec<SocketAddrV4> = Vec::new();
    move |bytes, source, out| {
        if bytes.starts_with(b"JOIN") {
            known.push(source);
        } else if bytes.starts_with(b"MESSAGE") {
            answer(bytes, source, out);
            let others = known.iter().filter(|other| **other != source);
            out.extend(others.map(|other| (bytes.to_vec(), *other)));
        }
    }
}

/// What one write to a stream takes: about what the switch writes for a message of 200 bytes.
pub const STREAM_FRAME: usize = 430;

/// Whoever begins with an `R` gets everything that the one who begins with an `S` sends, who gets it too.
fn streams() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{} ready", listener.local_addr().expect("it is bound").port());
    let mut receivers: Vec<TcpStream> = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("it is ours");
        let mut first = [0];
        stream.read_exact(&mut first).expect("it says what it is");
        if first == *b"R" {
            receivers.push(stream);
            continue;
        }
        let mut frame = [0; STREAM_FRAME];
        while stream.read_exact(&mut frame).is_ok() {
            for receiver in &mut receivers {
                receiver.write_all(&frame).expect("it is read");
            }
            stream.write_all(&frame).expect("it is read");
        }
    }
}

/// A MESSAGE goes to the one who has registered, and what he answers goes back.
fn between_two() -> impl FnMut(&[u8], SocketAddrV4, &mut Outgoing) {
    let unknown = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
    let (mut sender, mut addressee) = (unknown, unknown);
    move |bytes, source, out| {
        if bytes.starts_with(b"REGISTER") {
            addressee = source;
            answer(bytes, source, out);
        } else if bytes.starts_with(b"MESSAGE") {
            sender = source;
            out.push((bytes.to_vec(), addressee));
        } else {
            out.push((bytes.to_vec(), sender));
        }
    }
}

/// A request is sent back as its own answer: without a proof it is refused, with a challenge.
fn answer(bytes: &[u8], source: SocketAddrV4, out: &mut Outgoing) {
    let register = bytes.starts_with(b"REGISTER");
    let proven = !register || bytes.windows(15).any(|piece| piece == b"Authorization: ");
    let line: &[u8] = if proven {
        b"SIP/2.0 200 OK"
    } else {
        b"SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"lab.test\", nonce=\"0123456789abcdef\", qop=\"auth\""
    };
    let rest = bytes
        .iter()
        .position(|byte| *byte == b'\r')
        .unwrap_or(bytes.len());
    out.push(([line, &bytes[rest..]].concat(), source));
}

/// On each of `count` ports a packet is taken and one sent every 20 ms, to where the last one came from.
fn frames(count: usize) {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| socket()).collect();
    let mut peers = vec![None; count];
    announce(&sockets);
    for socket in &sockets {
        socket.set_nonblocking(true).expect("it is ours");
    }
    let (mut due, mut packet) = (Instant::now(), [0; 172]);
    loop {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += FRAME;
        for (socket, peer) in sockets.iter().zip(&mut peers) {
            if let Ok((_, source)) = socket.recv_from(&mut packet) {
                *peer = Some(source);
            }
        }
        for (socket, peer) in sockets.iter().zip(&peers) {
            if let Some(peer) = peer {
                let _ = socket.send_to(&packet, *peer);
            }
        }
    }
}
