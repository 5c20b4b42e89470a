//! Who and what the configuration knows: accounts, digest names, conference numbers.

use std::collections::HashMap;
use std::net::IpAddr;

use cordboard_model::AccountId;
use cordboard_model::hook::conference::Role;
use ipnet::IpNet;

use crate::config::{Account, Config, Credential};

/// What a dialled user part means within an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A conference (its place in the configuration), and the role that the number gives.
    Conference(usize, Role),
    /// A user or device: its credential's place.
    User(usize),
}

/// Indexes over the configuration.
#[derive(Debug)]
pub(crate) struct Directory {
    accounts: Vec<Account>,
    credentials: Vec<Credential>,
    by_name: HashMap<(AccountId, String), usize>,
    by_owner: HashMap<(AccountId, String), Vec<usize>>,
    by_number: HashMap<(AccountId, String), (usize, Role)>,
    trusted: Vec<IpNet>,
}

impl Directory {
    pub(crate) fn new(config: &Config) -> Self {
        let mut by_name = HashMap::new();
        let mut by_owner: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, credential) in config.credentials.iter().enumerate() {
            by_name.insert((credential.account, credential.username.clone()), place);
            by_owner
                .entry((credential.account, credential.owner.clone()))
                .or_default()
                .push(place);
        }
        let mut by_number = HashMap::new();
        for (place, conference) in config.conferences.iter().enumerate() {
            for (entrance, role) in [
                (&conference.member, Role::Member),
                (&conference.moderator, Role::Moderator),
            ] {
                for number in &entrance.numbers {
                    by_number.insert((conference.account, number.clone()), (place, role));
                }
            }
        }
        Self {
            accounts: config.accounts.clone(),
            credentials: config.credentials.clone(),
            by_name,
            by_owner,
            by_number,
            trusted: config.trusted.clone(),
        }
    }

    /// The account of a domain; the default one for a domain that is not ours.
    pub(crate) fn account(&self, domain: &str) -> &Account {
        self.accounts
            .iter()
            .find(|account| account.realm.eq_ignore_ascii_case(domain))
            .or_else(|| self.accounts.first())
            .expect("a configuration has at least one account")
    }

    pub(crate) fn credential(&self, place: usize) -> &Credential {
        &self.credentials[place]
    }

    pub(crate) fn find(&self, account: AccountId, username: &str) -> Option<usize> {
        self.by_name.get(&(account, username.to_owned())).copied()
    }

    /// Every credential of the owner of this one: all their devices.
    pub(crate) fn devices(&self, place: usize) -> &[usize] {
        let credential = &self.credentials[place];
        let key = (credential.account, credential.owner.clone());
        self.by_owner.get(&key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn destination(&self, account: AccountId, user: &str) -> Option<Destination> {
        let key = (account, user.to_owned());
        if let Some((place, role)) = self.by_number.get(&key) {
            return Some(Destination::Conference(*place, *role));
        }
        self.by_name.get(&key).map(|place| Destination::User(*place))
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The address of record of a credential: `user@realm`.
    pub(crate) fn address_of_record(&self, place: usize) -> String {
        let credential = &self.credentials[place];
        let realm = self
            .accounts
            .iter()
            .find(|a| a.id == credential.account)
            .map_or("", |a| a.realm.as_str());
        format!("{}@{realm}", credential.username)
    }
}
