//! What chat takes of a message that came by SIP: its text, in whatever it is wrapped and however it is encoded.

use std::borrow::Cow;

use super::message::cut;
use super::page::plain;
use crate::conference::copies::json_text;
use crate::conference::message::Form;
use crate::conference::multipart::{readable_text_in, text_in};
use crate::sip::mime::{cpim_contents, essence, parameter};
use crate::sip::transfer::Transfer;

/// Wrappings within wrappings are opened this deep.
const DEPTH: u8 = 3;

/// The characters of windows-1252 from 0x80 to 0x9f; what stands for nothing there is itself.
const FROM_80: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// What chat takes of a message in this form; empty if it is nothing for chat. Plugins see a body whole: a part that is
/// encoded within says nothing to them, and then nothing to chat.
pub(super) fn chat_text(kind: &str, form: Form, body: &[u8]) -> String {
    let seen = form == Form::Seen;
    cut(find(kind, form.transfer(), body, (seen, DEPTH)).unwrap_or_default())
}

/// The text in one part; whether plugins have `seen` all of it as it stands, and how deep to look.
fn find(kind: &str, transfer: Transfer, body: &[u8], (seen, depth): (bool, u8)) -> Option<String> {
    if seen && !transfer.is_plain() {
        return None;
    }
    let body = &*transfer.undone(body)?;
    let within = (seen, depth.saturating_sub(1));
    match essence(kind).as_ref() {
        _ if depth == 0 => None,
        "text/html" => Some(plain(&decoded(kind, body)?)),
        "message/cpim" => {
            let part = cpim_contents(body)?;
            find(&part.kind, part.transfer, part.body, within)
        }
        text if text.starts_with("text/") => Some(decoded(kind, body)?.into_owned()),
        whole if whole.starts_with("multipart/") => {
            // Plain text says the same as the page beside it, and loses less.
            let text = |list: &str| match seen {
                true => text_in(kind, body, Some(list)),
                false => readable_text_in(kind, body, list),
            };
            let part = text("text/plain").or_else(|| text("text/*"))?;
            find(&part.kind, part.transfer, part.body, within)
        }
        _ => json_text(kind, body),
    }
}

/// A text in the character set that its type names; `None` where that is not known here: it would be spoilt for ever.
fn decoded<'a>(kind: &str, body: &'a [u8]) -> Option<Cow<'a, str>> {
    // RFC 3261 section 7.4.1: without a word about it it is UTF-8.
    let charset = parameter(kind, "charset").map_or_else(|| "utf-8".to_owned(), str::to_ascii_lowercase);
    let read: fn(u8) -> char = match charset.as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => return Some(String::from_utf8_lossy(body)),
        // Nobody means the control characters that are the whole difference.
        "iso-8859-1" | "iso_8859-1" | "latin1" | "windows-1252" | "cp1252" => western,
        "iso-8859-15" | "iso_8859-15" | "latin-9" | "latin9" => western_with_euro,
        _ => return None,
    };
    Some(body.iter().map(|byte| read(*byte)).collect::<String>().into())
}

/// A character of windows-1252.
pub(super) fn western(byte: u8) -> char {
    match byte {
        0x80..=0x9f => FROM_80[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}

fn western_with_euro(byte: u8) -> char {
    match byte {
        0xa4 => '€',
        0xa6 => 'Š',
        0xa8 => 'š',
        0xb4 => 'Ž',
        0xb8 => 'ž',
        0xbc => 'Œ',
        0xbd => 'œ',
        0xbe => 'Ÿ',
        byte => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IT_CAME: Form = Form::Sent(Transfer::Plain);

    #[test]
    fn a_text_is_read_in_its_own_characters_or_not_at_all() {
        for (kind, body, text) in [
            ("text/plain", "é".as_bytes(), "é"),
            ("text/plain;charset=US-ASCII", b"hi", "hi"),
            ("text/plain; charset=\"ISO-8859-1\"", b"caf\xe9 \x80", "café €"),
            ("text/plain;charset=windows-1252", b"\x93x\x94 \x9f\xff", "“x” Ÿÿ"),
            (
                "text/plain;format=flowed;charset=iso-8859-15",
                b"\xa4\xbd\xa5",
                "€œ¥",
            ),
            ("text/html;charset=latin1", b"<b>\xe9</b>", "é"),
            ("text/plain;charset=koi8-r", b"\xc1", ""),
            ("text/plain;charset=utf-16", b"\0h\0i", ""),
        ] {
            assert_eq!(chat_text(kind, AS_IT_CAME, body), text, "{kind}");
        }
    }

    #[test]
    fn a_text_is_found_in_what_it_is_wrapped_in() {
        let cpim = |kind: &str, text: &str| {
            format!("From: <a>\r\nTo: <b>\r\n\r\nContent-Type: {kind}\r\n\r\n{text}")
        };
        let parts = |parts: &[(&str, &str)]| {
            let part = |(kind, text): &(&str, &str)| format!("--b\r\nContent-Type: {kind}\r\n\r\n{text}\r\n");
            format!("{}--b--\r\n", parts.iter().map(part).collect::<String>())
        };
        let (plain, html) = (("text/plain", "hi"), ("text/html", "<p>hello</p>"));
        let mixed = "multipart/mixed;boundary=b";
        let both = parts(&[plain, html]);
        for (kind, body, text) in [
            ("multipart/alternative; boundary=b", both.clone(), "hi"),
            (mixed, parts(&[("image/png", "x"), html]), "hello"),
            (mixed, parts(&[("image/png", "x")]), ""),
            ("Message/CPIM", cpim("text/plain;charset=utf-8", "hé"), "hé"),
            (
                "message/cpim",
                cpim("multipart/alternative;boundary=b", &both),
                "hi",
            ),
            ("message/cpim", "From: <a>\r\n\r\n\r\nbare".to_owned(), "bare"),
            ("message/cpim", cpim("message/imdn+xml", "<imdn/>"), ""),
            ("message/cpim", cpim("application/im-iscomposing+xml", "<x/>"), ""),
            (
                "message/cpim",
                cpim("text/plain\r\nContent-Transfer-Encoding: base64", "aGk="),
                "hi",
            ),
            (
                "message/cpim",
                cpim("text/plain\r\nContent-Transfer-Encoding: x-own", "aGk="),
                "",
            ),
            (
                mixed,
                parts(&[(
                    "text/html\r\nContent-Transfer-Encoding: quoted-printable",
                    "<p>a=3D=\r\nb",
                )]),
                "a=b",
            ),
            (
                mixed,
                parts(&[(
                    "text/plain\r\nContent-Encoding: gzip\r\nContent-Transfer-Encoding: base64",
                    "aGk=",
                )]),
                "",
            ),
            ("message/cpim", "From: <a>".to_owned(), ""),
            ("message/cpim", cpim("x-unknown", ""), ""),
        ] {
            let read = chat_text(kind, AS_IT_CAME, body.as_bytes());
            assert_eq!(read, text, "{kind} {body}");
            // What plugins could not read is not shown either.
            let seen = chat_text(kind, Form::Seen, body.as_bytes());
            let encoded = body.contains("Content-Transfer-Encoding");
            assert_eq!(seen, if encoded { "" } else { text }, "{kind} {body}");
        }
        let mut deep = cpim("text/plain", "deep");
        for _ in 0..4 {
            deep = cpim("message/cpim", &deep);
        }
        assert_eq!(chat_text("message/cpim", AS_IT_CAME, deep.as_bytes()), "");
    }
}
