//! Accounts, users, devices and conferences: who is there, and under which names and numbers.

use std::collections::HashMap;
use std::ops::Range;

use cordboard_engine::chat::config::ChatUser;
use cordboard_engine::config::{Account, ConferenceConfig, Credential, Entrance};
use cordboard_model::{AccountId, ConferenceId, UserId};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::chat;
use super::file::{Node, Tree};
use super::kind::nearest;
use super::mistake::Report;

/// What was found.
pub(crate) struct People {
    pub(crate) accounts: Vec<Account>,
    /// SHA-256 of every account's tokens.
    pub(crate) tokens: Vec<[u8; 32]>,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) conferences: Vec<ConferenceConfig>,
    /// Users as the chat knows them.
    pub(crate) chat_users: Vec<ChatUser>,
}

/// The keys of which one must be there.
const SECRETS: [&str; 3] = ["password", "ha1_md5", "ha1_sha256"];

/// HA1 by MD5 and by SHA-256.
type Hashes = (Option<[u8; 16]>, Option<[u8; 32]>);

/// The id of the account that is made where none is configured.
const SOLE_ACCOUNT: AccountId = AccountId(1);

/// Reads all four kinds of tables.
pub(crate) fn resolve(root: &Tree, report: &mut Report<'_>) -> People {
    let accounts = accounts(root, report);
    let tokens = tokens(root, report);
    let mut reader = Reader {
        accounts: &accounts,
        names: HashMap::new(),
        ids: HashMap::new(),
        report,
    };
    let users = reader.users(root);
    let devices = reader.devices(root, &users);
    let conferences = reader.conferences(root);
    let chat_users = chat::users(root, &users, report);
    chat::check_rooms(root, &conferences, &users, report);
    let credentials = users
        .into_iter()
        .map(|(credential, _)| credential)
        .chain(devices)
        .collect();
    People {
        accounts,
        tokens,
        credentials,
        conferences,
        chat_users,
    }
}

/// The tokens of all accounts, each as its SHA-256. Each must be one account's, and be there once.
fn tokens(root: &Tree, report: &mut Report<'_>) -> Vec<[u8; 32]> {
    let mut seen: HashMap<[u8; 32], Range<usize>> = HashMap::new();
    let mut tokens = Vec::new();
    for tree in root.sure("account").trees() {
        for token in tree.sure("tokens").items() {
            let hash = Sha256::digest(token.text()).into();
            if let Some(first) = seen.get(&hash) {
                let what = format!("line {} has the same token", report.line(first));
                report.mistake(&token.span, tree.at("tokens"), what);
                continue;
            }
            seen.insert(hash, token.span.clone());
            tokens.push(hash);
        }
    }
    tokens
}

fn accounts(root: &Tree, report: &mut Report<'_>) -> Vec<Account> {
    let realm = root.sure("sip").tree().get("realm");
    let mut accounts: Vec<Account> = Vec::new();
    let mut seen: HashMap<String, Range<usize>> = HashMap::new();
    for tree in root.sure("account").trees() {
        for key in ["id", "realm"] {
            let Some(node) = tree.get(key) else { continue };
            let value = if key == "id" {
                AccountId(node.id()).to_string()
            } else {
                node.text().to_lowercase()
            };
            if let Some(first) = seen.get(&value) {
                let what = format!("line {} has an account with the same {key}", report.line(first));
                report.mistake(&node.span, tree.at(key), what);
            }
            seen.entry(value).or_insert_with(|| node.span.clone());
        }
        if let (Some(id), Some(realm)) = (tree.get("id"), tree.get("realm")) {
            accounts.push(Account {
                id: AccountId(id.id()),
                realm: realm.text().to_lowercase(),
            });
        }
    }
    if accounts.is_empty() {
        let realm = realm.map_or_else(|| "localhost".into(), |realm| realm.text().to_lowercase());
        return vec![Account {
            id: SOLE_ACCOUNT,
            realm,
        }];
    }
    if let Some(realm) = realm {
        match accounts
            .iter()
            .position(|account| account.realm.eq_ignore_ascii_case(realm.text()))
        {
            Some(index) => accounts[..=index].rotate_right(1),
            None if accounts.len() < root.sure("account").trees().len() => {}
            None => {
                let what = match nearest(
                    realm.text(),
                    accounts.iter().map(|account| account.realm.as_str()),
                ) {
                    Some(near) => format!("no [[account]] has this realm; the nearest is \"{near}\""),
                    None => "no [[account]] has this realm".into(),
                };
                report.mistake(&realm.span, "sip.realm", what);
            }
        }
    }
    accounts
}

struct Reader<'a, 'r, 't> {
    accounts: &'a [Account],
    /// Every username and number of an account, with its key and place.
    names: HashMap<(AccountId, String), (String, Range<usize>)>,
    /// Every id of a user, device or conference.
    ids: HashMap<u128, (String, Range<usize>)>,
    report: &'r mut Report<'t>,
}

/// A user and the place of the table.
pub(super) type User = (Credential, Range<usize>);

impl<'a> Reader<'a, '_, '_> {
    fn users(&mut self, root: &Tree) -> Vec<User> {
        let mut users = Vec::new();
        for tree in root.sure("user").trees() {
            let id = self.id(tree);
            let account = self.account(tree);
            let Some(username) = tree.get("username") else {
                self.secret(tree, None, "");
                continue;
            };
            let (ha1_md5, ha1_sha256) = self.secret(tree, account, username.text());
            let (Some(id), Some(account)) = (id, account) else {
                continue;
            };
            self.name(account.id, username, tree.at("username"));
            let credential = Credential {
                account: account.id,
                user: UserId(id),
                username: username.text().into(),
                owner: username.text().into(),
                display_name: tree.get("display_name").unwrap_or(username).text().into(),
                ha1_md5,
                ha1_sha256,
            };
            users.push((credential, tree.span.clone()));
        }
        users
    }

    fn devices(&mut self, root: &Tree, users: &[User]) -> Vec<Credential> {
        let mut devices = Vec::new();
        for tree in root.sure("device").trees() {
            self.id(tree);
            let owner = self.owner(tree, users);
            let account =
                owner.and_then(|owner| self.accounts.iter().find(|account| account.id == owner.account));
            let username = tree.get("username");
            let (ha1_md5, ha1_sha256) = self.secret(tree, account, username.map_or("", Node::text));
            let (Some(owner), Some(username)) = (owner, username) else {
                continue;
            };
            self.name(owner.account, username, tree.at("username"));
            devices.push(Credential {
                username: username.text().into(),
                display_name: tree
                    .get("display_name")
                    .map_or(&*owner.display_name, Node::text)
                    .into(),
                ha1_md5,
                ha1_sha256,
                ..owner.clone()
            });
        }
        devices
    }

    fn owner<'u>(&mut self, tree: &Tree, users: &'u [User]) -> Option<&'u Credential> {
        let owner = tree.get("owner")?;
        let account = match tree.get("account") {
            Some(_) => Some(self.account(tree)?.id),
            None => None,
        };
        let mut fitting = users.iter().map(|(user, _)| user).filter(|user| {
            user.username == owner.text() && account.is_none_or(|account| account == user.account)
        });
        let found = fitting.next();
        if fitting.next().is_some() {
            let what = "several accounts have a user of this name: give `account`, too";
            self.report.mistake(&owner.span, tree.at("owner"), what);
        } else if found.is_none() {
            let what = match nearest(owner.text(), users.iter().map(|(user, _)| user.username.as_str())) {
                Some(near) => format!(
                    "no [[user]] is named \"{}\"; the nearest is \"{near}\"",
                    owner.text()
                ),
                None => format!("no [[user]] is named \"{}\"", owner.text()),
            };
            self.report.mistake(&owner.span, tree.at("owner"), what);
        }
        found
    }

    fn conferences(&mut self, root: &Tree) -> Vec<ConferenceConfig> {
        let mut conferences = Vec::new();
        for tree in root.sure("conference").trees() {
            let id = self.id(tree);
            let account = self.account(tree).map(|account| account.id);
            let mut member = self.entrance(tree.sure("member").tree(), account);
            let moderator = self.entrance(tree.sure("moderator").tree(), account);
            for number in tree.sure("conference_numbers").items() {
                member.numbers.push(number.text().into());
                if let Some(account) = account {
                    self.name(account, number, tree.at("conference_numbers"));
                }
            }
            let mistaken =
                tree.mistaken("conference_numbers") || tree.mistaken("member") || tree.mistaken("moderator");
            if member.numbers.is_empty() && moderator.numbers.is_empty() && !mistaken {
                let what = "no number leads to this conference: give `conference_numbers`";
                self.report.mistake(&tree.span, &*tree.path, what);
            }
            let (Some(id), Some(account), Some(name)) = (id, account, tree.get("name")) else {
                continue;
            };
            conferences.push(ConferenceConfig {
                id: ConferenceId(id),
                account,
                name: name.text().into(),
                member,
                moderator,
                max_participants: u32::try_from(tree.sure("max_participants").integer())
                    .expect("the declared range fits"),
                chat: tree.sure("messages").flag(),
                room: chat::room(tree.sure("chat").tree()),
                outside_messages: tree.sure("outside_messages").flag(),
                send_events: tree.sure("send_events").flag(),
                echo_events: tree.sure("echo_events").flag(),
                forward_audio: tree.sure("audio").text() == "forward",
                video: tree.sure("video").text() == "sfu",
            });
        }
        conferences
    }

    fn entrance(&mut self, tree: &Tree, account: Option<AccountId>) -> Entrance {
        let texts = |key: &str| {
            tree.sure(key)
                .items()
                .iter()
                .map(|item| item.text().to_owned())
                .collect()
        };
        if let Some(account) = account {
            for number in tree.sure("numbers").items() {
                self.name(account, number, tree.at("numbers"));
            }
        }
        Entrance {
            numbers: texts("numbers"),
            pins: texts("pins"),
            join_muted: tree.sure("join_muted").flag(),
            join_deaf: tree.sure("join_deaf").flag(),
        }
    }

    fn id(&mut self, tree: &Tree) -> Option<u128> {
        let node = tree.get("id")?;
        if let Some((other, span)) = self.ids.get(&node.id()) {
            let what = format!("already the id of `{other}` in line {}", self.report.line(span));
            self.report.mistake(&node.span, tree.at("id"), what);
        } else {
            self.ids.insert(node.id(), (tree.path.clone(), node.span.clone()));
        }
        Some(node.id())
    }

    fn account(&mut self, tree: &Tree) -> Option<&'a Account> {
        let Some(node) = tree.get("account") else {
            return self.accounts.first().filter(|_| !tree.mistaken("account"));
        };
        let found = self.accounts.iter().find(|account| account.id.0 == node.id());
        if found.is_none() {
            let what = format!("no [[account]] has the id {}", AccountId(node.id()));
            self.report.mistake(&node.span, tree.at("account"), what);
        }
        found
    }

    fn name(&mut self, account: AccountId, node: &Node, key: String) {
        let name = (account, node.text().to_owned());
        if let Some((other, span)) = self.names.get(&name) {
            let what = format!(
                "\"{}\" is already taken by `{other}` in line {}",
                name.1,
                self.report.line(span)
            );
            self.report.mistake(&node.span, key, what);
        } else {
            self.names.insert(name, (key, node.span.clone()));
        }
    }

    fn secret(&mut self, tree: &Tree, account: Option<&Account>, username: &str) -> Hashes {
        let (password, md5, sha256) = (tree.get("password"), tree.get("ha1_md5"), tree.get("ha1_sha256"));
        if let (Some(_), Some(hash)) = (password, md5.or(sha256)) {
            let what = "`password` is given too; give the password or the hashes, not both";
            self.report.mistake(&hash.span, &*tree.path, what);
        }
        let mistaken = SECRETS.iter().any(|key| tree.mistaken(key));
        if password.is_none() && md5.is_none() && sha256.is_none() && !mistaken {
            let what = "missing: give `password`, or `ha1_md5` or `ha1_sha256`";
            self.report.mistake(&tree.span, tree.at("password"), what);
        }
        if let (Some(password), Some(account)) = (password, account) {
            let text = format!("{username}:{}:{}", account.realm, password.text());
            return (
                Some(Md5::digest(&text).into()),
                Some(Sha256::digest(&text).into()),
            );
        }
        (
            md5.map(|node| bytes(node.text())),
            sha256.map(|node| bytes(node.text())),
        )
    }
}

/// The bytes of a hexadecimal text that was checked when it was read.
fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).expect("declared as that many hexadecimal digits");
    bytes
}
