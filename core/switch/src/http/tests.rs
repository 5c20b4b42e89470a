//! The server over real sockets: routes, readiness, bounds, and its end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cordboard_engine::io::Transport;
use cordboard_engine::limits::{Offence, Scope};
use cordboard_model::media::peer::{VideoSource, VideoTotals};
use cordboard_model::media::{Codec, LegQuality, LegTotals, PeerReport};
use cordboard_model::{LegId, ShardId, Time};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::control::ControlParts;
use crate::tls::{Material, Roots};

struct Server {
    address: SocketAddr,
    reasons: Arc<Mutex<Vec<Reason>>>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

fn limits(address: &str, connections: usize, timeout: Duration) -> Http {
    Http {
        listen: vec![address.parse().unwrap()],
        tls: Vec::new(),
        connections,
        timeout,
    }
}

async fn start(connections: usize, timeout: Duration) -> Server {
    let limits = limits("127.0.0.1:0", connections, timeout);
    let listeners = bind(&limits).unwrap();
    let address = listeners[0].socket.local_addr().unwrap();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let setup = HttpSetup {
        node: "l<a>b".into(),
        limits,
        snapshot: Arc::new(|| Box::pin(async { Snapshot::new("lab") })),
        not_ready: Arc::new(move || told.lock().unwrap().clone()),
        tokens: watch::channel(vec![Sha256::digest("lab-token").into()]).1,
        show_token: Arc::new({
            let wrong = AtomicU32::new(0);
            move |_, right| {
                let before = wrong.fetch_add(u32::from(!right), Ordering::Relaxed);
                let left = Duration::from_millis(59_001);
                Box::pin(async move { Some(if before < GUESSES { Ok(()) } else { Err(left) }) })
            }
        }),
        bans: Arc::new(|| {
            let ban = Ban {
                source: "2001:db8::".parse().unwrap(),
                scope: Scope::Source,
                reason: Offence::BadProof,
                offences: 20,
                until: Time::from_unix_seconds(1_800_000_600),
            };
            Box::pin(async move { vec![ban] })
        }),
        lift_ban: Arc::new(|source| {
            Box::pin(async move { Some(source == "2001:db8::".parse::<IpAddr>().unwrap()) })
        }),
        chat: ChatDoor::new(ControlParts::new().unwrap().1),
        quality: Arc::new(|id| {
            Box::pin(async move { (id == ConferenceId(0xc0)).then(|| vec![participant()]) })
        }),
        keys: Arc::new(Keys::new(Material::new(None, &Roots::none()).unwrap())),
    };
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(serve(listeners, setup, async {
        stopped.await.unwrap();
    }));
    Server {
        address,
        reasons,
        stop,
        running,
    }
}

async fn whole(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    whole(stream).await
}

const LONG: Duration = Duration::from_secs(60);
/// After so many wrong tokens their source is banned.
const GUESSES: u32 = 4;

#[tokio::test]
async fn each_route_answers() {
    let server = start(10, LONG).await;
    let health = ask(&server, "GET /healthz").await;
    assert!(
        health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let page = ask(&server, "GET /").await;
    assert!(
        page.contains("l&lt;a&gt;b") && page.contains("text/html"),
        "{page}"
    );
    let nothing = ask(&server, "GET /nothing").await;
    assert!(
        nothing.starts_with("HTTP/1.1 404") && nothing.contains("\"error\":\"not_found\""),
        "{nothing}"
    );
    let posted = ask(&server, "POST /metrics").await;
    assert!(
        posted.starts_with("HTTP/1.1 405") && posted.contains("\r\nallow: GET, HEAD\r\n"),
        "{posted}"
    );
    let metrics = ask(&server, "GET /metrics").await;
    assert!(
        metrics.contains("\r\ncontent-type: text/plain; version=0.0.4\r\n"),
        "{metrics}"
    );
    for line in [
        "cordboard_build_info{",
        "cordboard_http_connections 1\n",
        "cordboard_http_request_seconds_count{route=\"/healthz\",method=\"GET\",class=\"2xx\"} 1\n",
        "cordboard_http_request_seconds_count{route=\"other\",method=\"GET\",class=\"4xx\"} 1\n",
        "cordboard_http_request_seconds_count{route=\"/metrics\",method=\"POST\",class=\"4xx\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// Alice, in a browser.
fn participant() -> (Participant, Option<LegQuality>) {
    let alice = Participant {
        channel: "1800000000.7".into(),
        name: "Alice".into(),
        user: Some("alice".into()),
        transport: Transport::Wss,
        since: Time::from_unix_seconds(1_800_000_000),
        codec: Some(Codec::Opus),
        muted: false,
        deaf: false,
        webrtc: true,
        shows: true,
        sees: 3,
        leg: LegId(7),
        shard: ShardId(0),
    };
    let totals = LegTotals {
        packets_in: 50,
        packets_out: 49,
        lost: 1,
        peer: Some(PeerReport {
            lost: 2,
            jitter_ms: 1.5,
            round_trip: Some(Duration::from_millis(20)),
        }),
        ..LegTotals::default()
    };
    let video = |source, packets| VideoTotals {
        mid: "1".into(),
        source,
        packets,
        bytes: packets * 1000,
        lost: 4,
        jitter_ms: 2.5,
        round_trip: None,
        nacks: 6,
        plis: 2,
        resends: 5,
        stopped: false,
    };
    let own = VideoSource {
        leg: LegId(7),
        mid: "1".into(),
    };
    let gone = VideoSource {
        leg: LegId(8),
        mid: "1".into(),
    };
    let videos = vec![video(None, 100), video(Some(own), 90), video(Some(gone), 0)];
    (alice, Some(LegQuality { totals, videos }))
}

#[tokio::test]
async fn quality_is_for_those_with_a_token() {
    let server = start(10, LONG).await;
    let ask_of = async |id: &str, header: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET /v1/conferences/{id}/stats HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        whole(stream).await
    };
    let (id, token) = ("000000000000000000000000000000c0", "X-Auth-Token: lab-token\r\n");
    assert!(ask_of(id, "").await.starts_with("HTTP/1.1 401"));
    for nobody in ["x", "000000000000000000000000000000c1"] {
        assert!(
            ask_of(nobody, token).await.starts_with("HTTP/1.1 404"),
            "{nobody}"
        );
    }
    let answer = ask_of(id, token).await;
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let alice = &body["participants"][0];
    assert_eq!(
        (alice["channel"].as_str(), alice["sees"].as_u64()),
        (Some("1800000000.7"), Some(3))
    );
    assert_eq!(
        alice["received"],
        serde_json::json!({"packets": 50, "lost": 1, "late": 0, "jitter_ms": 0.0})
    );
    assert_eq!(
        alice["sent"],
        serde_json::json!({"packets": 49, "lost": 2, "jitter_ms": 1.5, "round_trip_ms": 20.0})
    );
    let common = |packets: u64| {
        serde_json::json!({
            "mid": "1", "packets": packets, "bytes": packets * 1000, "lost": 4, "jitter_ms": 2.5,
            "nacks": 6, "plis": 2, "resends": 5,
        })
    };
    let mut shown = common(100);
    shown["hidden"] = false.into();
    let sent = |packets, of: Option<&str>| {
        let mut video = common(packets);
        video["of"] = of.into();
        video["round_trip_ms"] = serde_json::Value::Null;
        video["waits_for_key_frame"] = false.into();
        video
    };
    assert_eq!(
        alice["videos"],
        serde_json::json!({
            "received": [shown],
            "sent": [sent(90, Some("1800000000.7")), sent(0, None)],
        })
    );
}

#[tokio::test]
async fn bans_are_for_those_with_a_token() {
    let server = start(10, LONG).await;
    let ask_with = async |header: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /v1/bans HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        whole(stream).await
    };
    for header in [
        "",
        "X-Auth-Token: guess\r\n",
        "X-Auth-Token: \r\n",
        "Authorization: Bearer lab\r\n",
        "Authorization: Basic lab-token\r\n",
    ] {
        let answer = ask_with(header).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{header}: {answer}");
        assert!(answer.contains("\r\nwww-authenticate: Bearer\r\n") && !answer.contains("2001:db8"));
    }
    for header in [
        "X-Auth-Token: lab-token\r\n",
        "authorization: bearer lab-token\r\n",
    ] {
        let answer = ask_with(header).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(
            body["bans"][0],
            serde_json::json!({
                "source": "2001:db8::", "network": "2001:db8::/64", "scope": "source", "reason": "bad_credentials",
                "offences": 20, "until": 1_800_000_600,
            })
        );
    }
}

#[tokio::test]
async fn an_operator_lifts_a_ban_by_the_name_that_the_list_gives_it() {
    let server = start(10, LONG).await;
    let ask_with = async |method: &str, source: &str, header: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request =
            format!("{method} /v1/bans/{source} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        whole(stream).await
    };
    let token = "X-Auth-Token: lab-token\r\n";
    for (source, header, status) in [
        ("2001:db8::%2F64", "", "401"),
        ("2001:db8::%2F64", "X-Auth-Token: guess\r\n", "401"),
        ("2001:db8::%2F64", token, "204"),
        ("2001%3Adb8%3A%3A%2f64", token, "204"),
        ("2001:db8::", token, "204"),
        ("2001:db8::7", token, "204"),
        ("2001:db8::%2F63", token, "404"),
        ("2001:db8:0:1::", token, "404"),
        ("192.0.2.5%2F32", token, "404"),
        ("192.0.2.0%2F24", token, "404"),
        ("nobody", token, "404"),
        // Where the request comes from.
        ("127.0.0.1%2F32", token, "403"),
        ("127.0.0.1", token, "403"),
        ("::ffff:127.0.0.1", token, "403"),
        ("127.0.0.1", "", "401"),
    ] {
        let answer = ask_with("DELETE", source, header).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{source} {header}: {answer}"
        );
    }
    let answer = ask_with("GET", "2001:db8::%2F64", token).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("\r\nallow: DELETE\r\n"), "{answer}");
}

#[tokio::test]
async fn whoever_guesses_tokens_is_heard_no_more_and_whoever_sends_none_guesses_nothing() {
    let server = start(10, LONG).await;
    let stats = "/v1/conferences/000000000000000000000000000000c0/stats";
    let answer = async |path: &str, header: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        whole(stream).await
    };
    let status = async |path: &str, header: &str| answer(path, header).await[9..12].to_owned();
    for none in ["", "X-Auth-Token: \r\n", "Authorization: Basic bGFiOmxhYg==\r\n"] {
        for path in ["/v1/bans", stats] {
            assert_eq!(status(path, none).await, "401", "{none}");
        }
    }
    // One that has been changed is shown again and again, and is no guess.
    for _ in 0..=GUESSES {
        assert_eq!(status("/v1/bans", "X-Auth-Token: former\r\n").await, "401");
    }
    for guess in 1..GUESSES {
        let header = match guess % 2 {
            0 => format!("X-Auth-Token: guess{guess}\r\n"),
            _ => format!("Authorization: Bearer guess{guess}\r\n"),
        };
        assert_eq!(status(stats, &header).await, "401");
    }
    for (path, guess) in [("/v1/bans", "one"), (stats, "another")] {
        for token in [guess, "lab-token"] {
            let header = format!("X-Auth-Token: {token}\r\n");
            let answer = answer(path, &header).await;
            assert_eq!(&answer[9..12], "429", "{token}");
            // The ban ends in 59.001 s.
            assert!(answer.contains("\r\nretry-after: 60\r\n"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_for_a_ticket_and_read_why_it_gets_none() {
    let server = start(10, LONG).await;
    for path in ["/v1/rooms/x/start", "/v1/rooms/x/start_invited"] {
        let asked = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://meet.example\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization,content-type\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let answer = whole(stream).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        for header in [
            "access-control-allow-origin: *",
            "access-control-allow-methods: POST, OPTIONS",
            "access-control-allow-headers: authorization, content-type, x-auth-token, x-request-id",
            "access-control-max-age: 86400",
        ] {
            assert!(
                answer.contains(&format!("\r\n{header}\r\n")),
                "{header}: {answer}"
            );
        }
    }
    // Nobody answers for the chat here.
    for (request, status) in [
        ("POST /v1/rooms/x/start", "503"),
        ("GET /v1/rooms/x/start", "405"),
        ("POST /v1/rooms/x/stop", "404"),
    ] {
        let answer = ask(&server, request).await;
        assert_eq!(&answer[9..12], status, "{answer}");
        assert!(
            answer.contains("\r\naccess-control-allow-origin: *\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\ncontent-type: text/json; charset=utf-8\r\n"),
            "{answer}"
        );
        assert!(answer.contains("{\"code\":\""), "{answer}");
        assert_eq!(
            answer.contains("\r\nallow: POST, OPTIONS\r\n"),
            status == "405",
            "{answer}"
        );
    }
    let other = ask(&server, "GET /v1/bans").await;
    assert!(!other.contains("access-control"), "{other}");
}

#[tokio::test]
async fn who_speaks_http_1_1_names_the_host_once() {
    let server = start(10, LONG).await;
    let status = async |head: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        whole(stream).await[9..12].to_owned()
    };
    for (hosts, expected) in [
        ("", "400"),
        ("Host: x\r\nHost: x\r\n", "400"),
        ("Host: a b\r\n", "400"),
        ("Host: me@x\r\n", "400"),
        ("Host: x\r\n", "200"),
        ("Host:\r\n", "200"),
        ("Host: [::1]:8080\r\n", "200"),
    ] {
        let head = format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        assert_eq!(status(&head).await, expected, "{hosts}");
    }
    assert_eq!(status("GET /healthz HTTP/1.0\r\n\r\n").await, "200");
}

#[tokio::test]
async fn readiness_says_why_not() {
    let server = start(10, LONG).await;
    assert!(ask(&server, "GET /readyz").await.starts_with("HTTP/1.1 200"));
    let plugin = Reason {
        reason: "plugin",
        name: Some("word-filter".into()),
        detail: "it is being built".into(),
    };
    *server.reasons.lock().unwrap() = vec![Reason::draining(), plugin];
    let answer = ask(&server, "GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["reasons"][0]["reason"], "draining");
    assert_eq!(body["reasons"][1]["name"], "word-filter");
    assert_eq!(body["reasons"][1]["detail"], "it is being built");
}

#[tokio::test]
async fn slow_and_silent_clients_are_cut_off() {
    let server = start(10, Duration::from_millis(200)).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHos").await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // Each of these ends because the server closes.
    whole(silent).await;
    whole(slow).await;
    assert!(whole(idle).await.starts_with("HTTP/1.1 200"));
    let metrics = ask(&server, "GET /metrics").await;
    assert!(metrics.contains("cordboard_http_connections 1\n"), "{metrics}");
    assert!(
        metrics.contains("cordboard_http_refused_connections_total{reason=\"timeout\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = start(10, LONG).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let line = format!("x: {}\r\n", "a".repeat(1000));
    while stream.write_all(line.as_bytes()).await.is_ok() {}
    assert!(ask(&server, "GET /healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let server = start(1, LONG).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    drop(first);
    let metrics = whole(second).await;
    assert!(metrics.contains("cordboard_http_connections 1\n"), "{metrics}");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_the_port() {
    let server = start(10, LONG).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    server.stop.send(()).unwrap();
    server.running.await.unwrap();
    whole(idle).await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let listeners = bind(&limits("127.0.0.1:0", 1, LONG)).unwrap();
    let address = listeners[0].socket.local_addr().unwrap();
    let error = bind(&limits(&address.to_string(), 1, LONG))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("[http] listen"),
        "{error}"
    );
}
