//! Who is in a conference, as a document of RFC 4575: whole, or what has changed since the last one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use cordboard_model::ConferenceId;
use cordboard_model::hook::conference::Role;
use siphasher::sip::SipHasher13;

use crate::config::ConferenceConfig;
use crate::engine::Engine;

/// The type of the document.
pub(crate) const TYPE: &str = "application/conference-info+xml";
/// What the users of one document may take, in bytes: it must fit into a datagram. The rest follows in
/// the next document.
const ROOM: usize = 30_000;

/// One way in which a user takes part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Endpoint {
    entity: String,
    by: By,
}

/// What an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum By {
    /// A call.
    Call { muted: bool, deaf: bool },
    /// A connection to the chat WebSocket.
    Chat,
}

/// A user who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct User {
    name: String,
    moderator: bool,
    endpoints: Vec<Endpoint>,
}

/// A conference now.
#[derive(Debug)]
pub(crate) struct Info {
    entity: String,
    name: String,
    most: u32,
    locked: bool,
    users: BTreeMap<String, User>,
}

/// What a subscriber has been told: a hash of the state of each user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    users: BTreeMap<String, u64>,
    /// How many there were, and whether it was locked.
    state: Option<(usize, bool)>,
}

impl Engine {
    /// A conference as it is configured, or was when it began; `None` if it is neither configured nor alive.
    pub(crate) fn conference_config(&self, id: ConferenceId) -> Option<&ConferenceConfig> {
        let alive = self.conferences.get(&id).map(|conference| &conference.config);
        alive
            .or_else(|| self.directory.conference(id))
            .map(|config| &**config)
    }

    /// What there is to say about a conference; `None` if it is neither configured nor alive.
    pub(crate) fn conference_info(&self, id: ConferenceId, entity: String) -> Option<Info> {
        let config = self.conference_config(id)?;
        let account = self.config.accounts.iter().find(|a| a.id == config.account);
        let realm = account.map_or("", |account| account.realm.as_str());
        let mut users: BTreeMap<String, User> = BTreeMap::new();
        let mut add = |uri: String, name: &str, moderator: bool, endpoint: Endpoint| {
            let user = users.entry(uri).or_insert_with(|| User {
                name: name.to_owned(),
                moderator: false,
                endpoints: Vec::new(),
            });
            user.moderator |= moderator;
            user.endpoints.push(endpoint);
        };
        let members = self.conferences.get(&id).map(|conference| &conference.members);
        for key in members.into_iter().flatten() {
            let Some(call) = self.calls.get(*key) else {
                continue;
            };
            let uri = match &call.user {
                Some(user) => format!("sip:{user}@{realm}"),
                None => format!("sip:guest-{}@anonymous.invalid", key.text()),
            };
            let endpoint = Endpoint {
                entity: format!("{uri};endpoint={}", key.text()),
                by: By::Call {
                    muted: call.leg.muted,
                    deaf: call.leg.deaf,
                },
            };
            add(uri, &call.name, call.role == Role::Moderator, endpoint);
        }
        for chatter in self.chatters_of(id) {
            let uri = match &chatter.user {
                Some(user) => format!("sip:{user}@{realm}"),
                None => format!("sip:guest-{}@anonymous.invalid", chatter.id),
            };
            let endpoint = Endpoint {
                entity: format!("{uri};endpoint={}", chatter.id),
                by: By::Chat,
            };
            add(uri, &chatter.name, chatter.is_moderator(), endpoint);
        }
        Some(Info {
            entity,
            name: config.name.clone(),
            most: config.max_participants,
            locked: self
                .conferences
                .get(&id)
                .is_some_and(|conference| conference.locked),
            users,
        })
    }
}

impl Info {
    /// The whole state, and what the subscriber then knows.
    pub(crate) fn full(&self, version: u32) -> (String, Told) {
        let mut told = Told::default();
        let text = self.document(&mut told, version, true).unwrap_or_default();
        (text, told)
    }

    /// What has changed since `told`; `None` if nothing has.
    pub(crate) fn partial(&self, told: &mut Told, version: u32) -> Option<String> {
        self.document(told, version, false)
    }

    /// Whether the subscriber would learn anything new.
    pub(crate) fn is_news(&self, told: &Told) -> bool {
        told.state.is_some_and(|(_, locked)| locked != self.locked)
            || told.users.len() != self.users.len()
            || self
                .users
                .iter()
                .any(|(uri, user)| told.users.get(uri) != Some(&fingerprint(user)))
    }

    fn document(&self, told: &mut Told, version: u32, full: bool) -> Option<String> {
        let mut users = String::new();
        let gone: Vec<String> = told
            .users
            .keys()
            .filter(|uri| !self.users.contains_key(*uri))
            .cloned()
            .collect();
        for uri in gone {
            if users.len() > ROOM {
                break;
            }
            let _ = write!(users, "<user entity=\"{}\" state=\"deleted\"/>", Escaped(&uri)); // a String takes all
            told.users.remove(&uri);
        }
        for (uri, user) in &self.users {
            let now = fingerprint(user);
            if told.users.get(uri) == Some(&now) {
                continue;
            }
            if users.len() > ROOM {
                break;
            }
            user.write(&mut users, uri);
            told.users.insert(uri.clone(), now);
        }
        let state_now = (self.users.len(), self.locked);
        if !full && users.is_empty() && told.state == Some(state_now) {
            return None;
        }
        let state = if full { "full" } else { "partial" };
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<conference-info \
             xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"{}\" state=\"{state}\" version=\"{version}\">",
            Escaped(&self.entity)
        );
        if full {
            let _ = write!(
                text,
                "<conference-description><display-text>{}</display-text><maximum-user-count>{}\
                 </maximum-user-count></conference-description>",
                Escaped(&self.name),
                self.most
            );
        }
        if told.state != Some(state_now) {
            let (count, locked) = state_now;
            let _ = write!(
                text,
                "<conference-state><user-count>{count}</user-count><active>{}</active><locked>{locked}</locked>\
                 </conference-state>",
                count > 0
            );
            told.state = Some(state_now);
        }
        let _ = writeln!(text, "<users state=\"{state}\">{users}</users></conference-info>");
        Some(text)
    }
}

impl User {
    fn write(&self, to: &mut String, uri: &str) {
        let role = if self.moderator {
            "moderator"
        } else {
            "participant"
        };
        let _ = write!(to, "<user entity=\"{}\" state=\"full\">", Escaped(uri));
        if !self.name.is_empty() {
            let _ = write!(to, "<display-text>{}</display-text>", Escaped(&self.name));
        }
        let _ = write!(to, "<roles><entry>{role}</entry></roles>");
        for endpoint in &self.endpoints {
            let (shown, media, status) = match endpoint.by {
                By::Chat => ("<display-text>Chat</display-text>", "message", "sendrecv"),
                By::Call { muted, deaf } => (
                    "",
                    "audio",
                    match (muted, deaf) {
                        (false, false) => "sendrecv",
                        (false, true) => "sendonly",
                        (true, false) => "recvonly",
                        (true, true) => "inactive",
                    },
                ),
            };
            let _ = write!(
                to,
                "<endpoint entity=\"{}\">{shown}<status>connected</status><joining-method>dialed-in</joining-method>\
                 <media id=\"1\"><type>{media}</type><status>{status}</status></media></endpoint>",
                Escaped(&endpoint.entity)
            );
        }
        to.push_str("</user>");
    }
}

/// The same in every process: what engines say must not depend on a random key.
fn fingerprint(user: &User) -> u64 {
    let mut hasher = SipHasher13::new();
    user.hash(&mut hasher);
    hasher.finish()
}

/// A text inside XML. What XML 1.0 has no place for becomes a question mark.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('?')?,
                c if c.is_control() => f.write_char('?')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(users: &[(&str, &str)]) -> Info {
        let user = |(uri, name): &(&str, &str)| {
            let endpoint = Endpoint {
                entity: format!("{uri};endpoint=0.1"),
                by: By::Call {
                    muted: false,
                    deaf: false,
                },
            };
            let user = User {
                name: (*name).into(),
                moderator: false,
                endpoints: vec![endpoint],
            };
            ((*uri).to_owned(), user)
        };
        Info {
            entity: "sip:3000@lab.test".into(),
            name: "Daily".into(),
            most: 10,
            locked: false,
            users: users.iter().map(user).collect(),
        }
    }

    #[test]
    fn names_do_not_break_out_of_the_document() {
        let (text, _) = info(&[("sip:a@b", "</user><x y=\"&'\u{0}\u{1b}")]).full(0);
        assert!(
            text.contains("<display-text>&lt;/user&gt;&lt;x y=&quot;&amp;'??</display-text>"),
            "{text}"
        );
    }

    #[test]
    fn only_what_changed_is_told() {
        let (_, mut told) = info(&[("sip:a@b", "A"), ("sip:b@b", "B")]).full(0);
        let now = info(&[("sip:a@b", "A"), ("sip:c@b", "C")]);
        assert!(now.is_news(&told));
        let text = now.partial(&mut told, 1).unwrap();
        assert!(
            text.contains("<user entity=\"sip:b@b\" state=\"deleted\"/>"),
            "{text}"
        );
        assert!(text.contains("entity=\"sip:c@b\" state=\"full\"") && !text.contains("sip:a@b"));
        assert!(!text.contains("user-count"), "there are still two");
        assert!(!now.is_news(&told) && now.partial(&mut told, 2).is_none());
    }

    #[test]
    fn a_crowd_is_told_in_pieces_that_fit() {
        let names: Vec<(String, String)> = (0..1000)
            .map(|number| (format!("sip:{number:04}@b"), "N".repeat(50)))
            .collect();
        let users: Vec<(&str, &str)> = names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let crowd = info(&users);
        let (first, mut told) = crowd.full(0);
        let mut pieces = vec![first];
        while crowd.is_news(&told) {
            pieces.push(crowd.partial(&mut told, 1).unwrap());
        }
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() < 32_000));
        let all = pieces.concat();
        assert!(users.iter().all(|(uri, _)| all.contains(&format!("\"{uri}\""))));
    }
}
