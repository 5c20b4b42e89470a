//! SIP as text: reading and writing messages, and the few pieces of headers that a phone looks at.

/// One request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request line or the status line, without its line end.
    pub start: String,
    /// Names (long form where the short one is known) and values, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The bytes after the empty line.
    pub body: Vec<u8>,
}

impl Message {
    /// A request without headers.
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: format!("{method} {uri} SIP/2.0"),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The response to `request`: the headers that must be copied are.
    pub fn response(request: &Self, code: u16, phrase: &str) -> Self {
        let copied = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];
        let headers = request
            .headers
            .iter()
            .filter(|(name, _)| copied.iter().any(|c| c.eq_ignore_ascii_case(name)))
            .cloned()
            .collect();
        Self {
            start: format!("SIP/2.0 {code} {phrase}"),
            headers,
            body: Vec::new(),
        }
    }

    /// The same message with one more header at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same message with this body; Content-Length is written when it is sent.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Reads one message; `None` when it is not one (keep-alives, garbage).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        if !start.starts_with("SIP/2.0 ") && !start.ends_with(" SIP/2.0") {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let last = headers.last_mut()?;
                last.1.push(' ');
                last.1.push_str(line.trim());
            } else {
                let (name, value) = line.split_once(':')?;
                headers.push((long_form(name.trim()), value.trim().to_owned()));
            }
        }
        Some(Self {
            start,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }

    /// The bytes for the wire, Content-Length included.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Every header of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Puts `value` in place of every header of that name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The status code; `None` for a request.
    pub fn code(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method: of the request itself, or the one that a response answers.
    pub fn method(&self) -> &str {
        if self.code().is_some() {
            self.header("CSeq")
                .and_then(|c| c.split_whitespace().nth(1))
                .unwrap_or("")
        } else {
            self.start.split(' ').next().unwrap_or("")
        }
    }

    /// The Request-URI; empty for a response.
    pub fn request_uri(&self) -> &str {
        if self.code().is_some() {
            ""
        } else {
            self.start.split(' ').nth(1).unwrap_or("")
        }
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or("")
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        self.header("Via")
            .and_then(|via| parameter(via, "branch"))
            .unwrap_or("")
    }
}

fn long_form(name: &str) -> String {
    let long = match name.to_ascii_lowercase().as_str() {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "c" => "Content-Type",
        "l" => "Content-Length",
        "e" => "Content-Encoding",
        "s" => "Subject",
        "k" => "Supported",
        "o" => "Event",
        _ => name,
    };
    long.to_owned()
}

/// The value of `;name=` in a header, looked for behind the `>` where there is one.
pub fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let tail = header.rfind('>').map_or(header, |at| &header[at + 1..]);
    tail.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The URI of a From, To or Contact.
pub fn uri(header: &str) -> &str {
    match (header.find('<'), header.rfind('>')) {
        (Some(open), Some(close)) if open < close => &header[open + 1..close],
        _ => header.split(';').next().unwrap_or(header).trim(),
    }
}

/// The display name in front of `<`, its quotes and escapes taken off; empty where there is none.
pub fn display_name(header: &str) -> String {
    let Some(open) = header.rfind('<') else {
        return String::new();
    };
    let raw = header[..open].trim();
    let Some(inner) = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) else {
        return raw.to_owned();
    };
    let mut name = String::new();
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            name.push(c);
            escaped = false;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let message = Message::request("MESSAGE", "sip:bob@lab.test")
            .with("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx;rport")
            .with("From", "\"Q \\\"x\\\" ☃\" <sip:alice@lab.test>;tag=1")
            .with_body("a\0b");
        let read = Message::parse(&message.bytes()).expect("readable");
        assert_eq!(
            (read.method(), read.request_uri(), read.branch()),
            ("MESSAGE", "sip:bob@lab.test", "z9hG4bKx")
        );
        assert_eq!(read.body, b"a\0b");
        let from = read.header("from").expect("From");
        assert_eq!(
            (display_name(from).as_str(), uri(from), parameter(from, "tag")),
            ("Q \"x\" ☃", "sip:alice@lab.test", Some("1"))
        );
    }

    #[test]
    fn short_names_and_folded_lines_are_understood() {
        let read =
            Message::parse(b"SIP/2.0 200 OK\r\ni: abc\r\nCSeq: 4\r\n INVITE\r\n\r\n").expect("readable");
        assert_eq!(
            (read.call_id(), read.method(), read.code()),
            ("abc", "INVITE", Some(200))
        );
        assert!(Message::parse(b"\r\n\r\n").is_none());
    }
}
