//! Datagrams of one socket in batches, each with the kernel's stamp of its arrival.

use std::io::IoSliceMut;
use std::os::fd::RawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};
use nix::sys::time::TimeSpec;

/// Datagrams of one call.
const BATCH: usize = 32;
/// More than any datagram of media has.
const LARGEST: usize = 2048;

/// Memory for a batch, used again and again.
#[derive(Debug)]
pub struct Reader(Vec<u8>);

impl Default for Reader {
    fn default() -> Self {
        Self(vec![0; BATCH * LARGEST])
    }
}

impl Reader {
    /// Hands everything that waits in a socket to `each`, with the nanoseconds since 1970 at which the kernel had
    /// it (0 where the socket does not want stamps).
    pub fn empty(&mut self, socket: RawFd, mut each: impl FnMut(&[u8], u64)) {
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
                .0
                .chunks_exact_mut(LARGEST)
                .map(|room| [IoSliceMut::new(room)])
                .collect();
            // Made anew each time: a call leaves in it how much of its space it used.
            let space = nix::cmsg_space!(TimeSpec);
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, Some(space));
            let flags = MsgFlags::MSG_DONTWAIT;
            let messages = match recvmmsg(socket, &mut headers, slices.iter_mut(), flags, None) {
                Ok(messages) => messages,
                Err(nix::errno::Errno::ECONNREFUSED) => continue, // an answer to an earlier datagram
                Err(_) => return,
            };
            let mut count = 0;
            for message in messages {
                count += 1;
                let stamp = message.cmsgs().into_iter().flatten().find_map(|note| match note {
                    ControlMessageOwned::ScmTimestampns(at) => Some(at),
                    _ => None,
                });
                let nanos = stamp.map_or(0, |at| at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64);
                if let Some(bytes) = message.iovs().next() {
                    each(bytes, nanos);
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}
