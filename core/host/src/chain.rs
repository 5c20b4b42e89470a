//! A hook's plugins in the operator's order, and how their answers become one verdict.
//!
//! `pass`, `admit` and `rewrite` let the next plugin have its say, and it sees what the ones before it
//! changed; `refuse`, `reject`, `drop`, `reply` and a place for a call end the chain. A plugin that fails is taken for one
//! that answered `pass`, or ends the chain with a refusal, as its entry says.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordboard_model::hook::conference::{Admission, JoinAsk, JoinVerdict};
use cordboard_model::hook::message::{MessageAsk, MessageVerdict, Rewrite};
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};
use cordboard_model::{Ask, Hook, OnFailure, Verdict};

use crate::count::Outcome;
use crate::guest::{Failure, Guest};
use crate::host::Slot;
use crate::plugin::locked;

/// One plugin's place in a hook's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEntry {
    /// The plugin's name.
    pub plugin: String,
    /// How long one call of it may take.
    pub deadline: Duration,
    /// What stands for its verdict when it fails.
    pub on_failure: OnFailure,
}

/// A chain with its plugins found.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
}

/// One entry with its plugin.
pub(crate) struct Link {
    pub(crate) slot: Arc<Slot>,
    pub(crate) deadline: Duration,
    pub(crate) on_failure: OnFailure,
}

impl Chain {
    /// How long a question may take in all, waiting not counted.
    pub(crate) fn deadline(&self) -> Duration {
        self.links.iter().map(|link| link.deadline).sum()
    }

    /// The verdict when nobody is asked, each plugin counted with the reason.
    pub(crate) fn unasked(&self, ask: &Ask, why: Outcome) -> Verdict {
        for link in &self.links {
            link.slot.plugin.counts.outcome(ask.hook(), why);
            if link.on_failure == OnFailure::Refuse {
                return ask.failed(OnFailure::Refuse);
            }
        }
        ask.failed(OnFailure::Pass)
    }

    /// Asks the plugins one after the other; nothing is begun after `expiry`.
    pub(crate) fn run(&self, ask: &Ask, worker: usize, expiry: Instant) -> Verdict {
        match ask {
            Ask::Join(ask) => Verdict::Join(self.join(ask, worker, expiry)),
            Ask::Message(ask) => Verdict::Message(self.message(ask, worker, expiry)),
            Ask::Route(ask) => Verdict::Route(self.route(ask, worker, expiry)),
        }
    }

    fn join(&self, ask: &JoinAsk, worker: usize, expiry: Instant) -> JoinVerdict {
        let mut ask = Cow::Borrowed(ask);
        let mut changes = Admission::default();
        for link in &self.links {
            let answer = link.call(
                Hook::ConferencePolicy,
                expiry,
                |guest, deadline| guest.join(worker, deadline, &ask),
                |verdict| match verdict {
                    None => Outcome::Pass,
                    Some(JoinVerdict::Admit(_)) => Outcome::Admit,
                    Some(JoinVerdict::Refuse { .. } | JoinVerdict::Failed) => Outcome::Refuse,
                },
            );
            match answer {
                Some(None) => {}
                Some(Some(JoinVerdict::Admit(admission))) => {
                    if let Some(role) = admission.role {
                        ask.to_mut().role = role;
                    }
                    if let Some(name) = &admission.display_name {
                        ask.to_mut().display_name.clone_from(name);
                    }
                    changes = Admission {
                        muted: admission.muted.or(changes.muted),
                        deaf: admission.deaf.or(changes.deaf),
                        role: admission.role.or(changes.role),
                        display_name: admission.display_name.or(changes.display_name),
                        greeting: admission.greeting.or(changes.greeting),
                    };
                }
                Some(Some(refusal @ (JoinVerdict::Refuse { .. } | JoinVerdict::Failed))) => return refusal,
                None if link.on_failure == OnFailure::Refuse => {
                    return JoinVerdict::failed(OnFailure::Refuse);
                }
                None => {}
            }
        }
        JoinVerdict::Admit(changes)
    }

    fn message(&self, ask: &MessageAsk, worker: usize, expiry: Instant) -> MessageVerdict {
        let mut ask = Cow::Borrowed(ask);
        let mut changes = Rewrite::default();
        for link in &self.links {
            let answer = link.call(
                Hook::MessageFilter,
                expiry,
                |guest, deadline| guest.filter(worker, deadline, &ask),
                |verdict| match verdict {
                    MessageVerdict::Pass => Outcome::Pass,
                    MessageVerdict::Drop => Outcome::Drop,
                    MessageVerdict::Rewrite(_) => Outcome::Rewrite,
                    MessageVerdict::Reply { .. } => Outcome::Reply,
                    MessageVerdict::Reject { .. } => Outcome::Reject,
                },
            );
            match answer {
                Some(MessageVerdict::Pass) => {}
                Some(MessageVerdict::Rewrite(rewrite)) => {
                    if let Some(kind) = &rewrite.content_type {
                        ask.to_mut().content_type.clone_from(kind);
                    }
                    if let Some(body) = &rewrite.body {
                        ask.to_mut().body = body.clone();
                    }
                    if let Some(name) = &rewrite.display_name {
                        ask.to_mut().display_name.clone_from(name);
                    }
                    changes = Rewrite {
                        content_type: rewrite.content_type.or(changes.content_type),
                        body: rewrite.body.or(changes.body),
                        display_name: rewrite.display_name.or(changes.display_name),
                    };
                }
                Some(end) => return end,
                None if link.on_failure == OnFailure::Refuse => {
                    return MessageVerdict::failed(OnFailure::Refuse);
                }
                None => {}
            }
        }
        if changes == Rewrite::default() {
            MessageVerdict::Pass
        } else {
            MessageVerdict::Rewrite(changes)
        }
    }

    fn route(&self, ask: &RouteAsk, worker: usize, expiry: Instant) -> RouteVerdict {
        for link in &self.links {
            let answer = link.call(
                Hook::CallRouter,
                expiry,
                |guest, deadline| guest.route(worker, deadline, ask),
                |verdict| match verdict {
                    RouteVerdict::Pass => Outcome::Pass,
                    RouteVerdict::Conference(_) | RouteVerdict::User(_) => Outcome::Route,
                    RouteVerdict::Refuse { .. } | RouteVerdict::Failed => Outcome::Refuse,
                },
            );
            match answer {
                Some(RouteVerdict::Pass) => {}
                Some(end) => return end,
                None if link.on_failure == OnFailure::Refuse => {
                    return RouteVerdict::failed(OnFailure::Refuse);
                }
                None => {}
            }
        }
        RouteVerdict::Pass
    }
}

impl Link {
    /// Asks one plugin and counts what came of it; `None` if it failed.
    fn call<A>(
        &self,
        hook: Hook,
        expiry: Instant,
        ask: impl FnOnce(&Guest, Duration) -> Result<A, Failure>,
        outcome: impl FnOnce(&A) -> Outcome,
    ) -> Option<A> {
        let counts = &self.slot.plugin.counts;
        let start = Instant::now();
        let deadline = self.deadline.min(expiry.saturating_duration_since(start));
        let Some(guest) = self.slot.guest().filter(|guest| guest.serves(hook)) else {
            counts.outcome(hook, Outcome::Missing);
            return None;
        };
        if deadline.is_zero() {
            counts.outcome(hook, Outcome::Expired);
            return None;
        }
        let answer = ask(&guest, deadline);
        counts.took(hook, start.elapsed());
        match answer {
            Ok(answer) => {
                counts.outcome(hook, outcome(&answer));
                Some(answer)
            }
            Err(failure) => {
                counts.outcome(hook, failure.outcome());
                self.report(hook, &failure);
                None
            }
        }
    }

    /// Logs a failure, but not thousands of them.
    fn report(&self, hook: Hook, failure: &Failure) {
        let Some(unsaid) = locked(&self.slot.plugin.failures).take(Instant::now()) else {
            return;
        };
        let plugin = self.slot.plugin.name.as_str();
        let kind = failure.outcome().name();
        let on_failure = match self.on_failure {
            OnFailure::Pass => "pass",
            OnFailure::Refuse => "refuse",
        };
        tracing::warn!(
            target: "plugin", plugin, hook = hook.name(), kind, on_failure, unsaid,
            "a plugin failed: {failure}"
        );
    }
}
