//! Addresses that the file asks for twice: what cannot be bound beside each other is a mistake, what may turn out so a
//! warning. And sockets of a family of which peers are told no address.

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

/// A socket on every address of a family says in Via and Contact which one of them it is: without one of that family
/// in `node.public_ip` a phone hears one of the other, and its ACK goes nowhere. Browsers answer by their connection.
pub(super) fn check_families(root: &Tree, public: &[IpAddr], report: &mut Report<'_>) {
    let sip = root.sure("sip").tree();
    for key in ["udp", "tcp", "tls"] {
        for item in sip.sure(key).items() {
            let ip = item.socket().ip();
            if !ip.is_unspecified() || public.iter().any(|public| public.is_ipv6() == ip.is_ipv6()) {
                continue;
            }
            let (own, other) = if ip.is_ipv6() {
                ("IPv6", "IPv4")
            } else {
                ("IPv4", "IPv6")
            };
            let what = format!(
                "phones that come to {} would be told an {other} address, and could not answer it: give `node.public_ip` an {own} address, too, or take this one out",
                item.socket()
            );
            report.warning(&item.span, sip.at(key), what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LISTEN, config, good, mistakes};

    /// A file with one media thread and these addresses.
    fn addressed(rest: &str) -> String {
        format!("media.shards = 1\nmedia.webrtc_port = 0\n{rest}")
    }

    #[test]
    fn an_address_for_all_leaves_no_place_for_one_of_its_family() {
        let found = mistakes(&addressed(
            "sip.udp = [\"127.0.0.1:5060\"]\nsip.tcp = [\"127.0.0.1:8080\"]\nhttp.listen = [\"0.0.0.0:8080\"]\n",
        ));
        assert_eq!(
            found,
            ["5:16: http.listen: TCP port 8080 of 0.0.0.0 is already taken by `sip.tcp` in line 4"]
        );
        let found = mistakes(&addressed("sip.udp = [\"[::]:5060\", \"[::1]:5060\"]\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        config(&addressed(
            "node.public_ip = \"192.0.2.1\"\nsip.udp = [\"0.0.0.0:5060\", \"[::]:5060\"]\nsip.tcp = [\"127.0.0.1:5060\", \"127.0.0.2:5060\"]\n",
        ));
    }

    #[test]
    fn the_ports_for_browsers_are_taken_too_one_for_each_thread_and_for_tcp_as_well() {
        let clash = |port: u16, shards: u16, rest: &str| {
            mistakes(&format!(
                "sip.udp = [\"127.0.0.1:5060\"]\nmedia = {{ webrtc_port = {port}, shards = {shards} }}\n{rest}\n"
            ))
        };
        assert_eq!(
            clash(5060, 1, ""),
            ["2:25: media.webrtc_port: 127.0.0.1:5060 is already taken by `sip.udp` in line 1"]
        );
        assert_eq!(
            clash(5057, 4, ""),
            ["2:25: media.webrtc_port: UDP port 5060 of 127.0.0.1 is already taken by `sip.udp` in line 1"]
        );
        assert_eq!(
            clash(8000, 1, "http.listen = [\"0.0.0.0:8000\"]"),
            [
                "2:25: media.webrtc_port: TCP port 8000 of 127.0.0.1 is already taken by `http.listen` in line 3"
            ]
        );
        // The default of a key has no line: the other one is shown.
        let found = mistakes("sip.udp = [\"127.0.0.1:10000\"]\n");
        assert_eq!(
            found,
            [
                "1:12: sip.udp: UDP port 10000 of 127.0.0.1 is already taken by `media.webrtc_port`, whose default it is"
            ]
        );
        config("sip.udp = [\"127.0.0.1:5060\"]\nmedia = { webrtc_port = 5061, shards = 4 }\n");
        config("sip.udp = [\"127.0.0.2:5060\"]\nmedia = { webrtc_port = 5060, shards = 4 }\n");
    }

    #[test]
    fn ports_for_calls_that_belong_to_something_else_are_a_warning() {
        let warned = |text: &str| -> Vec<String> {
            let loaded = good(text);
            loaded.warnings.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            warned("sip.udp = [\"127.0.0.1:5060\"]\nmedia.rtp_ports = \"5000-5999\"\n"),
            [
                "x.toml:2:19: media.rtp_ports: UDP port 5060 of this range belongs to `sip.udp` in line 1; no call will get it"
            ]
        );
        let found = warned(&format!("{LISTEN}media.rtp_ports = \"10000-19999\"\n"));
        assert!(
            found[0].contains("UDP port 10000 of this range belongs to `media.webrtc_port`"),
            "{found:?}"
        );
        let found = warned(&format!("{LISTEN}media.webrtc_port = 29000\n"));
        assert!(
            found[0].starts_with("x.toml:2:21: media.webrtc_port:"),
            "{found:?}"
        );
    }

    #[test]
    fn a_socket_for_a_family_that_peers_are_told_no_address_of_is_a_warning() {
        let warned = |sockets: &str, public: &str| -> Vec<String> {
            let loaded = good(&format!("node.public_ip = [{public}]\nsip.{sockets}\n"));
            loaded.warnings.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            warned("udp = [\"0.0.0.0:5060\", \"[::]:5060\"]", "\"192.0.2.1\""),
            [
                "x.toml:2:28: sip.udp: phones that come to [::]:5060 would be told an IPv4 address, and could not answer it: give `node.public_ip` an IPv6 address, too, or take this one out"
            ]
        );
        assert_eq!(warned("tcp = [\"0.0.0.0:5060\"]", "\"2001:db8::1\"").len(), 1);
        for (sockets, public) in [
            (
                "udp = [\"0.0.0.0:5060\", \"[::]:5060\"]",
                "\"192.0.2.1\", \"2001:db8::1\"",
            ),
            (
                "tcp = [\"192.0.2.1:5060\", \"[2001:db8::1]:5060\"]",
                "\"192.0.2.1\"",
            ),
            ("ws = [\"[::]:5062\"]", "\"192.0.2.1\""),
        ] {
            assert_eq!(warned(sockets, public), [""; 0], "{sockets}");
        }
    }

    #[test]
    fn an_address_that_peers_are_told_twice_is_a_mistake() {
        let found = mistakes(&format!(
            "{LISTEN}node.public_ip = [\"127.0.0.1\", \"127.0.0.1\"]\n"
        ));
        assert_eq!(found, ["2:32: node.public_ip: 127.0.0.1 is there twice"]);
    }
}
