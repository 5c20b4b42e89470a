//! URIs and the headers around them: no panic, and every URI equals itself.
#![no_main]

use cordboard_engine::sip::header::{NameAddr, Via};
use cordboard_engine::sip::uri::Uri;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(uri) = Uri::parse(text) {
        assert!(uri.equals(&uri), "{uri}");
        let _ = (
            uri.user(),
            uri.host_ip(),
            uri.port_or_default(),
            uri.headers().count(),
        );
        assert_eq!(Uri::parse(&uri.to_string()), Ok(uri));
    }
    if let Ok(address) = NameAddr::parse(text) {
        let _ = (
            address.display(),
            address.q(),
            address.tag(),
            address.params().count(),
        );
    }
    if let Ok(via) = Via::parse(text) {
        let _ = (via.received(), via.rport(), via.params().count());
    }
});
