//! Where a call goes: plugins may say, otherwise the directory knows.

use cordboard_model::Ask;
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};

use crate::arena::Key;
use crate::call::incoming::Caller;
use crate::directory::Destination;
use crate::engine::{Engine, Subject};
use crate::record::PLUGIN_FAILED;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Refusal};
use crate::sip::transaction::response_flow_anew;
use crate::sip::write::quote_display;

const NOT_FOUND: Refusal = Refusal {
    status: 404,
    phrase: "Not Found",
    reason: "unknown_destination",
};

/// A router plugin failed that keeps callers out then. No 503: who hears that avoids the whole switch.
const UNROUTED: Refusal = Refusal {
    status: 500,
    phrase: "Routing Unavailable",
    reason: PLUGIN_FAILED,
};

/// Whom a caller wants.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// What was dialled, without a PIN: what plugins and records are told.
    pub(crate) number: String,
    /// The number or user name that this leads to: the same, or what plugins say.
    pub(crate) leads_to: String,
}

/// An INVITE that plugins are asked about.
#[derive(Debug)]
pub(crate) struct PendingRoute {
    transaction: Key,
    request: Message,
    caller: Caller,
    number: String,
    pin: Option<String>,
}

impl Engine {
    /// Asks the router plugins, if there are any, where this call goes.
    pub(crate) fn route_call(
        &mut self,
        transaction: Key,
        request: Message,
        caller: Caller,
        number: String,
        pin: Option<String>,
    ) {
        let pending = PendingRoute {
            transaction,
            request,
            caller,
            number,
            pin,
        };
        let Some(rule) = self.config.hooks.call_router else {
            return self.route_decided(pending, RouteVerdict::Pass);
        };
        self.trying(transaction, &pending.request);
        let credential = pending.caller.identity.credential();
        let credential = credential.map(|place| self.directory.credential(place));
        let shown = pending.request.from().ok();
        let shown = shown.and_then(|from| from.display().map(std::borrow::Cow::into_owned));
        let ask = Ask::Route(RouteAsk {
            realm: pending.caller.account.realm.clone(),
            number: pending.number.clone(),
            user: credential.map(|credential| credential.owner.clone()),
            display_name: shown
                .filter(|name| !name.trim().is_empty())
                .or_else(|| credential.map(|credential| credential.display_name.clone()))
                .unwrap_or_default(),
            transport: pending.caller.flow.transport.name(),
        });
        let ticket = self.ticket();
        self.ask(ticket, rule, ask, Subject::Route(Box::new(pending)));
    }

    /// A connection has ended: callers that came by it have lost theirs.
    pub(crate) fn strand_routes(&mut self, connection: u64) {
        if self.config.hooks.call_router.is_none() {
            return; // none waits, and connections may end by the thousand
        }
        for subject in self.subjects.values_mut() {
            if let Subject::Route(pending) = subject {
                pending.caller.lost |= pending.caller.flow.connection == connection;
            }
        }
    }

    /// The answers to a caller whose connection has ended go by the one on which its phone has registered meanwhile, or
    /// where its Via says.
    fn follow_caller(&mut self, pending: &mut PendingRoute) {
        let PendingRoute {
            transaction,
            request,
            caller,
            ..
        } = pending;
        if !caller.lost {
            return;
        }
        let dialog = Dialog::server(
            request,
            caller.flow,
            String::new(),
            self.sent_by(caller.flow),
            &self.directory.own,
        );
        if let Some(flow) = dialog.and_then(|dialog| self.way_back(&dialog)) {
            (caller.flow, caller.lost) = (flow, false);
            self.transactions.redirect(*transaction, flow);
        } else if let Some(flow) = response_flow_anew(request, caller.flow) {
            self.transactions.redirect(*transaction, flow);
        }
    }

    /// It is known where the call goes.
    pub(crate) fn route_decided(&mut self, mut pending: PendingRoute, verdict: RouteVerdict) {
        self.follow_caller(&mut pending);
        let PendingRoute {
            transaction,
            request,
            caller,
            number,
            pin,
        } = pending;
        if let Some(refusal) = self.has_no_room(&caller) {
            return self.refuse_caller(transaction, &request, (&caller, &number), None, refusal);
        }
        let find = |number: &str| self.directory.destination(caller.account.id, number);
        let (leads_to, destination) = match verdict {
            RouteVerdict::Pass => (number.clone(), find(&number)),
            RouteVerdict::Conference(conference) => {
                let found = find(&conference).filter(|to| matches!(to, Destination::Conference(..)));
                (conference, found)
            }
            RouteVerdict::User(user) => {
                let found = self.directory.find(caller.account.id, &user);
                (user, found.map(Destination::User))
            }
            RouteVerdict::Failed => {
                return self.refuse_caller(transaction, &request, (&caller, &number), None, UNROUTED);
            }
            RouteVerdict::Refuse { code, reason } => {
                let code = if (400..700).contains(&code) { code } else { 403 };
                let header = format!("SIP;cause={code};text={}", quote_display(&reason));
                self.wire.counts.reject("refused_by_plugin");
                self.record_refused(&request, (&caller, &number), None, code, "refused_by_plugin");
                return self.respond_with(transaction, &request, code, &reason, |response| {
                    response.header("Reason", header)
                });
            }
        };
        let dialled = Dialled { number, leads_to };
        match destination {
            Some(Destination::Conference(id, role)) => {
                self.call_conference(transaction, request, caller, id, role, dialled, pin.as_deref());
            }
            Some(Destination::User(place)) => self.call_user(transaction, request, caller, place, dialled),
            None => self.refuse_caller(transaction, &request, (&caller, &dialled.number), None, NOT_FOUND),
        }
    }

    /// The caller took an INVITE back whose way is not known yet.
    pub(crate) fn cancel_route(&mut self, invite: Key) {
        let asked = self.subjects.iter().find_map(|(ticket, subject)| match subject {
            Subject::Route(pending) if pending.transaction == invite => Some(*ticket),
            _ => None,
        });
        if let Some(Subject::Route(mut pending)) = asked.and_then(|ticket| self.subjects.remove(&ticket)) {
            self.follow_caller(&mut pending);
            let who = (&pending.caller, pending.number.as_str());
            self.record_refused(&pending.request, who, None, 487, "cancelled");
            self.respond_with(
                pending.transaction,
                &pending.request,
                487,
                "Request Terminated",
                |response| response,
            );
        }
    }
}
