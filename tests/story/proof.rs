//! Proofs that prove nothing: what guessing passwords costs, and what it does not cost anybody else.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard_engine::config::DigestAlgorithm;
use cordboard_engine::io::Transport;
use cordboard_engine::sip::message::{Framing, Message};

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

/// Where the nonce of a guess is from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Fresh,
    Used,
    Expired,
    Elsewhere,
    Nowhere,
}

/// Who sends a guess, and by which way.
#[derive(Debug, Clone, Copy)]
struct Guesser {
    from: From,
    transport: Transport,
    proven: bool,
    may_ask: bool,
}

impl Guesser {
    /// What comes of one more guess in the name of this user than is forgiven: the answer, if there is one, and
    /// whether the source is banned for it.
    fn guess(self, name: &'static str, password: &'static str) -> (Option<Vec<String>>, bool) {
        let mut world = World::with(|config| {
            (config.abuse.ban_after, config.abuse.requests_per_second) = (1, 5);
            if !self.proven {
                config.abuse.proven_for = Duration::ZERO;
            }
        });
        let uri = format!("sip:{REALM}");
        let at = |name| {
            let phone = Phone::new(name, 66);
            match self.transport {
                Transport::Udp => phone,
                other => phone.over(other, 5),
            }
        };
        let (mut alice, mut mallory) = (at("alice"), at(name));
        let challenge = match self.from {
            From::Elsewhere => challenged(&mut world, &mut Phone::new("alice", 67), 1),
            From::Nowhere => {
                let text = format!(
                    "SIP/2.0 401 Unauthorized\r\n\
                     WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n\r\n"
                );
                Message::parse(text.into_bytes().into(), Framing::Datagram).unwrap()
            }
            _ => challenged(&mut world, &mut alice, 1),
        };
        if self.from == From::Used {
            let proof = alice.authorization(&challenge, "REGISTER", &uri, 1);
            world.receive(alice.flow, &asks(&alice, 2, &proof), b"");
            assert_eq!(alice.final_response(&mut world).status(), 200);
        }
        let pause = if self.from == From::Expired { 301 } else { 1 };
        world.advance(Duration::from_secs(pause));
        if self.proven {
            assert_eq!(at("bob").register(&mut world, 600).status(), 200);
            let known = challenged(&mut world, &mut alice, 3);
            alice.password = "guess";
            for number in 4..7 {
                let proof = alice.authorization(&known, "REGISTER", &uri, number);
                world.receive(alice.flow, &asks(&alice, number, &proof), b"");
            }
        }
        for number in 100..200 {
            if !self.may_ask {
                world.receive(alice.flow, &probe(&alice, number, ""), b"");
            }
        }
        assert!(world.bans.is_empty());
        world.take(mallory.flow.peer);
        mallory.password = password;
        let proof = mallory.authorization(&challenge, "REGISTER", &uri, 1);
        world.receive(mallory.flow, &asks(&mallory, 300, &proof), b"");
        mallory.listen(&mut world);
        assert!(mallory.inbox.len() <= 1);
        let answer = mallory.inbox.first().map(|delivery| shape(&delivery.message));
        (answer, !world.bans.is_empty())
    }
}

#[test]
fn whatever_tells_right_from_wrong_is_an_offence_for_the_wrong() {
    for from in [
        From::Fresh,
        From::Used,
        From::Expired,
        From::Elsewhere,
        From::Nowhere,
    ] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Ws] {
            for (proven, may_ask) in [(false, false), (false, true), (true, false), (true, true)] {
                let guesser = Guesser {
                    from,
                    transport,
                    proven,
                    may_ask,
                };
                let wrong = guesser.guess("alice", "guess");
                let unknown = guesser.guess("nobody", "secret");
                let right = guesser.guess("alice", "secret");
                assert_eq!(wrong, unknown, "{guesser:?}");
                assert!(!right.1, "{guesser:?}");
                let looked_at = (proven || may_ask)
                    && match from {
                        From::Fresh | From::Used | From::Expired => true,
                        From::Elsewhere => transport != Transport::Udp,
                        From::Nowhere => false,
                    };
                assert_eq!(wrong.1, looked_at, "an offence: {guesser:?}");
                assert_eq!(wrong.0 != right.0, looked_at, "{guesser:?}: {wrong:?} {right:?}");
            }
        }
    }
}

#[test]
fn guesses_with_nonces_that_are_not_ours_cost_what_strangers_may_ask() {
    let mut world = World::with(|config| {
        strict(config);
        config.abuse.requests_per_second = 5;
    });
    let uri = format!("sip:{REALM}");
    let (mut bob, mut mallory) = (Phone::new("bob", 66), Phone::new("alice", 66));
    assert_eq!(bob.register(&mut world, 600).status(), 200);
    world.advance(Duration::from_secs(100));
    let challenge =
        "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest nonce=\"invented\", algorithm=MD5\r\n\r\n";
    let challenge = Message::parse(challenge.as_bytes().to_vec().into(), Framing::Datagram).unwrap();
    for number in 0..100 {
        mallory.password = if number == 50 { "secret" } else { "guess" };
        let proof = mallory.authorization(&challenge, "REGISTER", &uri, 1);
        world.receive(mallory.flow, &asks(&mallory, number, &proof), b"");
    }
    mallory.listen(&mut world);
    assert_eq!(mallory.inbox.len(), 20);
    let answers: Vec<_> = mallory
        .inbox
        .iter()
        .map(|answer| shape(&answer.message))
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(world.engine.counts().rejected["unknown_nonce"], 100);
    assert!(!world.engine.counts().rejected.contains_key("bad_credentials"));
}
