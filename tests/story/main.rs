//! Stories of alice, bob and carol: the engine in virtual time, with phones that are a few lines of text.

mod abuse;
mod audio;
mod bridge;
mod call;
mod conference;
mod drain;
mod early;
mod event;
mod fork;
mod info;
mod ipv6;
mod law;
mod lossy;
mod message;
mod net;
mod phone;
mod proxy;
mod record;
mod registration;
mod reload;
mod reoffer;
mod robot;
mod route;
mod session;
mod subscription;
mod world;
