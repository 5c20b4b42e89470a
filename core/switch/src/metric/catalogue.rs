//! Every metric once: name, type, help, labels. What is exported, the reference page, dashboards and
//! alerts are all checked against this list.

/// What kind of numbers a metric holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// Only grows.
    Counter,
    /// What is there now.
    Gauge,
    /// How values are spread.
    Histogram,
}

impl Type {
    /// The word in the text format.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric's declaration.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The full name.
    pub(crate) name: &'static str,
    /// Its type.
    pub(crate) kind: Type,
    /// One sentence.
    pub(crate) help: &'static str,
    /// The names of its labels; their values come from closed sets.
    pub(crate) labels: &'static [&'static str],
}

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(crate) static $constant: Metric = Metric {
                name: $name,
                kind: Type::$kind,
                help: $help,
                labels: &[$($label),*],
            };
        )*
        /// Every metric, in the order in which they are exported.
        pub(crate) static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

catalogue! {
    BUILD_INFO = Gauge "cordboard_build_info" ["version", "node"] "Always 1; the labels say which build this is and which node.";
    CONFIG_RELOADS = Counter "cordboard_config_reloads_total" ["outcome"] "Reloads of the config at SIGHUP, applied or refused.";
    DRAINING = Gauge "cordboard_draining" [] "1 while the switch takes no new calls, else 0.";

    RELAY_LATENCY = Histogram "cordboard_relay_latency_seconds" ["media"] "From reception to handing over the last copy that may leave at once (audio: where it is forwarded; message: none is counted whose every copy waits for phones); mix: to the first mixed frame that holds the packet.";
    RTP_PACKETS = Counter "cordboard_rtp_packets_total" ["direction", "media"] "RTP packets taken from and made for peers.";
    RTP_BYTES = Counter "cordboard_rtp_bytes_total" ["direction", "media"] "Bytes of these packets, RTP headers included.";
    RTP_DROPPED = Counter "cordboard_rtp_dropped_packets_total" ["reason"] "Media packets that came and were not used.";
    RTP_LOST = Counter "cordboard_rtp_lost_packets_total" [] "RTP packets that sequence numbers show as lost on the way here.";
    RTP_PEER_LOST = Counter "cordboard_rtp_peer_lost_packets_total" [] "RTP packets that peers report as lost on the way to them.";
    RTP_JITTER = Histogram "cordboard_rtp_jitter_seconds" ["direction"] "Interarrival jitter of a stream (RFC 3550), each time that it is reported: by us (in) or by a peer (out).";
    RTP_ROUND_TRIP = Histogram "cordboard_rtp_round_trip_seconds" [] "Round trips to peers and back, each time that a report of theirs tells one.";
    RTP_SOCKET_ERRORS = Counter "cordboard_rtp_socket_errors_total" ["direction"] "out: packets that the kernel did not take; in: sockets that failed while receiving.";
    RTCP_PACKETS = Counter "cordboard_rtcp_packets_total" ["direction"] "RTCP packets taken from and made for peers.";
    RTCP_FEEDBACK = Counter "cordboard_rtcp_feedback_total" ["kind", "direction"] "RTCP feedback packets of video: in from peers, out to them.";
    RTP_RESENT = Counter "cordboard_rtp_resent_packets_total" ["outcome"] "Video packets that subscribers asked for again: sent, missing in the cache, or refused because they ask for too much.";
    RTP_RECOVERED = Counter "cordboard_rtp_recovered_packets_total" [] "Video packets of publishers that came late or because they were asked for again.";
    STUN_CHECKS = Counter "cordboard_stun_checks_total" ["outcome"] "Connectivity checks of WebRTC peers, by what they were answered with.";
    PEER_STREAMS_ENDED = Counter "cordboard_webrtc_tcp_ended_total" ["reason"] "TCP connections of WebRTC peers that ended or were not taken.";
    PEERS = Gauge "cordboard_webrtc_peers" [] "WebRTC peers whose handshake is done.";
    PEER_OUTCOMES = Counter "cordboard_webrtc_peer_outcomes_total" ["outcome"] "WebRTC peers that were connected, and those that were lost, by reason.";
    STREAMS = Gauge "cordboard_streams" ["role", "media"] "Streams now; publisher: taken from peers, subscriber: sent to peers.";
    MIXES = Gauge "cordboard_mixes" [] "Audio mixes with at least one leg.";
    SHARD_BUSY = Gauge "cordboard_shard_busy_ratio" ["shard"] "Part of the last seconds that a media thread was not asleep, from 0 to 1.";
    SHARD_LAG = Histogram "cordboard_shard_lag_seconds" [] "By how much the ticks of media threads came late.";
    SHARD_TICKS_SKIPPED = Counter "cordboard_shard_skipped_ticks_total" [] "Ticks of 20 ms that media threads left out because they came far too late.";
    SHARD_REFUSED = Counter "cordboard_shard_refused_commands_total" [] "Commands to media threads that were refused because too many waited.";

    CONFERENCES = Gauge "cordboard_conferences" [] "Conferences with at least one participant.";
    PARTICIPANTS = Gauge "cordboard_participants" ["transport"] "Participants of conferences, by the transport of their call, or chat.";
    JOINS = Counter "cordboard_joins_total" ["transport", "outcome"] "Attempts to join a conference.";
    CALLS_ENDED = Counter "cordboard_calls_ended_total" ["reason"] "Calls that ended.";
    MESSAGES = Counter "cordboard_messages_total" ["direction", "kind", "outcome"] "Messages; kind: conference, event, pager or chat; what callers are sent of chat is chat, and what they write to a conference is conference on its way to other callers and chat once more where it becomes chat.";
    MESSAGE_FANOUT = Histogram "cordboard_message_fanout_seconds" ["kind"] "From accepting a message to handing over its last copy, the wait for phones that have not answered earlier ones included.";
    MESSAGE_DELIVERY = Histogram "cordboard_message_delivery_seconds" ["transport"] "From making a copy of a message for a phone to its 2xx, the wait for answers to earlier ones included.";
    MESSAGE_RECIPIENTS = Histogram "cordboard_message_recipients" [] "How many receive one message.";
    MESSAGE_QUEUE = Gauge "cordboard_message_queue_depth" [] "Copies that wait in calls for the answers to earlier ones.";
    MESSAGES_KEPT = Gauge "cordboard_messages_kept" [] "Messages that are kept for users who are not there.";

    CHAT_CONNECTIONS = Gauge "cordboard_chat_connections" [] "Open chat connections.";
    CHAT_ROOMS = Gauge "cordboard_chat_rooms" [] "Chat rooms that somebody is in, or whose messages are kept.";
    CHAT_HISTORY = Gauge "cordboard_chat_history_messages" [] "Messages in the histories of all chat rooms.";
    CHAT_WAITING = Gauge "cordboard_chat_waiting_writes" [] "Chat messages and other changes that are told when they are on disk.";
    CHAT_TICKETS = Counter "cordboard_chat_tickets_total" ["outcome"] "Requests for chat tickets.";
    CHAT_FRAMES = Counter "cordboard_chat_frames_total" [] "Frames handed to chat connections.";
    CHAT_DROPPED = Counter "cordboard_chat_dropped_total" ["reason"] "Chat handshakes and frames that were refused or dropped, and connections that were cut.";

    SIP_REQUESTS = Counter "cordboard_sip_requests_total" ["method", "direction"] "SIP requests, repeats not counted.";
    SIP_RESPONSES = Counter "cordboard_sip_responses_total" ["method", "code", "direction"] "SIP responses.";
    SIP_TRANSACTION = Histogram "cordboard_sip_transaction_seconds" ["method", "side"] "From request to final response.";
    SIP_TRANSACTIONS = Gauge "cordboard_sip_transactions" [] "SIP transactions alive.";
    SIP_DIALOGS = Gauge "cordboard_sip_dialogs" [] "SIP dialogs alive.";
    SIP_REGISTRATIONS = Gauge "cordboard_sip_registrations" [] "Registered contacts.";
    SIP_SUBSCRIPTIONS = Gauge "cordboard_sip_subscriptions" [] "Subscriptions to conferences.";
    SIP_SUBSCRIPTIONS_ENDED = Counter "cordboard_sip_subscriptions_ended_total" ["reason"] "Subscriptions that ended without their subscriber's wish.";
    SIP_CONNECTIONS = Gauge "cordboard_sip_connections" ["transport"] "Open SIP connections.";
    SIP_RETRANSMISSIONS = Counter "cordboard_sip_retransmissions_total" ["direction"] "out: sent again by us; in: came again and absorbed.";
    SIP_TIMEOUTS = Counter "cordboard_sip_timeouts_total" ["timer"] "Transactions that a timer ended, by its RFC 3261 name; late_answer: an answer of ours came too late to be sent (RFC 4320).";
    SIP_KEEP_ALIVES = Counter "cordboard_sip_stun_keep_alives_total" [] "STUN binding requests answered on SIP ports (RFC 5626).";
    SIP_REJECTED = Counter "cordboard_sip_rejected_total" ["reason"] "SIP that was refused or dropped at the door.";

    SIP_BANS = Counter "cordboard_sip_bans_total" ["reason"] "Sources that were banned.";
    SIP_BANNED = Gauge "cordboard_sip_banned_sources" [] "Sources that get no answer now.";
    SIP_SLIMMED = Counter "cordboard_sip_slimmed_replies_total" [] "Answers to strangers over UDP that were made shorter so that nobody can use them against others.";

    RECORDS = Counter "cordboard_call_records_total" ["outcome"] "Call detail records written to the file, or lost; one that was written and that the disk then did not take is both.";

    HOOK_SECONDS = Histogram "cordboard_hook_seconds" ["hook", "plugin"] "Time of one plugin call.";
    HOOK_VERDICTS = Counter "cordboard_hook_verdicts_total" ["hook", "plugin", "verdict"] "Verdicts of plugins, failures included.";
    HOOK_TIMEOUTS = Counter "cordboard_hook_timeouts_total" ["hook"] "Questions that had no verdict at their deadline.";
    HOOK_STALE = Counter "cordboard_hook_stale_verdicts_total" [] "Verdicts that came for nothing: too late, or their subject was gone.";
    HOOK_QUEUE = Gauge "cordboard_hook_queue_depth" [] "Questions that wait for a plugin worker.";
    PLUGIN_INFO = Gauge "cordboard_plugin_info" ["plugin", "version", "api"] "Always 1; the labels say which build of a plugin serves.";
    PLUGIN_READY = Gauge "cordboard_plugin_ready" ["plugin"] "1 if a configured plugin serves, 0 if it is absent.";
    PLUGIN_MEMORY = Gauge "cordboard_plugin_memory_bytes" ["plugin"] "WebAssembly memory of all instances of a plugin.";
    PLUGIN_IMPORTS = Counter "cordboard_plugin_imports_total" ["plugin", "import", "outcome"] "Uses of granted powers.";
    PLUGIN_LOADS = Counter "cordboard_plugin_loads_total" ["plugin", "outcome"] "Builds that were loaded or refused.";

    STORE_COMMIT = Histogram "cordboard_store_commit_seconds" [] "Time of one commit of the database, with all its rows.";
    STORE_WRITES = Counter "cordboard_store_writes_total" ["outcome"] "Rows written, lost to a failed commit, or refused because too many waited.";
    STORE_QUEUE = Gauge "cordboard_store_queue_depth" [] "Writes that wait for the next commit.";

    HTTP_REQUEST = Histogram "cordboard_http_request_seconds" ["route", "method", "class"] "From a request's head to its answer's head.";
    HTTP_CONNECTIONS = Gauge "cordboard_http_connections" [] "Open HTTP connections.";
    HTTP_REFUSED = Counter "cordboard_http_refused_connections_total" ["reason"] "HTTP connections that were closed without an answer.";

    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "User and system time of the process.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" [] "Resident memory.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" [] "Virtual memory.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" [] "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] "The limit of open file descriptors.";
    PROCESS_START = Gauge "process_start_time_seconds" [] "When the process began, in seconds since the Unix epoch.";
    PROCESS_THREADS = Gauge "process_threads" [] "Threads of the process.";
}
