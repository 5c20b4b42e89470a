//! The torture corpus: messages after RFC 4475 and RFC 5118 and some of our own, each with the reading or
//! the refusal that is expected of it.

mod corpus;

use bytes::Bytes;
use cordboard_engine::sdp::{Capabilities, Origin, Session, answer};
use cordboard_engine::sip::digest::Credentials;
use cordboard_engine::sip::message::{Framing, Message};
use cordboard_engine::sip::method::Method;
use cordboard_engine::sip::name::Name;
use cordboard_engine::sip::uri::Uri;
use corpus::{SAMPLES, sample};

/// What comes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A request that goes on to whoever serves its method.
    Served,
    /// A request that is answered at the door.
    Refused(u16, &'static str),
    /// A response that goes on to its transaction.
    Taken,
    /// Dropped without an answer.
    Dropped(&'static str),
}
use Fate::{Dropped, Refused, Served, Taken};

const FATES: &[(&str, Fate)] = &[
    // RFC 4475 section 3.1.1: valid, if odd.
    ("spaced-and-folded", Served),
    ("every-token-character", Served),
    ("escapes-in-uris", Served),
    ("escaped-nul-in-user", Served),
    ("percent-in-method", Served),
    ("no-space-before-bracket", Served),
    ("long-values", Served),
    ("two-in-one-datagram", Served),
    ("semicolon-in-user", Served),
    ("five-transports", Served),
    ("binary-multipart", Served),
    ("utf8-reason", Taken),
    ("no-reason", Taken),
    // Section 3.1.2: invalid.
    ("stray-separators", Refused(400, "via")),
    ("length-beyond-the-end", Refused(400, "content_length")),
    ("negative-length", Refused(400, "content_length")),
    ("numbers-too-large-in-request", Refused(400, "cseq")),
    ("numbers-too-large-in-response", Dropped("cseq")),
    ("quote-without-end", Refused(400, "to")),
    ("brackets-around-request-uri", Refused(400, "request_uri")),
    ("space-in-request-uri", Refused(400, "request_uri")),
    ("two-spaces-in-request-line", Refused(400, "request_uri")),
    ("space-after-version", Refused(400, "request_line")),
    ("header-in-request-uri", Refused(400, "request_uri")),
    // The RFC lets the Date be ignored: nothing here depends on it.
    ("date-not-in-gmt", Served),
    // The registrar refuses this Contact, see below.
    ("bare-contact-with-headers", Served),
    ("spaces-inside-brackets", Refused(400, "to")),
    ("comma-in-bare-display-name", Refused(400, "from")),
    ("version-seven", Refused(505, "version")),
    ("method-is-not-that-of-cseq", Refused(400, "cseq_method")),
    ("unknown-method-is-not-that-of-cseq", Refused(400, "cseq_method")),
    ("status-code-too-large", Dropped("status_line")),
    // Section 3.2: the transaction layer.
    ("cookie-without-branch", Refused(400, "branch")),
    // Section 3.3: the application layer.
    ("headers-missing", Refused(400, "from")),
    ("unknown-scheme", Refused(416, "scheme")),
    ("known-scheme-that-is-not-sip", Refused(416, "scheme")),
    ("other-schemes-in-headers", Served),
    ("extensions-required", Served),
    ("unknown-body-type", Served),
    ("unknown-authorization-scheme", Served),
    ("single-headers-twice", Refused(400, "duplicate_header")),
    ("two-content-lengths", Refused(400, "content_length")),
    ("via-to-broadcast", Taken),
    ("no-hops-left", Served),
    ("contact-with-header-parameter", Served),
    ("contact-with-uri-parameter", Served),
    ("contact-with-route-header", Served),
    ("accept-without-sdp", Served),
    // Section 3.4: backward compatibility.
    ("rfc2543-style", Served),
    ("no-version", Dropped("request_line")),
    // RFC 5118.
    ("v6-everywhere", Served),
    ("v6-without-brackets", Refused(400, "request_uri")),
    ("v6-port-inside-brackets", Served),
    ("v6-port-after-brackets", Served),
    ("v6-received-in-brackets", Served),
    ("v6-received-without-brackets", Served),
    ("v6-in-sdp", Served),
    ("v6-and-v4-in-headers", Served),
    ("v6-and-v4-in-sdp", Served),
    ("v4-mapped", Served),
    // What RFC 3261's grammar allowed by mistake; RFC 5954 has taken it back.
    ("v6-with-three-colons", Refused(400, "request_uri")),
    // Our own: lines that two readers would end in different places.
    ("line-feed-alone", Refused(400, "line_break")),
    ("return-alone", Refused(400, "line_break")),
    ("nul-in-value", Refused(400, "line_break")),
    (
        "length-in-compact-and-long-form",
        Refused(400, "duplicate_header"),
    ),
    ("space-before-first-header", Dropped("request_line")),
    ("not-utf8", Refused(400, "not_utf8")),
    ("phone-invite", Served),
    ("phone-message", Served),
    ("browser-register", Served),
    ("browser-invite", Served),
];

fn read(name: &str) -> Message {
    Message::parse(Bytes::from_static(sample(name)), Framing::Datagram)
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn fate(bytes: &'static [u8]) -> Fate {
    match Message::parse(Bytes::from_static(bytes), Framing::Datagram) {
        Err(fault) => Dropped(fault.reason),
        Ok(message) if message.is_request() => match message.check_request() {
            Ok(()) => Served,
            Err(refusal) => Refused(refusal.status, refusal.reason),
        },
        Ok(message) => message
            .check_response()
            .map_or_else(|fault| Dropped(fault.reason), |()| Taken),
    }
}

#[test]
fn every_message_meets_its_fate() {
    let wrong: Vec<_> = FATES
        .iter()
        .map(|(name, fate_of)| (name, *fate_of, fate(sample(name))))
        .filter(|(_, a, b)| a != b)
        .collect();
    assert!(wrong.is_empty(), "name, expected, found: {wrong:#?}");
}

#[test]
fn every_file_of_the_corpus_has_a_fate() {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder");
    let files = std::fs::read_dir(std::path::Path::new(&here).join("../../tests/corpus/sip"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files
        .filter_map(|file| file.strip_suffix(".sip").map(str::to_owned))
        .collect();
    let mut fates: Vec<_> = FATES.iter().map(|(name, _)| *name).collect();
    let mut samples: Vec<_> = SAMPLES.iter().map(|(name, _)| *name).collect();
    files.sort();
    fates.sort_unstable();
    samples.sort_unstable();
    assert_eq!(files, fates);
    assert_eq!(files, samples);
}

#[test]
fn white_space_and_folding_mean_nothing() {
    let message = read("spaced-and-folded");
    assert_eq!(
        (message.to().unwrap().uri, message.to().unwrap().tag()),
        ("sip:uma@hall.example.org", Some("77411q"))
    );
    assert_eq!(
        message.from().unwrap().display().as_deref(),
        Some(r#"V \" Ortiz"#)
    );
    assert_eq!(message.cseq().unwrap().number, 17);
    assert_eq!(message.max_forwards(), Some(Ok(42)));
    let branches: Vec<_> = message
        .values(Name::Via)
        .map(|via| cordboard_engine::sip::header::Via::parse(via).unwrap().branch())
        .collect();
    assert_eq!(
        branches,
        [Some("old-style-77"), Some("z9hG4bKmid1"), Some("z9hG4bKmid2")]
    );
    assert_eq!(message.header(Name::Subject), Some(""));
    assert_eq!(message.other("never-seen"), Some("begun   and gone on"));
    let contact = message.contacts().next().unwrap().unwrap();
    assert_eq!(
        (contact.display().as_deref(), contact.q(), contact.param("own")),
        (Some(r#"An empty """#), Some(250), Some("value"))
    );
    assert!(message.body_slice().starts_with(b"v=0\r\n"));
}

#[test]
fn every_character_of_a_token_is_kept() {
    let message = read("every-token-character");
    assert_eq!(
        (message.method(), message.method_text()),
        (Method::Other, "!Method-with_0123456789.*+`%every'~")
    );
    assert_eq!(
        message.to().unwrap().display().as_deref(),
        Some("tab:\t nul:\0 del:\x7f")
    );
    assert_eq!(
        message.from().unwrap().display().as_deref(),
        Some("word1~` word2'+_ word3*%!.-")
    );
    assert_eq!(
        message.from().unwrap().param("param''~+*_!.-%"),
        Some("\"привет мир\"")
    );
    assert_eq!(message.other("STRANGE-Name!.%*+_`'~"), Some("雪が降る"));
    let uri = Uri::parse(message.request_uri()).unwrap();
    assert_eq!(
        (uri.user_raw(), uri.password()),
        (Some("odd_user-.!~*'()&=+$,;?/"), Some("pass&=+$,word"))
    );
}

#[test]
fn escapes_are_undone_in_users_and_nowhere_else() {
    let message = read("escapes-in-uris");
    let user = |text: &str| Uri::parse(text).unwrap().user().map(std::borrow::Cow::into_owned);
    assert_eq!(
        user(message.request_uri()).as_deref(),
        Some("sip:otto@example.org")
    );
    assert_eq!(user(message.to().unwrap().uri).as_deref(), Some("otto"));
    assert_eq!(user(message.from().unwrap().uri).as_deref(), Some("I am it"));
    let contact = message.contacts().next().unwrap().unwrap();
    assert_eq!(
        Uri::parse(contact.uri).unwrap().params().collect::<Vec<_>>(),
        [("%6C%72", None), ("n%61me", Some("v%61lue%25%34%31"))]
    );
    let message = read("percent-in-method");
    assert_eq!(
        (message.method(), message.contacts().count()),
        (Method::Other, 2),
        "RE%47IST%45R is no REGISTER, C%6Fntact no Contact"
    );
    assert_eq!(
        user(read("escaped-nul-in-user").to().unwrap().uri).as_deref(),
        Some("nil-\0-nil")
    );
    assert_eq!(
        user(read("semicolon-in-user").request_uri()).as_deref(),
        Some("uma;role=u@example.com")
    );
}

#[test]
fn a_datagram_holds_one_message() {
    let message = read("two-in-one-datagram");
    assert_eq!(
        (message.method(), message.body_slice().len()),
        (Method::Register, 0)
    );
    assert!(!message.raw().windows(6).any(|bytes| bytes == b"INVITE"));
}

#[test]
fn bodies_are_kept_byte_for_byte() {
    let all: Vec<u8> = (0..=255).collect();
    assert!(
        read("binary-multipart")
            .body_slice()
            .windows(256)
            .any(|bytes| bytes == all)
    );
    assert_eq!(
        read("phone-message").body_slice(),
        r#"{"From":"Ännä","Body":"hei ☃"}"#.as_bytes()
    );
    assert_eq!(
        read("phone-message").from().unwrap().display_raw,
        Some(r#""Ännä \"Q\" ☃""#)
    );
}

#[test]
fn contacts_and_their_parameters_are_told_apart() {
    let contact = |name: &str| {
        read(name)
            .contacts()
            .next()
            .unwrap()
            .map(|c| (c.uri.to_owned(), c.params().count()))
    };
    assert_eq!(
        contact("contact-with-header-parameter"),
        Ok(("sip:+49305551@gw1.example.org".to_owned(), 1))
    );
    assert_eq!(
        contact("contact-with-uri-parameter"),
        Ok(("sip:+49305551@gw1.example.org;unknownparam".to_owned(), 0))
    );
    assert_eq!(
        contact("contact-with-route-header"),
        Ok((
            "sip:uma@example.org?Route=%3Csip:sip.example.org%3E".to_owned(),
            0
        ))
    );
    assert!(contact("bare-contact-with-headers").is_err());
    let browser = read("browser-register");
    let contact = browser.contacts().next().unwrap().unwrap();
    assert_eq!(
        contact.param("+sip.instance"),
        Some("\"<urn:uuid:0e3ff4a5-2a42-4a8d-8f6e-2f3a1f6a0c11>\"")
    );
    assert_eq!(
        (
            contact.param("reg-id"),
            contact.param("expires"),
            contact.param("+sip.ice")
        ),
        (Some("1"), Some("600"), Some(""))
    );
}

#[test]
fn lists_of_extensions_are_read() {
    let message = read("extensions-required");
    assert_eq!(
        message.values(Name::Require).collect::<Vec<_>>(),
        ["somethingNew", "somethingNewerStill"]
    );
    assert_eq!(message.values(Name::ProxyRequire).count(), 2);
    assert_eq!(read("semicolon-in-user").values(Name::Accept).count(), 4);
    assert_eq!(read("five-transports").via().unwrap().transport, "UDP");
    assert_eq!(
        read("utf8-reason").reason(),
        "= 2**3 * 5**2 но сто девяносто девять - простое"
    );
    assert_eq!(
        (read("no-reason").status(), read("no-reason").reason()),
        (100, "")
    );
}

#[test]
fn credentials_are_read_or_known_to_be_others() {
    let authorization = |name: &str| {
        read(name).header(Name::Authorization).map(|value| {
            Credentials::parse(value)
                .map(|c| c.username().into_owned())
                .map_err(|e| e.reason)
        })
    };
    assert_eq!(
        authorization("unknown-authorization-scheme"),
        Some(Err("auth_scheme"))
    );
    assert_eq!(authorization("browser-register"), Some(Ok("1001".to_owned())));
}

#[test]
fn addresses_of_ipv6_are_read() {
    let host = |name: &str| {
        let message = read(name);
        let uri = Uri::parse(message.request_uri()).unwrap();
        (uri.host_ip().map(|ip| ip.to_string()), uri.port)
    };
    assert_eq!(host("v6-everywhere"), (Some("2001:db8::10".to_owned()), None));
    assert_eq!(
        host("v6-port-inside-brackets"),
        (Some("2001:db8::10:5070".to_owned()), None)
    );
    assert_eq!(
        host("v6-port-after-brackets"),
        (Some("2001:db8::10".to_owned()), Some(5070))
    );
    for name in ["v6-received-in-brackets", "v6-received-without-brackets"] {
        assert_eq!(
            read(name).via().unwrap().received(),
            "2001:db8::9:255".parse().ok(),
            "{name}"
        );
    }
    assert_eq!(
        read("v6-and-v4-in-headers")
            .addresses(Name::RecordRoute)
            .filter(Result::is_ok)
            .count(),
        2
    );
    assert_eq!(read("v4-mapped").via().unwrap().host, "[::ffff:192.0.2.2]");
}

#[test]
fn offers_in_the_corpus_are_answered() {
    let local = "[2001:db8::1]:4000".parse().unwrap();
    let remote = |name: &str| {
        let message = read(name);
        let text = std::str::from_utf8(message.body_slice()).unwrap();
        let session = Session::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        answer(
            &session,
            &Capabilities::default(),
            local,
            &mut Origin::new(1, [1; 32]),
        )
        .map(|negotiated| negotiated.audio.unwrap().remote.to_string())
    };
    assert_eq!(remote("v6-in-sdp").as_deref(), Ok("[2001:db8::20]:6000"));
    assert_eq!(remote("v6-and-v4-in-sdp").as_deref(), Ok("192.0.2.20:6000"));
    assert_eq!(remote("v4-mapped").as_deref(), Ok("[::ffff:192.0.2.2]:6000"));
    assert_eq!(remote("rfc2543-style").as_deref(), Ok("192.0.2.77:40000"));
}
