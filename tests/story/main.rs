//! Stories of alice, bob and carol: the engine in virtual time, with phones that are a few lines of text.

mod abuse;
mod call;
mod conference;
mod drain;
mod law;
mod message;
mod phone;
mod record;
mod registration;
mod route;
mod subscription;
mod world;
