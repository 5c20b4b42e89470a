//! Tables for URIs: what is read, what is refused, what is equal.

use super::*;

#[test]
fn the_parts_of_a_sip_uri_are_read() {
    let uri =
        Uri::parse("sips:al%69ce:se=cret@[2001:db8::10]:5070;transport=tcp;lr?Subject=x%20y&a=").unwrap();
    assert_eq!(
        (uri.scheme(), uri.user().as_deref(), uri.user_raw()),
        ("sips", Some("alice"), Some("al%69ce"))
    );
    assert_eq!(
        (uri.password(), uri.host, uri.port),
        (Some("se=cret"), "[2001:db8::10]", Some(5070))
    );
    assert_eq!(uri.host_ip(), "2001:db8::10".parse().ok());
    assert_eq!(
        uri.params().collect::<Vec<_>>(),
        [("transport", Some("tcp")), ("lr", None)]
    );
    assert_eq!(
        (uri.param("TRANSPORT"), uri.param("lr"), uri.param("x")),
        (Some("tcp"), Some(""), None)
    );
    assert_eq!(
        uri.headers().collect::<Vec<_>>(),
        [("Subject", "x%20y"), ("a", "")]
    );
}

#[test]
fn odd_but_valid_uris_are_read() {
    let cases = [
        (
            "sip:user;par=u%40example.net@example.com",
            Some("user;par=u@example.net"),
            "example.com",
        ),
        (
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"),
            "example.com",
        ),
        (
            "sip:null-%00-null@example.com",
            Some("null-\0-null"),
            "example.com",
        ),
        ("sip:#31#0301@10.0.0.1", Some("#31#0301"), "10.0.0.1"),
        ("SIP:pbx_1:5060", None, "pbx_1"),
        ("tel:+4930123;phone-context=x", Some("+4930123"), ""),
        ("isbn:2983792873", None, ""),
    ];
    for (text, user, host) in cases {
        let uri = Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((uri.user().as_deref(), uri.host), (user, host), "{text}");
    }
}

#[test]
fn visual_separators_of_telephone_numbers_are_none_of_their_digits() {
    for (text, user, bare) in [
        ("tel:3-0(0).0", "3-0(0).0", Some("3000")),
        ("tel:+49-30-1.2(3);ext=4-5", "+49-30-1.2(3)", Some("+4930123")),
        ("sip:3-0(0).0@lab.test;user=phone", "3-0(0).0", Some("3000")),
        (
            "sip:+49-30;ext=1-2@lab.test;User=Phone",
            "+49-30;ext=1-2",
            Some("+4930;ext=1-2"),
        ),
        ("sip:3-0(0).0@lab.test", "3-0(0).0", None),
        ("sip:3-0@lab.test;user=ip", "3-0", None),
        ("sip:anna-maria@lab.test;user=phone", "anna-maria", None),
        ("sip:3%2d0@lab.test;user=phone", "3-0", Some("30")),
        ("sip:3000@lab.test;user=phone", "3000", None),
    ] {
        let uri = Uri::parse(text).unwrap();
        assert_eq!(uri.user().as_deref(), Some(user), "{text}");
        assert_eq!(uri.bare_number().as_deref(), bare, "{text}");
    }
}

#[test]
fn what_is_no_uri_is_refused() {
    let texts = [
        "",
        "sip",
        "sip:",
        ":a",
        "1x:a",
        "sip:@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "<sip:a@b>",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b:",
        "sip:a@b:+5",
        "sip:a@2001:db8::10",
        "sip:a@[2001:db8::10",
        "sip:a@[zz]",
        "sip:a%4@b",
        "sip:a%zz@b",
        "sip:a@b;;lr",
        "sip:a@b;",
        "sip:a@b;=x",
        "sip:a@b,c",
        "sip:ä@b",
        "sip:a@b\u{0}",
        "sip:\"a\"@b",
        "sip:;lr",
        "sip:a@b;x=<y>",
        "sip:a@b;x=\"y\"",
        "tel:1 2",
    ];
    for text in texts {
        assert_eq!(Uri::parse(text), Err(FAULT), "{text}");
    }
}

/// The pairs of RFC 3261 section 19.1.4 and some of our own.
#[test]
fn equality_is_that_of_rfc_3261() {
    let equal = [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5",
        ),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ("isbn:1", "isbn:1"),
        ("sip:b;a;a=1", "sip:b;a;a=1"),
    ];
    let different = [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:a@b", "sips:a@b"),
        ("sip:a%3Bb@c", "sip:a;b@c"),
        ("sip:b", "sip:a@b"),
        ("isbn:1", "isbn:2"),
    ];
    for (pairs, expect) in [(&equal[..], true), (&different[..], false)] {
        for (a, b) in pairs {
            let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
            assert_eq!((a.equals(&b), b.equals(&a)), (expect, expect), "{a} and {b}");
        }
    }
}

#[test]
fn a_uri_in_a_request_has_neither_headers_nor_a_method() {
    let table = [
        ("sip:bob@lab.test;lr", "sip:bob@lab.test;lr"),
        ("sip:bob@lab.test?Subject=x", "sip:bob@lab.test"),
        ("sip:bob@lab.test?", "sip:bob@lab.test"),
        (
            "sip:b?b;x:p@[::1]:5070;a=1;Method=BYE;b?Route=%3Csip:e%3E&a=b",
            "sip:b?b;x:p@[::1]:5070;a=1;b",
        ),
        ("sips:lab.test;method", "sips:lab.test"),
        (
            "sip:bob@h;method=INVITE;transport=tcp?",
            "sip:bob@h;transport=tcp",
        ),
        ("tel:+1201?x", "tel:+1201?x"),
    ];
    for (text, expect) in table {
        assert_eq!(Uri::parse(text).unwrap().in_request(), expect, "{text}");
    }
}

#[test]
fn the_default_port_follows_scheme_and_transport() {
    let cases = [
        ("sip:a@b", 5060),
        ("sips:a@b", 5061),
        ("sip:a@b;transport=TLS", 5061),
        ("sip:a@b;transport=ws", 80),
        ("sip:a@b;transport=wss", 443),
        ("sips:a@b;transport=ws", 443),
        ("sip:a@b:7;transport=tls", 7),
    ];
    for (text, port) in cases {
        assert_eq!(Uri::parse(text).unwrap().port_or_default(), port, "{text}");
    }
}

/// The parts of what follows the scheme of a SIP URI, found one after the other by searching: user, password, host,
/// port, parameters, headers.
type Parts<'a> = (
    Option<&'a str>,
    Option<&'a str>,
    &'a str,
    Option<u16>,
    &'a str,
    &'a str,
);

fn plain(rest: &str) -> Option<Parts<'_>> {
    let escaped = |text: &str, others: &str| {
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let good = match byte {
                b'%' => bytes.next()?.is_ascii_hexdigit() && bytes.next()?.is_ascii_hexdigit(),
                byte => byte.is_ascii_alphanumeric() || others.contains(char::from(byte)),
            };
            if !good {
                return None;
            }
        }
        Some(())
    };
    let (userinfo, rest) = rest
        .split_once('@')
        .map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (user, password) = match userinfo.map(|userinfo| (userinfo, userinfo.split_once(':'))) {
        Some((_, Some((user, password)))) => (Some(user), Some(password)),
        Some((user, None)) => (Some(user), None),
        None => (None, None),
    };
    if user == Some("") {
        return None;
    }
    escaped(user.unwrap_or(""), "-_.!~*'()&=+$,;?/#")?;
    escaped(password.unwrap_or(""), "-_.!~*'()&=+$,;?/#")?;
    escaped(rest, "!#$&'()*+-./:;=?[]^_`{|}~")?;
    let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
    let (hostport, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let colon = hostport.rfind(':').filter(|at| !hostport[*at..].contains(']'));
    let (host, port) = hostport.split_at(colon.unwrap_or(hostport.len()));
    let good = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    let empty = params
        .split(';')
        .skip(1)
        .any(|param| param.is_empty() || param.starts_with('='));
    (good && !empty).then_some((user, password, host, port, params, headers))
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(4096))]

    #[test]
    fn one_pass_finds_what_searching_finds(
        text in "([a-z0-9.-]{1,3}|[a-z]{1,2}:|:[0-9]{1,6}|[a-z0-9]{1,4}@|@|;[a-z]{0,2}|;[a-z]=[a-z]|\\?[a-z]=|%4[0-9g]|%|\\[::1\\]|[\\[\\]:;?@=, #\\\\<\"é^/]){1,7}"
    ) {
        let text = format!("sip:{text}");
        let uri = Uri::parse(&text);
        let parts = uri.as_ref().ok().map(|uri| (uri.user, uri.password, uri.host, uri.port, uri.params, uri.headers));
        proptest::prop_assert_eq!(parts, plain(&text[4..]));
    }
}
