//! A call record as a line of JSON, and what is read of such lines after a crash.

use std::borrow::Cow;
use std::time::Duration;

use cordboard_engine::record::{CallRecord, ENDS};
use cordboard_model::Time;
use cordboard_model::media::{Codec, LegTotals, PeerReport};
use serde::Deserialize;
use serde_json::{Value, json};

/// Seconds since the Unix epoch, with milliseconds.
fn seconds(time: Time) -> f64 {
    (time.0 / 1_000_000) as f64 / 1000.0 // exact to the millisecond for the next 285,000 years
}

/// A record as one line of JSON.
pub(super) fn line(record: &CallRecord) -> String {
    let media = record.media.map(|totals| {
        json!({
            "packets_in": totals.packets_in,
            "packets_out": totals.packets_out,
            "lost": totals.lost,
            "late": totals.late,
            "jitter_ms": totals.jitter_ms,
            "peer": totals.peer.map(|peer| json!({
                "lost": peer.lost,
                "jitter_ms": peer.jitter_ms,
                "round_trip_ms": peer.round_trip.map(|time| time.as_secs_f64() * 1000.0),
            })),
        })
    });
    let line = json!({
        "id": format!("{:032x}", record.id),
        "session": format!("{:032x}", record.session),
        "call_id": record.call_id,
        "account": record.account.to_string(),
        "direction": record.direction.name(),
        "from": record.from,
        "to": record.to,
        "number": record.number,
        "contact": record.contact,
        "user": record.user,
        "transport": record.transport.name(),
        "started": seconds(record.started),
        "answered": record.answered.map(seconds),
        "ended": record.ended.map(seconds),
        "last_alive": record.last_alive.map(seconds),
        "codec": record.codec,
        "reason": record.reason,
        "status": record.status,
        "conference": record.conference.map(|id| id.to_string()),
        "media": media,
    });
    format!("{line}\n")
}

/// Whose line this is, if it is one.
pub(super) fn id(line: &[u8]) -> Option<u128> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    let named: Named<'_> = serde_json::from_slice(line).ok()?;
    u128::from_str_radix(&named.id, 16).ok()
}

/// Makes of what was kept of a call when it was answered its record: its end is in this line. `None` if it is not.
pub(super) fn complete(kept: CallRecord, line: &str) -> Option<CallRecord> {
    let line: Value = serde_json::from_str(line).ok()?;
    let reason = line["reason"].as_str()?;
    let (reason, _) = ENDS.iter().find(|(word, _)| *word == reason)?;
    let codec = line["codec"].as_str();
    Some(CallRecord {
        contact: line["contact"].as_str()?.to_owned(),
        ended: time(&line["ended"]),
        last_alive: time(&line["last_alive"]),
        codec: codec.and_then(|name| {
            Codec::ALL
                .map(Codec::name)
                .into_iter()
                .find(|known| *known == name)
        }),
        reason,
        media: totals(&line["media"]),
        ..kept
    })
}

fn time(value: &Value) -> Option<Time> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    let millis = seconds.as_nanos().saturating_add(500_000) / 1_000_000; // what the line holds, without the dust of floats
    Some(Time(0) + Duration::from_millis(u64::try_from(millis).ok()?))
}

fn totals(media: &Value) -> Option<LegTotals> {
    let count = |name: &str| media[name].as_u64();
    let peer = &media["peer"];
    Some(LegTotals {
        packets_in: count("packets_in")?,
        packets_out: count("packets_out")?,
        lost: count("lost")?,
        late: count("late")?,
        jitter_ms: millis(&media["jitter_ms"])?,
        peer: peer["lost"].as_u64().and_then(|lost| {
            Some(PeerReport {
                lost: u32::try_from(lost).ok()?,
                jitter_ms: millis(&peer["jitter_ms"])?,
                round_trip: peer["round_trip_ms"]
                    .as_f64()
                    .and_then(|time| Duration::try_from_secs_f64(time / 1000.0).ok()),
            })
        }),
    })
}

fn millis(value: &Value) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it was one before it became a line"
    )]
    value.as_f64().map(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::tests::record;

    #[test]
    fn a_record_is_one_line_of_json() {
        let line = line(&record(1));
        assert_eq!(line.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["call_id"], "a\"b");
        assert_eq!(
            (&read["started"], &read["ended"]),
            (&json!(1_800_000_000.0), &json!(1_800_000_060.5))
        );
        assert_eq!(
            (&read["answered"], &read["media"]["lost"]),
            (&json!(null), &json!(0))
        );
    }

    #[test]
    fn what_was_kept_becomes_whole_by_its_line() {
        let mut whole = record(0xfe);
        whole.answered = Some(whole.started);
        let kept = CallRecord {
            ended: None,
            codec: Some("opus"),
            reason: "cut_off",
            contact: String::new(),
            media: None,
            ..whole.clone()
        };
        let line = line(&whole);
        assert_eq!(id(line.as_bytes()), Some(0xfe));
        assert_eq!(complete(kept.clone(), &line), Some(whole));
        assert_eq!((id(b"\"id\":\"00"), complete(kept, "{}")), (None, None));
    }
}
