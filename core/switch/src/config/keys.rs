//! The keys themselves. Names and meanings that other parts and clients rely on do not change; a key
//! whose part does not exist yet is declared as such, so that a file that uses it still starts.

use std::time::Duration;

use super::kind::Kind;
use super::schema::Default::{Absent, Required, Toml};
use super::schema::{Default, Key, Section};

const fn key(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Key {
    Key { name, kind, default, served: true, help }
}

const fn later(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Key {
    Key { name, kind, default, served: false, help }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const NONE: Default = Toml("[]");
const SOCKETS: Kind = Kind::List(&Kind::Socket);
const NETWORKS: Kind = Kind::List(&Kind::Network);
const TEXTS: Kind = Kind::List(&Kind::Text(256));

/// The powers that a plugin may be granted.
pub(crate) const GRANTS: &[&str] =
    &["log", "kv", "time", "config", "metric", "conference", "message", "http", "random"];

/// The file.
pub(crate) static ROOT: Section = Section {
    name: "",
    help: "The file. Paths are relative to the folder that the switch is started in, unless the key says otherwise.",
    keys: &[
        key("node", Kind::Table(&NODE), Toml("{}"), "This node."),
        key("log", Kind::Table(&LOG), Toml("{}"), "The log, on standard error."),
        key("sip", Kind::Table(&SIP), Toml("{}"), "SIP."),
        key("tls", Kind::Table(&TLS), Toml("{}"), "The certificate, and whom the switch believes."),
        key("http", Kind::Table(&HTTP), Toml("{}"), "HTTP."),
        later("events", Kind::Table(&EVENTS), Absent("no event socket"), "The conference event socket."),
        later("esl", Kind::Table(&ESL), Absent("no event socket for scripts"), "The event socket for scripts."),
        key("media", Kind::Table(&MEDIA), Toml("{}"), "Media."),
        key("store", Kind::Table(&STORE), Toml("{}"), "The database."),
        key("cdr", Kind::Table(&CDR), Toml("{}"), "Call detail records."),
        key("chat", Kind::Table(&CHAT), Toml("{}"), "The chat of conferences."),
        key("messages", Kind::Table(&MESSAGES), Toml("{}"), "Messages."),
        key("plugins", Kind::Table(&PLUGINS), Toml("{}"), "How plugins are built."),
        key("account", Kind::Tables(&ACCOUNT), NONE, "Accounts (tenants)."),
        key("user", Kind::Tables(&USER), NONE, "Users; each is also one device."),
        key("device", Kind::Tables(&DEVICE), NONE, "Further devices of users."),
        key("conference", Kind::Tables(&CONFERENCE), NONE, "Conferences; each is also a chat room."),
        key("plugin", Kind::Tables(&PLUGIN), NONE, "Plugins."),
        key("hooks", Kind::Table(&HOOKS), Toml("{}"), "Which plugins are asked at which hook, in this order."),
        later("chatplan", Kind::Table(&CHATPLAN), Absent("no chatplan"), "Message routing by file."),
        later("trunk", Kind::Tables(&TRUNK), NONE, "Where numbers that are not ours are sent, and may come from."),
    ],
};

static NODE: Section = Section {
    name: "node",
    help: "This node.",
    keys: &[
        key("name", Kind::Text(64), Toml("\"cordboard\""), "Shown in logs, metrics and the SIP Server header."),
        key("data_dir", Kind::Path, Toml("\"data\""), "Folder for the database and compiled plugins. Made at start, for its owner only."),
        key("public_ip", Kind::OneOrMore(&Kind::Ip), Toml("[\"127.0.0.1\"]"), "The addresses that peers reach this node at, IPv4 and IPv6; put into SDP, Via and Contact."),
        key("drain_timeout", Kind::Duration(secs(0), secs(86_400)), Toml("\"30s\""), "How long calls may go on after SIGTERM."),
    ],
};

static LOG: Section = Section {
    name: "log",
    help: "The log, on standard error. The variable CORDBOARD_LOG overrides the level.",
    keys: &[
        key("level", Kind::Text(256), Toml("\"info\""), "`error`, `warn`, `info`, `debug` or `trace`, also per part: `info,cordboard_engine=debug`."),
        key("format", Kind::OneOf(&["auto", "text", "json"]), Toml("\"auto\""), "`auto` is text on a terminal and JSON otherwise."),
    ],
};

static SIP: Section = Section {
    name: "sip",
    help: "SIP. At least one address must be listened on.",
    keys: &[
        key("realm", Kind::Domain, Absent("the realm of the first account, or `localhost` if there is none"), "The default account's domain. A request's domain chooses the account; an unknown one the default."),
        key("udp", SOCKETS, NONE, "Addresses for SIP over UDP."),
        key("tcp", SOCKETS, NONE, "Addresses for SIP over TCP."),
        key("tls", SOCKETS, NONE, "Addresses for SIP over TLS."),
        key("ws", SOCKETS, NONE, "Addresses for SIP over WebSocket (path `/ws`, subprotocol `sip`)."),
        key("wss", SOCKETS, NONE, "Addresses for SIP over secure WebSocket (path `/ws`, subprotocol `sip`); a browser that opens one sees a page, so that its user can accept the certificate."),
        key("trusted", NETWORKS, NONE, "Networks whose requests need no digest and have no rate limit: a proxy in front, a load test."),
        key("digest", Kind::List(&Kind::OneOf(&["MD5", "SHA-256"])), Toml("[\"MD5\", \"SHA-256\"]"), "Digest algorithms offered, in this order; phones take the first that they know."),
        key("answer_scanners", Kind::Flag, Toml("false"), "Whether programs known for searching networks for weak passwords get answers: those whose User-Agent has `friendly-scanner`, `sipvicious`, `sundayddr`, `vaxsipuseragent`, `sip-scan`, `sipscan` or `siparmyknife`, or as a word of its own `sipcli`, `pplsip`, `iwar`, `sivus` or `gulp`."),
        key("session_expires", Kind::Duration(secs(0), secs(86_400)), Toml("\"30m\""), "The session interval asked of peers that know session timers (RFC 4028), at least 90 s; `\"0s\"` asks none and still grants what a peer asks."),
        key("abuse", Kind::Table(&ABUSE), Toml("{}"), "What one source may do before it is left without answers."),
        key("registration", Kind::Table(&REGISTRATION), Toml("{}"), "Bounds of a registration's life."),
        key("limits", Kind::Table(&LIMITS), Toml("{}"), "Bounds at the door."),
    ],
};

static REGISTRATION: Section = Section {
    name: "sip.registration",
    help: "Bounds of a registration's life.",
    keys: &[
        key("min", Kind::Duration(secs(1), secs(86_400)), Toml("\"60s\""), "Shorter ones are refused with 423."),
        key("max", Kind::Duration(secs(1), secs(604_800)), Toml("\"2h\""), "Longer ones are shortened."),
        key("default", Kind::Duration(secs(1), secs(604_800)), Toml("\"1h\""), "What holds where the phone does not say."),
        key("contacts", Kind::Integer(1, 1000), Toml("10"), "The most contacts of one user or device. A phone that comes with one more is taken, and the contact that would end first gives way: `contact_dropped` in `cordboard_sip_rejected_total`, and a line in the log, at most one a second."),
    ],
};

static LIMITS: Section = Section {
    name: "sip.limits",
    help: "What is over these bounds is refused and counted.",
    keys: &[
        key("transactions", Kind::Integer(100, 10_000_000), Toml("500_000"), "Transactions alive at once."),
        key("calls", Kind::Integer(1, 1_000_000), Toml("20_000"), "Calls alive at once."),
        key("user_calls", Kind::Integer(0, 1_000_000), Toml("100"), "Of these, at most so many that one user has made, by all his devices, until they are over; more get 480 without `Retry-After`, as it is no overload of the switch (`too_many_calls_of_user` in `cordboard_sip_rejected_total`). The calls of the switch to the phones of whom he calls come beside it: a call to somebody with ten contacts holds up to eleven of `calls`. 0: no limit. `trusted` networks have none."),
        key("dialog_queue", Kind::Integer(1, 100_000), Toml("256"), "Messages that wait in one call for the answers to earlier ones."),
        key("asks", Kind::Integer(1, 1_000_000), Toml("10_000"), "Questions to plugins that are open at once."),
        key("subscriptions", Kind::Integer(1, 1_000_000), Toml("10_000"), "Subscriptions to conferences alive at once."),
        key("lag", Kind::Duration(ms(0), secs(60)), Toml("\"500ms\""), "How long messages may wait to be read before strangers are refused; new calls are at twice that; 0s: never for this."),
        key("connections", Kind::Integer(1, 1_000_000), Toml("10_000"), "TCP, TLS and WebSocket connections open at once. With more, those over which nobody has proved himself give way, the eldest first."),
        key("source_connections", Kind::Integer(1, 1_000_000), Toml("1000"), "Of these at most so many of one source (an IPv4 address, an IPv6 /64). More are wanted where a proxy stands before the switch."),
    ],
};

static ABUSE: Section = Section {
    name: "sip.abuse",
    help: "What one source (an IPv4 address, an IPv6 /64) may do before it is left without answers. Trusted networks are exempt.",
    keys: &[
        key("ban_after", Kind::Integer(0, 1_000_000), Toml("20"), "So many wrong proofs (digests; tokens and room passwords of the chat; tokens of operators, the same one again not counted; PINs of conferences) within the window are a ban; four times as many where somebody has proved himself lately; 0: nobody is banned. A ban ends early with `DELETE /v1/bans/{source}`, asked from another source (the next ban is twice as long all the same), or with a reload (SIGHUP) that trusts the source or says 0 here (it then begins anew). Wrong PINs are counted for a day as well: after so many of one user for a conference from one source none of its PINs opens it for him there for `ban_time`, twice as long each further time; after four times as many from all sources together (each counts for so many at most), nowhere."),
        key("window", Kind::Duration(secs(1), secs(86_400)), Toml("\"5m\""), "In which wrong proofs are counted together; PINs of one user for a conference also for a day, see `ban_after`."),
        key("ban_time", Kind::Duration(secs(1), secs(604_800)), Toml("\"10m\""), "How long the first ban holds; each further one of the same source holds twice as long."),
        key("ban_time_max", Kind::Duration(secs(1), secs(2_592_000)), Toml("\"1d\""), "The longest ban."),
        key("proven_for", Kind::Duration(secs(0), secs(604_800)), Toml("\"2h\""), "How long a source is treated with more patience after somebody proved himself there."),
        key("requests_per_second", Kind::Integer(0, 1_000_000), Toml("50"), "Requests of one source that prove nobody, on average; four times as many at once; 0: no limit."),
        key("user_requests_per_second", Kind::Integer(0, 1_000_000), Toml("100"), "Requests outside of calls of one user who proved himself; four times as many at once; 0: no limit."),
        key("sources", Kind::Integer(100, 10_000_000), Toml("50_000"), "Sources that are remembered; with more, the eldest are forgotten."),
    ],
};

static TLS: Section = Section {
    name: "tls",
    help: "The certificate of every TLS address, SIP, WebSocket and HTTPS. Read again at SIGHUP; connections that are open stay.",
    keys: &[
        key("cert", Kind::Path, Absent("a self-signed pair is made once in `data_dir`"), "The certificate chain, PEM, the switch's own first."),
        key("key", Kind::Path, Absent("needed with `cert`"), "Its private key, PEM, without a password."),
        key("ca", Kind::Path, Absent("the authorities of this machine"), "The authorities that are believed where the switch itself connects to a phone over TLS, PEM."),
    ],
};

static HTTP: Section = Section {
    name: "http",
    help: "HTTP: `/metrics`, `/healthz`, `/readyz`, with a token of an account `/v1/bans` (`DELETE /v1/bans/{source}` with a `network` of that list, its slash as `%2F`, lifts a ban, but not of the source that asks) and `/v1/conferences/{id}/stats`, and chat (`/v1/rooms/...`, `/signaling`); the same on every address.",
    keys: &[
        key("listen", SOCKETS, NONE, "Addresses for HTTP."),
        key("tls", SOCKETS, NONE, "Addresses for HTTPS."),
        later("trusted_proxies", NETWORKS, NONE, "Networks whose X-Forwarded-For and X-Forwarded-Proto count."),
        key("connections", Kind::Integer(1, 100_000), Toml("1024"), "Connections open at once; more wait."),
        key("timeout", Kind::Duration(ms(100), secs(600)), Toml("\"10s\""), "How long a client may take to send a request, and to read its answer."),
    ],
};

static EVENTS: Section = Section {
    name: "events",
    help: "The conference event socket.",
    keys: &[later("listen", SOCKETS, NONE, "Its addresses.")],
};

static ESL: Section = Section {
    name: "esl",
    help: "The event socket for scripts.",
    keys: &[
        later("listen", SOCKETS, NONE, "Its addresses."),
        later("password", Kind::Secret(1), Required, "Its password."),
    ],
};

static MEDIA: Section = Section {
    name: "media",
    help: "Media.",
    keys: &[
        key("shards", Kind::Integer(0, 256), Toml("0"), "Media threads; 0 is one per core."),
        key("rtp_ports", Kind::Ports, Toml("\"20000-29999\""), "UDP ports for RTP and RTCP, two per call."),
        key("rtp_timeout", Kind::Duration(secs(0), secs(86_400)), Toml("\"5m\""), "How long a phone that has sent audio may send nothing, RTP and RTCP, before its call is ended; not counted while it is held. `\"0s\"`: for ever."),
        key("codecs", Kind::List(&Kind::OneOf(&["opus", "G722", "PCMU", "PCMA"])), Toml("[\"opus\", \"G722\", \"PCMU\", \"PCMA\"]"), "Audio codecs that are taken, and offered in this order; an answer keeps the other side's order."),
        key("webrtc_port", Kind::Integer(0, 65_535), Toml("10000"), "The first media thread's port for WebRTC (UDP, and TCP where there is no UDP), one more per thread; 0 serves none."),
    ],
};

static STORE: Section = Section {
    name: "store",
    help: "The database (SQLite): registrations, messages to users who are away, call records, what plugins keep.",
    keys: &[
        key("path", Kind::Path, Toml("\"cordboard.db\""), "The file, relative to `data_dir`."),
        key("sync", Kind::OneOf(&["full", "normal"]), Toml("\"full\""), "`full`: what is acknowledged survives power loss. `normal`: it survives a crash of the process."),
    ],
};

static CDR: Section = Section {
    name: "cdr",
    help: "Call detail records: one for each call when it is over. Calls that were answered and that a crash or kill of the process cuts off have theirs after the next start, with the reason `cut_off`; those that only rang then have none.",
    keys: &[
        key("file", Kind::Flag, Toml("true"), "Whether they are written to `cdr.jsonl` in `data_dir`, one JSON object a line. Others may move or remove that file at any time: the next record makes it anew."),
        key("max_size", Kind::Size(4 << 10, 1 << 40), Toml("\"64MiB\""), "How large the file grows before it is renamed to `cdr.jsonl.1`, that to `.2` and so on."),
        key("keep_files", Kind::Integer(0, 1000), Toml("4"), "How many renamed files are kept."),
        key("database", Kind::Flag, Toml("true"), "Whether they are kept in the database, table `call_record`."),
        key("keep", Kind::Duration(secs(3600), secs(3_650 * 86_400)), Toml("\"90d\""), "How long they are kept in the database."),
    ],
};

static CHAT: Section = Section {
    name: "chat",
    help: "The chat of conferences, over the chat WebSocket (`/signaling`) and with callers.",
    keys: &[
        key("keep", Kind::Keep, Toml("\"while-occupied\""), "How long a room's chat is kept: until the last has left, each message for a time, or for ever."),
        key("history", Kind::Integer(1, 1_000_000), Toml("10_000"), "The most messages that are kept of one room; with more, the oldest go."),
        key("connections", Kind::Integer(1, 1_000_000), Toml("10_000"), "Chat connections open at once."),
        key("connections_per_source", Kind::Integer(1, 1_000_000), Toml("2000"), "Chat connections of one address open at once."),
    ],
};

static MESSAGES: Section = Section {
    name: "messages",
    help: "Messages.",
    keys: &[
        key("max_size", Kind::Size(1 << 10, 1 << 20), Toml("\"64KiB\""), "The largest body; a larger one is refused with 413. Over UDP a datagram (64 KiB) is the bound."),
        key("rate", Kind::Integer(0, 1_000_000), Toml("100"), "Messages per second that one sender may send on average, twice as many at once; 0 is no limit."),
        key("keep", Kind::Duration(secs(0), secs(366 * 86_400)), Toml("\"7d\""), "How long a message to a user who is not there is kept, unless its Expires is earlier; 0s: none is kept."),
        key("keep_count", Kind::Integer(1, 100_000), Toml("100"), "The most messages kept for one user or device."),
        key("keep_size", Kind::Size(1 << 10, 1 << 30), Toml("\"1MiB\""), "What they may take together."),
        key("keep_total", Kind::Size(1 << 10, 1 << 40), Toml("\"64MiB\""), "What the kept messages of all users may take together; they are in memory, too."),
    ],
};

static PLUGINS: Section = Section {
    name: "plugins",
    help: "How plugins are built.",
    keys: &[
        key("build", Kind::Flag, Toml("true"), "Whether the switch builds `source` folders at start. `false`: only `wasm` files are loaded."),
        key("setup", Kind::Flag, Toml("false"), "Whether a build may fetch the compiler target that it needs. `false`: `cordboard plugin setup` does it by hand."),
    ],
};

static ACCOUNT: Section = Section {
    name: "account",
    help: "An account (tenant). Numbers and usernames are unique within it. With none, one is made for `[sip] realm`.",
    keys: &[
        key("id", Kind::Id, Required, "Its id."),
        key("realm", Kind::Domain, Required, "Its domain, also the digest realm; taken in lower case."),
        key("tokens", Kind::List(&Kind::Secret(1)), NONE, "X-Auth-Token or Bearer tokens for the HTTP routes below `/v1`."),
    ],
};

static USER: Section = Section {
    name: "user",
    help: "A user. Either `password`, or `ha1_md5` or `ha1_sha256` or both, must be there.",
    keys: &[
        key("id", Kind::Id, Required, "The user's id."),
        key("account", Kind::Id, Absent("the default account"), "The account."),
        key("username", Kind::Username, Required, "SIP user part and digest name."),
        key("password", Kind::Secret(1), Absent("a hash is needed"), "The password in clear."),
        key("ha1_md5", Kind::SecretHex(32), Absent("made from the password"), "MD5 of `username:realm:password`."),
        key("ha1_sha256", Kind::SecretHex(64), Absent("made from the password"), "SHA-256 of `username:realm:password`."),
        key("display_name", Kind::Text(256), Absent("the username"), "The name that others see."),
        key("groups", TEXTS, NONE, "Groups of the user, such as `/Lab/Backend`."),
        key("token", Kind::Secret(1), Absent("no chat by token"), "Bearer token for the chat ticket, the user's own."),
    ],
};

static DEVICE: Section = Section {
    name: "device",
    help: "A further device of a user; it registers by itself. Password or hashes as for a user.",
    keys: &[
        key("id", Kind::Id, Required, "The device's id."),
        key("account", Kind::Id, Absent("the owner's account; needed where two accounts have such a user"), "The account."),
        key("owner", Kind::Username, Required, "The username of the user it belongs to."),
        key("username", Kind::Username, Required, "SIP user part and digest name."),
        key("password", Kind::Secret(1), Absent("a hash is needed"), "The password in clear."),
        key("ha1_md5", Kind::SecretHex(32), Absent("made from the password"), "MD5 of `username:realm:password`."),
        key("ha1_sha256", Kind::SecretHex(64), Absent("made from the password"), "SHA-256 of `username:realm:password`."),
        key("display_name", Kind::Text(256), Absent("the owner's"), "The name that others see."),
    ],
};

static CONFERENCE: Section = Section {
    name: "conference",
    help: "A conference. At least one number must lead to it.",
    keys: &[
        key("id", Kind::Id, Required, "Its id, with or without dashes also the chat room's."),
        key("account", Kind::Id, Absent("the default account"), "The account."),
        key("name", Kind::Text(128), Required, "Its name."),
        key("conference_numbers", Kind::List(&Kind::Number), NONE, "Numbers that members dial."),
        key("member", Kind::Table(&MEMBER), Toml("{}"), "Members."),
        key("moderator", Kind::Table(&MODERATOR), Toml("{}"), "Moderators."),
        key("max_participants", Kind::Integer(1, 100_000), Toml("1000"), "The most participants at once, callers and chat clients together."),
        key("messages", Kind::Flag, Toml("true"), "Whether participants may send messages."),
        key("outside_messages", Kind::Flag, Toml("false"), "Whether messages to its numbers are also taken from users who do not take part."),
        key("video", Kind::OneOf(&["none", "sfu"]), Toml("\"none\""), "Whether browsers see each other: with \"sfu\" everybody is shown to everybody else."),
        key("audio", Kind::OneOf(&["mix", "forward"]), Toml("\"mix\""), "What browsers hear: the mix of all others, or with \"forward\" the three loudest browsers as they are, each on a line of its own, and phones in a mix. Phones always hear the mix."),
        key("send_events", Kind::Flag, Toml("false"), "Conference events to participants as messages in their calls."),
        key("echo_events", Kind::Flag, Toml("false"), "Events also to the participant who caused them."),
        key("chat", Kind::Table(&ROOM), Toml("{}"), "The chat room."),
    ],
};

static MEMBER: Section = Section {
    name: "conference.member",
    help: "How members come in.",
    keys: &[
        key("numbers", Kind::List(&Kind::Number), NONE, "Further numbers that members dial."),
        key("pins", Kind::List(&Kind::Pin), NONE, "One of these must be dialled after the number and an asterisk, as in `3001*1234`, also to watch who is there (SUBSCRIBE) without taking part; with none, the number is enough. After `[sip.abuse] ban_after` wrong ones of a user within the window no PIN of the conference is taken from that user for `ban_time`."),
        key("join_muted", Kind::Flag, Toml("false"), "Whether one comes in with the microphone off; the camera is not affected."),
        key("join_deaf", Kind::Flag, Toml("false"), "Whether one comes in deaf."),
    ],
};

static MODERATOR: Section = Section {
    name: "conference.moderator",
    help: "How moderators come in.",
    keys: &[
        key("numbers", Kind::List(&Kind::Number), NONE, "Numbers that moderators dial."),
        key("pins", Kind::List(&Kind::Pin), NONE, "One of these must be dialled after the number and an asterisk, as in `3001*1234`, also to watch who is there (SUBSCRIBE) without taking part; with none, the number is enough. After `[sip.abuse] ban_after` wrong ones of a user within the window no PIN of the conference is taken from that user for `ban_time`."),
        key("join_muted", Kind::Flag, Toml("false"), "Whether one comes in with the microphone off; the camera is not affected."),
        key("join_deaf", Kind::Flag, Toml("false"), "Whether one comes in deaf."),
    ],
};

static ROOM: Section = Section {
    name: "conference.chat",
    help: "The chat room of a conference. Every conference has one.",
    keys: &[
        key("owner", Kind::Username, Absent("no owner"), "The user who may do everything in it."),
        key("invite_codes", Kind::List(&Kind::Id), NONE, "Codes that let a guest in."),
        key("password", Kind::Secret(0), Toml("\"\""), "Its password, which guests must give; empty is none."),
        key("waiting_room", Kind::Flag, Toml("false"), "Whether all but moderators wait until they are let in; callers wait in silence, neither heard nor hearing."),
    ],
};

static PLUGIN: Section = Section {
    name: "plugin",
    help: "A plugin. Either `source` or `wasm` must be there.",
    keys: &[
        key("name", Kind::Name, Required, "Its name, unique."),
        key("source", Kind::Path, Absent("`wasm` is needed"), "A folder of your own code; its build runs natively on this machine."),
        key("wasm", Kind::Path, Absent("`source` is needed"), "A compiled plugin."),
        key("config", Kind::Json, Toml("{}"), "What the plugin is told."),
        key("grants", Kind::List(&Kind::OneOf(GRANTS)), NONE, "The powers that it may use, as far as its manifest asks for them: `log`, `kv` and `time` today."),
        key("memory", Kind::Size(1 << 20, 1 << 30), Toml("\"16MiB\""), "The most memory of one instance."),
    ],
};

static HOOKS: Section = Section {
    name: "hooks",
    help: "For each hook the plugins that are asked, in this order.",
    keys: &[
        key("conference-policy", Kind::Tables(&CHAIN), NONE, "Before a participant is let into a conference, by a call or by the chat WebSocket."),
        key("message-filter", Kind::Tables(&CHAIN), NONE, "For each message, before it is relayed."),
        key("call-router", Kind::Tables(&CHAIN), NONE, "For each call that a caller begins: where it goes."),
        later("chatplan", Kind::Tables(&CHAIN), NONE, "To route a message."),
        later("http-action", Kind::Tables(&CHAIN), NONE, "For a REST call to a plugin."),
        later("events", Kind::Tables(&CHAIN), NONE, "To observe."),
        later("timer", Kind::Tables(&CHAIN), NONE, "At times that the plugin chooses."),
        later("dtmf", Kind::Tables(&CHAIN), NONE, "For a key that was pressed."),
        later("stream-policy", Kind::Tables(&CHAIN), NONE, "For who gets whose video."),
        later("floor", Kind::Tables(&CHAIN), NONE, "For who may speak next."),
    ],
};

static CHAIN: Section = Section {
    name: "hooks.*",
    help: "One entry of a hook's list.",
    keys: &[
        key("plugin", Kind::Name, Required, "The name of a plugin."),
        key("deadline", Kind::Duration(ms(1), secs(2)), Toml("\"20ms\""), "How long it may take, waiting included."),
        key("on_failure", Kind::OneOf(&["pass", "refuse"]), Toml("\"pass\""), "What stands for its verdict when it is too slow, traps or is missing. `refuse`: callers and senders hear 500 (a 503 would have them avoid the whole switch), records and counters of calls say `plugin_failed`."),
    ],
};

static CHATPLAN: Section = Section {
    name: "chatplan",
    help: "Message routing by file.",
    keys: &[
        later("files", Kind::List(&Kind::Path), NONE, "Files, wildcards allowed, relative to this file."),
        later("context", Kind::Text(64), Toml("\"default\""), "The context that messages begin in."),
        later("scripts", Kind::Json, Toml("{}"), "Which plugin stands for which script of an existing plan."),
    ],
};

static TRUNK: Section = Section {
    name: "trunk",
    help: "A way to and from other networks.",
    keys: &[
        later("name", Kind::Name, Required, "Its name."),
        later("uri", Kind::Text(256), Required, "Its SIP URI."),
        later("username", Kind::Text(64), Toml("\"\""), "The name that we answer its challenges with."),
        later("password", Kind::Secret(0), Toml("\"\""), "Its password."),
        later("allow_from", NETWORKS, NONE, "Networks that its calls come from."),
    ],
};
