//! Session descriptions: no panic, and every answer has as many streams as its offer.
#![no_main]

#[path = "../../../core/engine/tests/harm/mod.rs"]
#[allow(dead_code)]
mod harm;

use cordboard_engine::sdp::Session;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for head in [
        "",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0 ",
    ] {
        if let Ok(session) = Session::parse(&format!("{head}{text}")) {
            harm::negotiate(&session);
        }
    }
});
