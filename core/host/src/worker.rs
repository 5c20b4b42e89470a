//! The worker threads: take a question, run its chain, hand over the verdict.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use cordboard_model::{Ask, Ticket, Verdict};

use crate::count::Outcome;
use crate::host::OnVerdict;
use crate::queue::{Job, Queue};
use crate::ticker::Ticker;

/// How much lower than the rest of the switch plugins are in the scheduler's eyes.
const NICE: i32 = 10;

/// Which worker answers a question: always the same for one sender's messages and for one conference's
/// joins, so that their order is kept.
pub(crate) fn choose(ask: &Ask, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match ask {
        Ask::Join(ask) => ask.conference.id.hash(&mut hasher),
        Ask::Route(ask) => ask.number.hash(&mut hasher),
        Ask::Message(ask) => {
            ask.conference
                .as_ref()
                .map(|conference| conference.id)
                .hash(&mut hasher);
            match &ask.user {
                Some(user) => user.hash(&mut hasher),
                None => ask.display_name.hash(&mut hasher),
            }
        }
    }
    let workers = workers as u64;
    usize::try_from(hasher.finish() % workers).expect("less than the number of workers")
}

/// Lowers the calling thread's priority; threads that it starts inherit it.
pub(crate) fn step_back() {
    // On Linux this is the calling thread alone. Where it is not allowed, plugins run like the rest.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(target: "plugin", "plugins keep the usual priority: {error}");
    }
}

/// A worker's life.
pub(crate) fn work(worker: usize, queue: &Queue, ticker: &Ticker, on_verdict: &OnVerdict) {
    step_back();
    while let Some(job) = queue.pop() {
        let _running = ticker.running();
        let ticket = job.ticket;
        let verdict = answer(job, worker);
        deliver(on_verdict, ticket, verdict);
    }
}

/// Answers one question, whatever happens.
fn answer(job: Job, worker: usize) -> Verdict {
    let Job {
        ask, chain, expiry, ..
    } = job;
    if Instant::now() >= expiry {
        return chain.unasked(&ask, Outcome::Expired);
    }
    // A panic of the host's own is a bug; it must not cost the worker and with it a part of the service.
    catch_unwind(AssertUnwindSafe(|| chain.run(&ask, worker, expiry))).unwrap_or_else(|_| {
        let hook = ask.hook().name();
        tracing::error!(target: "plugin", hook, "the plugin host panicked; this is a bug of the switch");
        chain.unasked(&ask, Outcome::Trap)
    })
}

fn deliver(on_verdict: &OnVerdict, ticket: Ticket, verdict: Verdict) {
    if catch_unwind(AssertUnwindSafe(|| on_verdict(ticket, verdict))).is_err() {
        tracing::error!(target: "plugin", "taking a verdict panicked; this is a bug of the switch");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cordboard_model::ConferenceId;
    use cordboard_model::hook::conference::{ConferenceView, JoinAsk, Role};
    use cordboard_model::hook::message::{Audience, MessageAsk};

    pub(crate) fn message_ask(user: &str) -> Ask {
        Ask::Message(MessageAsk {
            conference: Some(conference()),
            user: Some(user.into()),
            display_name: user.to_uppercase(),
            transport: "udp",
            audience: Audience::Everybody,
            content_type: "text/plain".into(),
            body: "hello".into(),
        })
    }

    pub(crate) fn join_ask() -> Ask {
        Ask::Join(JoinAsk {
            conference: conference(),
            number: "3000".into(),
            user: Some("alice".into()),
            display_name: "Alice".into(),
            transport: "udp",
            role: Role::Member,
        })
    }

    fn conference() -> ConferenceView {
        ConferenceView {
            id: ConferenceId(7),
            name: "Daily".into(),
            participants: 2,
        }
    }

    #[test]
    fn one_senders_messages_stay_with_one_worker_and_senders_are_spread() {
        let of: Vec<usize> = (0..100)
            .map(|n| choose(&message_ask(&format!("user{n}")), 4))
            .collect();
        for (n, worker) in of.iter().enumerate() {
            assert_eq!(choose(&message_ask(&format!("user{n}")), 4), *worker);
        }
        for worker in 0..4 {
            assert!(of.contains(&worker), "worker {worker} gets nothing: {of:?}");
        }
    }
}
