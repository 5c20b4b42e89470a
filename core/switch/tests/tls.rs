//! TLS, secure WebSocket and HTTPS as phones and browsers meet them, and certificates that change.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::{Switch, config, get};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite;
use tungstenite::client::IntoClientRequest as _;

mod support;

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A pair for this machine, written to two files.
fn pair(folder: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (
        folder.path().join(format!("{name}.pem")),
        folder.path().join(format!("{name}-key.pem")),
    );
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let private = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&private)
        .unwrap();
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&key, private.serialize_pem()).unwrap();
    (cert, key)
}

/// A TLS connection whose peer must show the certificate of this file.
fn connect(address: SocketAddr, cert: &Path) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn made(folder: &TempDir) -> PathBuf {
    folder.path().join("data/made-cert.pem")
}

fn options(transport: &str, number: u32) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} client.invalid;branch=z9hG4bK{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@lab.test>;tag={number}\r\nTo: <sip:127.0.0.1>\r\n\
         Call-ID: o{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Reads one message without a body.
fn head(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    String::from_utf8(text).unwrap()
}

fn asks_options(stream: &mut Secure, number: u32) -> String {
    stream.write_all(options("TLS", number).as_bytes()).unwrap();
    head(stream)
}

#[test]
fn a_phone_talks_over_tls_with_the_made_certificate() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.tls = [\"127.0.0.1:0\"]"));
    let mut phone = connect(switch.address("tls"), &made(&folder)).unwrap();
    let answer = asks_options(&mut phone, 1);
    assert!(
        answer.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS client.invalid;"),
        "{answer}"
    );
    switch.wait_for_metric("cordboard_sip_connections{transport=\"tls\"} 1", true);
    // A keep-alive is answered on TLS as on TCP (RFC 5626).
    phone.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    phone.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[test]
fn a_browser_talks_over_wss_and_only_sip() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, "sip.wss = [\"127.0.0.1:0\"]"));
    #[allow(clippy::result_large_err)] // the library's own error
    let open = |path: &str, protocol: &'static str| {
        let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        let stream = connect(switch.address("wss"), &made(&folder)).unwrap();
        tungstenite::client(request, stream)
    };
    let (mut socket, response) = open("/ws", "xmpp, sip").unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
    socket
        .send(tungstenite::Message::text(options("WSS", 1)))
        .unwrap();
    let answer = socket.read().unwrap();
    assert!(
        answer
            .to_text()
            .unwrap()
            .starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/WSS "),
        "{answer}"
    );

    for (path, protocol, status) in [("/ws", "xmpp", 400), ("/chat", "sip", 404)] {
        match open(path, protocol) {
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                assert_eq!(response.status(), status);
            }
            other => panic!(
                "{path} {protocol}: {:?}",
                other.map(|_| ()).map_err(|error| error.to_string())
            ),
        }
    }
}

#[test]
fn a_browser_that_opens_the_address_by_hand_is_told_what_it_is() {
    let folder = TempDir::new().unwrap();
    let more = "sip.ws = [\"127.0.0.1:0\"]\nsip.wss = [\"127.0.0.1:0\"]\nhttp.tls = [\"127.0.0.1:0\"]";
    let switch = Switch::start(&config(&folder, more));
    let page = get(connect(switch.address("wss"), &made(&folder)).unwrap(), "/");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("The certificate is accepted"),
        "{page}"
    );
    let told = get(TcpStream::connect(switch.address("ws")).unwrap(), "/ws");
    assert!(
        told.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"),
        "{told}"
    );
    let health = get(
        connect(switch.address("HTTPS"), &made(&folder)).unwrap(),
        "/healthz",
    );
    assert!(
        health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("ok\n"),
        "{health}"
    );
    switch.wait_for_metric(
        "cordboard_sip_rejected_total{reason=\"websocket_plain_http\"} 2",
        true,
    );
}

#[test]
fn what_is_no_tls_is_counted_and_cut() {
    let folder = TempDir::new().unwrap();
    let more = "sip.tls = [\"127.0.0.1:0\"]\nhttp.tls = [\"127.0.0.1:0\"]";
    let switch = Switch::start(&config(&folder, more));
    for what in ["tls", "HTTPS"] {
        let mut stream = TcpStream::connect(switch.address(what)).unwrap();
        stream.write_all(options("TLS", 1).as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new()); // ends, or is reset
    }
    switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"tls_handshake\"} 1", true);
    switch.wait_for_metric(
        "cordboard_http_refused_connections_total{reason=\"tls_handshake\"} 1",
        true,
    );
}

const ALICE: &str = "sip.realm = \"lab.test\"\nsip.trusted = [\"127.0.0.0/8\"]\n\
    user = [{ id = \"00000000000000000000000000000011\", username = \"alice\", password = \"x\" }]\n";

fn register(stream: &mut (impl Read + Write), transport: &str, contact: SocketAddr) {
    let text = format!(
        "REGISTER sip:lab.test SIP/2.0\r\nVia: SIP/2.0/{transport} client.invalid;branch=z9hG4bKr;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@lab.test>;tag=r\r\nTo: <sip:alice@lab.test>\r\nCall-ID: r\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:alice@{contact};transport={transport}>\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let answer = head(stream);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
}

/// Somebody sends alice a message by UDP.
fn page(switch: &Switch, number: u32) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "MESSAGE sip:alice@lab.test SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKm{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@lab.test>;tag=m\r\nTo: <sip:alice@lab.test>\r\nCall-ID: m{number}\r\n\
         CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        socket.local_addr().unwrap()
    );
    socket.send_to(text.as_bytes(), switch.address("udp")).unwrap();
}

/// Reads a message with the body `hi`.
fn paged(stream: &mut impl Read) -> String {
    let text = head(stream);
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"hi");
    text
}

#[test]
fn one_connection_serves_all_messages_to_a_contact() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::start(&config(&folder, &format!("sip.tcp = [\"127.0.0.1:0\"]\n{ALICE}")));
    let phone = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = TcpStream::connect(switch.address("tcp")).unwrap();
    register(&mut first, "TCP", phone.local_addr().unwrap());
    drop(first);
    switch.wait_for_metric("cordboard_sip_connections{transport=\"tcp\"}", false);
    for number in 0..3 {
        page(&switch, number);
    }
    let (mut dialled, _) = phone.accept().unwrap();
    for _ in 0..3 {
        assert!(paged(&mut dialled).starts_with("MESSAGE sip:alice@127.0.0.1:"));
    }
}

/// A phone that takes TLS connections, with a certificate.
fn secure_phone(cert: &Path, key: &Path) -> (TcpListener, Arc<ServerConfig>) {
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config))
}

#[test]
fn a_phone_is_dialled_over_tls_if_its_certificate_is_believed() {
    for believed in [true, false] {
        let folder = TempDir::new().unwrap();
        let (cert, key) = pair(&folder, "phone");
        let (other, _) = pair(&folder, "other");
        let ca = if believed { &cert } else { &other };
        let more = format!(
            "sip.tls = [\"127.0.0.1:0\"]\ntls.ca = \"{}\"\n{ALICE}",
            ca.display()
        );
        let switch = Switch::start(&config(&folder, &more));
        let (phone, server) = secure_phone(&cert, &key);
        let mut first = connect(switch.address("tls"), &made(&folder)).unwrap();
        register(&mut first, "TLS", phone.local_addr().unwrap());
        drop(first);
        switch.wait_for_metric("cordboard_sip_connections{transport=\"tls\"}", false);
        page(&switch, 1);
        let (stream, _) = phone.accept().unwrap();
        let mut dialled = StreamOwned::new(ServerConnection::new(server).unwrap(), stream);
        if believed {
            assert!(paged(&mut dialled).contains("\r\nVia: SIP/2.0/TLS "));
        } else {
            assert!(
                dialled.read(&mut [0]).is_err(),
                "the switch hangs up with an alert"
            );
            switch.wait_for_metric("cordboard_sip_rejected_total{reason=\"tls_untrusted\"} 1", true);
        }
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let folder = TempDir::new().unwrap();
    let (cert, key) = pair(&folder, "shown");
    let old = folder.path().join("old.pem");
    std::fs::copy(&cert, &old).unwrap();
    let more = format!(
        "sip.tls = [\"127.0.0.1:0\"]\nhttp.tls = [\"127.0.0.1:0\"]\ntls = {{ cert = \"{}\", key = \"{}\" }}",
        cert.display(),
        key.display()
    );
    let switch = Switch::start(&config(&folder, &more));
    let mut phone = connect(switch.address("tls"), &old).unwrap();
    assert!(asks_options(&mut phone, 1).starts_with("SIP/2.0 200 "));

    pair(&folder, "shown");
    switch.signal(Signal::SIGHUP);
    switch.wait_for("the config is reloaded");
    assert!(
        asks_options(&mut phone, 2).starts_with("SIP/2.0 200 "),
        "the connection stays"
    );
    for what in ["tls", "HTTPS"] {
        assert!(
            connect(switch.address(what), &old).is_err(),
            "nobody is shown the old one"
        );
        assert!(connect(switch.address(what), &cert).is_ok());
    }

    // A key that does not fit: the pair that serves goes on.
    let (_, stranger) = pair(&folder, "stranger");
    std::fs::copy(stranger, &key).unwrap();
    switch.signal(Signal::SIGHUP);
    let log = switch.wait_for("the config is not reloaded");
    assert!(
        log.iter()
            .any(|line| line.contains("tls.key: ") && line.contains("is not the key of")),
        "{log:#?}"
    );
    assert!(connect(switch.address("tls"), &cert).is_ok());
}
