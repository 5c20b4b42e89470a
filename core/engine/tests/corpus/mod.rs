//! The messages of tests/corpus/sip, byte for byte.

/// Name and bytes of each.
pub(crate) type Sample = (&'static str, &'static [u8]);

macro_rules! corpus {
    ($($name:literal)*) => {
        /// Every message of the corpus.
        pub(crate) const SAMPLES: &[Sample] = &[
            $(($name, include_bytes!(concat!("../../../../tests/corpus/sip/", $name, ".sip")))),*
        ];
    };
}

corpus! {
    "accept-without-sdp"
    "bare-contact-with-headers"
    "binary-multipart"
    "brackets-around-request-uri"
    "browser-invite"
    "browser-register"
    "comma-in-bare-display-name"
    "contact-with-header-parameter"
    "contact-with-route-header"
    "contact-with-uri-parameter"
    "cookie-without-branch"
    "date-not-in-gmt"
    "escaped-nul-in-user"
    "escapes-in-uris"
    "every-token-character"
    "extensions-required"
    "five-transports"
    "header-in-request-uri"
    "headers-missing"
    "known-scheme-that-is-not-sip"
    "length-beyond-the-end"
    "length-in-compact-and-long-form"
    "line-feed-alone"
    "long-values"
    "method-is-not-that-of-cseq"
    "negative-length"
    "no-hops-left"
    "no-reason"
    "no-space-before-bracket"
    "no-version"
    "not-utf8"
    "nul-in-value"
    "numbers-too-large-in-request"
    "numbers-too-large-in-response"
    "other-schemes-in-headers"
    "percent-in-method"
    "phone-invite"
    "phone-message"
    "quote-without-end"
    "return-alone"
    "rfc2543-style"
    "semicolon-in-user"
    "single-headers-twice"
    "space-after-version"
    "space-before-first-header"
    "space-in-request-uri"
    "spaced-and-folded"
    "spaces-inside-brackets"
    "status-code-too-large"
    "stray-separators"
    "two-content-lengths"
    "two-in-one-datagram"
    "two-spaces-in-request-line"
    "unknown-authorization-scheme"
    "unknown-body-type"
    "unknown-method-is-not-that-of-cseq"
    "unknown-scheme"
    "utf8-reason"
    "v4-mapped"
    "v6-and-v4-in-headers"
    "v6-and-v4-in-sdp"
    "v6-everywhere"
    "v6-in-sdp"
    "v6-port-after-brackets"
    "v6-port-inside-brackets"
    "v6-received-in-brackets"
    "v6-received-without-brackets"
    "v6-with-three-colons"
    "v6-without-brackets"
    "version-seven"
    "via-to-broadcast"
}

/// The bytes of one.
///
/// # Panics
/// There is none of this name.
#[allow(dead_code)]
pub(crate) fn sample(name: &str) -> &'static [u8] {
    SAMPLES
        .iter()
        .find(|(n, _)| *n == name)
        .unwrap_or_else(|| panic!("no sample {name}"))
        .1
}
