//! The switch under test: the real binary in a folder of its own, on a loopback address of its own.
//!
//! Every switch gets another address of 127.0.0.0/8, so that tests beside each other never want the same port and
//! the ports are those of the documentation.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::client::{Account, Phone};
use crate::http;
use crate::program::{Program, tail};

/// How long a switch may take until it serves; with plugins to build it may take [`BUILD`].
const START: Duration = Duration::from_secs(60);
/// How long building plugins may take on a machine where the compiler for them must be prepared first.
const BUILD: Duration = Duration::from_secs(900);

/// The configuration of a switch: four users (alice, bob, carol, dave; password `secret`, token `alice-token` and so
/// on; alice and bob are in the group `/Lab/Backend`) and the conference 3000, whose chat is alice's.
#[derive(Debug, Clone, Default)]
pub struct Lab {
    trusted: Vec<String>,
    drain: Option<String>,
    plugins: String,
    filters: Vec<String>,
    policies: Vec<String>,
    routers: Vec<String>,
    address: Option<IpAddr>,
    secure: bool,
    answer_scanners: bool,
    further: String,
    video: bool,
    forward_audio: bool,
    events: bool,
}

impl Lab {
    /// The plain lab: everybody needs a password, no plugins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests from this network need no digest.
    #[must_use]
    pub fn trust(mut self, network: &str) -> Self {
        self.trusted.push(format!("\"{network}\""));
        self
    }

    /// How long calls may go on after SIGTERM.
    #[must_use]
    pub fn drain(mut self, timeout: &str) -> Self {
        self.drain = Some(timeout.to_owned());
        self
    }

    /// At an address of this machine that is not on the loopback.
    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// SIP also over TLS and secure WebSocket, with a certificate of the switch's own making.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// What calls itself a scanner is answered like anybody else.
    #[must_use]
    pub fn answer_scanners(mut self) -> Self {
        self.answer_scanners = true;
        self
    }

    /// A plugin from a folder of the checkout, with its own keys as TOML lines (`config`, `grants`, ...).
    #[must_use]
    pub fn plugin(mut self, name: &str, folder: &str, keys: &str) -> Self {
        let source = checkout().join(folder);
        let _ = write!(
            self.plugins,
            "\n[[plugin]]\nname = \"{name}\"\nsource = \"{}\"\n{keys}\n",
            source.display()
        );
        self
    }

    /// Puts a plugin at the end of the message-filter chain.
    #[must_use]
    pub fn filter(mut self, plugin: &str, deadline: &str, on_failure: &str) -> Self {
        self.filters.push(step(plugin, deadline, on_failure));
        self
    }

    /// Puts a plugin at the end of the conference-policy chain.
    #[must_use]
    pub fn policy(mut self, plugin: &str, deadline: &str, on_failure: &str) -> Self {
        self.policies.push(step(plugin, deadline, on_failure));
        self
    }

    /// Puts a plugin at the end of the call-router chain.
    #[must_use]
    pub fn router(mut self, plugin: &str, deadline: &str, on_failure: &str) -> Self {
        self.routers.push(step(plugin, deadline, on_failure));
        self
    }

    /// The conference shows browsers to each other.
    #[must_use]
    pub const fn video(mut self) -> Self {
        self.video = true;
        self
    }

    /// The conference's browsers hear single speakers, as they are.
    #[must_use]
    pub const fn forward_audio(mut self) -> Self {
        self.forward_audio = true;
        self
    }

    /// Participants of the conference are told what happens in it.
    #[must_use]
    pub const fn events(mut self) -> Self {
        self.events = true;
        self
    }

    /// Further TOML at the end of the file.
    #[must_use]
    pub fn also(mut self, toml: &str) -> Self {
        self.further.push_str(toml);
        self
    }

    /// Starts a switch so configured and waits until it serves.
    ///
    /// # Panics
    /// It ended, or did not serve in time; its log is in the message.
    pub fn start(&self) -> Switch {
        let folder = tempfile::tempdir().expect("a folder for the switch");
        let mut switch = Switch {
            process: None,
            starts: 0,
            address: self.address.unwrap_or_else(own_address),
            patience: if self.plugins.is_empty() { START } else { BUILD },
            folder,
        };
        std::fs::write(switch.config(), self.text(switch.address)).expect("the folder is new and ours");
        switch.run();
        switch
    }

    fn text(&self, address: IpAddr) -> String {
        let mut text = format!(
            "[node]\nname = \"lab\"\ndata_dir = \"data\"\npublic_ip = [\"{address}\"]\ndrain_timeout = \"{drain}\"\n\n\
             [sip]\nrealm = \"lab.test\"\nudp = [\"{address}:5060\"]\ntcp = [\"{address}:5060\"]\n\
             ws = [\"{address}:8088\"]\n{secure}answer_scanners = {scanners}\ntrusted = [{trusted}]\n\n\
             [http]\nlisten = [\"{address}:8080\"]\n\n[plugins]\nbuild = true\nsetup = true\n\n\
             [[account]]\nid = \"00000000000000000000000000000001\"\nrealm = \"lab.test\"\ntokens = [\"lab-token\"]\n",
            drain = self.drain.as_deref().unwrap_or("1s"),
            scanners = self.answer_scanners,
            trusted = self.trusted.join(", "),
            secure = match self.secure {
                true => format!("tls = [\"{address}:5061\"]\nwss = [\"{address}:8089\"]\n"),
                false => String::new(),
            },
        );
        for (n, name) in ["alice", "bob", "carol", "dave"].iter().enumerate() {
            let _ = write!(
                text,
                "\n[[user]]\nid = \"{n:032x}\"\n\
                 account = \"00000000000000000000000000000001\"\nusername = \"{name}\"\npassword = \"secret\"\n\
                 token = \"{name}-token\"\ngroups = [\"/Lab/{group}\"]\n\
                 display_name = \"{}{}\"\n",
                name[..1].to_uppercase(),
                &name[1..],
                group = if n < 2 { "Backend" } else { "Tea" },
            );
        }
        text.push_str(
            "\n[[conference]]\nid = \"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\"\n\
             account = \"00000000000000000000000000000001\"\nname = \"Daily\"\nconference_numbers = [\"3000\"]\n\
             max_participants = 2000\n\
             chat = { owner = \"alice\", invite_codes = [\"0b5e3d1c-7a57-4b7e-8c55-3f3d6c1d9e21\"] }\n",
        );
        if self.video {
            text.push_str("video = \"sfu\"\n");
        }
        if self.events {
            text.push_str("send_events = true\n");
        }
        if self.forward_audio {
            text.push_str("audio = \"forward\"\n");
        }
        text.push_str(&self.plugins);
        let _ = write!(
            text,
            "\n[hooks]\nmessage-filter = [{}]\nconference-policy = [{}]\ncall-router = [{}]\n\n{}",
            self.filters.join(", "),
            self.policies.join(", "),
            self.routers.join(", "),
            self.further
        );
        text
    }
}

fn step(plugin: &str, deadline: &str, on_failure: &str) -> String {
    format!("{{ plugin = \"{plugin}\", deadline = \"{deadline}\", on_failure = \"{on_failure}\" }}")
}

/// A switch. Killed when dropped.
#[derive(Debug)]
pub struct Switch {
    /// Ended before its folder goes.
    process: Option<Program>,
    starts: u32,
    address: IpAddr,
    patience: Duration,
    folder: tempfile::TempDir,
}

impl Switch {
    /// Starts the process (again) and waits until it serves.
    ///
    /// # Panics
    /// It ended, or did not serve in time; its log is in the message.
    pub fn run(&mut self) {
        self.starts += 1;
        let mut command = Command::new(binary());
        command.args(["run", "-c"]).arg(self.config());
        let name = format!("switch-{}", self.starts);
        let mut process = Program::start(&name, self.folder.path(), &mut command).expect("the switch starts");
        let ready = crate::until(self.patience, || {
            let served = http::get(self.http(), "/readyz").is_ok_and(|answer| answer.code == 200);
            // An error at the start (a plugin that does not build, a power that is not granted) does not heal.
            let failed =
                process.wait(Duration::ZERO).is_some() || process.output().contains("\"level\":\"ERROR\"");
            (served || failed).then_some(served)
        });
        assert_eq!(
            ready,
            Some(true),
            "the switch does not serve:\n{}",
            tail(&process.output(), 60)
        );
        self.process = Some(process);
    }

    /// The process.
    ///
    /// # Panics
    /// It was killed and not started again.
    pub fn process(&mut self) -> &mut Program {
        self.process.as_mut().expect("the switch runs")
    }

    /// Its process id.
    ///
    /// # Panics
    /// It was killed and not started again.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the switch runs").pid()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Program::output)
    }

    /// SIP over UDP and TCP.
    pub fn sip(&self) -> SocketAddr {
        SocketAddr::new(self.address, 5060)
    }

    /// SIP over WebSocket.
    pub fn ws(&self) -> SocketAddr {
        SocketAddr::new(self.address, 8088)
    }

    /// SIP over TLS, where the lab is secure.
    pub fn sips(&self) -> SocketAddr {
        SocketAddr::new(self.address, 5061)
    }

    /// SIP over secure WebSocket, where the lab is secure.
    pub fn wss(&self) -> SocketAddr {
        SocketAddr::new(self.address, 8089)
    }

    /// HTTP.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, 8080)
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its config file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("cordboard.toml")
    }

    /// The text of /metrics.
    ///
    /// # Panics
    /// It does not answer.
    pub fn metrics(&self) -> String {
        http::get(self.http(), "/metrics").expect("/metrics answers").body
    }

    /// A UDP phone of a user of the lab, not yet registered.
    ///
    /// # Panics
    /// No socket could be had.
    pub fn phone(&self, user: &str) -> Phone {
        Phone::udp(self.sip(), Account::lab(user, "secret")).expect("a socket for the phone")
    }

    /// A UDP phone that has registered.
    ///
    /// # Panics
    /// The switch refused it.
    pub fn registered(&self, user: &str) -> Phone {
        let phone = self.phone(user);
        let answer = phone.register(600).expect("an answer to REGISTER");
        assert_eq!(answer.code(), Some(200), "{user}: {}", answer.start);
        phone
    }
}

/// The checkout's root.
pub fn checkout() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder"))
        .parent()
        .expect("tests/ lies in the checkout")
        .to_owned()
}

/// The switch's binary: `$CORDBOARD_BIN`, else built now by cargo with its default profile.
///
/// # Panics
/// It does not build.
pub fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| std::env::var_os("CORDBOARD_BIN").map_or_else(build, PathBuf::from))
        .clone()
}

fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "-q",
        "-p",
        "cordboard",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let output = cargo.current_dir(checkout()).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = built
        .filter_map(|line| line["executable"].as_str().map(PathBuf::from))
        .next_back();
    path.expect("cargo names the binary that it built")
}

/// An address of 127.0.0.0/8 that no other living test has: from the process id and a count.
fn own_address() -> IpAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let part = |n: u32| u8::try_from(n % 250 + 1).expect("at most 250");
    IpAddr::V4(Ipv4Addr::new(127, part(pid / 250), part(pid), count))
}
