//! Janus, for comparison, where it is installed (Debian: `apt-get install janus`): its videoroom, and a mountpoint of
//! its streaming plugin, which takes plain RTP; driven by its HTTP interface, as an ICE-lite agent like the switch.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use cordboard_tests::http;
use cordboard_tests::program::{Program, tail};
use cordboard_tests::webrtc::{Crowd, Description, Part, sdp};
use serde_json::{Value, json};

use crate::datagrams::local;

/// The room.
const ROOM: u64 = 3000;

/// Its plugin in which everybody shows himself to everybody.
pub const VIDEOROOM: &str = "janus.plugin.videoroom";
/// Its plugin that shows what comes as plain RTP.
pub const STREAMING: &str = "janus.plugin.streaming";

/// A running Janus and the clients in its room.
pub struct Janus {
    /// Their media.
    pub crowd: Crowd,
    process: Program,
    _folder: tempfile::TempDir,
    api: SocketAddr,
    plugin: &'static str,
    session: u64,
    feed: u64,
    transactions: u64,
}

/// An address of this machine that is not on the loopback, where Janus does not listen.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the route is asked for.
    socket
        .connect("192.0.2.1:9")
        .or_else(|_| socket.connect("10.255.255.255:9"))
        .ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

impl Janus {
    /// Starts one with an empty room, and with a mountpoint that takes plain RTP at this port; its clients will use
    /// this plugin. `None` where it is not installed.
    pub fn start(plugin: &'static str, inlet: u16) -> Option<Self> {
        let address = address()?;
        let folder = tempfile::tempdir().expect("a folder for logs");
        let port = local(&UdpSocket::bind("127.0.0.1:0").expect("a free port")).port();
        let plugins = [
            "/usr/lib/x86_64-linux-gnu/janus",
            "/usr/lib/aarch64-linux-gnu/janus",
            "/usr/lib/janus",
        ];
        let libraries = plugins.iter().find(|path| std::path::Path::new(path).exists())?;
        let path = folder.path().display();
        let configs = [
            (
                "janus.jcfg",
                format!(
                    "general: {{\n configs_folder = \"{path}\"\n plugins_folder = \"{libraries}/plugins\"\n transports_folder = \"{libraries}/transports\"\n \
                     events_folder = \"{path}/none\"\n loggers_folder = \"{path}/none\"\n debug_level = 2\n session_timeout = 0\n}}\n\
                     nat: {{\n ice_lite = true\n ice_enforce_list = \"{address}\"\n}}\n\
                     plugins: {{\n disable = \"{}\"\n}}\ntransports: {{\n disable = \"{}\"\n}}\n",
                    "libjanus_audiobridge.so,libjanus_echotest.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,\
                     libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so,libjanus_lua.so,libjanus_duktape.so",
                    "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so"
                ),
            ),
            (
                "janus.transport.http.jcfg",
                format!(
                    "general: {{\n json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n ip = \"127.0.0.1\"\n https = false\n}}\n"
                ),
            ),
            (
                "janus.plugin.videoroom.jcfg",
                format!(
                    "room-{ROOM}: {{\n description = \"load\"\n publishers = 20\n bitrate = 0\n videocodec = \"vp8\"\n notify_joining = false\n}}\n"
                ),
            ),
            (
                "janus.plugin.streaming.jcfg",
                format!(
                    "load: {{\n type = \"rtp\"\n id = {ROOM}\n description = \"load\"\n media = ({{ type = \"video\", mid = \"v\", label = \"load\", \
                     port = {inlet}, pt = 96, codec = \"vp8\" }})\n}}\n"
                ),
            ),
        ];
        for (name, text) in configs {
            std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        }
        let mut command = Command::new("janus");
        command.arg("-F").arg(folder.path());
        let process = Program::start("janus", folder.path(), &mut command).ok()?;
        let api = SocketAddr::from(([127, 0, 0, 1], port));
        let answers = cordboard_tests::until(Duration::from_secs(10), || {
            http::get(api, "/janus/info")
                .ok()
                .filter(|answer| answer.code == 200)
        });
        assert!(
            answers.is_some(),
            "janus does not answer:\n{}",
            tail(&process.output(), 30)
        );
        let mut janus = Self {
            crowd: Crowd::new(address),
            process,
            _folder: folder,
            api,
            plugin,
            session: 0,
            feed: 0,
            transactions: 0,
        };
        janus.session = id(&janus.ask("/janus", json!({ "janus": "create" })));
        Some(janus)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn ask(&mut self, path: &str, mut request: Value) -> Value {
        self.transactions += 1;
        request["transaction"] = json!(self.transactions.to_string());
        let answer = http::post(self.api, path, "", &request.to_string()).expect("janus answers");
        let answer: Value = serde_json::from_str(&answer.body).expect("janus speaks JSON");
        assert_ne!(answer["janus"], "error", "{request}: {answer}");
        answer
    }

    /// A new handle of its plugin.
    fn attach(&mut self) -> u64 {
        let path = format!("/janus/{}", self.session);
        id(&self.ask(&path, json!({ "janus": "attach", "plugin": self.plugin })))
    }

    fn message(&mut self, handle: u64, body: Value, jsep: Option<(&str, String)>) {
        let mut request = json!({ "janus": "message", "body": body });
        if let Some((kind, sdp)) = jsep {
            request["jsep"] = json!({ "type": kind, "sdp": sdp });
        }
        let path = format!("/janus/{}/{handle}", self.session);
        self.ask(&path, request);
    }

    /// The next event of a handle that has a description; `None` where it is refused.
    fn described(&mut self, handle: u64) -> Option<Value> {
        let path = format!("/janus/{}?maxev=1", self.session);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let answer = http::get(self.api, &path).expect("janus answers");
            let event: Value = serde_json::from_str(&answer.body).expect("janus speaks JSON");
            if event["sender"] != json!(handle) {
                continue;
            }
            if !event["plugindata"]["data"]["error"].is_null() {
                return None;
            }
            if event["jsep"]["sdp"].is_string() {
                return Some(event);
            }
        }
        panic!("janus describes nothing:\n{}", tail(&self.process.output(), 30));
    }

    /// A client that shows itself; its number.
    pub fn publish(&mut self, part: Part) -> usize {
        let (handle, peer) = (self.attach(), self.crowd.add().expect("a socket"));
        let offer = sdp::video_offer(&self.crowd.peers[peer], part);
        let body = json!({ "request": "joinandconfigure", "room": ROOM, "ptype": "publisher", "audio": false, "video": true });
        self.message(handle, body, Some(("offer", offer)));
        let event = self.described(handle).expect("the room takes who shows himself");
        self.feed = event["plugindata"]["data"]["id"]
            .as_u64()
            .expect("who shows itself has a number");
        let answer = Description::read(event["jsep"]["sdp"].as_str().unwrap_or_default());
        let remote = answer.remote().expect("janus says where it is");
        self.crowd.peers[peer].meet(remote).expect("janus can be reached");
        // Nobody can watch before media can come.
        self.settle(Duration::from_secs(10));
        peer
    }

    /// A client that watches.
    pub fn watch(&mut self, part: Part) {
        let (handle, peer) = (self.attach(), self.crowd.add().expect("a socket"));
        // A feed is there a moment after its transport is.
        let event = cordboard_tests::until(Duration::from_secs(10), || {
            let streams = json!([{ "feed": self.feed }]);
            let body = match self.plugin {
                STREAMING => json!({ "request": "watch", "id": ROOM }),
                _ => json!({ "request": "join", "room": ROOM, "ptype": "subscriber", "streams": streams }),
            };
            self.message(handle, body, None);
            self.described(handle)
        });
        let event = event.unwrap_or_else(|| panic!("janus:\n{}", tail(&self.process.output(), 30)));
        let offer = Description::read(event["jsep"]["sdp"].as_str().unwrap_or_default());
        let answer = sdp::answer(&offer, &self.crowd.peers[peer], part, "active", 1);
        let remote = offer.remote().expect("janus says where it is");
        self.crowd.peers[peer].meet(remote).expect("janus can be reached");
        self.message(
            handle,
            json!({ "request": "start", "room": ROOM }),
            Some(("answer", answer)),
        );
        self.crowd.pump(Duration::ZERO, |_| ());
    }

    /// Waits until every client is connected.
    pub fn settle(&mut self, patience: Duration) {
        let begun = Instant::now();
        while !self.crowd.is_connected() {
            assert!(
                begun.elapsed() < patience,
                "janus:\n{}",
                tail(&self.process.output(), 30)
            );
            self.crowd.pump(Duration::from_millis(2), |_| ());
        }
    }
}

fn id(answer: &Value) -> u64 {
    answer["data"]["id"].as_u64().expect("janus gives numbers")
}
