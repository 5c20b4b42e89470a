//! Who and what the configuration knows: accounts, digest names, conference numbers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cordboard_model::hook::conference::Role;
use cordboard_model::{AccountId, ConferenceId};
use ipnet::IpNet;

use crate::config::{Account, ConferenceConfig, Config, Credential};
use crate::sip::own::Own;
use crate::sip::uri::Uri;
use crate::table::Table;

/// Asterisks before these, counted from the end, part no PIN from a number.
const ASTERISKS: usize = 32;

/// What a dialled user part means within an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A conference, and the role that the number gives.
    Conference(ConferenceId, Role),
    /// A user or device: its credential's place.
    User(usize),
}

/// What stands under a name in an account; found without making a key.
type Names<T> = Table<AccountId, Table<String, T>>;

fn named<'a, T>(names: &'a Names<T>, account: AccountId, name: &str) -> Option<&'a T> {
    names.get(&account)?.get(name)
}

/// What is kept of a credential by those who refer to it.
#[derive(Debug)]
struct Shared {
    /// The address of record: `user@realm`.
    address: Arc<str>,
    owner: Arc<str>,
}

/// Indexes over the configuration.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    accounts: Vec<Arc<Account>>,
    credentials: Vec<Credential>,
    /// What those who keep it share of each of them.
    shared: Vec<Shared>,
    by_name: Names<usize>,
    by_owner: Names<Vec<usize>>,
    by_number: Names<(ConferenceId, Role)>,
    conferences: HashMap<ConferenceId, Arc<ConferenceConfig>>,
    /// The rooms that invite codes lead to.
    by_invitation: HashMap<u128, ConferenceId>,
    trusted: Vec<IpNet>,
    /// The addresses of our own machine.
    pub(crate) own: Own,
}

impl Directory {
    pub(crate) fn new(config: &Config) -> Self {
        let mut directory = Self::default();
        directory.configure(config);
        directory
    }

    /// The configuration is another. A credential keeps its place while the engine lives, whatever stands
    /// before it and even when it is gone: questions to plugins and limits that are open know it by that.
    pub(crate) fn configure(&mut self, config: &Config) {
        let known: HashMap<(AccountId, String), usize> = self.by_place();
        let listening = config.listeners.iter().map(|listener| listener.address.ip());
        self.own = listening.chain(config.public_ip.iter().copied()).collect();
        (self.by_name, self.by_owner, self.by_number) = Default::default();
        for credential in &config.credentials {
            let key = (credential.account, credential.username.clone());
            let place = match known.get(&key) {
                Some(place) => {
                    self.credentials[*place] = credential.clone();
                    *place
                }
                None => {
                    self.credentials.push(credential.clone());
                    self.credentials.len() - 1
                }
            };
            let (account, name) = key;
            self.by_name.entry(account).or_default().insert(name, place);
            let owners = self.by_owner.entry(account).or_default();
            owners.entry(credential.owner.clone()).or_default().push(place);
        }
        for conference in &config.conferences {
            for (entrance, role) in [
                (&conference.member, Role::Member),
                (&conference.moderator, Role::Moderator),
            ] {
                for number in &entrance.numbers {
                    let numbers = self.by_number.entry(conference.account).or_default();
                    numbers.insert(number.clone(), (conference.id, role));
                }
            }
        }
        let shared = |conference: &ConferenceConfig| (conference.id, Arc::new(conference.clone()));
        self.conferences = config.conferences.iter().map(shared).collect();
        let invitations = |conference: &ConferenceConfig| {
            let id = conference.id;
            conference
                .room
                .invite_codes
                .clone()
                .into_iter()
                .map(move |code| (code, id))
        };
        self.by_invitation = config.conferences.iter().flat_map(invitations).collect();
        self.accounts = config.accounts.iter().cloned().map(Arc::new).collect();
        let shared = |credential: &Credential| Shared {
            address: self.address_of(credential),
            owner: credential.owner.as_str().into(),
        };
        self.shared = self.credentials.iter().map(shared).collect();
        self.trusted.clone_from(&config.trusted);
    }

    /// The place of every credential that there ever was.
    fn by_place(&self) -> HashMap<(AccountId, String), usize> {
        let places = self.credentials.iter().enumerate();
        places
            .map(|(place, credential)| ((credential.account, credential.username.clone()), place))
            .collect()
    }

    /// The account of a domain; the default one for a domain that is not ours.
    pub(crate) fn account(&self, domain: &str) -> &Arc<Account> {
        self.accounts
            .iter()
            .find(|account| account.realm.eq_ignore_ascii_case(domain))
            .or_else(|| self.accounts.first())
            .expect("a configuration has at least one account")
    }

    /// Whether a domain is that of another account than this one.
    pub(crate) fn is_of_another(&self, account: AccountId, domain: &str) -> bool {
        let mut others = self.accounts.iter().filter(|other| other.id != account);
        others.any(|other| other.realm.eq_ignore_ascii_case(domain))
    }

    pub(crate) fn credential(&self, place: usize) -> &Credential {
        &self.credentials[place]
    }

    /// Whether two credentials are devices of one owner.
    pub(crate) fn is_same_owner(&self, one: usize, other: usize) -> bool {
        one == other || self.credentials[one].owner == self.credentials[other].owner
    }

    pub(crate) fn find(&self, account: AccountId, username: &str) -> Option<usize> {
        named(&self.by_name, account, username).copied()
    }

    /// Every credential of the owner of this one: all their devices.
    pub(crate) fn devices(&self, place: usize) -> &[usize] {
        let credential = &self.credentials[place];
        let places = named(&self.by_owner, credential.account, &credential.owner);
        places.map_or(&[], Vec::as_slice)
    }

    pub(crate) fn destination(&self, account: AccountId, user: &str) -> Option<Destination> {
        if let Some((id, role)) = named(&self.by_number, account, user) {
            return Some(Destination::Conference(*id, *role));
        }
        self.find(account, user).map(Destination::User)
    }

    /// What is dialled by this URI: numbers may be configured with the separators that others write for the eye alone, so
    /// these are left out only where nobody has the number as it is written, with a PIN behind it or none.
    pub(crate) fn dialled(&self, account: AccountId, uri: &Uri<'_>) -> String {
        let written = uri.user().unwrap_or_default().into_owned();
        let Some(bare) = uri.bare_number() else {
            return written;
        };
        let (number, _) = self.without_pin(account, written.clone());
        match self.destination(account, &number).is_some() {
            true => written,
            false => bare,
        }
    }

    /// What was dialled without the PIN that may follow a number and an asterisk, and that PIN. What is somebody's as
    /// it stands has none, nor have star codes: what begins with an asterisk, or goes on after a user's name with one.
    /// A number that nobody has may have one (digits), for plugins may lead it to a conference.
    pub(crate) fn without_pin(&self, account: AccountId, dialled: String) -> (String, Option<String>) {
        let whole = self.destination(account, &dialled).is_some();
        let is_pin = |number: &str, pin: &str| match self.destination(account, number) {
            Some(Destination::Conference(..)) => true,
            Some(Destination::User(_)) => false,
            None => !number.contains('*') && pin.bytes().all(|c| c.is_ascii_digit() || c == b'*'),
        };
        // From the last one on, as numbers may have asterisks and PINs have none.
        let mut asterisks = dialled.rmatch_indices('*').take(ASTERISKS).map(|(at, _)| at);
        let at = asterisks.find(|at| !whole && *at > 0 && is_pin(&dialled[..*at], &dialled[at + 1..]));
        match at {
            Some(at) => (dialled[..at].to_owned(), Some(dialled[at + 1..].to_owned())),
            None => (dialled, None),
        }
    }

    pub(crate) fn conference(&self, id: ConferenceId) -> Option<&Arc<ConferenceConfig>> {
        self.conferences.get(&id)
    }

    /// The conference whose chat room an invite code leads to.
    pub(crate) fn room_of_invitation(&self, code: u128) -> Option<ConferenceId> {
        self.by_invitation.get(&code).copied()
    }

    /// Whether an address of record is that of a user or device.
    pub(crate) fn knows(&self, address_of_record: &str) -> bool {
        let Some((username, realm)) = address_of_record.rsplit_once('@') else {
            return false;
        };
        self.accounts
            .iter()
            .filter(|account| account.realm == realm)
            .any(|account| self.find(account.id, username).is_some())
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Whether everybody there is trusted: at an IPv4 address, or in an IPv6 /64 by its first address.
    pub(crate) fn trusts_all(&self, source: IpAddr) -> bool {
        let prefix = if source.is_ipv4() { 32 } else { 64 };
        IpNet::new(source, prefix)
            .is_ok_and(|whole| self.trusted.iter().any(|network| network.contains(&whole)))
    }

    /// The address of record of a credential: `user@realm`.
    pub(crate) fn address_of_record(&self, place: usize) -> &Arc<str> {
        &self.shared[place].address
    }

    /// The owner of a credential.
    pub(crate) fn owner(&self, place: usize) -> &Arc<str> {
        &self.shared[place].owner
    }

    fn address_of(&self, credential: &Credential) -> Arc<str> {
        let realm = self
            .accounts
            .iter()
            .find(|a| a.id == credential.account)
            .map_or("", |a| a.realm.as_str());
        format!("{}@{realm}", credential.username).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole number looked through for each asterisk would take minutes.
    #[test]
    fn a_number_of_asterisks_is_not_looked_through_for_each() {
        let mut directory = Directory::default();
        let account = AccountId(1);
        let numbers = directory.by_number.entry(account).or_default();
        numbers.insert("3000".into(), (ConferenceId(1), Role::Member));
        let number = format!("{}{}", "1".repeat(1 << 20), "*".repeat(1 << 20));
        assert_eq!(
            directory.without_pin(account, number.clone()),
            (number.clone(), None)
        );
        let pin = format!("3000*{}", "*".repeat(ASTERISKS - 1));
        let parted = directory.without_pin(account, pin);
        assert_eq!(
            (parted.0.as_str(), parted.1.map(|pin| pin.len())),
            ("3000", Some(ASTERISKS - 1))
        );
    }
}
