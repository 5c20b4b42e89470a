//! Chat: who may open rooms, in which groups they are, and what rooms are like.

use std::collections::HashMap;
use std::ops::Range;

use cordboard_engine::chat::config::{ChatConfig, ChatUser, Keep, RoomConfig};
use cordboard_engine::config::ConferenceConfig;
use sha2::{Digest, Sha256};

use super::file::{Node, Tree};
use super::kind::{Scalar, nearest};
use super::mistake::Report;
use super::people::User;

/// What holds for all rooms.
pub(super) fn settings(tree: &Tree, users: Vec<ChatUser>) -> ChatConfig {
    let count = |key| usize::try_from(tree.sure(key).integer()).expect("the declared range fits");
    ChatConfig {
        keep: match tree.sure("keep").scalar() {
            Scalar::Duration(span) => Keep::For(*span),
            Scalar::Text(word) if word == "forever" => Keep::Forever,
            _ => Keep::WhileOccupied,
        },
        history: count("history"),
        connections: count("connections"),
        connections_per_source: count("connections_per_source"),
        users,
    }
}

/// The users, as the chat knows them. Each token must be one user's.
pub(super) fn users(root: &Tree, known: &[User], report: &mut Report<'_>) -> Vec<ChatUser> {
    let mut tokens: HashMap<[u8; 32], Range<usize>> = HashMap::new();
    let mut users = Vec::new();
    for tree in root.sure("user").trees() {
        let Some((credential, _)) = known.iter().find(|(_, span)| *span == tree.span) else {
            continue; // mistaken, and said so
        };
        let token = tree.get("token").map(|node| (hash(node), &node.span));
        if let Some((token, span)) = &token {
            if let Some(first) = tokens.get(token) {
                let what = format!("the user in line {} has the same token", report.line(first));
                report.mistake(span, tree.at("token"), what);
            }
            tokens.insert(*token, (*span).clone());
        }
        users.push(ChatUser {
            account: credential.account,
            username: credential.username.clone(),
            display_name: credential.display_name.clone(),
            token: token.map(|(token, _)| token),
            groups: texts(tree.sure("groups")),
        });
    }
    users
}

/// The room of one conference.
pub(super) fn room(tree: &Tree) -> RoomConfig {
    let password = tree.sure("password");
    RoomConfig {
        owner: tree.get("owner").map(|node| node.text().to_owned()),
        invite_codes: tree.sure("invite_codes").items().iter().map(Node::id).collect(),
        password: (!password.text().is_empty()).then(|| hash(password)),
        waiting_room: tree.sure("waiting_room").flag(),
    }
}

/// Owners must be users of the conference's account, and an invite code must lead to one room.
pub(super) fn check_rooms(
    root: &Tree,
    conferences: &[ConferenceConfig],
    users: &[User],
    report: &mut Report<'_>,
) {
    let mut codes: HashMap<u128, Range<usize>> = HashMap::new();
    for tree in root.sure("conference").trees() {
        let id = tree.get("id").map(Node::id);
        let config = conferences.iter().find(|config| Some(config.id.0) == id);
        let room = tree.sure("chat").tree();
        if let (Some(owner), Some(config)) = (room.get("owner"), config) {
            let names = users.iter().map(|(user, _)| user);
            let mut names = names.filter(|user| user.account == config.account);
            if !names.clone().any(|user| user.username == owner.text()) {
                let name = owner.text();
                let what = match nearest(name, names.by_ref().map(|user| user.username.as_str())) {
                    Some(near) => format!("no [[user]] is named \"{name}\"; the nearest is \"{near}\""),
                    None => format!("no [[user]] is named \"{name}\""),
                };
                report.mistake(&owner.span, room.at("owner"), what);
            }
        }
        for code in room.sure("invite_codes").items() {
            if let Some(first) = codes.get(&code.id()) {
                let what = format!("line {} has the same code", report.line(first));
                report.mistake(&code.span, room.at("invite_codes"), what);
            }
            codes.insert(code.id(), code.span.clone());
        }
    }
}

fn texts(list: &Node) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for item in list.items() {
        if !texts.iter().any(|known| known == item.text()) {
            texts.push(item.text().to_owned());
        }
    }
    texts
}

fn hash(secret: &Node) -> [u8; 32] {
    Sha256::digest(secret.text()).into()
}
