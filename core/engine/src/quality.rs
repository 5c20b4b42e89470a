//! Who is in a conference and how their media is carried: what operators look at together with its quality.

use cordboard_model::media::Codec;
use cordboard_model::{ConferenceId, LegId, ShardId, Time};

use crate::call::Call;
use crate::engine::Engine;
use crate::io::Transport;

/// One participant now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// What conference events call it.
    pub channel: String,
    /// Its display name.
    pub name: String,
    /// The user who proved himself, or whom a trusted peer named.
    pub user: Option<String>,
    /// How SIP travels to it.
    pub transport: Transport,
    /// Since when its call has been there.
    pub since: Time,
    /// The codec that is spoken; `None` before it is agreed.
    pub codec: Option<Codec>,
    /// Whether nobody hears it.
    pub muted: bool,
    /// Whether it hears nobody.
    pub deaf: bool,
    /// Whether it is a WebRTC peer.
    pub webrtc: bool,
    /// Whether it shows a video.
    pub shows: bool,
    /// How many videos of others it is sent.
    pub sees: usize,
    /// Its media leg, and the shard that has it.
    pub leg: LegId,
    /// That shard.
    pub shard: ShardId,
}

impl Engine {
    /// The participants of a conference in the order in which they came; `None` if it is not alive.
    pub fn participants(&self, id: ConferenceId) -> Option<Vec<Participant>> {
        let members = &self.conferences.get(&id)?.members;
        let calls = members.iter().filter_map(|key| self.calls.get(*key));
        Some(calls.map(participant).collect())
    }
}

fn participant(call: &Call) -> Participant {
    let bundle = call.leg.bundle.as_ref();
    Participant {
        channel: call.channel(),
        name: call.name.clone(),
        user: call.user.clone(),
        transport: call.dialog.flow.transport,
        since: call.seat.began,
        codec: call.leg.codec(),
        muted: call.leg.muted,
        deaf: call.leg.deaf,
        webrtc: bundle.is_some(),
        shows: bundle.is_some_and(|bundle| bundle.camera().is_some()),
        sees: bundle.map_or(0, |bundle| bundle.seen().count()),
        leg: call.leg.id,
        shard: call.leg.shard,
    }
}
