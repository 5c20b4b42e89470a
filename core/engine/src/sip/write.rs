//! Writing messages: one buffer, headers in the order they are given, nothing that could break out of a value.

mod phrase;
mod respond;
mod short;

use std::cell::Cell;
use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;

use bytes::Bytes;

use super::message::Message;
use super::name::Name;
use crate::io::Transport;

pub use phrase::default_phrase;
pub use respond::respond;
pub(crate) use short::Short;

/// What most messages need without a body.
const USUAL_SIZE: usize = 1024;
/// A buffer that has grown beyond this is not kept for the next message.
const LARGEST_SPARE: usize = 16 << 10;

thread_local! {
    /// The buffer of the message before, for the next one: each message itself takes exactly what it needs, and
    /// nothing is allocated to be cut down again.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Builds one message.
#[derive(Clone)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Begins a request.
    pub fn request(method: &str, uri: &str) -> Self {
        Self::start([method, " ", uri, " SIP/2.0"])
    }

    /// Begins a response.
    pub fn response(status: u16, phrase: &str) -> Self {
        Self::start(["SIP/2.0 ", Short::number(status.into()).as_str(), " ", phrase])
    }

    /// Begins a piece of a head, such as the [shared tail](Self::body) of many copies.
    pub fn part() -> Self {
        let mut out = SPARE.take();
        out.clear();
        out.reserve(USUAL_SIZE);
        Self { out }
    }

    fn start(line: [&str; 4]) -> Self {
        let mut writer = Self::part();
        for piece in line {
            writer.out.extend_from_slice(piece.as_bytes());
        }
        clean(&mut writer.out);
        writer.line_end();
        writer
    }

    /// Adds a header. CR, LF and NUL in the value become spaces, so that no value adds another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.add(name, value);
        self
    }

    /// As [`Writer::header`], in place.
    pub fn add(&mut self, name: &str, value: impl Display) {
        self.clean(format_args!("{name}: {value}"));
        self.line_end();
    }

    /// As [`Writer::header`], with a value that is put together from pieces: for what is written often.
    #[must_use]
    pub(crate) fn pieces<const N: usize>(mut self, name: &str, pieces: [&str; N]) -> Self {
        self.add_pieces(name, pieces);
        self
    }

    /// Adds our Via, the topmost of a request.
    #[must_use]
    pub(crate) fn via(self, transport: Transport, sent_by: SocketAddr, branch: &str) -> Self {
        let sent_by = Short::address(sent_by);
        self.pieces(
            "Via",
            [
                "SIP/2.0/",
                transport.via(),
                " ",
                sent_by.as_str(),
                ";branch=",
                branch,
                ";rport",
            ],
        )
    }

    /// As [`Writer::pieces`], in place.
    pub(crate) fn add_pieces<const N: usize>(&mut self, name: &str, pieces: [&str; N]) {
        self.add_all(name, &pieces);
    }

    /// The same with as many pieces as there are.
    pub(crate) fn add_all(&mut self, name: &str, pieces: &[&str]) {
        let start = self.begin(name);
        for piece in pieces {
            self.put(piece);
        }
        self.end(start);
    }

    /// Begins a header whose value is [put](Self::put) piece by piece; gives what [`end`](Self::end) needs.
    fn begin(&mut self, name: &str) -> usize {
        let start = self.out.len();
        self.put(name);
        self.put(": ");
        start
    }

    fn put(&mut self, piece: &str) {
        self.out.extend_from_slice(piece.as_bytes());
    }

    fn end(&mut self, start: usize) {
        clean(&mut self.out[start..]);
        self.line_end();
    }

    /// Adds each header of this name as it stands in `message`.
    #[must_use]
    pub fn copy(mut self, message: &Message, name: Name) -> Self {
        for value in message.headers(name) {
            self.add_pieces(name.text(), [value]);
        }
        self
    }

    /// Ends the message with a body; Content-Type is left out where `content_type` is empty.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Bytes {
        if !content_type.is_empty() {
            self.add_pieces("Content-Type", [content_type]);
        }
        self.add_pieces("Content-Length", [Short::number(body.len() as u64).as_str()]);
        self.line_end();
        self.out.extend_from_slice(body);
        self.into_head()
    }

    /// Ends the message without a body.
    pub fn finish(self) -> Bytes {
        self.body("", b"")
    }

    /// The head so far, without the empty line: a tail with more headers, the empty line and the body follows.
    pub fn into_head(self) -> Bytes {
        let bytes = Bytes::copy_from_slice(&self.out);
        if self.out.capacity() <= LARGEST_SPARE {
            SPARE.set(self.out);
        }
        bytes
    }

    /// How many bytes the message has if it ends here, without a body.
    pub fn size(&self) -> usize {
        self.out.len() + "Content-Length: 0\r\n\r\n".len()
    }

    fn clean(&mut self, text: fmt::Arguments<'_>) {
        Clean(&mut self.out)
            .write_fmt(text)
            .expect("a Vec takes every write");
    }

    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

impl fmt::Debug for Writer {
    /// Only the start line: credentials stand in headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.out.split(|b| *b == b'\r').next().unwrap_or_default();
        write!(f, "Writer({})", String::from_utf8_lossy(line))
    }
}

/// Writes into the buffer with spaces in place of what ends a line.
struct Clean<'a>(&'a mut Vec<u8>);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = self.0.len();
        self.0.extend_from_slice(text.as_bytes());
        clean(&mut self.0[start..]);
        Ok(())
    }
}

/// Puts spaces in place of what ends a line.
fn clean(line: &mut [u8]) {
    // Nearly no line has any control character; looking at each byte without a branch goes many at a time.
    if line.iter().fold(false, |found, byte| found | (*byte < b' ')) {
        for byte in line {
            if matches!(*byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }
}

/// A display name as a quoted string: quotes and backslashes escaped, control characters dropped.
pub fn quote_display(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    if name
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    {
        out.push_str(name); // nearly every one
        out.push('"');
        return out;
    }
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::header::NameAddr;

    #[test]
    fn a_message_is_written_in_the_order_it_was_given() {
        let text = Writer::request("MESSAGE", "sip:a@b")
            .header("X", 5)
            .body("text/plain", b"h\0\r\ni");
        assert_eq!(
            text,
            "MESSAGE sip:a@b SIP/2.0\r\nX: 5\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nh\0\r\ni"
        );
        assert_eq!(
            Writer::response(200, "OK").finish(),
            "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(Writer::part().header("A", "b").into_head(), "A: b\r\n");
    }

    #[test]
    fn no_value_adds_a_line() {
        let text = Writer::request("A\r\nB: c", "sip:\n")
            .header("X\r\nY", "1\r\nZ: 2\0")
            .finish();
        assert_eq!(
            text,
            "A  B: c sip:  SIP/2.0\r\nX  Y: 1  Z: 2 \r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn display_names_survive_quoting() {
        for name in [r#"Ännä "Q" ☃"#, r"back\slash\", "a, b; <c>", "☃"] {
            let text = format!("{} <sip:a@b>", quote_display(name));
            assert_eq!(NameAddr::parse(&text).unwrap().display().as_deref(), Some(name));
        }
        assert_eq!(quote_display("a\r\nb\u{7}\u{85}c"), "\"abc\"");
    }

    #[test]
    fn debug_shows_the_start_line_only() {
        let writer = Writer::request("REGISTER", "sip:b").header("Authorization", "Digest secret");
        assert_eq!(format!("{writer:?}"), "Writer(REGISTER sip:b SIP/2.0)");
    }
}
