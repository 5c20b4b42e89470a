//! What transactions, dialogs and the registrar ask every message for again and again, read once.

use super::{Header, Span};
use crate::sip::grammar::List;
use crate::sip::header::{CSeq, NameAddr, SidePlaces, Via, ViaPlaces, split_cseq};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// The topmost Via, the first From, To and CSeq; nothing where there is none, or one that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Core {
    via: Option<ViaPlaces>,
    from: Option<SidePlaces>,
    to: Option<SidePlaces>,
    cseq: Option<(u32, Span)>,
}

impl Core {
    /// Reads them out of the headers of a head.
    pub(super) fn read(head: &str, headers: &[Header]) -> Self {
        let (mut via, mut from, mut to, mut cseq) = (None, None, None, None);
        for header in headers {
            let value = || header.value.text(head);
            match header.name {
                Name::Via => via = via.or_else(|| Some(value()).filter(|via| !via.is_empty())),
                Name::From => from = from.or_else(|| Some(value())),
                Name::To => to = to.or_else(|| Some(value())),
                Name::CSeq => cseq = cseq.or_else(|| Some(value())),
                _ => {}
            }
        }
        let side = |value: Option<&str>| {
            // By reference: to move what was read costs more than to find its places.
            let address = NameAddr::parse(value?);
            address.as_ref().ok().map(|address| address.places(head))
        };
        let cseq = cseq.and_then(split_cseq);
        Self {
            via: via.and_then(|via| topmost(via, head)),
            from: side(from),
            to: side(to),
            cseq: cseq.map(|(number, method)| (number, Span::of(method, head))),
        }
    }

    pub(super) fn via<'a>(&self, head: &'a str) -> Option<Via<'a>> {
        self.via.map(|places| Via::at(places, head))
    }

    pub(super) fn from<'a>(&self, head: &'a str) -> Option<NameAddr<'a>> {
        self.from.map(|places| NameAddr::at(places, head))
    }

    pub(super) fn to<'a>(&self, head: &'a str) -> Option<NameAddr<'a>> {
        self.to.map(|places| NameAddr::at(places, head))
    }

    /// The number, and the method's token.
    pub(super) fn cseq<'a>(&self, head: &'a str) -> Option<(CSeq, &'a str)> {
        self.cseq.map(|(number, method)| {
            let token = method.text(head);
            let method = Method::of(token);
            (CSeq { number, method }, token)
        })
    }
}

/// The first element of a Via header, which usually has one: a comma that separates elements has no place in one.
fn topmost(value: &str, head: &str) -> Option<ViaPlaces> {
    if let Ok(whole) = &Via::parse(value) {
        return Some(whole.places(head));
    }
    let first = List::new(value).next()?;
    Some(Via::parse(first).ok()?.places(head))
}
