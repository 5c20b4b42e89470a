//! Transactions: RFC 3261 section 17 with RFC 6026. Four machines and the table that holds them.

mod follow;
mod hashed;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod step;
mod way;

use std::hash::{Hash, Hasher};
use std::time::Duration;

use cordboard_model::Time;
use siphasher::sip128::{Hasher128, SipHasher13};

use self::follow::follow_up;
pub(crate) use self::follow::{response_flow, response_flow_anew};
use self::hashed::Hashed;
use self::invite_client::InviteClient;
use self::invite_server::InviteServer;
use self::non_invite_client::NonInviteClient;
use self::non_invite_server::NonInviteServer;
pub(crate) use self::step::{End, Repeat, Step};
use self::way::{Way, Ways};
use crate::arena::{Arena, Key};
use crate::io::{Flow, Packet};
use crate::sip::message::{Framing, Message};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::write::Short;
use crate::timer::{PATIENCE, T1, Timer};
use crate::wire::Wire;

/// How many unwanted 2xx to one INVITE get a BYE.
const MOST_DISMISSED: usize = 16;

/// Who waits for what becomes of a request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The INVITE that made this call, towards the called party.
    Invite(Key),
    /// A re-INVITE or an UPDATE in this call.
    Reoffer(Key),
    /// A message in this call, and which of the call's outstanding ones.
    Message(Key, u64),
    /// The BYE of a call that is gone, or the last NOTIFY of a subscription: nobody acts on the answer, but it may go another way.
    Farewell,
    /// The PRACK in an early dialog of this call, by its place, and the number that it confirms.
    Prack(Key, u8, u32),
    /// A message between users, by number, and which contact it went to.
    Pager(Key),
    /// A kept message to one of its addressee's contacts.
    Delivery(Key),
    /// The NOTIFY of this subscription.
    Notify(Key),
}

/// What a request of ours came to.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    Response(&'a Message),
    /// No answer in time.
    Silence,
    /// No way to the peer, or none any more.
    Unreachable,
}

#[derive(Debug, Clone, Copy)]
enum Machine {
    InviteServer(InviteServer),
    NonInviteServer(NonInviteServer),
    InviteClient(InviteClient),
    NonInviteClient(NonInviteClient),
}

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    method: Method,
    flow: Flow,
    started: Time,
    packet: Option<Packet>,
    interval: Duration,
    repeat_at: Option<Time>,
    end_at: Option<Time>,
    /// Whether a timer runs for `end_at`. While a message is repeated, the first repeat starts it: most
    /// requests are answered before, and their timers would outlive them by far.
    end_armed: bool,
    /// The hash under which a server transaction is found; the secret in a client transaction's branch.
    identity: u128,
    owner: Owner,
    /// What a request outside any dialog shares with its copies that took another way.
    copies: Option<u128>,
    /// The tags of unwanted 2xx that have had their BYE.
    dismissed: Vec<String>,
    /// The port at which the sender of a request takes the answer if its connection ends before that.
    anew: Option<u16>,
}

impl Transaction {
    /// Whether the connection is gone that the request of this server transaction came by.
    const fn is_stranded(&self) -> bool {
        self.flow.transport.reliable() && self.flow.connection == 0
    }

    /// Starts the timer for the end, unless it runs.
    fn arm_end(&mut self, key: Key, wire: &mut Wire) {
        if let Some(at) = self.end_at
            && !std::mem::replace(&mut self.end_armed, true)
        {
            wire.timers.arm(at, Timer::End(key));
        }
    }
}

/// Every transaction that is alive.
#[derive(Debug)]
pub(crate) struct Transactions {
    all: Arena<Transaction>,
    servers: Hashed<Key>,
    copies: Hashed<Key>,
    /// Requests of ours, and those that [`Transactions::answer_anew`] says, by what they are lost with.
    by_way: Ways,
    hash_keys: (u64, u64),
}

impl Transactions {
    pub(crate) fn new(wire: &mut Wire) -> Self {
        Self {
            all: Arena::default(),
            servers: Hashed::default(),
            copies: Hashed::default(),
            by_way: Ways::default(),
            hash_keys: (wire.random(), wire.random()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The identity of a request's server transaction (RFC 3261 section 17.2.3), `method` standing in
    /// for the request's own where an ACK or a CANCEL looks for its INVITE.
    pub(crate) fn identity(&self, request: &Message, method: Method) -> Option<u128> {
        let via = request.via().ok()?;
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        // Everything of a fixed length in one word: a hash of few long pieces costs less than one of many short ones.
        let port = via.port.map_or(0, |port| u64::from(port) + 1);
        hasher.write_u64(method as u64 | port << 8 | (via.host.len() as u64) << 32);
        if method == Method::Other {
            request.method_text().hash(&mut hasher);
        }
        hasher.write(via.host.as_bytes());
        match via.branch() {
            Some(branch) if branch.starts_with("z9hG4bK") && branch.len() > 7 => branch.hash(&mut hasher),
            // An RFC 2543 peer: its branch says nothing, the call and its sequence number do.
            _ => {
                request.call_id().hash(&mut hasher);
                request.cseq().ok()?.number.hash(&mut hasher);
                request.from().ok()?.tag().hash(&mut hasher);
            }
        }
        Some(hasher.finish128().as_u128())
    }

    /// A name for a request that leaves no state, the same for each of its repeats. One whose Via cannot be read
    /// has itself for a name.
    pub(crate) fn name_of(&self, request: &Message) -> u64 {
        if let Some(identity) = self.identity(request, request.method()) {
            return identity as u64; // half of it is enough to tell requests apart
        }
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        request.raw().hash(&mut hasher);
        hasher.finish128().as_u128() as u64
    }

    /// What a request outside any dialog shares with its copies (RFC 3261 section 8.2.2.2).
    fn copies_of(&self, request: &Message) -> Option<u128> {
        if request.to().ok()?.tag().is_some() || request.method() == Method::Cancel {
            return None;
        }
        let cseq = request.cseq().ok()?;
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.1, self.hash_keys.0);
        let (call_id, tag, method) = (
            request.call_id(),
            request.from().ok()?.tag(),
            request.method_text(),
        );
        // Where each ends, and whether there is a tag at all, is in the first two words.
        let tag_len = tag.map_or(0, |tag| tag.len() as u64 + 1);
        hasher.write_u64(call_id.len() as u64 | u64::from(cseq.number) << 32);
        hasher.write_u64(tag_len | (method.len() as u64) << 32);
        for text in [call_id, tag.unwrap_or_default(), method] {
            hasher.write(text.as_bytes());
        }
        Some(hasher.finish128().as_u128())
    }

    /// Whether a request that belongs to no transaction is the copy of one that does.
    pub(crate) fn is_merged(&self, request: &Message) -> bool {
        self.copies_of(request)
            .is_some_and(|copies| self.copies.contains_key(&copies))
    }

    /// Whether a request is one of ours that has come back to us straight away: a contact is our own address.
    pub(crate) fn is_own(&self, request: &Message) -> bool {
        self.client_of(request).is_some()
    }

    /// Our client transaction by which a message's topmost branch is.
    fn client_of(&self, message: &Message) -> Option<Key> {
        let branch = message.via().ok()?.branch()?.strip_prefix("z9hG4bK")?;
        let (key, secret) = Key::read(branch)?;
        let secret = u128::from_str_radix(secret, 16).ok()?;
        self.all
            .get(key)
            .is_some_and(|transaction| transaction.identity == secret)
            .then_some(key)
    }

    /// The request of a client transaction, and the way that it went.
    pub(crate) fn request_of(&self, key: Key) -> Option<(Message, Flow)> {
        let transaction = self.all.get(key)?;
        let head = transaction.packet.as_ref()?.head.clone();
        Some((Message::parse(head, Framing::Datagram).ok()?, transaction.flow))
    }

    /// Whether this is the first unwanted 2xx with this tag to a request of ours.
    pub(crate) fn is_first_of(&mut self, key: Key, tag: &str) -> bool {
        let Some(transaction) = self.all.get_mut(key) else {
            return false;
        };
        if transaction.dismissed.len() >= MOST_DISMISSED
            || transaction.dismissed.iter().any(|known| known == tag)
        {
            return false;
        }
        transaction.dismissed.push(tag.to_owned());
        true
    }

    pub(crate) fn server(&self, identity: u128) -> Option<Key> {
        self.servers.get(&identity).copied()
    }

    pub(crate) fn open_server(&mut self, identity: u128, request: &Message, flow: Flow, wire: &Wire) -> Key {
        let method = request.method();
        let machine = match method {
            Method::Invite => Machine::InviteServer(InviteServer::Proceeding),
            _ => Machine::NonInviteServer(NonInviteServer::Trying),
        };
        let copies = self.copies_of(request);
        let key = self.all.insert_with(|_| Transaction {
            machine,
            method,
            flow: response_flow(request, flow),
            started: wire.now,
            packet: None,
            interval: T1,
            repeat_at: None,
            end_at: None,
            end_armed: false,
            identity,
            owner: Owner::Farewell,
            copies,
            dismissed: Vec::new(),
            anew: None,
        });
        self.servers.insert(identity, key);
        if let Some(copies) = copies {
            self.copies.insert(copies, key);
        }
        key
    }

    /// The same request came again.
    pub(crate) fn repeated(&mut self, key: Key, request: &Message, flow: Flow, wire: &mut Wire) {
        wire.counts.retransmissions_in += 1;
        self.back(key, request, flow);
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        let step = match transaction.machine {
            Machine::InviteServer(machine) => machine.repeated(),
            Machine::NonInviteServer(machine) => machine.repeated(),
            _ => return,
        };
        if step.send && transaction.packet.is_some() {
            wire.counts.retransmissions_out += 1;
        }
        self.apply(key, step, wire);
    }

    /// Sends a response; a second final one is ignored.
    pub(crate) fn respond(&mut self, key: Key, status: u16, packet: Packet, wire: &mut Wire) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        let reliable = transaction.flow.transport.reliable();
        let arrives = reliable && !transaction.is_stranded();
        let step = match &mut transaction.machine {
            Machine::InviteServer(machine) => machine.respond(status, reliable),
            Machine::NonInviteServer(machine) => machine.respond(status, arrives),
            _ => return,
        };
        if !step.send {
            return;
        }
        let waited = wire.now.since(transaction.started);
        if status >= 200 && waited >= PATIENCE && transaction.method != Method::Invite {
            // RFC 4320 section 4.3: nobody waits any more.
            *wire.counts.timeouts.entry("late_answer").or_default() += 1;
            return self.close(key);
        }
        transaction.packet = Some(packet);
        let (method, waited) = (transaction.method, waited.as_secs_f64());
        *wire.counts.responses_out.entry((method, status)).or_default() += 1;
        if status >= 200 {
            wire.counts.server_transaction(method, waited);
        }
        self.apply(key, step, wire);
    }

    /// Whether anything was answered in this server transaction.
    pub(crate) fn is_answered(&self, key: Key) -> bool {
        self.all
            .get(key)
            .is_some_and(|transaction| transaction.packet.is_some())
    }

    /// The way that responses of this server transaction take.
    pub(crate) fn flow(&self, key: Key) -> Option<Flow> {
        self.all.get(key).map(|transaction| transaction.flow)
    }

    /// Responses of this server transaction take another way of the same transport from now on.
    pub(crate) fn redirect(&mut self, key: Key, flow: Flow) {
        let same = |way: Flow| way.transport == flow.transport;
        if let Some(transaction) = self.all.get_mut(key).filter(|t| same(t.flow)) {
            transaction.flow = flow;
        }
    }

    /// An ACK for a response that was not a 2xx.
    pub(crate) fn acknowledged(&mut self, key: Key, wire: &mut Wire) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        let reliable = transaction.flow.transport.reliable();
        let Machine::InviteServer(machine) = &mut transaction.machine else {
            return;
        };
        let step = machine.acknowledged(reliable);
        self.apply(key, step, wire);
    }

    /// Sends a request; `make` renders it with the branch it is given.
    pub(crate) fn open_client(
        &mut self,
        method: Method,
        flow: Flow,
        owner: Owner,
        wire: &mut Wire,
        make: impl FnOnce(&str) -> Packet,
    ) -> Key {
        let secret = wire.random();
        let machine = match method {
            Method::Invite => Machine::InviteClient(InviteClient::Calling),
            _ => Machine::NonInviteClient(NonInviteClient::Trying),
        };
        let key = self.all.insert_with(|key| Transaction {
            machine,
            method,
            flow,
            started: wire.now,
            packet: Some(make(branch(key, secret).as_str())),
            interval: T1,
            repeat_at: None,
            end_at: None,
            end_armed: false,
            identity: u128::from(secret),
            owner,
            copies: None,
            dismissed: Vec::new(),
            anew: None,
        });
        if let Some(way) = Way::of(flow) {
            self.by_way.insert(way, key);
        }
        *wire.counts.requests_out.entry(method).or_default() += 1;
        let repeat = if flow.transport.reliable() {
            Repeat::Stop
        } else {
            Repeat::In(T1)
        };
        self.apply(key, Step::send().repeating(repeat).ending(PATIENCE), wire);
        key
    }

    /// Takes an INVITE of ours back; true if the CANCEL went out. Before any response nothing is sent:
    /// the owner comes back when one is here.
    pub(crate) fn cancel(&mut self, key: Key, reason: Option<&str>, wire: &mut Wire) -> bool {
        let Some(transaction) = self.all.get_mut(key) else {
            return false;
        };
        let reliable = transaction.flow.transport.reliable();
        let Machine::InviteClient(machine) = &mut transaction.machine else {
            return false;
        };
        let step = machine.cancel(reliable);
        if !step.send {
            return false;
        }
        let Some(cancel) = transaction
            .packet
            .as_ref()
            .and_then(|packet| follow_up(packet, "CANCEL", None, reason))
        else {
            return false;
        };
        // The CANCEL takes the INVITE's place: it is what is repeated now, and it names the same
        // request for the ACK of the refusal that will come.
        transaction.packet = Some(Packet::whole(cancel));
        *wire.counts.requests_out.entry(Method::Cancel).or_default() += 1;
        self.apply(key, step, wire);
        true
    }

    /// A response came; the owner of its request, if the response is news to it.
    pub(crate) fn response(
        &mut self,
        response: &Message,
        wire: &mut Wire,
    ) -> Result<Option<(Key, Owner)>, Stray> {
        let key = self.client_of(response).ok_or(Stray)?;
        let transaction = self.all.get_mut(key).ok_or(Stray)?;
        let (status, reliable) = (response.status(), transaction.flow.transport.reliable());
        let method = response.method();
        if method == Method::Cancel && transaction.method == Method::Invite {
            transaction.repeat_at = None;
            transaction.arm_end(key, wire); // no repeat will
            return Ok(None);
        }
        if method != transaction.method {
            return Err(Stray);
        }
        let step = match &mut transaction.machine {
            Machine::InviteClient(machine) => machine.response(status, reliable),
            Machine::NonInviteClient(machine) => machine.response(status, reliable),
            _ => return Err(Stray),
        };
        let owner = transaction.owner;
        if matches!(
            transaction.machine,
            Machine::NonInviteClient(NonInviteClient::Completed)
        ) {
            transaction.packet = None; // it will not be repeated any more
        }
        if step.deliver {
            *wire.counts.responses_in.entry((method, status)).or_default() += 1;
            if status >= 200 {
                wire.counts
                    .client_transaction(method, wire.now.since(transaction.started).as_secs_f64());
            }
        }
        if step.acknowledge {
            self.acknowledge_refusal(key, response, wire);
        }
        self.apply(key, step, wire);
        Ok(step.deliver.then_some((key, owner)))
    }

    pub(crate) fn repeat_timer(&mut self, key: Key, at: Time, wire: &mut Wire) {
        let Some(transaction) = self.all.get_mut(key).filter(|t| t.repeat_at == Some(at)) else {
            return;
        };
        transaction.repeat_at = None;
        transaction.arm_end(key, wire);
        let step = match transaction.machine {
            Machine::InviteServer(machine) => machine.repeat(transaction.interval),
            Machine::InviteClient(machine) => machine.repeat(transaction.interval),
            Machine::NonInviteClient(machine) => machine.repeat(transaction.interval),
            Machine::NonInviteServer(_) => Step::nothing(),
        };
        if step.send {
            wire.counts.retransmissions_out += 1;
        }
        self.apply(key, step, wire);
    }

    /// A state's time is up; gives the owner of a request that got no answer.
    pub(crate) fn end_timer(&mut self, key: Key, at: Time, wire: &mut Wire) -> Option<(Key, Owner)> {
        let transaction = self.all.get(key).filter(|t| t.end_at == Some(at))?;
        let (client, failed) = match transaction.machine {
            Machine::InviteServer(machine) => (false, machine.end_name()),
            Machine::NonInviteServer(_) => (false, None),
            Machine::InviteClient(machine) => (true, machine.end_name()),
            Machine::NonInviteClient(machine) => (true, machine.end_name()),
        };
        let owner = transaction.owner;
        if let Some(name) = failed {
            *wire.counts.timeouts.entry(name).or_default() += 1;
        }
        self.close(key);
        (client && failed.is_some()).then_some((key, owner))
    }

    fn close(&mut self, key: Key) {
        let Some(transaction) = self.all.remove(key) else {
            return;
        };
        match transaction.machine {
            Machine::InviteServer(_) | Machine::NonInviteServer(_) => {
                self.servers.remove(&transaction.identity);
                if let Some(copies) = transaction.copies
                    && self.copies.get(&copies) == Some(&key)
                {
                    self.copies.remove(&copies);
                }
                if transaction.anew.is_some() {
                    self.leave(key, transaction.flow);
                }
            }
            _ => self.leave(key, transaction.flow),
        }
    }

    fn apply(&mut self, key: Key, step: Step, wire: &mut Wire) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        if step.send
            && let Some(packet) = &transaction.packet
        {
            wire.send(transaction.flow, packet.clone());
        }
        match step.repeat {
            Repeat::Keep => {}
            Repeat::Stop => transaction.repeat_at = None,
            Repeat::In(interval) => {
                transaction.interval = interval;
                transaction.repeat_at = Some(wire.now + interval);
                wire.timers.arm_after(interval, wire.now, Timer::Repeat(key));
            }
        }
        match step.end {
            End::Keep => {}
            End::Never => transaction.end_at = None,
            End::In(after) => {
                transaction.end_at = Some(wire.now + after);
                transaction.end_armed = transaction.repeat_at.is_none();
                if transaction.end_armed {
                    wire.timers.arm_after(after, wire.now, Timer::End(key));
                }
            }
        }
        if transaction.repeat_at.is_none() {
            transaction.arm_end(key, wire);
        }
        if step.over {
            self.close(key);
        }
    }

    /// RFC 3261 section 17.1.1.3: the ACK of a refusal belongs to the INVITE's transaction.
    fn acknowledge_refusal(&self, key: Key, response: &Message, wire: &mut Wire) {
        let Some(transaction) = self.all.get(key) else {
            return;
        };
        let to = response.header(Name::To);
        let Some(ack) = transaction
            .packet
            .as_ref()
            .and_then(|packet| follow_up(packet, "ACK", to, None))
        else {
            return;
        };
        *wire.counts.requests_out.entry(Method::Ack).or_default() += 1;
        wire.send(transaction.flow, Packet::whole(ack));
    }
}

/// A response that belongs to no transaction of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stray;

fn branch(key: Key, secret: u64) -> Short {
    key.append(Short::new().text("z9hG4bK"))
        .text(".")
        .hexadecimal(secret, 16)
}

#[cfg(test)]
mod tests;
