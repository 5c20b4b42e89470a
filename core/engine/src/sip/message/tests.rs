//! Tables for messages: what is read, what is refused with which answer, what is dropped.

use super::*;

const HEAD: &str = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x@y\r\nCSeq: 7 OPTIONS\r\n";

fn parse(text: &str) -> Result<Message, Malformed> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), Framing::Datagram)
}

fn request(extra: &str) -> Message {
    parse(&format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{extra}\r\n")).unwrap()
}

#[test]
fn a_request_is_read() {
    let message = request(
        "m: <sip:1>, \"x, y\" <sip:2>;q=0.5\r\nX-Odd:  odd \r\nContact:sip:3\r\nContent-Type: text/plain\r\n\r\nbody\0",
    );
    assert!(message.is_request());
    assert_eq!(
        (message.method(), message.method_text(), message.request_uri()),
        (Method::Options, "OPTIONS", "sip:c@d")
    );
    assert_eq!(
        (message.status(), message.reason(), message.call_id()),
        (0, "", "x@y")
    );
    assert_eq!(
        message.cseq(),
        Ok(CSeq {
            number: 7,
            method: Method::Options
        })
    );
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bKa"));
    assert_eq!(
        (message.from().unwrap().tag(), message.to().unwrap().tag()),
        (Some("1"), None)
    );
    let contacts: Vec<_> = message.contacts().map(|c| c.unwrap().uri).collect();
    assert_eq!(contacts, ["sip:1", "sip:2", "sip:3"]);
    assert_eq!(
        (
            message.other("x-ODD"),
            message.other("Contact"),
            message.header(Name::Other)
        ),
        (Some("odd"), None, None)
    );
    assert_eq!(message.body(), &b"body\0\r\n"[..]);
    assert_eq!(message.check_request(), Ok(()));
    assert_eq!(
        message.check_response().map_err(|e| e.reason),
        Err("not_a_response")
    );
}

#[test]
fn a_response_is_read() {
    for (line, status, reason) in [
        ("200 OK", 200, "OK"),
        ("180 ", 180, ""),
        ("699", 699, ""),
        ("183 Läutet  sehr", 183, "Läutet  sehr"),
    ] {
        let message = parse(&format!("sip/2.0 {line}\r\n{HEAD}\r\n")).unwrap();
        assert!(!message.is_request());
        assert_eq!((message.status(), message.reason()), (status, reason));
        assert_eq!(
            (message.method(), message.method_text(), message.request_uri()),
            (Method::Options, "OPTIONS", "")
        );
        assert_eq!(message.check_response(), Ok(()));
        assert_eq!(
            message.check_request().map_err(|r| r.reason),
            Err("not_a_request")
        );
    }
}

#[test]
fn folded_headers_are_read_as_one_line() {
    let message = request("Subject: one\r\n two\r\n\t three \r\nTo :\r\n <sip:x@y>\r\n");
    assert_eq!(message.header(Name::Subject), Some("one   two  \t three"));
    assert_eq!(message.headers(Name::To).nth(1), Some("<sip:x@y>"));
    assert_eq!(
        message.check_request().map_err(|r| r.reason),
        Err("duplicate_header")
    );
}

#[test]
fn the_body_ends_where_content_length_says() {
    let body = |extra: &str, rest: &str| {
        let message = parse(&format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{extra}\r\n{rest}")).unwrap();
        (message.body(), message.check_request().map_err(|r| r.reason))
    };
    assert_eq!(body("", "abc"), (Bytes::from_static(b"abc"), Ok(())));
    assert_eq!(body("l: 2\r\n", "abc"), (Bytes::from_static(b"ab"), Ok(())));
    assert_eq!(body("l: 0\r\n", "abc"), (Bytes::new(), Ok(())));
    for line in [
        "l: 4",
        "l: -1",
        "l: x",
        "l:",
        "l: 3\r\nl: 2",
        "l: 99999999999999999999999",
    ] {
        assert_eq!(
            body(&format!("{line}\r\n"), "abc").1,
            Err("content_length"),
            "{line}"
        );
    }
    assert_eq!(body("l: 3\r\nl: 3\r\n", "abc").1, Err("duplicate_header"));
}

#[test]
fn on_a_stream_the_length_must_be_exact() {
    let parse = |length: &str, rest: &str| {
        let text = format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{length}\r\n{rest}");
        Message::parse(text.into(), Framing::Stream)
            .map(|m| m.body().len())
            .map_err(|e| e.reason)
    };
    assert_eq!(parse("l: 3\r\n", "abc"), Ok(3));
    assert_eq!(parse("", ""), Ok(0));
    for (length, rest) in [
        ("l: 3\r\n", "ab"),
        ("l: 3\r\n", "abcd"),
        ("", "a"),
        ("l: x\r\n", "a"),
    ] {
        assert_eq!(parse(length, rest), Err("content_length"), "{length}{rest}");
    }
}

#[test]
fn a_head_without_a_length_is_good_for_a_refusal() {
    for (line, reason) in [
        ("", "no_content_length"),
        ("l: five\r\n", "content_length"),
        ("l: 5\r\nl: 6\r\n", "content_length"),
    ] {
        let text = format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{line}\r\n");
        let message = Message::parse(text.into(), Framing::Unmeasured).unwrap();
        let refusal = message.check_request().unwrap_err();
        assert_eq!((refusal.status, refusal.reason), (400, reason));
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    let long = format!("OPTIONS sip:c@d SIP/2.0\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD));
    let many = format!(
        "OPTIONS sip:c@d SIP/2.0\r\n{}\r\n",
        "X: y\r\n".repeat(MAX_LINES + 1)
    );
    let cases = [
        ("", "no_end_of_head"),
        ("\r\n\r\n", "no_end_of_head"),
        ("OPTIONS sip:c@d SIP/2.0\r\n", "no_end_of_head"),
        ("OPTIONS sip:c@d SIP/2.0\n\n", "no_end_of_head"),
        ("OPTIONS sip:c@d\r\n\r\n", "request_line"),
        ("OPTIONS  SIP/2.0\r\n\r\n", "request_line"),
        ("OPTIONS sip:c@d HTTP/1.1\r\n\r\n", "request_line"),
        ("OPT(IONS sip:c@d SIP/2.0\r\n\r\n", "request_line"),
        (" OPTIONS sip:c@d SIP/2.0\r\n\r\n", "request_line"),
        ("SIP/2.0 99 x\r\n\r\n", "status_line"),
        ("SIP/2.0 700 x\r\n\r\n", "status_line"),
        ("SIP/2.0 4294967301 x\r\n\r\n", "status_line"),
        ("SIP/2.0 +20 x\r\n\r\n", "status_line"),
        ("SIP/3.0 200 x\r\n\r\n", "status_line"),
        ("SIP/2.0\r\n\r\n", "status_line"),
        ("OPTIONS sip:c@d SIP/2.0\r\n x\r\n\r\n", "request_line"),
        ("OPTIONS sip:c@d\r\n SIP/2.0\r\n\r\n", "request_line"),
        (&long, "head_too_large"),
        (&many, "too_many_headers"), // and nothing that an answer could copy
    ];
    for (text, reason) in cases {
        assert_eq!(
            parse(text).map_err(|e| e.reason),
            Err(reason),
            "{}",
            &text[..text.len().min(80)]
        );
    }
    let latin = Bytes::from_static(b"OPTIONS sip:c@d SIP/2.0\r\nSubject: \xe4\r\n\r\n");
    assert_eq!(
        Message::parse(latin, Framing::Datagram).map_err(|e| e.reason),
        Err("not_utf8")
    );
}

/// What stands in the place of the letter, and whether there is an answer.
#[test]
fn what_is_no_text_is_answered_where_the_answer_can_be_told() {
    let good = format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}Subject: s\r\nX-\u{7f}: y\r\n\r\n\u{e4}");
    for (before, after, answered) in [
        ("Subject: s", "Subject: \u{7f}", true),
        ("Subject: s", "\u{7f}", true),
        ("From: <", "From: \"J\u{7f}rg\" <", true),
        ("tag=1", "tag=\u{7f}", true),
        ("From: <sip", "From: <\u{7f}", false),
        ("To: <sip:c@d>", "To: \u{7f} \"", false),
        ("To: <sip:c@d>\r\n", "", false),
        ("branch", "\u{7f}=x;branch", false),
        ("x@y", "x@y\u{7f}", false),
        ("Call-ID", "Call-\u{7f}D", false),
        ("7 OPTIONS", "7 OPTIONS\u{7f}", false),
        ("sip:c@d SIP", "sip:\u{7f}@d SIP", false),
        ("OPTIONS", "ACK", false),
    ] {
        let text = good.replacen(before, after, 1).into_bytes();
        let raw: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == 0x7f { 0xe4 } else { *byte })
            .collect();
        let read = Message::parse(raw.clone().into(), Framing::Datagram);
        let refused = read.as_ref().map(Message::check_request);
        let expect = match answered {
            true => Ok(Err(Refusal {
                status: 400,
                phrase: "Headers Are Not UTF-8",
                reason: "not_utf8",
            })),
            false => Err(&Malformed::new("not_utf8")),
        };
        assert_eq!(refused, expect, "{after:?}");
        if let Ok(message) = read {
            assert_eq!(
                (message.raw().len(), message.body_slice()),
                (raw.len(), "\u{e4}".as_bytes())
            );
        }
    }
}

/// What stands in the place of the byte, and what comes of it.
#[test]
fn a_response_that_is_no_text_is_read_as_iso_8859_1() {
    for framing in [Framing::Datagram, Framing::Stream] {
        for (before, after, found) in [
            ("Server: s", "Server: \u{7f}", Ok(("OK", "\u{e4}"))),
            ("200 OK", "200 \u{7f}\u{fc}", Ok(("\u{e4}\u{fc}", "s"))),
            ("Server: s", "\u{7f}", Ok(("OK", ""))),
            ("To: <", "To: \"J\u{7f}rg\" <", Ok(("OK", "s"))),
            ("To: <", "To: J\u{7f}rg <", Ok(("OK", "s"))),
            ("Server: s", "Server:\r\n s\u{7f}", Ok(("OK", "s\u{e4}"))),
            ("Server: s", "Server: \u{7f}\n", Err("line_break")),
            ("Server: s", "Server: \u{7f}\n\r\n s", Err("line_break")),
            ("To: <sip:c@d>", "To: <sip:c@d>;tag=\u{7f}", Err("not_utf8")),
            ("To: <sip:c@d>", "To: <sip:\u{7f}@d>", Err("to")),
            ("From: <sip", "From: <\u{7f}", Err("from")),
            ("z9hG4bKa", "z9hG4bK\u{7f}", Ok(("OK", "s"))),
            ("7 OPTIONS", "7 OPTIONS\u{7f}", Err("cseq")),
            ("l: 2", "l: \u{7f}", Err("content_length")),
        ] {
            let good = format!("SIP/2.0 200 OK\r\n{HEAD}Server: s\r\nX: y\r\nl: 2\r\n\r\n\u{e4}");
            let text = good.replacen(before, after, 1).into_bytes();
            let raw: Vec<u8> = text
                .iter()
                .map(|byte| if *byte == 0x7f { 0xe4 } else { *byte })
                .collect();
            let read = Message::parse(raw.into(), framing).and_then(|message| {
                message.check_response()?;
                Ok(message)
            });
            let told = read.as_ref().map(|message| {
                assert_eq!(message.body_slice(), "\u{e4}".as_bytes(), "{after:?}");
                let server = message.header(Name::Server).unwrap_or_default();
                (message.reason(), server)
            });
            assert_eq!(told.map_err(|fault| fault.reason), found, "{after:?}");
        }
    }
    let long = format!("SIP/2.0 200 OK\r\nX: {}\r\n\r\n", "\u{7f}".repeat(MAX_HEAD - 40));
    let raw: Vec<u8> = long
        .bytes()
        .map(|byte| if byte == 0x7f { 0xe4 } else { byte })
        .collect();
    let read = Message::parse(raw.into(), Framing::Datagram);
    assert_eq!(read.map_err(|fault| fault.reason), Err("head_too_large"));
}

#[test]
fn too_many_headers_are_answered_where_the_answer_can_be_told() {
    let many = "X: y\r\n".repeat(MAX_LINES);
    let refused = |text: &str, framing| {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()), framing);
        message.map(|message| message.check_request().map_err(|refusal| refusal.phrase))
    };
    let first = format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}{many}\r\nbody");
    assert_eq!(
        refused(&first, Framing::Datagram),
        Ok(Err("Too Many Header Lines"))
    );
    for (text, framing) in [
        (&first, Framing::Stream), // where it ends could not be known
        (
            &format!("OPTIONS sip:c@d SIP/2.0\r\n{many}{HEAD}\r\n"),
            Framing::Datagram,
        ),
        (&format!("SIP/2.0 200 OK\r\n{HEAD}{many}\r\n"), Framing::Datagram),
    ] {
        assert_eq!(
            refused(text, framing),
            Err(Malformed::new("too_many_headers")),
            "{text:.30}"
        );
    }
}

#[test]
fn empty_lines_before_the_message_are_skipped() {
    let message = parse(&format!("\r\n\r\nOPTIONS sip:c@d SIP/2.0\r\n{HEAD}\r\n")).unwrap();
    assert_eq!(message.check_request(), Ok(()));
}

/// One change to a good request each, and what it is answered with.
#[test]
fn what_can_be_answered_gets_its_status() {
    let cases = [
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS  sip:c@d SIP/2.0",
            400,
            "request_uri",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS sip:c@d SIP/2.0 ",
            400,
            "request_line",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS sip:c; d SIP/2.0",
            400,
            "request_uri",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS <sip:c@d> SIP/2.0",
            400,
            "request_uri",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS sip:c@d?Route=x SIP/2.0",
            400,
            "request_uri",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS sip:c@d SIP/2.00",
            505,
            "version",
        ),
        (
            "OPTIONS sip:c@d SIP/2.0",
            "OPTIONS soap.beep://d SIP/2.0",
            416,
            "scheme",
        ),
        ("OPTIONS sip:c@d", "INVITE sip:c@d", 400, "cseq_method"),
        ("OPTIONS sip:c@d", "OPTIONS2 sip:c@d", 400, "cseq_method"),
        ("7 OPTIONS", "7 options", 400, "cseq_method"),
        ("7 OPTIONS", "2147483648 OPTIONS", 400, "cseq"),
        ("CSeq", "X", 400, "cseq"),
        ("Via", "X", 400, "via"),
        ("10.0.0.1;", "10.0.0.1;;", 400, "via"),
        ("z9hG4bKa", "z9hG4bK", 400, "branch"),
        ("z9hG4bKa", "z9hG4bKa;branch=b", 400, "branch"),
        ("branch=z9hG4bKa", "branch", 400, "branch"),
        ("tag=1", "tag", 400, "from"),
        ("tag=1", "tag=\"\"", 400, "from"),
        ("tag=1", "tag=1;TAG=2", 400, "from"),
        ("<sip:c@d>", "<sip:c@d>;tag", 400, "to"),
        ("From", "X", 400, "from"),
        ("<sip:a@b>", "<sip:a@b@c>", 400, "from"),
        ("To", "X", 400, "to"),
        ("<sip:c@d>", "\"c <sip:c@d>", 400, "to"),
        ("Call-ID", "X", 400, "call_id"),
        ("x@y", "x y", 400, "call_id"),
        ("x@y", "", 400, "call_id"),
        ("\r\nTo", "\r\nf: <sip:a@b>\r\nTo", 400, "duplicate_header"),
        ("\r\nTo", "\r\nMax-Forwards: 256\r\nTo", 400, "max_forwards"),
        ("\r\nTo", "\r\nMax-Forwards: x\r\nTo", 400, "max_forwards"),
        ("\r\nTo", "\r\nno colon\r\nTo", 400, "header_line"),
        ("\r\nTo", "\r\nbad name: x\r\nTo", 400, "header_line"),
        ("\r\nTo", "\r\n: x\r\nTo", 400, "header_line"),
        ("\r\nTo", "\nTo", 400, "line_break"),
        ("\r\nTo", "\rTo", 400, "line_break"),
        ("\r\nTo", "\r\nSubject: a\0b\r\nTo", 400, "line_break"),
    ];
    let good = format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}\r\n");
    assert_eq!(parse(&good).unwrap().check_request(), Ok(()));
    for (from, to, status, reason) in cases {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let refusal = parse(&text).unwrap().check_request().expect_err(to);
        assert_eq!(
            (refusal.status, refusal.reason),
            (status, reason),
            "{from} -> {to}"
        );
    }
}

#[test]
fn no_route_of_an_answer_holds_a_byte_that_would_end_a_line_of_ours() {
    for framing in [Framing::Datagram, Framing::Stream] {
        for value in [
            "<sip:p;lr>",
            "no route at all",
            "a\rb",
            "a\nb",
            "a\0b",
            "\"a\r\", <\n",
            "\"\0",
        ] {
            for also in ["", "X: \u{fc}\r\n"] {
                let text = format!(
                    "SIP/2.0 200 OK\r\n{HEAD}{also}Record-Route: {value}, <sip:q;lr>\r\nContent-Length: 0\r\n\r\n"
                );
                let bytes: Vec<u8> = text.chars().map(|byte| byte as u8).collect(); // Latin-1
                let read = Message::parse(bytes.into(), framing);
                let passes = read.is_ok_and(|message| message.check_response().is_ok());
                assert_eq!(passes, !value.contains(['\r', '\n', '\0']), "{value:?} {also:?}");
            }
        }
    }
}

#[test]
fn the_topmost_via_is_the_first_element_of_all() {
    for (first, branch) in [
        ("", Some("z9hG4bKa")),
        ("SIP/2.0/UDP b;branch=1, SIP/2.0/UDP c;branch=2", Some("1")),
        ("SIP/2.0/UDP b;branch=\"1,2\"", Some("\"1,2\"")),
        (",", None),
        ("SIP/2.0/UDP", None),
    ] {
        let message = parse(&format!("OPTIONS sip:c@d SIP/2.0\r\nVia: {first}\r\n{HEAD}\r\n")).unwrap();
        assert_eq!(message.via().ok().and_then(|via| via.branch()), branch, "{first}");
    }
}

#[test]
fn several_contacts_are_read_in_their_order_with_what_is_wrong_among_them() {
    let message = request("m: <sip:1>;x=\",\", \"y, z\" <sip:2,3>, bad, sip:4\r\nm:\r\nm: sip:5, sip:6\r\n");
    let contacts: Vec<_> = message
        .contacts()
        .map(|contact| contact.map_or("-", |contact| contact.uri))
        .collect();
    assert_eq!(contacts, ["sip:1", "sip:2,3", "-", "sip:4", "sip:5", "sip:6"]);
}

#[test]
fn numbers_in_headers_are_clamped_or_refused() {
    assert_eq!(request("Expires: 3600\r\n").expires(), Some(Ok(3600)));
    assert_eq!(
        request("Expires: 99999999999999999999999\r\n").expires(),
        Some(Ok(u32::MAX))
    );
    assert_eq!(request("").expires(), None);
    for text in ["-1", "1h", "", "1;x"] {
        assert!(
            request(&format!("Expires: {text}\r\n"))
                .expires()
                .unwrap()
                .is_err(),
            "{text}"
        );
    }
    assert_eq!(request("Max-Forwards: 0068\r\n").max_forwards(), Some(Ok(68)));
    assert_eq!(request("Max-Forwards: 255\r\n").max_forwards(), Some(Ok(255)));
}

#[test]
fn a_lone_star_is_no_address() {
    let message = request("Contact: *\r\n");
    assert_eq!(message.header(Name::Contact), Some("*"));
    assert!(message.contacts().all(|contact| contact.is_err()));
}

#[test]
fn debug_shows_the_start_line_only() {
    assert_eq!(
        format!("{:?}", request("Authorization: Digest secret\r\n")),
        "OPTIONS sip:c@d"
    );
    let response = parse(&format!("SIP/2.0 200 OK\r\n{HEAD}\r\n")).unwrap();
    assert_eq!(format!("{response:?}"), "200 OK to OPTIONS");
    let stray = parse("OPTIONS sip:a\nb SIP/2.0\r\n\r\n").unwrap();
    assert_eq!(format!("{stray:?}"), "OPTIONS sip:a\u{fffd}b");
}

#[test]
fn nothing_is_copied_but_folded_messages() {
    let text = Bytes::from(format!("OPTIONS sip:c@d SIP/2.0\r\n{HEAD}\r\nbody"));
    let message = Message::parse(text.clone(), Framing::Datagram).unwrap();
    assert_eq!(message.raw().as_ptr(), text.as_ptr());
    assert_eq!(message.body().as_ptr(), text[text.len() - 4..].as_ptr());
}
