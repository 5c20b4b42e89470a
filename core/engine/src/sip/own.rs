//! Where others may have us send: the addresses of our own machine are not for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The addresses of our own machine, as far as they are configured: those of the SIP listeners and those that we tell
/// others. Copies share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own(Arc<[IpAddr]>);

impl FromIterator<IpAddr> for Own {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(all: I) -> Self {
        let mut all: Vec<IpAddr> = all.into_iter().map(|ip| ip.to_canonical()).collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }
}

impl Own {
    /// Whether somebody who comes from `from` may have us send to this address: not to programs on our own machine, unless
    /// he is one himself; not to what hears its own link alone (RFC 3927, RFC 4291 section 2.5.6: routers, and what clouds
    /// tell a machine of itself), unless he is on it; nor to many at once.
    pub(crate) fn may_lead(&self, from: IpAddr, to: SocketAddr) -> bool {
        let (from, ip) = (from.to_canonical(), to.ip().to_canonical());
        let many = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        let inside = self.is_inside(ip) || ip.is_unspecified();
        to.port() != 0
            && !many
            && (!inside || self.is_inside(from))
            && (!is_link_local(ip) || is_link_local(from))
    }

    fn is_inside(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.0.contains(&ip)
    }
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_neighbour_leads_to_neighbours() {
        let ours = ["0.0.0.0", "192.0.2.1", "2001:db8::1"];
        let own: Own = ours.iter().map(|ip| ip.parse().unwrap()).collect();
        let (phone, ours, local, near) = ("198.51.100.1", "192.0.2.1", "127.0.0.1", "169.254.7.7");
        let cases = [
            (phone, "198.51.100.9:5060", true),
            (phone, "198.51.100.9:0", false),
            (phone, "192.0.2.1:6379", false),
            (phone, "[::ffff:192.0.2.1]:6379", false),
            (phone, "[2001:db8::1]:6379", false),
            (phone, "127.0.0.2:6379", false),
            (phone, "[::1]:6379", false),
            (phone, "0.0.0.0:6379", false),
            (phone, "169.254.169.254:80", false),
            (phone, "[fe80::1]:80", false),
            (phone, "[ff02::1]:5060", false),
            // A trunk on this machine.
            (ours, "192.0.2.1:5070", true),
            ("::ffff:192.0.2.1", "192.0.2.1:5070", true),
            (ours, "127.0.0.1:5070", true),
            (local, "192.0.2.1:5070", true),
            (local, "169.254.169.254:80", false),
            (near, "169.254.169.254:80", true),
            (near, "127.0.0.1:5070", false),
            ("fe80::2", "[fe80::1]:5060", true),
            (local, "255.255.255.255:5060", false),
        ];
        for (from, to, may) in cases {
            let answer = own.may_lead(from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(answer, may, "{from} leads to {to}");
        }
    }
}
