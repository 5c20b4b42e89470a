//! Whether a message asks to be told of its delivery, and the notification (RFC 5438 over CPIM, RFC 3862).

use cordboard_model::Time;

use crate::date::rfc3339;
use crate::sip::mime::essence;

/// The type that carries both.
pub(crate) const CPIM: &str = "message/cpim";
/// The namespace of the headers about notifications.
const NAMESPACE: &str = "urn:ietf:params:imdn";
/// The type of "somebody is writing" (RFC 3994).
const COMPOSING: &str = "application/im-iscomposing+xml";
/// Values longer than this are not repeated in a notification, in bytes.
const MAX_VALUE: usize = 1024;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Failed,
}

/// What a message asks to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The sender's own id of the message.
    id: String,
    /// When it was written, as the sender says.
    written: Option<String>,
    delivered: bool,
    failed: bool,
}

/// A notification, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) body: Vec<u8>,
}

/// The parts of a CPIM body: its headers, and the headers of what it holds.
struct Cpim<'a> {
    headers: Vec<(&'a str, &'a str)>,
    contents: Vec<(&'a str, &'a str)>,
}

impl<'a> Cpim<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        // What follows the second blank line may be anything; before it there is only text.
        let mut ends = memchr::memmem::find_iter(body, b"\n\r\n").map(|at| at + 3);
        let (first, second) = (ends.next()?, ends.next().unwrap_or(body.len()));
        let headers = std::str::from_utf8(&body[..first]).ok()?;
        let contents = String::from_utf8_lossy(&body[first..second]);
        let contents = match contents {
            std::borrow::Cow::Borrowed(text) => lines(text),
            std::borrow::Cow::Owned(_) => Vec::new(),
        };
        Some(Self {
            headers: lines(headers),
            contents,
        })
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        find(&self.headers, name)
    }
}

fn lines(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect()
}

fn find<'a>(lines: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let (_, value) = lines.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value)
}

/// What a message asks to be told of its delivery; `None` where that is nothing.
pub(crate) fn wish(kind: &str, body: &[u8]) -> Option<Wish> {
    if essence(kind) != CPIM {
        return None;
    }
    let cpim = Cpim::read(body)?;
    // `NS: imdn <urn:ietf:params:imdn>`: the sender chooses the prefix.
    let prefix = cpim
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("NS"))
        .find_map(|(_, value)| {
            value
                .split_once('<')
                .filter(|(_, uri)| uri.trim_end_matches('>').trim() == NAMESPACE)
        })
        .map(|(prefix, _)| prefix.trim())?;
    let asked = cpim.header(&format!("{prefix}.Disposition-Notification"))?;
    let id = cpim.header(&format!("{prefix}.Message-ID"))?;
    let wants = |word: &str| {
        asked
            .split(',')
            .any(|asked| asked.trim().eq_ignore_ascii_case(word))
    };
    let fits = |value: &&str| !value.is_empty() && value.len() <= MAX_VALUE;
    let wish = Wish {
        id: Some(id).filter(fits)?.to_owned(),
        written: cpim.header("DateTime").filter(fits).map(str::to_owned),
        delivered: wants("positive-delivery"),
        failed: wants("negative-delivery"),
    };
    (wish.delivered || wish.failed).then_some(wish)
}

/// Whether a message only says that somebody is writing.
pub(crate) fn is_composing(kind: &str, body: &[u8]) -> bool {
    match essence(kind).as_ref() {
        COMPOSING => true,
        CPIM => Cpim::read(body)
            .and_then(|cpim| find(&cpim.contents, "Content-Type"))
            .is_some_and(|kind| essence(kind) == COMPOSING),
        _ => false,
    }
}

impl Wish {
    /// The notification that was asked for, if it was; `recipient` and `sender` are the URIs of the message
    /// and `accepted` is when it came, where it does not say itself when it was written.
    pub(crate) fn tell(
        &self,
        fate: Fate,
        (recipient, sender): (&str, &str),
        accepted: Time,
        now: Time,
        id: u128,
    ) -> Option<Notification> {
        let (asked, word) = match fate {
            Fate::Delivered => (self.delivered, "delivered"),
            Fate::Failed => (self.failed, "failed"),
        };
        if !asked {
            return None;
        }
        let written = self.written.clone().unwrap_or_else(|| rfc3339(accepted));
        let (message, written, uri) = (escaped(&self.id), escaped(&written), escaped(recipient));
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\
             <message-id>{message}</message-id><datetime>{written}</datetime><recipient-uri>{uri}</recipient-uri>\
             <original-recipient-uri>{uri}</original-recipient-uri>\
             <delivery-notification><status><{word}/></status></delivery-notification></imdn>"
        );
        let body = format!(
            "From: <{recipient}>\r\nTo: <{sender}>\r\nDateTime: {}\r\nNS: imdn <{NAMESPACE}>\r\n\
             imdn.Message-ID: {id:032x}\r\n\r\nContent-Type: message/imdn+xml\r\n\
             Content-Disposition: notification\r\nContent-Length: {}\r\n\r\n{document}",
            rfc3339(now),
            document.len(),
        );
        Some(Notification {
            body: body.into_bytes(),
        })
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpim(headers: &str, contents: &str) -> Vec<u8> {
        format!(
            "From: <sip:alice@lab.test>\r\nTo: <sip:bob@lab.test>\r\nDateTime: 2026-11-22T03:39:34Z\r\n\
             {headers}\r\n{contents}\r\n\r\nhi \r\n\r\n there"
        )
        .into_bytes()
    }

    const TEXT: &str = "Content-Type: text/plain";

    #[test]
    fn a_wish_is_read_under_whatever_prefix() {
        for (headers, expected) in [
            (
                "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk\r\nimdn.Disposition-Notification: positive-delivery, negative-delivery\r\n",
                Some((true, true)),
            ),
            (
                "NS: x <http://other>\r\nNS: n <urn:ietf:params:imdn>\r\nn.Message-ID: 34jk\r\nn.Disposition-Notification: negative-delivery, display\r\n",
                Some((false, true)),
            ),
            (
                "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk\r\nimdn.Disposition-Notification: display\r\n",
                None,
            ),
            (
                "imdn.Message-ID: 34jk\r\nimdn.Disposition-Notification: positive-delivery\r\n",
                None,
            ),
            (
                "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Disposition-Notification: positive-delivery\r\n",
                None,
            ),
        ] {
            let found = wish("Message/CPIM", &cpim(headers, TEXT));
            if let Some(wish) = &found {
                assert_eq!(
                    (wish.id.as_str(), wish.written.as_deref()),
                    ("34jk", Some("2026-11-22T03:39:34Z"))
                );
            }
            assert_eq!(
                found.map(|wish| (wish.delivered, wish.failed)),
                expected,
                "{headers}"
            );
        }
        assert_eq!(wish("text/plain", b"hi"), None);
        assert_eq!(wish("message/cpim", b"hi"), None);
        assert_eq!(wish("message/cpim", b"\xff\n\r\n\xff"), None);
    }

    #[test]
    fn a_notification_says_what_and_whose_and_asks_for_none_itself() {
        let wish = Wish {
            id: "3<4".into(),
            written: None,
            delivered: false,
            failed: true,
        };
        let (uris, time) = (
            ("sip:bob@lab.test", "sip:alice@lab.test"),
            Time::from_unix_seconds(0),
        );
        assert_eq!(wish.tell(Fate::Delivered, uris, time, time, 1), None);
        let told = wish.tell(Fate::Failed, uris, time, time, 1).unwrap();
        let text = String::from_utf8(told.body.clone()).unwrap();
        for part in [
            "To: <sip:alice@lab.test>\r\n",
            "Content-Disposition: notification\r\n",
            "<message-id>3&lt;4</message-id><datetime>1970-01-01T00:00:00Z</datetime>",
            "<recipient-uri>sip:bob@lab.test</recipient-uri>",
            "<delivery-notification><status><failed/></status></delivery-notification>",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let (head, document) = text.rsplit_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("Content-Length: {}", document.len())),
            "{head}"
        );
        assert_eq!(super::wish(CPIM, &told.body), None);
    }

    #[test]
    fn writing_is_seen_through_its_wrapping() {
        let wrapped = |kind: &str| cpim("", &format!("Content-type: {kind}"));
        assert!(is_composing(
            "application/im-iscomposing+xml;charset=utf-8",
            b"<x/>"
        ));
        assert!(is_composing(CPIM, &wrapped("application/im-iscomposing+xml")));
        assert!(!is_composing(CPIM, &wrapped("text/plain")));
        assert!(!is_composing(
            "text/plain",
            b"Content-Type: application/im-iscomposing+xml"
        ));
    }
}
