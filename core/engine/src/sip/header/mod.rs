//! Header values with a grammar of their own, read on demand and without copies.

mod cseq;
mod name_addr;
mod params;
mod via;

pub use cseq::CSeq;
pub(crate) use cseq::split as split_cseq;
pub use name_addr::NameAddr;
pub(crate) use name_addr::SidePlaces;
pub use params::Params;
pub use via::Via;
pub(crate) use via::ViaPlaces;
