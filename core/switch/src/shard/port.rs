//! RTP ports: which are free, and the pair of sockets that a leg gets.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::net::udp::{MediaSocket, unspecified};

/// Pairs that are tried for one leg when other programs hold ports of our range.
const ATTEMPTS: usize = 100;

/// A random number from the system.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The free pairs of a range: an even port for RTP, and the next for RTCP.
#[derive(Debug)]
pub(super) struct PortPool {
    /// First ports of free pairs, in the order of their next use: the one that has been free for longest is
    /// first, so that stray packets of a call that is over do not meet the next one.
    free: VecDeque<u16>,
}

impl PortPool {
    /// Every whole pair of the range, shuffled.
    pub(super) fn new(ports: RangeInclusive<u16>) -> Self {
        let mut free: Vec<u16> = ports
            .clone()
            .filter(|port| port % 2 == 0 && port.checked_add(1).is_some_and(|p| ports.contains(&p)))
            .collect();
        for at in (1..free.len()).rev() {
            free.swap(at, (random() % (at as u64 + 1)) as usize);
        }
        Self { free: free.into() }
    }

    /// Binds a pair on `local`, or on every address of its family if this machine does not have it.
    pub(super) fn bind(&mut self, local: IpAddr) -> Result<Pair, String> {
        let mut last = None;
        for _ in 0..ATTEMPTS.min(self.free.len()) {
            let Some(port) = self.free.pop_front() else { break };
            match Pair::bind(local, port) {
                Ok(pair) => return Ok(pair),
                Err(error) => {
                    self.free.push_back(port);
                    last = Some(error);
                }
            }
        }
        Err(match last {
            None => "every RTP port of this shard is in use; widen [media] rtp_ports".to_owned(),
            Some(error) => format!("no RTP port could be bound on {local}: {error}; see [media] rtp_ports"),
        })
    }

    /// Gives a pair back.
    pub(super) fn release(&mut self, port: u16) {
        self.free.push_back(port);
    }
}

/// A leg's sockets.
#[derive(Debug)]
pub(super) struct Pair {
    /// The RTP port.
    pub(super) port: u16,
    pub(super) media: MediaSocket,
    pub(super) control: MediaSocket,
}

impl Pair {
    fn bind(local: IpAddr, port: u16) -> io::Result<Self> {
        let both = |address| -> io::Result<Self> {
            let media = MediaSocket::bind(SocketAddr::new(address, port))?;
            let control = MediaSocket::bind(SocketAddr::new(address, port + 1))?;
            Ok(Self { port, media, control })
        };
        match both(local) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => both(unspecified(local)),
            outcome => outcome,
        }
    }
}

/// The part of a range that belongs to the shard `at` of `shards`; parts begin at even ports.
pub(crate) fn part(ports: &RangeInclusive<u16>, at: u16, shards: u16) -> RangeInclusive<u16> {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    let cut = |at: u32| first + pairs * at / u32::from(shards) * 2;
    let (from, to) = (cut(u32::from(at)), cut(u32::from(at) + 1));
    if from == to {
        return RangeInclusive::new(1, 0);
    }
    from as u16..=(to - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn parts_cover_the_range_without_overlap() {
        for shards in 1..=7 {
            let mut next = 20_000;
            for at in 0..shards {
                let part = part(&(20_000..=20_051), at, shards);
                assert_eq!((*part.start(), part.start() % 2), (next, 0));
                next = part.end() + 1;
            }
            assert_eq!(next, 20_052);
        }
        assert_eq!(part(&(65_533..=65_535), 0, 1), 65_534..=65_535);
        assert!(part(&(20_000..=20_001), 0, 2).is_empty());
    }

    #[test]
    fn a_port_rests_until_all_others_were_used() {
        let mut pool = PortPool::new(30_001..=30_008);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let pair = pool.bind(LOOPBACK).unwrap();
            seen.push(pair.port);
            pool.release(pair.port);
        }
        seen.sort_unstable();
        assert_eq!(seen, [30_002, 30_004, 30_006]);
    }

    #[test]
    fn ports_held_by_others_are_passed_over_and_a_full_range_says_what_to_do() {
        let other = MediaSocket::bind(SocketAddr::new(LOOPBACK, 30_013)).unwrap();
        let mut pool = PortPool::new(30_010..=30_013);
        let first = pool.bind(LOOPBACK).unwrap();
        assert_eq!(first.port, 30_010);
        let refused = pool.bind(LOOPBACK).unwrap_err();
        assert!(
            refused.contains("no RTP port could be bound on 127.0.0.1"),
            "{refused}"
        );
        drop(other);
        assert_eq!(pool.bind(LOOPBACK).unwrap().port, 30_012);
        assert!(pool.bind(LOOPBACK).unwrap_err().contains("rtp_ports"));
    }

    #[test]
    fn an_address_that_this_machine_lacks_becomes_every_address() {
        let pair = PortPool::new(30_020..=30_021)
            .bind("192.0.2.77".parse().unwrap())
            .unwrap();
        assert_eq!(pair.port, 30_020);
    }
}
