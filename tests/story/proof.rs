//! Proofs that prove nothing: what guessing passwords costs, and what it does not cost anybody else.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_engine::config::DigestAlgorithm;
use cordboard_engine::sip::message::Message;

use crate::abuse::{probe, shape, strict};
use crate::phone::Phone;
use crate::world::{REALM, World};

/// A REGISTER of this phone.
fn asks(phone: &Phone, number: u32, proof: &str) -> String {
    probe(phone, number, proof).replace("OPTIONS", "REGISTER")
}

/// A challenge that this phone has got for a REGISTER.
fn challenged(world: &mut World, phone: &mut Phone, number: u32) -> Message {
    world.receive(phone.flow, &asks(phone, number, ""), b"");
    phone.final_response(world)
}

#[test]
fn a_nonce_that_went_elsewhere_says_nothing_about_a_password() {
    let uri = format!("sip:{REALM}");
    let (mut world, mut mate, mut mallory) = (
        World::with(strict),
        Phone::new("alice", 66),
        Phone::new("alice", 67),
    );
    let mut answers = Vec::new();
    for (number, password) in [(10, "guess"), (11, "guess"), (12, "secret")] {
        mallory.password = password;
        let challenge = challenged(&mut world, &mut mate, number);
        let proof = mallory.authorization(&challenge, "REGISTER", &uri, 1);
        world.receive(mallory.flow, &asks(&mallory, number + 10, &proof), b"");
        let answer = mallory.final_response(&mut world);
        assert!(shape(&answer).iter().any(|line| line.contains("stale=true")));
        answers.push(shape(&answer));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(world.engine.counts().rejected["foreign_nonce"], 3);
    assert!(world.bans.is_empty());
}

#[test]
fn a_phone_that_has_moved_is_known_again_after_one_more_round() {
    let uri = format!("sip:{REALM}");
    let (mut world, mut alice) = (World::with(strict), Phone::new("alice", 1));
    let first = challenged(&mut world, &mut alice, 1);
    let mut number = 10;
    for host in 2..8 {
        alice.flow.peer = SocketAddr::from(([198, 51, 100, host], 5060));
        let proof = alice.authorization(&first, "REGISTER", &uri, number);
        world.receive(alice.flow, &asks(&alice, number, &proof), b"");
        let stale = alice.final_response(&mut world);
        assert_eq!(stale.status(), 401);
        let proof = alice.authorization(&stale, "REGISTER", &uri, 1);
        world.receive(alice.flow, &asks(&alice, number + 1, &proof), b"");
        assert_eq!(alice.final_response(&mut world).status(), 200);
        number += 2;
    }
    assert!(world.bans.is_empty());
    assert!(!world.engine.counts().rejected.contains_key("bad_credentials"));
}

#[test]
fn one_request_is_one_guess() {
    let uri = format!("sip:{REALM}");
    let (mut world, mut mallory) = (World::with(strict), Phone::new("alice", 66));
    let challenge = challenged(&mut world, &mut mallory, 1);
    mallory.password = "guess";
    let wrong = mallory.authorization(&challenge, "REGISTER", &uri, 1);
    mallory.password = "secret";
    let right = mallory.authorization(&challenge, "REGISTER", &uri, 2);
    world.receive(
        mallory.flow,
        &asks(&mallory, 2, &(wrong.repeat(50) + &right)),
        b"",
    );
    assert_eq!(mallory.final_response(&mut world).status(), 401);
    assert_eq!(world.engine.counts().rejected["bad_credentials"], 1);
    assert_eq!(world.engine.counts().rejected["surplus_credentials"], 1);
}

#[test]
fn a_phone_may_answer_each_algorithm_and_bring_the_proofs_of_its_other_accounts() {
    let uri = format!("sip:{REALM}");
    let (mut world, mut alice) = (World::with(strict), Phone::new("alice", 1));
    // Only who asks in many words hears of all algorithms.
    let words = format!("User-Agent: {}\r\n", "Linphone/5.1 ".repeat(20));
    world.receive(alice.flow, &asks(&alice, 1, &words), b"");
    let challenge = alice.final_response(&mut world);
    let right = alice.authorization(&challenge, "REGISTER", &uri, 1);
    alice.algorithm = DigestAlgorithm::Sha256;
    alice.password = "guess";
    let wrong = alice.authorization(&challenge, "REGISTER", &uri, 1);
    let elsewhere = right.replace(&format!("realm=\"{REALM}\""), "realm=\"else.test\"");
    let unknown = right.replace("algorithm=MD5", "algorithm=MD5-sess");
    let useless = "Authorization: Basic YTpi\r\nAuthorization: Digest x\r\n".to_owned();
    let proofs = useless + &elsewhere.repeat(3) + &unknown.repeat(3) + &wrong + &right;
    world.receive(alice.flow, &asks(&alice, 2, &proofs), b"");
    assert_eq!(alice.final_response(&mut world).status(), 200);
}

#[test]
fn what_only_looks_like_a_proof_is_counted_like_what_has_none() {
    let digest = |realm: &str, more: &str| {
        format!(
            "Authorization: Digest username=\"alice\", realm=\"{realm}\", nonce=\"n\", uri=\"sip:{REALM}\", \
             response=\"00000000000000000000000000000000\"{more}\r\n"
        )
    };
    let proofs = [
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Digest x\r\n".to_owned(),
        digest("else.test", ""),
        digest(REALM, ", algorithm=MD5-sess"),
        digest(REALM, ""),
    ];
    for known in [false, true] {
        for proof in &proofs {
            for method in ["OPTIONS", "REGISTER", "INVITE", "BYE"] {
                let (mut world, mut alice) = (
                    World::with(|config| config.abuse.requests_per_second = 5),
                    Phone::new("alice", 1),
                );
                if known {
                    assert_eq!(alice.register(&mut world, 600).status(), 200);
                    world.advance(Duration::from_secs(100));
                }
                let challenge = challenged(&mut world, &mut alice, 1);
                world.advance(Duration::from_secs(1));
                for number in 1000..1100 {
                    let text = probe(&alice, number, proof).replace("OPTIONS", method);
                    world.receive(alice.flow, &text, b"");
                }
                alice.listen(&mut world);
                assert_eq!(alice.inbox.len(), 20, "{method}, known: {known}, {proof}");
                assert_eq!(world.engine.counts().rejected["rate_limited"], 80);
                // Known phones that prove themselves do not suffer.
                let right = alice.authorization(&challenge, "REGISTER", &format!("sip:{REALM}"), 1);
                alice.inbox.clear();
                world.receive(alice.flow, &asks(&alice, 2, &right), b"");
                alice.listen(&mut world);
                assert_eq!(alice.inbox.len(), usize::from(known));
            }
        }
    }
}

#[test]
fn a_flood_in_the_name_of_a_phone_does_not_keep_it_from_its_next_nonce() {
    let uri = format!("sip:{REALM}");
    let (mut world, mut alice) = (
        World::with(|config| config.abuse.requests_per_second = 5),
        Phone::new("alice", 1),
    );
    assert_eq!(alice.register(&mut world, 3600).status(), 200);
    let challenge = challenged(&mut world, &mut alice, 1);
    // Its counter stands still the second time; the third time it is too old as well.
    for (number, pause, status) in [(100, 0, 200), (200, 0, 401), (300, 301, 401)] {
        world.advance(Duration::from_secs(pause));
        for forged in number..number + 50 {
            world.receive(alice.flow, &asks(&alice, forged, ""), b"");
        }
        alice.listen(&mut world);
        alice.inbox.clear();
        let proof = alice.authorization(&challenge, "REGISTER", &uri, 1);
        world.receive(alice.flow, &asks(&alice, number + 60, &proof), b"");
        let answer = alice.final_response(&mut world);
        assert_eq!(answer.status(), status, "{number}");
        if status == 401 {
            assert!(shape(&answer).iter().any(|line| line.contains("stale=true")));
            let proof = alice.authorization(&answer, "REGISTER", &uri, 1);
            world.receive(alice.flow, &asks(&alice, number + 61, &proof), b"");
            assert_eq!(alice.final_response(&mut world).status(), 200, "{number}");
        }
    }
    // A nonce that somebody else was sent is not looked at, and costs what strangers may ask.
    let mut mate = Phone::new("alice", 66);
    let elsewhere = challenged(&mut world, &mut mate, 400);
    let proof = alice.authorization(&elsewhere, "REGISTER", &uri, 1);
    world.receive(alice.flow, &asks(&alice, 401, &proof), b"");
    alice.has_nothing(&mut world);
}
