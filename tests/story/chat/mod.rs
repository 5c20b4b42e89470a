//! Meeting clients chat: each rule of the contract is a story named after it.

mod ban;
mod banned;
mod door;
mod edit;
mod history;
mod join;
mod keep;
mod leg;
mod message;
mod moderation;
mod outside;
mod plugin;
mod policy;
mod roster;
mod waiting;
