//! The way to the control thread: what connections bring, answers of the switch's own threads, and questions.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cordboard_engine::limits::Ban;
use cordboard_engine::quality::Participant;
use cordboard_model::ConferenceId;
use mio::Waker;
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Arrival, Report};

/// The way to the control thread.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) answers: mpsc::UnboundedSender<Answer>,
    pub(super) waker: Arc<Waker>,
    /// Set while a wake-up is on its way: one is enough.
    pub(super) woken: Arc<AtomicBool>,
}

impl ControlHandle {
    /// Hands over what a connection brought; waits while control is behind.
    pub(crate) async fn arrive(&self, arrival: Arrival) {
        if self.arrivals.send(arrival).await.is_ok() {
            self.wake();
        }
    }

    /// Hands over an answer.
    pub(crate) fn answer(&self, answer: Answer) {
        if self.answers.send(answer).is_ok() {
            self.wake();
        }
    }

    /// Hands over several answers, and wakes control once.
    pub(crate) fn answer_all(&self, answers: impl Iterator<Item = Answer>) {
        let mut handed = false;
        for answer in answers {
            handed |= self.answers.send(answer).is_ok();
        }
        if handed {
            self.wake();
        }
    }

    /// What control knows now; `None` if it has ended.
    pub(crate) async fn report(&self) -> Option<Report> {
        let (sender, receiver) = oneshot::channel();
        self.answer(Answer::Report(sender));
        receiver.await.ok()
    }

    /// The bans that hold now; `None` if control has ended.
    pub(crate) async fn bans(&self) -> Option<Vec<Ban>> {
        let (sender, receiver) = oneshot::channel();
        self.answer(Answer::Bans(sender));
        receiver.await.ok()
    }

    /// Ends the bans of a source; whether there was one. `None` if control has ended.
    pub(crate) async fn lift_ban(&self, source: IpAddr) -> Option<bool> {
        let (lifted, answer) = oneshot::channel();
        self.answer(Answer::LiftBan { source, lifted });
        answer.await.ok()
    }

    /// Who is in a conference now; `None` if it is not alive, or control has ended.
    pub(crate) async fn participants(&self, id: ConferenceId) -> Option<Vec<Participant>> {
        let (sender, receiver) = oneshot::channel();
        self.answer(Answer::Participants(id, sender));
        receiver.await.ok()?
    }

    /// Somebody has shown a token of an operator, right or wrong; `None` if control has ended.
    ///
    /// # Errors
    /// It is not heard, for its source is banned: how long that will last.
    pub(crate) async fn token(&self, source: IpAddr, right: bool) -> Option<Result<(), Duration>> {
        let (heard, answer) = oneshot::channel();
        self.answer(Answer::Token { source, right, heard });
        answer.await.ok()
    }

    /// Whether the control thread has ended. Connections learn of that before they lose their writers, which it drops
    /// last.
    pub(crate) fn has_ended(&self) -> bool {
        self.arrivals.is_closed()
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "the control thread could not be woken");
        }
    }
}

#[cfg(test)]
impl super::ControlParts {
    /// What a connection brought next, for tests of connections without a control thread.
    pub(crate) async fn next_arrival(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}
