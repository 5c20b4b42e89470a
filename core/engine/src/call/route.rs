//! Where a call goes: plugins may say, otherwise the directory knows.

use cordboard_model::Ask;
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};

use crate::arena::Key;
use crate::call::incoming::Caller;
use crate::directory::Destination;
use crate::engine::{Engine, Subject};
use crate::sip::message::{Message, Refusal};
use crate::sip::write::quote_display;

const NOT_FOUND: Refusal = Refusal {
    status: 404,
    phrase: "Not Found",
    reason: "unknown_destination",
};

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

    /// It is known where the call goes.
    pub(crate) fn route_decided(&mut self, pending: PendingRoute, verdict: RouteVerdict) {
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
        let (number, destination) = match verdict {
            RouteVerdict::Pass => (number.clone(), find(&number)),
            RouteVerdict::Conference(number) => {
                let found = find(&number).filter(|to| matches!(to, Destination::Conference(..)));
                (number, found)
            }
            RouteVerdict::User(user) => {
                let found = self.directory.find(caller.account.id, &user);
                (user, found.map(Destination::User))
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
        match destination {
            Some(Destination::Conference(id, role)) => {
                self.call_conference(transaction, request, caller, id, role, number, pin.as_deref());
            }
            Some(Destination::User(place)) => self.call_user(transaction, request, caller, place, number),
            None => self.refuse_caller(transaction, &request, (&caller, &number), None, NOT_FOUND),
        }
    }

    /// The caller took an INVITE back whose way is not known yet.
    pub(crate) fn cancel_route(&mut self, invite: Key) {
        let asked = self.subjects.iter().find_map(|(ticket, subject)| match subject {
            Subject::Route(pending) if pending.transaction == invite => Some(*ticket),
            _ => None,
        });
        if let Some(Subject::Route(pending)) = asked.and_then(|ticket| self.subjects.remove(&ticket)) {
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
