//! The header names that the switch knows, with their compact forms.

use std::fmt;

/// Longest name that can be in the list, in bytes; longer ones are [`Name::Other`].
const LONGEST: usize = 24;

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $lower:literal $(| $compact:literal)?;)*) => {
        /// The name of a header. Those outside the list are [`Name::Other`]; their text stays in the message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum Name {
            $($(#[$doc])* $variant,)*
            /// Any other name.
            Other,
        }

        impl Name {
            /// Every name of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of a header as it stands in a message: long or compact, in any case.
            pub fn of(text: &str) -> Self {
                let mut lower = [0u8; LONGEST];
                let Some(lower) = lower.get_mut(..text.len()) else { return Self::Other };
                for (to, from) in lower.iter_mut().zip(text.bytes()) {
                    *to = from.to_ascii_lowercase();
                }
                match &*lower {
                    $($lower $(| $compact)? => Self::$variant,)*
                    _ => Self::Other,
                }
            }

            /// The long form as it is written; empty for [`Name::Other`].
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

names! {
    Accept = "Accept", b"accept";
    AcceptContact = "Accept-Contact", b"accept-contact" | b"a";
    AcceptEncoding = "Accept-Encoding", b"accept-encoding";
    AcceptLanguage = "Accept-Language", b"accept-language";
    AlertInfo = "Alert-Info", b"alert-info";
    Allow = "Allow", b"allow";
    AllowEvents = "Allow-Events", b"allow-events" | b"u";
    AuthenticationInfo = "Authentication-Info", b"authentication-info";
    Authorization = "Authorization", b"authorization";
    CallId = "Call-ID", b"call-id" | b"i";
    CallInfo = "Call-Info", b"call-info";
    Contact = "Contact", b"contact" | b"m";
    ContentDisposition = "Content-Disposition", b"content-disposition";
    ContentEncoding = "Content-Encoding", b"content-encoding" | b"e";
    ContentLanguage = "Content-Language", b"content-language";
    ContentLength = "Content-Length", b"content-length" | b"l";
    ContentType = "Content-Type", b"content-type" | b"c";
    CSeq = "CSeq", b"cseq";
    Date = "Date", b"date";
    Diversion = "Diversion", b"diversion";
    ErrorInfo = "Error-Info", b"error-info";
    Event = "Event", b"event" | b"o";
    Expires = "Expires", b"expires";
    FlowTimer = "Flow-Timer", b"flow-timer";
    From = "From", b"from" | b"f";
    HistoryInfo = "History-Info", b"history-info";
    Identity = "Identity", b"identity" | b"y";
    InReplyTo = "In-Reply-To", b"in-reply-to";
    MaxForwards = "Max-Forwards", b"max-forwards";
    MimeVersion = "MIME-Version", b"mime-version";
    MinExpires = "Min-Expires", b"min-expires";
    MinSe = "Min-SE", b"min-se";
    Organization = "Organization", b"organization";
    PAssertedIdentity = "P-Asserted-Identity", b"p-asserted-identity";
    Path = "Path", b"path";
    PPreferredIdentity = "P-Preferred-Identity", b"p-preferred-identity";
    Priority = "Priority", b"priority";
    Privacy = "Privacy", b"privacy";
    ProxyAuthenticate = "Proxy-Authenticate", b"proxy-authenticate";
    ProxyAuthorization = "Proxy-Authorization", b"proxy-authorization";
    ProxyRequire = "Proxy-Require", b"proxy-require";
    RAck = "RAck", b"rack";
    Reason = "Reason", b"reason";
    RecordRoute = "Record-Route", b"record-route";
    ReferredBy = "Referred-By", b"referred-by" | b"b";
    ReferSub = "Refer-Sub", b"refer-sub";
    ReferTo = "Refer-To", b"refer-to" | b"r";
    RejectContact = "Reject-Contact", b"reject-contact" | b"j";
    RemotePartyId = "Remote-Party-ID", b"remote-party-id";
    Replaces = "Replaces", b"replaces";
    ReplyTo = "Reply-To", b"reply-to";
    RequestDisposition = "Request-Disposition", b"request-disposition" | b"d";
    Require = "Require", b"require";
    RetryAfter = "Retry-After", b"retry-after";
    Route = "Route", b"route";
    RSeq = "RSeq", b"rseq";
    Server = "Server", b"server";
    ServiceRoute = "Service-Route", b"service-route";
    SessionExpires = "Session-Expires", b"session-expires" | b"x";
    SipETag = "SIP-ETag", b"sip-etag";
    SipIfMatch = "SIP-If-Match", b"sip-if-match";
    Subject = "Subject", b"subject" | b"s";
    SubscriptionState = "Subscription-State", b"subscription-state";
    Supported = "Supported", b"supported" | b"k";
    Timestamp = "Timestamp", b"timestamp";
    To = "To", b"to" | b"t";
    Unsupported = "Unsupported", b"unsupported";
    UserAgent = "User-Agent", b"user-agent";
    Via = "Via", b"via" | b"v";
    Warning = "Warning", b"warning";
    WwwAuthenticate = "WWW-Authenticate", b"www-authenticate";
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_own_text_in_any_case() {
        for name in Name::ALL {
            for text in [
                name.text().to_owned(),
                name.text().to_lowercase(),
                name.text().to_uppercase(),
            ] {
                assert_eq!(Name::of(&text), *name, "{text}");
            }
        }
    }

    #[test]
    fn compact_forms_are_those_of_the_registry() {
        let forms = [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("l", Name::ContentLength),
            ("c", Name::ContentType),
            ("e", Name::ContentEncoding),
            ("k", Name::Supported),
            ("s", Name::Subject),
            ("o", Name::Event),
            ("u", Name::AllowEvents),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("x", Name::SessionExpires),
            ("y", Name::Identity),
            ("a", Name::AcceptContact),
            ("j", Name::RejectContact),
            ("d", Name::RequestDisposition),
        ];
        for (text, name) in forms {
            assert_eq!(Name::of(text), name, "{text}");
        }
    }

    #[test]
    fn anything_else_is_other() {
        for text in [
            "",
            "X-Via",
            "Vi",
            "Via ",
            "z",
            "Content-Length-And-A-Very-Long-Tail",
            "Fröm",
        ] {
            assert_eq!(Name::of(text), Name::Other, "{text}");
        }
    }
}
