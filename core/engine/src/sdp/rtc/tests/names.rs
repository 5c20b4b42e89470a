//! Which names lines may have in later offers of the peer.

use super::*;

/// The line is still the same one where it has no name any more, or never had the peer's.
#[test]
fn a_peer_that_names_no_lines_may_offer_again() {
    let nameless = |text: &str| -> String {
        let lines = text.split_inclusive('\n');
        lines
            .filter(|line| !line.starts_with("a=mid") && !line.starts_with("a=group"))
            .collect()
    };
    let mut call = Call::new();
    call.video = false;
    let answer = nameless(&mirror(&call.offer(&[])));
    call.hear(&answer).unwrap();
    for direction in ["sendonly", "sendrecv"] {
        let again = answer.replace("a=sendrecv", &format!("a={direction}"));
        let text = call.answer(&again.replace("a=setup:active", "a=setup:actpass"));
        assert!(
            text.contains("m=audio 10001 ") && !text.contains("a=mid"),
            "{text}"
        );
        let receives = call.setup().audio.unwrap().direction;
        assert_eq!((receives.send, receives.receive), (direction == "sendrecv", true));
    }
}

/// RFC 8829 section 5.2.2: a line that either side has refused may be used for something new, under a new name.
#[test]
fn audio_that_an_answer_has_refused_may_come_back_under_another_name() {
    let mut call = Call::new();
    call.answer(CHROMIUM);
    let own = call.setup().audio.unwrap();
    let renamed = CHROMIUM
        .replace("a=mid:0", "a=mid:7")
        .replace("BUNDLE 0 1", "BUNDLE 7 1");
    assert_eq!(
        call.try_answer(&renamed),
        Err("sdp_streams"),
        "while it is in use"
    );
    let theirs = CHROMIUM.split("a=fingerprint:").nth(1).unwrap();
    let ours = format!("sha-256 {}", ["AB"; 32].join(":"));
    let answer = mirror(&call.offer(&[wanted(2)])).replace(&ours, theirs.lines().next().unwrap());
    call.hear(
        &answer
            .replacen("m=audio 10001", "m=audio 0", 1)
            .replace("BUNDLE 0 1", "BUNDLE 1"),
    )
    .unwrap();
    assert_eq!(call.setup().audio.unwrap().direction, Direction::NONE);
    let mut lines = answer;
    let at = lines.rfind("m=video").unwrap();
    let seen = lines.split_off(at);
    let group = renamed.replace("BUNDLE 7 1", "BUNDLE 7 1 video-2");
    call.answer(&format!(
        "{group}{}",
        seen.replace("a=setup:active", "a=setup:actpass")
    ));
    let audio = call.setup().audio.unwrap();
    assert_eq!(
        (audio.mid.as_str(), audio.ssrc, audio.direction),
        ("7", own.ssrc, Direction::BOTH)
    );
}
