//! The same load on the switch, on a bare loop and on Kamailio, in turns.

use std::net::SocketAddr;

use crate::bare::Bare;
use crate::kamailio::Kamailio;
use crate::{ROUNDS, best};

/// What one round on one server gave.
pub struct Figures {
    /// CPU seconds per 100,000 requests that were served.
    pub cost: f64,
    /// Requests per second that were served.
    pub rate: f64,
    /// Requests that were answered otherwise, or not at all.
    pub failed: usize,
    /// Requests that were sent again.
    pub repeated: usize,
}

/// A server under load: its name, where it listens, its process.
pub type Server = (&'static str, SocketAddr, u32);

/// The bare loop, the switch, and Kamailio where it is installed.
pub fn servers(bare: &Bare, switch: (SocketAddr, u32), kamailio: Option<&Kamailio>) -> Vec<Server> {
    let bare_at = SocketAddr::from(([127, 0, 0, 1], bare.ports[0]));
    let mut servers = vec![
        ("bare loop", bare_at, bare.process.pid()),
        ("cordboard", switch.0, switch.1),
    ];
    servers.extend(kamailio.map(|other| ("kamailio", other.address, other.process.pid())));
    servers
}

/// Loads each of [`servers`] in turns and prints what each takes; `load` is told which one by its place.
pub fn compare(servers: &[Server], served: &str, mut load: impl FnMut(usize) -> Figures) {
    let mut results: Vec<Vec<Figures>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (place, results) in results.iter_mut().enumerate() {
            results.push(load(place));
        }
    }
    let figures: Vec<Figures> = results
        .into_iter()
        .map(|rounds| best(rounds, |f| f.cost))
        .collect();
    for ((name, ..), figures) in servers.iter().zip(&figures) {
        println!(
            "  {name}  {:.3} CPU s per 100,000  {:6.0} {served}/s  failed {}  repeated {}",
            figures.cost, figures.rate, figures.failed, figures.repeated
        );
    }
    println!(
        "  cordboard takes {:.1} times the bare loop",
        figures[1].cost / figures[0].cost
    );
    match figures.get(2) {
        Some(kamailio) => println!(
            "  cordboard takes {:.2} of what kamailio takes",
            figures[1].cost / kamailio.cost
        ),
        None => println!("  kamailio is not installed: not compared"),
    }
}
