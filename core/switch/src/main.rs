//! The switch: sockets, threads, clock, disk, HTTP; it wires the workers together.

#![deny(unsafe_code)]

mod app;
mod cdr;
mod chat;
mod cli;
mod clock;
mod config;
mod control;
mod http;
mod log;
mod metric;
mod net;
mod plugins;
mod reload;
mod shard;
mod store;
mod tls;

fn main() -> std::process::ExitCode {
    cli::main()
}
