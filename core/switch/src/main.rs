//! placeholder.
mod clock;
mod net;
mod shard;

fn main() {}
