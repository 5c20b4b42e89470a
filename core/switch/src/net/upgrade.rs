//! The HTTP request that begins a WebSocket (RFC 6455 section 4): upgraded, or answered with a sentence.
//!
//! A browser that opens a secure address by hand gets a page, so that its user can accept the certificate.

use cordboard_engine::io::Transport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, header};

/// The longest head of such a request, in bytes.
const MAX_HEAD: usize = 16 << 10;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Cordboard</title>\n\
    <h1>The certificate is accepted</h1>\n\
    <p>This is the address of SIP over secure WebSocket (<code>/ws</code>). Your browser has reached it, so a \
    phone in this browser can use it now: go back to the phone and try again.\n";

/// Reads the request and answers it.
///
/// Gives the bytes that came after the request, where a WebSocket has begun.
///
/// # Errors
/// Why none has begun, as the word by which it is counted; the peer was told.
pub(super) async fn upgrade<S>(stream: &mut S, transport: Transport) -> Result<Vec<u8>, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = head(stream).await?;
    let Ok(Some((length, request))) = Request::try_parse(&bytes) else {
        refuse(
            stream,
            "400 Bad Request",
            "",
            "this is no HTTP request that can open a WebSocket\n",
        )
        .await;
        return Err("websocket_handshake");
    };
    if !request.headers().contains_key(header::UPGRADE) {
        if transport == Transport::Wss {
            say(stream, "200 OK", "", "text/html; charset=utf-8", PAGE).await;
        } else {
            let more = "Upgrade: websocket\r\n";
            refuse(
                stream,
                "426 Upgrade Required",
                more,
                "this is the address of SIP over WebSocket (/ws, subprotocol sip)\n",
            )
            .await;
        }
        return Err("websocket_plain_http");
    }
    if request.uri().path() != "/ws" {
        refuse(stream, "404 Not Found", "", "SIP over WebSocket is at /ws\n").await;
        return Err("websocket_handshake");
    }
    if !offers_sip(&request) {
        refuse(
            stream,
            "400 Bad Request",
            "",
            "the WebSocket subprotocol must be: sip\n",
        )
        .await;
        return Err("websocket_handshake");
    }
    // RFC 9112 section 3.2: one, no more.
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        refuse(stream, "400 Bad Request", "", "the request must name one Host\n").await;
        return Err("websocket_handshake");
    }
    let Ok(mut response) = create_response(&request) else {
        let more = "Sec-WebSocket-Version: 13\r\n";
        refuse(
            stream,
            "400 Bad Request",
            more,
            "this is no request that opens a WebSocket (RFC 6455)\n",
        )
        .await;
        return Err("websocket_handshake");
    };
    let name: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static("sip"));
    let mut text = Vec::new();
    write_response(&mut text, &response).map_err(|_| "websocket_handshake")?;
    send(stream, &text).await.map_err(|_| "websocket_handshake")?;
    Ok(bytes.split_off(length))
}

/// Everything up to the empty line, and what came with it.
async fn head<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        // Only what is new is searched: a head that comes byte by byte costs no more than another.
        let seen = bytes.len().saturating_sub(3);
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Err("websocket_handshake"),
            Ok(_) => {}
        }
        if bytes[seen..].windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(bytes);
        }
        if bytes.len() > MAX_HEAD {
            refuse(
                stream,
                "431 Request Header Fields Too Large",
                "",
                "the head of the request is too long\n",
            )
            .await;
            return Err("websocket_handshake");
        }
    }
}

/// RFC 7118 section 4.1.
fn offers_sip(request: &Request) -> bool {
    let sip = |value: &HeaderValue| {
        value.to_str().is_ok_and(|list| {
            list.split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("sip"))
        })
    };
    request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .any(sip)
}

async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, status: &str, more: &str, why: &str) {
    say(stream, status, more, "text/plain; charset=utf-8", why).await;
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, status: &str, more: &str, kind: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\n{more}Content-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // It may have gone without waiting for an answer.
    if send(stream, text.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
