//! Serves version 0.1 of `cordboard:plugin`: translates between its WIT types and the model.

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit/v1",
        world: "everything",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::cordboard::plugin::{audience, config, kv, log, time, types};
use bindings::exports::cordboard::plugin::{call_router, conference_policy, lifecycle, message_filter};
use cordboard_model::Hook;
use cordboard_model::hook::conference::{Admission, ConferenceView, JoinAsk, JoinVerdict, Role};
use cordboard_model::hook::message::{Audience, MessageAsk, MessageVerdict, Rewrite};
use cordboard_model::hook::route::{RouteAsk, RouteVerdict};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Engine, Store};

use super::{Instance, Prepared};
use crate::grant::Grant;
use crate::import::Powers;
use crate::import::kv::Refused;
use crate::import::log::Level;
use crate::limits;

/// The package, whose name precedes each interface.
const PACKAGE: &str = "cordboard:plugin/";

/// Whether a stamp's version is served here. While the package is 0.x, each 0.N is a version of its own.
pub(super) fn serves(version: &str) -> bool {
    version
        .strip_prefix("0.1.")
        .is_some_and(|patch| patch.parse::<u32>().is_ok())
}

/// The power behind an import's name; `Some(None)` for those that everybody has (types, and whom a message is
/// for), `None` for an import that is not of this interface.
pub(super) fn power(import: &str) -> Option<Option<Grant>> {
    let (interface, version) = import.strip_prefix(PACKAGE)?.split_once('@')?;
    if !serves(version) {
        return None;
    }
    match interface {
        "types" | "audience" => Some(None),
        name => name.parse().ok().map(Some),
    }
}

/// A compiled plugin.
pub(super) struct Plugin {
    pre: InstancePre<Powers>,
    hooks: Vec<Hook>,
    lifecycle: Option<lifecycle::GuestIndices>,
    conference_policy: Option<conference_policy::GuestIndices>,
    message_filter: Option<message_filter::GuestIndices>,
    call_router: Option<call_router::GuestIndices>,
}

impl Plugin {
    /// Links the powers and looks for each export by its name.
    pub(super) fn new(engine: &Engine, component: &Component, powers: &[Grant]) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        audience::add_to_linker::<_, HasSelf<_>>(&mut linker, |powers| powers)?;
        for power in powers {
            match power {
                Grant::Config => config::add_to_linker::<_, HasSelf<_>>(&mut linker, |powers| powers)?,
                Grant::Kv => kv::add_to_linker::<_, HasSelf<_>>(&mut linker, |powers| powers)?,
                Grant::Log => log::add_to_linker::<_, HasSelf<_>>(&mut linker, |powers| powers)?,
                Grant::Time => time::add_to_linker::<_, HasSelf<_>>(&mut linker, |powers| powers)?,
            }
        }
        let pre = linker.instantiate_pre(component)?;
        let exports = |interface: &str| {
            let kind = component.component_type();
            let prefix = format!("{PACKAGE}{interface}@");
            kind.exports(engine)
                .any(|(name, _)| name.strip_prefix(&prefix).is_some_and(serves))
        };
        let lifecycle = exports("lifecycle")
            .then(|| lifecycle::GuestIndices::new(&pre))
            .transpose()?;
        let conference_policy = exports(Hook::ConferencePolicy.name())
            .then(|| conference_policy::GuestIndices::new(&pre))
            .transpose()?;
        let message_filter = exports(Hook::MessageFilter.name())
            .then(|| message_filter::GuestIndices::new(&pre))
            .transpose()?;
        let call_router = exports(Hook::CallRouter.name())
            .then(|| call_router::GuestIndices::new(&pre))
            .transpose()?;
        let hooks = [
            conference_policy.is_some().then_some(Hook::ConferencePolicy),
            message_filter.is_some().then_some(Hook::MessageFilter),
            call_router.is_some().then_some(Hook::CallRouter),
        ];
        let hooks = hooks.into_iter().flatten().collect();
        Ok(Self {
            pre,
            hooks,
            lifecycle,
            conference_policy,
            message_filter,
            call_router,
        })
    }
}

impl Prepared for Plugin {
    fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    fn instantiate(&self, powers: Powers, ticks: u64) -> wasmtime::Result<Box<dyn Instance>> {
        let mut store = Store::new(self.pre.engine(), powers);
        store.limiter(|powers| &mut powers.memory);
        store.set_hostcall_fuel(limits::CROSSING_BYTES);
        store.set_epoch_deadline(ticks);
        let instance = self.pre.instantiate(&mut store)?;
        let lifecycle = self
            .lifecycle
            .as_ref()
            .map(|at| at.load(&mut store, &instance))
            .transpose()?;
        let conference_policy = self
            .conference_policy
            .as_ref()
            .map(|at| at.load(&mut store, &instance))
            .transpose()?;
        let message_filter = self
            .message_filter
            .as_ref()
            .map(|at| at.load(&mut store, &instance))
            .transpose()?;
        let call_router = self
            .call_router
            .as_ref()
            .map(|at| at.load(&mut store, &instance))
            .transpose()?;
        Ok(Box::new(Live {
            store,
            lifecycle,
            conference_policy,
            message_filter,
            call_router,
        }))
    }
}

/// One instance with its exports.
struct Live {
    store: Store<Powers>,
    lifecycle: Option<lifecycle::Guest>,
    conference_policy: Option<conference_policy::Guest>,
    message_filter: Option<message_filter::Guest>,
    call_router: Option<call_router::Guest>,
}

impl Instance for Live {
    fn begin(&mut self, ticks: u64) {
        self.store.set_epoch_deadline(ticks);
        self.store.data_mut().begin_call();
    }

    fn start(&mut self) -> wasmtime::Result<Result<(), String>> {
        match &self.lifecycle {
            Some(lifecycle) => lifecycle.call_start(&mut self.store),
            None => Ok(Ok(())),
        }
    }

    fn join(&mut self, ask: &JoinAsk) -> wasmtime::Result<Option<JoinVerdict>> {
        let Some(guest) = &self.conference_policy else {
            return Ok(None);
        };
        let id = ask.conference.id.to_string();
        let view = conference_policy::JoinAsk {
            conference: view(&ask.conference, &id),
            number: &ask.number,
            user: ask.user.as_deref(),
            display_name: &ask.display_name,
            transport: ask.transport,
            role: role_out(ask.role),
        };
        let verdict = guest.call_join(&mut self.store, view)?;
        Ok(match verdict {
            conference_policy::JoinVerdict::Pass => None,
            conference_policy::JoinVerdict::Admit(admission) => Some(JoinVerdict::Admit(Admission {
                muted: admission.muted,
                deaf: admission.deaf,
                role: admission.role.map(role_in),
                display_name: admission.display_name,
                greeting: admission.greeting,
            })),
            conference_policy::JoinVerdict::Refuse(refusal) => Some(JoinVerdict::Refuse {
                code: refusal.code,
                reason: refusal.reason,
            }),
        })
    }

    fn filter(&mut self, ask: &MessageAsk) -> wasmtime::Result<MessageVerdict> {
        let Some(guest) = &self.message_filter else {
            return Ok(MessageVerdict::Pass);
        };
        let id = ask
            .conference
            .as_ref()
            .map(|conference| conference.id.to_string());
        let message = message_filter::Message {
            conference: ask
                .conference
                .as_ref()
                .zip(id.as_ref())
                .map(|(conference, id)| view(conference, id)),
            user: ask.user.as_deref(),
            display_name: &ask.display_name,
            transport: ask.transport,
            content_type: &ask.content_type,
            body: &ask.body,
        };
        self.store.data_mut().audience.clone_from(&ask.audience);
        let verdict = guest.call_filter(&mut self.store, message)?;
        Ok(match verdict {
            message_filter::MessageVerdict::Pass => MessageVerdict::Pass,
            message_filter::MessageVerdict::Drop => MessageVerdict::Drop,
            message_filter::MessageVerdict::Rewrite(rewrite) => MessageVerdict::Rewrite(Rewrite {
                content_type: rewrite.content_type,
                body: rewrite.body.map(Into::into),
                display_name: rewrite.display_name,
            }),
            message_filter::MessageVerdict::Reply(reply) => MessageVerdict::Reply {
                content_type: reply.content_type,
                body: reply.body.into(),
            },
            message_filter::MessageVerdict::Reject(refusal) => MessageVerdict::Reject {
                code: refusal.code,
                reason: refusal.reason,
            },
        })
    }

    fn route(&mut self, ask: &RouteAsk) -> wasmtime::Result<RouteVerdict> {
        let Some(guest) = &self.call_router else {
            return Ok(RouteVerdict::Pass);
        };
        let call = call_router::RouteAsk {
            realm: &ask.realm,
            number: &ask.number,
            user: ask.user.as_deref(),
            display_name: &ask.display_name,
            transport: ask.transport,
        };
        let verdict = guest.call_route(&mut self.store, call)?;
        Ok(match verdict {
            call_router::RouteVerdict::Pass => RouteVerdict::Pass,
            call_router::RouteVerdict::Conference(number) => RouteVerdict::Conference(number),
            call_router::RouteVerdict::User(user) => RouteVerdict::User(user),
            call_router::RouteVerdict::Refuse(refusal) => RouteVerdict::Refuse {
                code: refusal.code,
                reason: refusal.reason,
            },
        })
    }
}

fn view<'a>(conference: &'a ConferenceView, id: &'a str) -> types::ConferenceView<'a> {
    types::ConferenceView {
        id,
        name: &conference.name,
        participants: conference.participants,
    }
}

fn role_out(role: Role) -> types::Role {
    match role {
        Role::Member => types::Role::Member,
        Role::Moderator => types::Role::Moderator,
    }
}

fn role_in(role: types::Role) -> Role {
    match role {
        types::Role::Member => Role::Member,
        types::Role::Moderator => Role::Moderator,
    }
}

impl types::Host for Powers {}

impl audience::Host for Powers {
    fn current(&mut self) -> audience::Audience {
        match &self.audience {
            Audience::Everybody => audience::Audience::Everybody,
            Audience::Group(name) => audience::Audience::Group(name.clone()),
            Audience::One(name) => audience::Audience::One(name.clone()),
        }
    }
}

impl config::Host for Powers {
    fn json(&mut self) -> String {
        self.config()
    }
}

impl time::Host for Powers {
    fn now(&mut self) -> u64 {
        Self::now(self)
    }
}

impl log::Host for Powers {
    fn write(&mut self, level: log::Level, text: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log(level, &text);
    }
}

impl kv::Host for Powers {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.kv_get(&key)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::Error> {
        self.kv_set(&key, &value).map_err(refused)
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::Error> {
        self.kv_delete(&key).map_err(refused)
    }

    fn keys(&mut self, prefix: String, after: String, limit: u32) -> Vec<String> {
        self.kv_keys(&prefix, &after, limit)
    }

    fn increment(&mut self, key: String, by: i64) -> Result<i64, kv::Error> {
        self.kv_increment(&key, by).map_err(refused)
    }
}

fn refused(why: Refused) -> kv::Error {
    match why {
        Refused::BadKey => kv::Error::BadKey,
        Refused::ValueTooLarge => kv::Error::ValueTooLarge,
        Refused::Full => kv::Error::Full,
        Refused::TooManyWrites => kv::Error::TooManyWrites,
        Refused::NotANumber => kv::Error::NotANumber,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_told_apart() {
        assert_eq!(power("cordboard:plugin/kv@0.1.0"), Some(Some(Grant::Kv)));
        assert_eq!(power("cordboard:plugin/types@0.1.7"), Some(None));
        assert_eq!(power("cordboard:plugin/audience@0.1.0"), Some(None));
        for strange in [
            "cordboard:plugin/kv@0.2.0",
            "cordboard:plugin/disk@0.1.0",
            "wasi:cli/environment@0.2.0",
        ] {
            assert_eq!(power(strange), None, "{strange}");
        }
    }
}
