//! What a connection's peer has not taken yet: packets that wait to be written, and what it has asked that is not
//! answered. While that is much, nothing more is read from it, so who reads gets every answer, however many requests
//! come at once. Who does not read is slowed down by TCP, and cut where others send it more than may wait: the less is
//! left for all, the sooner.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use cordboard_engine::io::Packet;
use cordboard_engine::sip::message::Message;
use cordboard_engine::sip::method::Method;
use tokio::sync::{Notify, mpsc};

use super::place::Seat;

/// What may wait for a peer that is known, in bytes: the answers to thousands of phones behind one proxy.
pub(crate) const KNOWN: usize = 8 << 20;
/// What may wait for one that nobody has proved himself over, in bytes.
const STRANGER: usize = 64 << 10;
/// What may wait for all peers together, each connection's first [`FREE`] aside, in bytes.
const ALL: usize = 64 << 20;
/// Of that, what strangers may take, in bytes.
const STRANGERS: usize = 16 << 20;
/// Of what is left for all, one peer may have this part: who takes much is stopped first, and small backlogs go on. After
/// one user's sixteen connections that do not read, a sixth of it is left.
const SHARE: usize = 8;
/// What may wait for each in any case, in bytes: nearly always it is less.
const FREE: usize = 4 << 10;
/// What a packet or a request takes beside its bytes.
const OVERHEAD: usize = 256;

/// What waits for all peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlogs(Arc<All>);

#[derive(Debug, Default)]
struct All {
    /// In bytes: of each peer what is beyond [`FREE`], and once what is shared.
    bytes: AtomicUsize,
    /// What was shared last: who sends to many hands over all of it in a row.
    last: Mutex<Weak<Shared>>,
}

/// What packets to several peers have in common, held in memory once until the last of them is written.
#[derive(Debug)]
struct Shared {
    all: Backlogs,
    /// Where it is in memory, and its length.
    place: (usize, usize),
}

/// What waits for one peer, as its reader, its writer and the control thread know it together.
#[derive(Debug)]
pub(crate) struct Backlog {
    seat: Arc<Seat>,
    all: Backlogs,
    /// Packets that were handed over to be written, in bytes.
    waiting: AtomicUsize,
    /// Of that what it does not share with others, in bytes.
    alone: AtomicUsize,
    /// Messages of the peer that control has not taken yet, in bytes.
    asked: AtomicUsize,
    /// Requests of the peer without a final answer; some never get one.
    owed: AtomicUsize,
    /// So much waited that nothing more is written.
    cut: AtomicBool,
    /// Tells the one who waits, the reader as long as there is one, that there is less than there was.
    less: Notify,
}

/// The end of a connection that the control thread holds.
#[derive(Debug)]
pub(crate) struct Writer {
    packets: mpsc::UnboundedSender<(Packet, Receipt)>,
    backlog: Arc<Backlog>,
}

/// Why a packet is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWritten {
    /// The peer has not taken what waits already: the connection is to be cut.
    TooMuch,
    /// The connection is gone; it will be told.
    Closing,
}

/// The end of a connection that is written from.
#[derive(Debug)]
pub(crate) struct Queue {
    packets: mpsc::UnboundedReceiver<(Packet, Receipt)>,
    backlog: Arc<Backlog>,
}

/// A message of the peer that control has not taken yet.
#[derive(Debug)]
pub(crate) struct Asked {
    backlog: Arc<Backlog>,
    bytes: usize,
}

/// What is to be noted of a packet once it is written, or given up.
#[derive(Debug)]
pub(crate) struct Receipt {
    bytes: usize,
    /// Of them those that no other packet may share.
    alone: usize,
    shared: Option<Arc<Shared>>,
    /// It is a final answer.
    answers: bool,
}

impl Receipt {
    fn of(packet: &Packet) -> Self {
        let (head, tail) = (packet.head.len() + OVERHEAD, packet.tail.len());
        Self {
            bytes: head + tail,
            alone: if may_share(&packet.tail) {
                head
            } else {
                head + tail
            },
            shared: None,
            answers: is_response(packet) && packet.head.get(8).is_some_and(|digit| *digit >= b'2'),
        }
    }
}

/// To ask who else has a short one would cost more than it takes.
const fn may_share(tail: &Bytes) -> bool {
    tail.len() > OVERHEAD
}

impl Backlogs {
    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts what packets may share, unless it waits for somebody already.
    fn share(&self, tail: &Bytes) -> Option<Arc<Shared>> {
        if !may_share(tail) {
            return None;
        }
        let place = (tail.as_ptr().addr(), tail.len());
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.upgrade().filter(|shared| shared.place == place);
        Some(known.unwrap_or_else(|| {
            self.add(tail.len());
            let all = self.clone();
            let shared = Arc::new(Shared { all, place });
            *last = Arc::downgrade(&shared);
            shared
        }))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.all.remove(self.place.1);
    }
}

/// Whether a packet is a response, not a request.
pub(crate) fn is_response(packet: &Packet) -> bool {
    packet.head.starts_with(b"SIP/2.0 ")
}

/// Two ends for the packets of a new connection.
pub(crate) fn queue(seat: &Arc<Seat>, all: &Backlogs) -> (Writer, Queue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Arc::new(Backlog {
        seat: Arc::clone(seat),
        all: all.clone(),
        waiting: AtomicUsize::new(0),
        alone: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
        owed: AtomicUsize::new(0),
        cut: AtomicBool::new(false),
        less: Notify::new(),
    });
    let writer = Writer {
        packets: sender,
        backlog: Arc::clone(&backlog),
    };
    let packets = receiver;
    (writer, Queue { packets, backlog })
}

impl Writer {
    /// Hands over a packet.
    ///
    /// # Errors
    /// Why nothing more goes this way.
    pub(crate) fn write(&self, packet: Packet) -> Result<(), NotWritten> {
        let mut receipt = Receipt::of(&packet);
        if !self.backlog.takes(receipt.bytes) {
            self.backlog.cut.store(true, Ordering::Relaxed);
            return Err(NotWritten::TooMuch);
        }
        receipt.shared = self.backlog.all.share(&packet.tail);
        self.backlog.add(&receipt);
        let written = self.packets.send((packet, receipt));
        written.map_err(|_| NotWritten::Closing)
    }

    /// Somebody has proved himself over this connection, or needs no proof.
    pub(crate) fn prove(&self) {
        self.backlog.seat.prove();
    }
}

impl Queue {
    pub(crate) fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }

    /// The next packet, and what [`Self::written`] is to be told of it; `None` when control has let go of the connection
    /// and all is written, or has cut it.
    pub(crate) async fn next(&mut self) -> Option<(Packet, Receipt)> {
        let packet = self.packets.recv().await?;
        let cut = self.backlog.cut.load(Ordering::Relaxed);
        (!cut).then_some(packet)
    }

    /// A packet waits no longer.
    pub(crate) fn written(&self, receipt: Receipt) {
        self.backlog.written(&receipt);
    }
}

impl Backlog {
    /// Waits until the peer has taken enough of what waits for it to be listened to again.
    pub(crate) async fn shrinks(&self) {
        while self.held() > self.bound() / 2 {
            self.less.notified().await;
        }
    }

    /// A message of the peer goes to control.
    pub(crate) fn ask(self: &Arc<Self>, bytes: usize) -> Asked {
        let bytes = bytes + OVERHEAD;
        self.asked.fetch_add(bytes, Ordering::Relaxed);
        Asked {
            backlog: Arc::clone(self),
            bytes,
        }
    }

    /// The message that goes to control is this one.
    pub(crate) fn owe(&self, message: &Message) {
        if message.is_request() && message.method() != Method::Ack {
            self.owed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a request of the peer may still be answered.
    pub(crate) fn is_owing(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }

    /// Waits until every request of the peer is answered.
    pub(crate) async fn settled(&self) {
        while self.is_owing() {
            self.less.notified().await;
        }
    }

    fn bound(&self) -> usize {
        if self.seat.is_known() { KNOWN } else { STRANGER }
    }

    /// In one order with what makes it less: of control and writer, who both do that and then look, the later one must
    /// see what the other has done, or neither would tell the reader.
    fn held(&self) -> usize {
        self.waiting.load(Ordering::SeqCst) + self.asked.load(Ordering::SeqCst)
    }

    /// Whether there is room for so many bytes more; asked by the control thread alone, which alone adds some.
    fn takes(&self, bytes: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let most = if self.seat.is_known() { ALL } else { STRANGERS };
        let share = most.saturating_sub(self.all.bytes()) / SHARE;
        let after = waiting + bytes;
        // One alone is written whatever its size, as nothing keeps it.
        waiting == 0 || after <= FREE || after <= self.bound().min(share)
    }

    fn add(&self, receipt: &Receipt) {
        self.waiting.fetch_add(receipt.bytes, Ordering::Relaxed);
        let before = self.alone.fetch_add(receipt.alone, Ordering::Relaxed);
        self.all.add(beyond(before + receipt.alone) - beyond(before));
    }

    fn written(&self, receipt: &Receipt) {
        let before = self.alone.fetch_sub(receipt.alone, Ordering::Relaxed);
        self.all.remove(beyond(before) - beyond(before - receipt.alone));
        self.waiting.fetch_sub(receipt.bytes, Ordering::SeqCst);
        if receipt.answers {
            // An answer that is repeated, or a stray one, may find nothing.
            let one_less = |owed: usize| owed.checked_sub(1);
            let _ = self
                .owed
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
        self.tell();
    }

    /// Not at once, or reader and writer would take turns with every message.
    fn tell(&self) {
        if self.held() <= self.bound() / 4 {
            self.less.notify_one();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.backlog.asked.fetch_sub(self.bytes, Ordering::SeqCst);
        self.backlog.tell();
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.all.remove(beyond(*self.alone.get_mut()));
    }
}

/// What of so many bytes counts for all together.
const fn beyond(bytes: usize) -> usize {
    bytes.saturating_sub(FREE)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn packet(bytes: usize) -> Packet {
        Packet::whole(vec![b'x'; bytes].into())
    }

    fn answer() -> Packet {
        Packet::whole(
            [&b"SIP/2.0 401 Unauthorized\r\n"[..], &[b'x'; 650]]
                .concat()
                .into(),
        )
    }

    fn known(all: &Backlogs) -> (Writer, Queue) {
        let (writer, queue) = queue(&Arc::default(), all);
        writer.prove();
        (writer, queue)
    }

    fn take(queue: &mut Queue) -> Option<Packet> {
        let (packet, receipt) = queue.packets.try_recv().ok()?;
        queue.written(receipt);
        Some(packet)
    }

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Box::pin(future).as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn what_comes_of_one_burst_waits_for_the_writer() {
        let all = Backlogs::default();
        let (writer, mut queue) = known(&all);
        assert!((0..5_000).all(|_| writer.write(answer()).is_ok()));
        assert_eq!(std::iter::from_fn(|| take(&mut queue)).count(), 5_000);
        let (writer, _queue) = super::queue(&Arc::default(), &all);
        assert!(
            (0..50).all(|_| writer.write(answer()).is_ok()),
            "a gateway that boots"
        );
    }

    #[test]
    fn who_does_not_read_is_cut_strangers_before_others() {
        let all = Backlogs::default();
        let (writer, _unread) = known(&all);
        let most = (0..).take_while(|_| writer.write(packet(1000)).is_ok()).count();
        assert!((5_000..7_000).contains(&most), "{most}");
        let (writer, mut unread) = queue(&Arc::default(), &all);
        let most = (0..).take_while(|_| writer.write(packet(1000)).is_ok()).count();
        assert!((40..70).contains(&most), "{most}");
        assert!(unread.packets.try_recv().is_ok());
        let mut context = Context::from_waker(Waker::noop());
        let next = Box::pin(unread.next())
            .as_mut()
            .poll(&mut context)
            .map(|packet| packet.is_none());
        assert!(
            matches!(next, std::task::Poll::Ready(true)),
            "nothing more is written"
        );
        // A large one is written where nothing waits.
        let (writer, _queue) = queue(&Arc::default(), &all);
        assert!(writer.write(packet(200_000)).is_ok());
    }

    #[test]
    fn what_waits_for_all_together_is_bounded_and_given_back() {
        let all = Backlogs::default();
        let fill = |(writer, queue): (Writer, Queue)| {
            while writer.write(packet(1000)).is_ok() {}
            (writer, queue)
        };
        let strangers: Vec<_> = (0..1000).map(|_| fill(queue(&Arc::default(), &all))).collect();
        assert!(all.bytes() <= STRANGERS);
        let (late, _queue) = queue(&Arc::default(), &all);
        assert!(
            (0..3).all(|_| late.write(packet(1000)).is_ok()),
            "each has some in any case"
        );
        assert!(!(0..3).all(|_| late.write(packet(1000)).is_ok()));
        let (phone, _queue) = known(&all);
        assert!(
            (0..1000).all(|_| phone.write(packet(1000)).is_ok()),
            "strangers take nothing from those known"
        );
        let others: Vec<_> = (0..20).map(|_| fill(known(&all))).collect();
        assert!(all.bytes() <= ALL);
        drop((strangers, others, late, phone, _queue));
        assert!(all.bytes() < 10 * FREE, "{all:?}");
    }

    #[test]
    fn a_body_to_many_counts_once() {
        let all = Backlogs::default();
        let mut many: Vec<_> = (0..100).map(|_| known(&all)).collect();
        let send = |(writer, _): &(Writer, Queue), tail: &Bytes| {
            let head = vec![b'x'; 500].into();
            let tail = tail.clone();
            writer.write(Packet { head, tail }).is_ok()
        };
        for _ in 0..2 {
            let body = Bytes::from(vec![b'x'; 1 << 20]);
            assert!(many.iter().all(|one| send(one, &body)), "{}", all.bytes());
        }
        assert!((2 << 20..3 << 20).contains(&all.bytes()), "{}", all.bytes());
        // It counts as long as somebody has not taken it, whoever was first.
        let last = many.pop();
        for (_, queue) in &mut many {
            while take(queue).is_some() {}
        }
        assert!((2 << 20..3 << 20).contains(&all.bytes()), "{}", all.bytes());
        // For its own part each has the whole of it.
        let bodies = (0..100).take_while(|_| send(last.as_ref().unwrap(), &vec![b'x'; 1 << 20].into()));
        assert!((2..8).contains(&bodies.count()));
        drop(last);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn who_takes_much_is_stopped_before_those_who_take_little() {
        let all = Backlogs::default();
        let greedy: Vec<_> = (0..16)
            .map(|_| {
                let (writer, queue) = known(&all);
                while writer.write(packet(1000)).is_ok() {}
                (writer, queue)
            })
            .collect();
        let (writer, _queue) = known(&all);
        assert!(
            (0..500).all(|_| writer.write(packet(1000)).is_ok()),
            "{}",
            all.bytes()
        );
        drop(greedy);
    }

    #[test]
    fn who_has_much_waiting_is_not_listened_to() {
        let (writer, mut queue) = queue(&Arc::default(), &Backlogs::default());
        let backlog = queue.backlog();
        let mut asked = Vec::new();
        while is_ready(backlog.shrinks()) {
            asked.push(backlog.ask(500));
        }
        assert!((30..60).contains(&asked.len()), "{}", asked.len());
        // However large its answers are, within reason, all of them have room.
        for asked in asked {
            assert!(writer.write(packet(1000)).is_ok());
            drop(asked);
        }
        assert!(!is_ready(backlog.shrinks()));
        while take(&mut queue).is_some() {}
        assert!(is_ready(backlog.shrinks()));
    }

    #[test]
    fn each_request_but_ack_is_owed_an_answer() {
        let (writer, mut queue) = queue(&Arc::default(), &Backlogs::default());
        let backlog = queue.backlog();
        let read = |method: &str| {
            let text = format!("{method} sip:a SIP/2.0\r\nCSeq: 1 {method}\r\n\r\n");
            let framing = cordboard_engine::sip::message::Framing::Datagram;
            backlog.owe(&Message::parse(Bytes::from(text), framing).unwrap());
        };
        read("ACK");
        assert!(is_ready(backlog.settled()));
        read("INVITE");
        for (text, settled) in [
            ("SIP/2.0 180 Ringing\r\n\r\n", false),
            ("NOTIFY sip:a SIP/2.0\r\n\r\n", false),
            ("SIP/2.0 486 Busy Here\r\n\r\n", true),
            ("SIP/2.0 486 Busy Here\r\n\r\n", true),
        ] {
            assert!(writer.write(Packet::whole(text.into())).is_ok());
            take(&mut queue).unwrap();
            assert_eq!(is_ready(backlog.settled()), settled, "{text}");
        }
    }
}
