//! The header names that the switch knows, with their compact forms.

use std::fmt;

use wide::u8x16;

/// Places in the table of names.
const PLACES: usize = 256;

macro_rules! names {
    ($($variant:ident = $text:literal $(| $compact:literal)?;)*) => {
        /// The name of a header. Those outside the list are [`Name::Other`]; their text stays in the message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum Name {
            $($variant,)*
            /// Any other name.
            Other,
        }

        impl Name {
            /// Every name of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The long form as it is written; empty for [`Name::Other`].
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }

            /// The name behind a compact form, which is one letter.
            const fn of_letter(letter: u8) -> Self {
                match letter.to_ascii_lowercase() {
                    $($($compact => Self::$variant,)?)*
                    _ => Self::Other,
                }
            }
        }
    };
}

names! {
    Accept = "Accept";
    AcceptContact = "Accept-Contact" | b'a';
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AlertInfo = "Alert-Info";
    Allow = "Allow";
    AllowEvents = "Allow-Events" | b'u';
    AuthenticationInfo = "Authentication-Info";
    Authorization = "Authorization";
    CallId = "Call-ID" | b'i';
    CallInfo = "Call-Info";
    Contact = "Contact" | b'm';
    ContentDisposition = "Content-Disposition";
    ContentEncoding = "Content-Encoding" | b'e';
    ContentLanguage = "Content-Language";
    ContentLength = "Content-Length" | b'l';
    ContentTransferEncoding = "Content-Transfer-Encoding";
    ContentType = "Content-Type" | b'c';
    CSeq = "CSeq";
    Date = "Date";
    Diversion = "Diversion";
    ErrorInfo = "Error-Info";
    Event = "Event" | b'o';
    Expires = "Expires";
    FlowTimer = "Flow-Timer";
    From = "From" | b'f';
    HistoryInfo = "History-Info";
    Identity = "Identity" | b'y';
    InReplyTo = "In-Reply-To";
    MaxForwards = "Max-Forwards";
    MimeVersion = "MIME-Version";
    MinExpires = "Min-Expires";
    MinSe = "Min-SE";
    Organization = "Organization";
    PAssertedIdentity = "P-Asserted-Identity";
    Path = "Path";
    PPreferredIdentity = "P-Preferred-Identity";
    Priority = "Priority";
    Privacy = "Privacy";
    ProxyAuthenticate = "Proxy-Authenticate";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyRequire = "Proxy-Require";
    RAck = "RAck";
    Reason = "Reason";
    RecordRoute = "Record-Route";
    ReferredBy = "Referred-By" | b'b';
    ReferSub = "Refer-Sub";
    ReferTo = "Refer-To" | b'r';
    RejectContact = "Reject-Contact" | b'j';
    RemotePartyId = "Remote-Party-ID";
    Replaces = "Replaces";
    ReplyTo = "Reply-To";
    RequestDisposition = "Request-Disposition" | b'd';
    Require = "Require";
    RetryAfter = "Retry-After";
    Route = "Route";
    RSeq = "RSeq";
    Server = "Server";
    ServiceRoute = "Service-Route";
    SessionExpires = "Session-Expires" | b'x';
    SipETag = "SIP-ETag";
    SipIfMatch = "SIP-If-Match";
    Subject = "Subject" | b's';
    SubscriptionState = "Subscription-State";
    Supported = "Supported" | b'k';
    Timestamp = "Timestamp";
    To = "To" | b't';
    Unsupported = "Unsupported";
    UserAgent = "User-Agent";
    Via = "Via" | b'v';
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
}

impl Name {
    /// The name of a header as it stands in a message: long or compact, in any case.
    pub fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// The name that a line begins with, and its length, if a colon follows at once and the name is spelled as in
    /// the list: nearly every one is, and is found by comparing whole words.
    #[inline]
    pub(crate) fn at_start(line: &[u8; 16]) -> Option<(Self, usize)> {
        let word = u8x16::new(*line);
        let colons = word.simd_eq(u8x16::splat(b':')).to_bitmask();
        let len = colons.trailing_zeros() as usize;
        if !(2..16).contains(&len) {
            return None;
        }
        let place = place(&line[..len]);
        let same = word.simd_eq(u8x16::new(SPELLINGS[place])).to_bitmask();
        // Behind the colon anything may differ.
        ((!same).trailing_zeros() as usize > len).then_some((TABLE[place], len))
    }

    pub(crate) fn of_bytes(text: &[u8]) -> Self {
        match text {
            [] => return Self::Other,
            [letter] => return Self::of_letter(*letter),
            _ => {}
        }
        let name = TABLE[place(text)];
        let known = name.text().as_bytes();
        if known == text || known.eq_ignore_ascii_case(text) {
            name
        } else {
            Self::Other
        }
    }
}

/// Each name of at most 15 letters at its own place, with a colon behind it; elsewhere what no line begins with.
static SPELLINGS: [[u8; 16]; PLACES] = {
    let mut spellings = [[0; 16]; PLACES];
    let mut at = 0;
    while at < Name::ALL.len() {
        let name = Name::ALL[at].text().as_bytes();
        if name.len() < 16 {
            let spelling = &mut spellings[place(name)];
            let mut letter = 0;
            while letter < name.len() {
                spelling[letter] = name[letter];
                letter += 1;
            }
            spelling[letter] = b':';
        }
        at += 1;
    }
    spellings
};

/// Every name at its own place.
static TABLE: [Name; PLACES] = {
    let mut table = [Name::Other; PLACES];
    let mut at = 0;
    while at < Name::ALL.len() {
        let place = place(Name::ALL[at].text().as_bytes());
        assert!(
            matches!(table[place], Name::Other),
            "two names have one place: choose other factors"
        );
        table[place] = Name::ALL[at];
        at += 1;
    }
    table
};

/// Where a name of at least one byte belongs: by its length, its ends and its middle, whatever their case. The
/// factors are such that no two names of the list meet.
const fn place(name: &[u8]) -> usize {
    let (first, middle, last) = (
        name[0] | 0x20,
        name[name.len() / 2] | 0x20,
        name[name.len() - 1] | 0x20,
    );
    (name.len() + first as usize * 3 + middle as usize * 61 + last as usize * 55) % PLACES
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
    fn usual_spellings_are_found_at_the_start_of_a_line_and_nothing_else_is() {
        for name in Name::ALL {
            let text = name.text();
            let start = |line: String| Name::at_start(line.as_bytes().first_chunk().unwrap());
            let found = (text.len() < 16).then_some((*name, text.len()));
            assert_eq!(start(format!("{text}: a:                ")), found);
            assert_eq!(start(format!("{text}::::::::::::::::")), found);
            for odd in [
                format!("{text} :"),
                format!("\t{text}:"),
                text.to_lowercase() + ":",
                text.replace('-', "\r") + ":",
            ] {
                let same = odd.strip_suffix(':') == Some(text);
                assert_eq!(
                    start(format!("{odd}                ")),
                    found.filter(|_| same),
                    "{odd:?}"
                );
            }
        }
        for line in [
            [0; 16],
            [b':'; 16],
            [b' '; 16],
            [0xff; 16],
            *b"v: SIP/2.0/UDP a",
            *b"aa\0\0:\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(Name::at_start(&line), None, "{line:?}");
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
