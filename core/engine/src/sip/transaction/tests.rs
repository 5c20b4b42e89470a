//! The four machines by table: each state, what comes, what is done and what state follows
//! (RFC 3261 section 17, RFC 6026).

use std::time::Duration;

use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::non_invite_client::NonInviteClient;
use super::non_invite_server::NonInviteServer;
use super::{Repeat, Step};
use crate::timer::{PATIENCE, T1, T2, T4};

const NOTHING: Step = Step::nothing();

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_invite_client_of_rfc_6026() {
    use InviteClient::{Accepted, Calling, Cancelling, Completed, Proceeding};
    let provisional = NOTHING.repeating(Repeat::Stop).without_end().delivering();
    let success = NOTHING.repeating(Repeat::Stop).ending(PATIENCE).delivering();
    let refusal = NOTHING.repeating(Repeat::Stop).delivering().acknowledging();
    let (by_udp, by_tcp) = (refusal.ending(PATIENCE), refusal.and_over());
    let cases = [
        (Calling, 100, Proceeding, provisional, provisional),
        (Calling, 180, Proceeding, provisional, provisional),
        (Calling, 200, Accepted, success, success),
        (Calling, 299, Accepted, success, success),
        (Calling, 300, Completed, by_udp, by_tcp),
        (Calling, 699, Completed, by_udp, by_tcp),
        (Proceeding, 183, Proceeding, provisional, provisional),
        (Proceeding, 200, Accepted, success, success),
        (Proceeding, 486, Completed, by_udp, by_tcp),
        (Cancelling, 180, Cancelling, NOTHING, NOTHING),
        (Cancelling, 200, Accepted, success, success),
        (Cancelling, 487, Completed, by_udp, by_tcp),
        // The ACK of a refusal was lost.
        (
            Completed,
            486,
            Completed,
            NOTHING.acknowledging(),
            NOTHING.acknowledging(),
        ),
        (Completed, 180, Completed, NOTHING, NOTHING),
        (Completed, 200, Completed, NOTHING, NOTHING),
        // Each further 2xx goes up: it may be another phone's.
        (
            Accepted,
            200,
            Accepted,
            NOTHING.delivering(),
            NOTHING.delivering(),
        ),
        (Accepted, 180, Accepted, NOTHING, NOTHING),
        (Accepted, 486, Accepted, NOTHING, NOTHING),
    ];
    for (before, status, after, udp, tcp) in cases {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(
                machine.response(status, reliable),
                expect,
                "{before:?} {status} {reliable}"
            );
            assert_eq!(machine, after, "{before:?} {status}");
        }
    }
}

#[test]
fn an_invite_is_taken_back_only_after_a_provisional_response() {
    use InviteClient::{Accepted, Calling, Cancelling, Completed, Proceeding};
    let cancel = Step::send().ending(PATIENCE);
    let cases = [
        (Calling, Calling, NOTHING, NOTHING),
        (
            Proceeding,
            Cancelling,
            cancel.repeating(Repeat::In(T1)),
            cancel.repeating(Repeat::Stop),
        ),
        (Cancelling, Cancelling, NOTHING, NOTHING),
        (Completed, Completed, NOTHING, NOTHING),
        (Accepted, Accepted, NOTHING, NOTHING),
    ];
    for (before, after, udp, tcp) in cases {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(machine.cancel(reliable), expect, "{before:?}");
            assert_eq!(machine, after);
        }
    }
}

#[test]
fn the_invite_server_of_rfc_6026() {
    use InviteServer::{Accepted, Completed, Confirmed, Proceeding};
    let refusal = Step::send().ending(PATIENCE);
    let cases = [
        (Proceeding, 100, Proceeding, Step::send(), Step::send()),
        (Proceeding, 183, Proceeding, Step::send(), Step::send()),
        (
            Proceeding,
            200,
            Accepted,
            Step::send().ending(PATIENCE),
            Step::send().ending(PATIENCE),
        ),
        (
            Proceeding,
            404,
            Completed,
            refusal.repeating(Repeat::In(T1)),
            refusal.repeating(Repeat::Stop),
        ),
        // A second final response never goes out.
        (Accepted, 200, Accepted, NOTHING, NOTHING),
        (Accepted, 486, Accepted, NOTHING, NOTHING),
        (Completed, 200, Completed, NOTHING, NOTHING),
        (Confirmed, 200, Confirmed, NOTHING, NOTHING),
    ];
    for (before, status, after, udp, tcp) in cases {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(machine.respond(status, reliable), expect, "{before:?} {status}");
            assert_eq!(machine, after, "{before:?} {status}");
        }
    }
    let repeats = [
        (Proceeding, Step::send()),
        (Completed, Step::send()),
        (Accepted, NOTHING),
        (Confirmed, NOTHING),
    ];
    for (state, expect) in repeats {
        assert_eq!(state.repeated(), expect, "{state:?}");
    }
    let acks = [
        (Proceeding, Proceeding, NOTHING, NOTHING),
        (Accepted, Accepted, NOTHING, NOTHING),
        (
            Completed,
            Confirmed,
            NOTHING.repeating(Repeat::Stop).ending(T4),
            Step::over(),
        ),
        (Confirmed, Confirmed, NOTHING, NOTHING),
    ];
    for (before, after, udp, tcp) in acks {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(machine.acknowledged(reliable), expect, "{before:?}");
            assert_eq!(machine, after);
        }
    }
}

#[test]
fn the_non_invite_client() {
    use NonInviteClient::{Completed, Proceeding, Trying};
    let done = NOTHING.repeating(Repeat::Stop).delivering();
    let cases = [
        (
            Trying,
            100,
            Proceeding,
            NOTHING.delivering(),
            NOTHING.delivering(),
        ),
        (Trying, 200, Completed, done.ending(T4), done.and_over()),
        (Trying, 404, Completed, done.ending(T4), done.and_over()),
        (
            Proceeding,
            100,
            Proceeding,
            NOTHING.delivering(),
            NOTHING.delivering(),
        ),
        (Proceeding, 500, Completed, done.ending(T4), done.and_over()),
        (Completed, 200, Completed, NOTHING, NOTHING),
    ];
    for (before, status, after, udp, tcp) in cases {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(machine.response(status, reliable), expect, "{before:?} {status}");
            assert_eq!(machine, after, "{before:?} {status}");
        }
    }
}

#[test]
fn the_non_invite_server() {
    use NonInviteServer::{Completed, Proceeding, Trying};
    let cases = [
        (Trying, 100, Proceeding, Step::send(), Step::send()),
        (
            Trying,
            200,
            Completed,
            Step::send().ending(PATIENCE),
            Step::send().and_over(),
        ),
        (
            Proceeding,
            404,
            Completed,
            Step::send().ending(PATIENCE),
            Step::send().and_over(),
        ),
        (Completed, 200, Completed, NOTHING, NOTHING),
    ];
    for (before, status, after, udp, tcp) in cases {
        for (reliable, expect) in [(false, udp), (true, tcp)] {
            let mut machine = before;
            assert_eq!(machine.respond(status, reliable), expect, "{before:?} {status}");
            assert_eq!(machine, after, "{before:?} {status}");
        }
    }
    for (state, expect) in [
        (Trying, NOTHING),
        (Proceeding, Step::send()),
        (Completed, Step::send()),
    ] {
        assert_eq!(state.repeated(), expect, "{state:?}");
    }
}

/// Timers A, E and G: the intervals that follow each other, in milliseconds.
#[test]
fn repeats_come_at_growing_intervals() {
    type Next = fn(Duration) -> Step;
    let cases: [(&str, Next, &[u64]); 5] = [
        (
            "A",
            |interval| InviteClient::Calling.repeat(interval),
            &[1000, 2000, 4000, 8000, 16_000],
        ),
        (
            "CANCEL",
            |interval| InviteClient::Cancelling.repeat(interval),
            &[1000, 2000, 4000, 4000, 4000],
        ),
        (
            "E",
            |interval| NonInviteClient::Trying.repeat(interval),
            &[1000, 2000, 4000, 4000, 4000],
        ),
        (
            "E",
            |interval| NonInviteClient::Proceeding.repeat(interval),
            &[4000, 4000, 4000, 4000, 4000],
        ),
        (
            "G",
            |interval| InviteServer::Completed.repeat(interval),
            &[1000, 2000, 4000, 4000, 4000],
        ),
    ];
    for (name, next, expect) in cases {
        let mut interval = T1;
        for after in expect {
            let step = next(interval);
            assert_eq!(
                step,
                Step::send().repeating(Repeat::In(ms(*after))),
                "timer {name}"
            );
            interval = ms(*after);
        }
        assert!(interval <= T2 || name == "A");
    }
    let silent = [
        InviteClient::Proceeding.repeat(T1),
        InviteClient::Completed.repeat(T1),
        InviteClient::Accepted.repeat(T1),
        NonInviteClient::Completed.repeat(T1),
        InviteServer::Proceeding.repeat(T1),
        InviteServer::Accepted.repeat(T1),
        InviteServer::Confirmed.repeat(T1),
    ];
    assert_eq!(silent, [NOTHING; 7]);
}

#[test]
fn only_the_end_of_a_state_that_waits_for_the_peer_is_a_failure() {
    use InviteClient as C;
    use InviteServer as S;
    use NonInviteClient as N;
    let clients = [
        C::Calling,
        C::Proceeding,
        C::Cancelling,
        C::Completed,
        C::Accepted,
    ];
    assert_eq!(
        clients.map(InviteClient::end_name),
        [Some("B"), Some("B"), Some("B"), None, None]
    );
    let servers = [S::Proceeding, S::Completed, S::Accepted, S::Confirmed];
    assert_eq!(servers.map(InviteServer::end_name), [None, Some("H"), None, None]);
    let others = [N::Trying, N::Proceeding, N::Completed];
    assert_eq!(
        others.map(NonInviteClient::end_name),
        [Some("F"), Some("F"), None]
    );
}
