//! Addresses that the file asks for twice: what cannot be bound beside each other is a mistake, what may turn out so a
//! warning.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use super::file::{Node, Tree};
use super::mistake::Report;

/// The keys of `[sip]` that are addresses.
pub(super) const SIP_LISTENERS: [&str; 5] = ["udp", "tcp", "tls", "ws", "wss"];

/// What a socket takes, or several sockets of one kind.
struct Claim {
    tcp: bool,
    ip: IpAddr,
    ports: RangeInclusive<u16>,
    /// The key that asks for it, and where.
    key: String,
    span: Range<usize>,
}

impl Claim {
    fn clashes(&self, other: &Self) -> bool {
        self.tcp == other.tcp && self.shares_ports(other) && self.covers(other.ip) | other.covers(self.ip)
    }

    fn shares_ports(&self, other: &Self) -> bool {
        self.ports.start() <= other.ports.end() && other.ports.start() <= self.ports.end()
    }

    /// Whether a socket here leaves no place for one at `ip`. Each socket is of one family.
    fn covers(&self, ip: IpAddr) -> bool {
        self.ip == ip || (self.ip.is_unspecified() && self.ip.is_ipv6() == ip.is_ipv6())
    }
}

/// Notes every address that is asked for twice; `shards` is how many media threads there are.
pub(super) fn check(root: &Tree, shards: u16, report: &mut Report<'_>) {
    let mut taken: Vec<Claim> = Vec::new();
    for claim in listeners(root).into_iter().chain(webrtc(root, shards)) {
        let clash = taken.iter().find(|other| claim.clashes(other));
        if let Some(other) = clash {
            // Keys without a place in the file have their default.
            let (late, early) = match claim.span.is_empty() {
                true => (other, &claim),
                false => (&claim, other),
            };
            report.mistake(&late.span, &*late.key, what(late, early, report));
        }
        taken.push(claim);
    }
    spare(root, &taken, report);
}

fn what(late: &Claim, early: &Claim, report: &Report<'_>) -> String {
    let port = (*late.ports.start()).max(*early.ports.start());
    let kind = if late.tcp { "TCP" } else { "UDP" };
    let whose = match early.span.is_empty() {
        true => format!("`{}`, whose default it is", early.key),
        false => format!("`{}` in line {}", early.key, report.line(&early.span)),
    };
    match late.ip == early.ip && late.ports == early.ports {
        true => format!("{} is already taken by {whose}", SocketAddr::new(late.ip, port)),
        false => format!("{kind} port {port} of {} is already taken by {whose}", late.ip),
    }
}

/// The addresses of SIP and HTTP. Where the system chooses the port, nothing can clash.
fn listeners(root: &Tree) -> Vec<Claim> {
    let sip = SIP_LISTENERS.map(|key| ("sip", key));
    let mut claims = Vec::new();
    for (table, key) in sip.into_iter().chain([("http", "listen"), ("http", "tls")]) {
        let tree = root.sure(table).tree();
        for item in tree.sure(key).items() {
            let address = item.socket();
            if address.port() != 0 {
                claims.push(Claim {
                    tcp: key != "udp",
                    ip: address.ip(),
                    ports: address.port()..=address.port(),
                    key: tree.at(key),
                    span: item.span.clone(),
                });
            }
        }
    }
    claims
}

/// One port for each media thread, for UDP and for TCP, on each address that peers are told.
fn webrtc(root: &Tree, shards: u16) -> Vec<Claim> {
    let media = root.sure("media").tree();
    let named = media.sure("webrtc_port");
    let first = u16::try_from(named.integer()).expect("the declared range fits");
    let Some(last) = first.checked_add(shards.saturating_sub(1)).filter(|_| first > 0) else {
        return Vec::new();
    };
    let public = root
        .sure("node")
        .tree()
        .sure("public_ip")
        .items()
        .iter()
        .map(Node::ip);
    let mut claims: Vec<Claim> = Vec::new();
    for ip in public {
        if claims.iter().any(|claim| claim.ip == ip) {
            continue; // a mistake of `public_ip`
        }
        for tcp in [false, true] {
            claims.push(Claim {
                tcp,
                ip,
                ports: first..=last,
                key: media.at("webrtc_port"),
                span: named.span.clone(),
            });
        }
    }
    claims
}

/// Ports of `rtp_ports` that something else has are passed over by calls: they are missing, and nothing else.
fn spare(root: &Tree, taken: &[Claim], report: &mut Report<'_>) {
    let media = root.sure("media").tree();
    let named = media.sure("rtp_ports");
    let ports = named.ports();
    let inside = |claim: &&Claim| {
        !claim.tcp && claim.ports.start() <= ports.end() && ports.start() <= claim.ports.end()
    };
    let Some(claim) = taken.iter().find(inside) else {
        return;
    };
    let first = (*claim.ports.start()).max(*ports.start());
    let whose = match claim.span.is_empty() {
        true => format!("`{}`", claim.key),
        false => format!("`{}` in line {}", claim.key, report.line(&claim.span)),
    };
    let what = format!("UDP port {first} of this range belongs to {whose}; no call will get it");
    let (span, key) = match named.span.is_empty() {
        true => (&claim.span, claim.key.clone()),
        false => (&named.span, media.at("rtp_ports")),
    };
    report.warning(span, key, what);
}
