//! The engine itself: what it holds, what goes in, what comes out.

use std::collections::HashMap;
use std::sync::Arc;

use cordboard_model::media::MediaCommand;
use cordboard_model::{Ask, ConferenceId, LegId, OnFailure, ShardId, Ticket, Time, UserId, Verdict};

use crate::arena::{Arena, Key};
use crate::auth::NonceCounts;
use crate::call::Call;
use crate::call::bridge::Bridge;
use crate::call::parting::Partings;
use crate::call::reach::Carried;
use crate::call::route::PendingRoute;
use crate::chat::{Chat, PendingChat, PendingJoin};
use crate::conference::Conference;
use crate::conference::message::PendingMessage;
use crate::config::{ChainRule, Config};
use crate::counts::{Counts, Gauges};
use crate::directory::Directory;
use crate::io::{Flow, Input, Output, StoredBinding, StoredMessage, Transport};
use crate::limits::Limits;
use crate::pager::{Courier, Keeping, Pager, PendingPager};
use crate::record::Records;
use crate::sip::digest::Nonces;
use crate::sip::registrar::Registrar;
use crate::sip::transaction::{Outcome, Owner, Transactions};
use crate::subscription::Subscription;
use crate::table::Table;
use crate::timer::Timer;
use crate::unsettled::Unsettled;
use crate::wire::Wire;

/// What an open question or write is about.
#[derive(Debug)]
pub(crate) enum Subject {
    /// The address of record.
    Registration(Arc<str>),
    Join(Key),
    Message(Box<PendingMessage>),
    Pager(Box<PendingPager>),
    Keeping(Box<Keeping>),
    Route(Box<PendingRoute>),
    Chat(Box<PendingChat>),
    ChatJoin(Box<PendingJoin>),
}

/// Every decision of the switch. See the crate's own page for the drain rule.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) directory: Directory,
    pub(crate) wire: Wire,
    pub(crate) transactions: Transactions,
    pub(crate) registrar: Registrar,
    pub(crate) unsettled: Unsettled,
    pub(crate) nonces: Nonces,
    pub(crate) nonce_counts: NonceCounts,
    pub(crate) limits: Limits,
    pub(crate) calls: Arena<Call>,
    pub(crate) bridges: Arena<Bridge>,
    pub(crate) pagers: Arena<Pager>,
    pub(crate) courier: Courier,
    pub(crate) subscriptions: Arena<Subscription>,
    pub(crate) carried: Carried,
    /// The same for subscriptions.
    pub(crate) watchers: Carried,
    /// Conferences that are alive.
    pub(crate) conferences: HashMap<ConferenceId, Conference>,
    /// The calls that media legs belong to.
    pub(crate) legs: HashMap<LegId, Key>,
    /// The calls that peers made, by their INVITE transactions.
    pub(crate) invites: HashMap<Key, Key>,
    /// How many calls each user has made who has any.
    pub(crate) callers: Table<UserId, usize>,
    pub(crate) chat: Chat,
    /// Calls that are over and whose BYE waits.
    pub(crate) partings: Partings,
    pub(crate) records: Records,
    pub(crate) subjects: Table<Ticket, Subject>,
    pub(crate) product: String,
    tickets: u64,
    /// Media legs that shards hold for each shard: the next conference goes where there are fewest.
    pub(crate) shard_load: Vec<usize>,
    pub(crate) numbers: u64,
    pub(crate) draining: bool,
    drained: bool,
}

impl Engine {
    /// An engine at `now`. The seed decides every random choice: nonces, tags, branches.
    pub fn new(config: Config, seed: [u8; 32], now: Time) -> Self {
        let mut wire = Wire::new(seed, now);
        Self {
            directory: Directory::new(&config),
            transactions: Transactions::new(&mut wire),
            registrar: Registrar::default(),
            unsettled: Unsettled::default(),
            nonces: Nonces::new(wire.random_bytes()),
            nonce_counts: NonceCounts::default(),
            limits: Limits::new(config.abuse),
            calls: Arena::default(),
            bridges: Arena::default(),
            pagers: Arena::default(),
            courier: Courier::default(),
            subscriptions: Arena::default(),
            carried: Carried::default(),
            watchers: Carried::default(),
            conferences: HashMap::new(),
            legs: HashMap::new(),
            invites: HashMap::new(),
            callers: Table::default(),
            chat: Chat::default(),
            partings: Partings::default(),
            records: Records::default(),
            subjects: Table::default(),
            product: format!("Cordboard/{}", env!("CARGO_PKG_VERSION")),
            tickets: 0,
            shard_load: vec![0; usize::from(config.shards.max(1))],
            numbers: 0,
            draining: false,
            drained: false,
            wire,
            config,
        }
    }

    /// Takes in a registration that the store kept; only before the first input.
    pub fn load(&mut self, binding: StoredBinding) {
        self.load_binding(binding);
    }

    /// Takes in a message that the store kept; only before the first input, and after the registrations.
    pub fn load_message(&mut self, message: StoredMessage) {
        self.load_kept(message);
    }

    /// The configuration is another from now on. Calls and conferences that are alive go on; a conference
    /// that is not configured any more takes nobody new and ends with its last participant; registrations
    /// of users who are gone end.
    ///
    /// The listeners and the number of shards stay as they were: they belong to sockets and threads.
    pub fn reconfigure(&mut self, config: Config, now: Time) {
        self.wire.now = self.wire.now.max(now);
        let listeners = std::mem::take(&mut self.config.listeners);
        self.config = Config {
            listeners,
            shards: self.config.shards,
            ..config
        };
        self.directory.configure(&self.config);
        for (id, conference) in &mut self.conferences {
            if let Some(config) = self.directory.conference(*id) {
                conference.config = Arc::clone(config);
            }
        }
        self.reconfigure_chat();
        let (directory, now) = (&self.directory, self.wire.now);
        let trusted = |source| directory.trusts_all(source);
        self.limits.reconfigure(self.config.abuse, now, trusted);
        self.unbind_strangers();
        self.forget_strangers_mail();
        self.end_lost_subscriptions();
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.wire.now = self.wire.now.max(now);
        match input {
            Input::Message { flow, message, stamp } => self.on_message(flow, message, stamp),
            Input::FlowClosed { connection } => {
                self.registrar.connection_closed(connection);
                let calls = self.strand_calls(connection);
                self.strand_routes(connection);
                self.strand_subscriptions(connection);
                let failed = self.transactions.connection_closed(connection);
                self.failed(failed);
                self.resume_calls(&calls);
            }
            Input::Unreachable { flow } => {
                let failed = self.transactions.unreachable(flow);
                self.failed(failed);
            }
            Input::Verdict { ticket, verdict } => self.on_verdict(ticket, verdict),
            Input::Media(event) => self.on_media(event),
            Input::Chat(input) => self.on_chat(input),
            Input::Conference { id, command } => self.control(id, command),
            Input::WrongToken { source } => self.wrong_token(source),
            Input::Stored { ticket, ok } => self.on_stored(ticket, ok),
            Input::Drain { deadline } => {
                self.draining = true;
                self.end_subscriptions();
                self.wire.timers.arm(deadline, Timer::Drain);
            }
            Input::End => {
                self.draining = true;
                self.end_subscriptions();
                self.hang_up_all();
                self.part_all();
            }
        }
        self.settle();
    }

    /// The time has come that [`Engine::next_timeout`] named (or any later one).
    pub fn timeout(&mut self, now: Time) {
        self.wire.now = self.wire.now.max(now);
        while let Some((at, timer)) = self.wire.timers.due(self.wire.now) {
            match timer {
                Timer::Repeat(key) => self.transactions.repeat_timer(key, at, &mut self.wire),
                Timer::End(key) => {
                    if let Some((transaction, owner)) = self.transactions.end_timer(key, at, &mut self.wire) {
                        self.on_outcome(transaction, owner, Outcome::Silence);
                    }
                }
                Timer::Answer(call) => self.answer_timer(call, at),
                Timer::Progress(call) => self.progress_timer(call, at),
                Timer::Session(call) => self.session_timer(call, at),
                Timer::Parting(awaited) => self.parting_timer(awaited, at),
                Timer::Reoffer(call) => self.reoffer_timer(call, at),
                Timer::Ringing(bridge) => self.ringing_timer(bridge, at),
                Timer::Verdict(ticket) => self.verdict_overdue(ticket),
                Timer::Binding(serial) => self.binding_timer(serial, at),
                Timer::Record(leg) => self.record_totals(leg, None),
                Timer::Subscription(key) => self.subscription_timer(key, at),
                Timer::Lost(key) => self.lost_timer(key, at),
                Timer::Notify(key) => self.notify_timer(key),
                Timer::Chat(connection) => self.chat_timer(connection),
                Timer::Room(room) => self.room_timer(room),
                Timer::Page(key) => self.page_timer(key),
                Timer::Mail => self.mail_timer(at),
                Timer::Redelivery(key) => self.redelivery_timer(key),
                Timer::Deliver => self.deliver_all(),
                Timer::Talking(id) => self.talking_timer(id),
                Timer::Drain => {
                    self.hang_up_all();
                    self.part_all(); // the process ends soon
                }
            }
        }
        self.settle();
    }

    /// The next thing to do, in order; `None` when all is done.
    pub fn output(&mut self) -> Option<Output> {
        self.wire.out.pop_front()
    }

    /// When [`Engine::timeout`] is to be called next; `None` while nothing is timed.
    pub fn next_timeout(&self) -> Option<Time> {
        self.wire.timers.next()
    }

    /// What has been counted since the start.
    pub const fn counts(&self) -> &Counts {
        &self.wire.counts
    }

    /// What is alive now.
    pub fn gauges(&self) -> Gauges {
        let mut participants = [0; Transport::ALL.len()];
        for key in self
            .conferences
            .values()
            .flat_map(|conference| &conference.members)
        {
            let transport = self.calls.get(*key).map(|call| call.dialog.flow.transport);
            if let Some(place) = Transport::ALL.iter().position(|t| Some(*t) == transport) {
                participants[place] += 1;
            }
        }
        Gauges {
            transactions: self.transactions.len(),
            dialogs: self.calls.len(),
            bridges: self.bridges.len(),
            registrations: self.registrar.len(),
            subscriptions: self.subscriptions.len(),
            conferences: self.conferences.len() + self.chat_conferences(),
            participants,
            kept_messages: self.courier.len(),
            queued_messages: self.calls.values().map(|call| call.outbox.waiting()).sum(),
            draining: self.draining,
            banned: self.limits.banned(self.wire.now),
            chat: self.chat.gauges(),
        }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// A number never used before, for legs and mixes.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn media(&mut self, shard: ShardId, command: MediaCommand) {
        self.wire.out.push_back(Output::Media { shard, command });
    }

    /// Asks the plugins of a chain; the verdict comes back under the ticket, or the chain's default
    /// after its deadline.
    pub(crate) fn ask(&mut self, ticket: Ticket, rule: ChainRule, ask: Ask, subject: Subject) {
        if self.subjects.len() >= self.config.limits.asks {
            self.wire.counts.reject("too_many_questions");
            let verdict = ask.failed(rule.on_failure);
            self.subjects.insert(ticket, subject);
            return self.on_verdict(ticket, verdict);
        }
        self.subjects.insert(ticket, subject);
        self.wire
            .timers
            .arm(self.wire.now + rule.deadline, Timer::Verdict(ticket));
        self.wire.out.push_back(Output::Ask { ticket, ask });
    }

    fn on_verdict(&mut self, ticket: Ticket, verdict: Verdict) {
        match (self.subjects.remove(&ticket), verdict) {
            (Some(Subject::Join(call)), Verdict::Join(verdict)) => self.join_decided(call, verdict),
            (Some(Subject::ChatJoin(join)), Verdict::Join(verdict)) => self.chat_join_decided(*join, verdict),
            (Some(Subject::Message(message)), Verdict::Message(verdict)) => {
                self.message_decided(ticket, *message, verdict);
            }
            (Some(Subject::Pager(message)), Verdict::Message(verdict)) => {
                self.pager_decided(*message, verdict);
            }
            (Some(Subject::Chat(message)), Verdict::Message(verdict)) => {
                self.chat_decided(*message, verdict);
            }
            (Some(Subject::Route(call)), Verdict::Route(verdict)) => self.route_decided(*call, verdict),
            (None, _) => self.wire.counts.stale_verdicts += 1,
            (Some(subject), _) => {
                // A verdict of another kind than the question: the subject keeps waiting for its own.
                self.subjects.insert(ticket, subject);
                self.wire.counts.stale_verdicts += 1;
            }
        }
    }

    fn verdict_overdue(&mut self, ticket: Ticket) {
        let rule = |chain: Option<ChainRule>| chain.map_or(OnFailure::Refuse, |rule| rule.on_failure);
        let (hook, verdict) = match self.subjects.get(&ticket) {
            Some(Subject::Join(_) | Subject::ChatJoin(_)) => (
                "conference-policy",
                Verdict::Join(cordboard_model::hook::conference::JoinVerdict::failed(rule(
                    self.config.hooks.conference_policy,
                ))),
            ),
            Some(Subject::Message(_) | Subject::Pager(_) | Subject::Chat(_)) => (
                "message-filter",
                Verdict::Message(cordboard_model::hook::message::MessageVerdict::failed(rule(
                    self.config.hooks.message_filter,
                ))),
            ),
            Some(Subject::Route(_)) => (
                "call-router",
                Verdict::Route(cordboard_model::hook::route::RouteVerdict::failed(rule(
                    self.config.hooks.call_router,
                ))),
            ),
            _ => return,
        };
        *self.wire.counts.hook_timeouts.entry(hook).or_default() += 1;
        self.on_verdict(ticket, verdict);
    }

    fn on_stored(&mut self, ticket: Ticket, ok: bool) {
        if self.chat_stored(ticket, ok) {
            return;
        }
        match self.subjects.remove(&ticket) {
            Some(Subject::Registration(address)) => self.registration_stored(address, ticket, ok),
            Some(Subject::Keeping(keeping)) => self.message_stored(*keeping, ok),
            Some(other) => {
                self.subjects.insert(ticket, other);
            }
            None => {} // a deletion by time-out: nobody waits for it
        }
    }

    /// Requests of ours whose way is gone.
    fn failed(&mut self, failed: Vec<(Key, Owner, Flow)>) {
        for (transaction, owner, flow) in failed {
            match owner {
                Owner::Reoffer(call) if self.has_other_way(call, flow) => self.offer_again(call, flow),
                _ => self.on_outcome(transaction, owner, Outcome::Unreachable),
            }
        }
    }

    /// Tells the owner of a request what it came to.
    pub(crate) fn on_outcome(&mut self, transaction: Key, owner: Owner, outcome: Outcome<'_>) {
        match owner {
            Owner::Invite(call) => self.invite_outcome(call, transaction, outcome),
            Owner::Reoffer(call) => self.reoffer_outcome(call, transaction, outcome),
            Owner::Message(call, number) => self.message_outcome(call, number, outcome),
            Owner::Pager(pager) => self.pager_outcome(pager, transaction, outcome),
            Owner::Delivery(delivery) => self.delivery_outcome(delivery, transaction, outcome),
            Owner::Notify(subscription) => self.notify_outcome(subscription, outcome),
            Owner::Farewell => self.bye_outcome(transaction, &outcome),
            Owner::Prack(call, place, number) => {
                self.prack_outcome(call, usize::from(place), number, &outcome);
            }
        }
    }

    fn settle(&mut self) {
        if self.draining
            && !self.drained
            && self.calls.len() == 0
            && self.partings.is_empty()
            && !self.records.is_waiting()
        {
            self.drained = true;
            self.end_chat();
            self.wire.out.push_back(Output::Drained);
        }
    }
}
