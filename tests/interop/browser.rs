//! Chromium: pages that call with JsSIP and SIP.js, with a camera and a microphone that are not real.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordboard_tests::cable::Cable;
use cordboard_tests::switch::{Switch, checkout};
use serde_json::{Value, json};

/// How long one command may take: starting a page on a busy machine is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which SIP stack a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// JsSIP as it is now.
    JsSip,
    /// The JsSIP that pages written for Asterisk's video conferences bring along (3.0.13).
    OldJsSip,
    /// SIP.js.
    SipJs,
}

/// A running Chromium.
#[derive(Debug)]
pub(crate) struct Chromium {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

/// Where a page calls, and as whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Participant<'a> {
    pub(crate) user: &'a str,
    pub(crate) stack: Stack,
    /// The number that it calls; `None`: it waits to be called.
    pub(crate) number: Option<&'a str>,
    /// The tone that it sends.
    pub(crate) hertz: f64,
    pub(crate) secure: bool,
}

impl Chromium {
    /// Starts one; its packages are installed first if they are not there.
    pub(crate) fn start() -> Self {
        Self::start_by(Command::new("node"))
    }

    /// The same at the far end of a cable.
    pub(crate) fn start_behind(cable: &Cable) -> Self {
        Self::start_by(cable.command("node"))
    }

    fn start_by(mut node: Command) -> Self {
        let folder = install();
        let mut child = node
            .arg("drive.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/run installs node");
        let (sender, answers) = channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let commands = child.stdin.take().expect("piped");
        let chromium = Self {
            child,
            commands,
            answers,
        };
        chromium.answer("starting Chromium");
        chromium
    }

    fn answer(&self, what: &str) -> Value {
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{what}: {line}"));
        match answer.get("error") {
            Some(error) => panic!("{what}: {error}"),
            None => answer["ok"].clone(),
        }
    }

    fn tell(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").expect("Chromium is there");
        self.answer(&command.to_string())
    }

    /// What an expression on a page comes to.
    pub(crate) fn run(&mut self, page: &str, expression: &str) -> Value {
        self.tell(&json!({"page": page, "run": expression}))
    }

    /// Opens a page that registers and calls.
    pub(crate) fn join(&mut self, switch: &Switch, who: Participant<'_>) {
        let stack = match who.stack {
            Stack::JsSip => "jssip",
            Stack::OldJsSip => "jssip-of-old-pages",
            Stack::SipJs => "sipjs",
        };
        self.tell(&json!({"open": who.user, "stack": stack}));
        self.call(switch, who);
    }

    /// Registers and calls on a page that is open.
    pub(crate) fn call(&mut self, switch: &Switch, who: Participant<'_>) {
        let url = match who.secure {
            true => format!("wss://{}:8089/ws", switch.sip().ip()),
            false => format!("ws://{}:8088/ws", switch.sip().ip()),
        };
        let user = who.user;
        let options = json!({
            "url": url, "user": user, "number": who.number, "hertz": who.hertz, "video": true,
            "name": format!("{}{}", user[..1].to_uppercase(), &user[1..]),
        });
        self.run(user, &format!("start({options})"));
    }

    /// The page is loaded anew: nothing of its call is left in it.
    pub(crate) fn reload(&mut self, page: &str) {
        self.tell(&json!({"reload": page}));
    }

    /// Waits until a condition on a page's value holds; the value.
    pub(crate) fn until(&mut self, page: &str, expression: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.run(page, expression);
            if holds(&value) {
                return value;
            }
            assert!(
                Instant::now() < deadline,
                "{page}: {expression} is still {value:#}\n{:#}\n{:#}",
                self.run(page, "state()"),
                self.run(page, "videos()"),
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a page has a view of so many others, each decoded at 320 by 180, and the pictures of all move.
    pub(crate) fn sees(&mut self, page: &str, others: usize) {
        self.until(page, "shown()", |shown| {
            shown.as_array().is_some_and(|all| all.len() == others)
        });
        let frames = |videos: &Value| -> Vec<u64> {
            let all = videos.as_array().into_iter().flatten();
            let flowing = all.filter(|video| {
                video["direction"] == "recvonly" && video["width"] == 320 && video["height"] == 180
            });
            flowing
                .map(|video| video["frames"].as_u64().unwrap_or_default())
                .collect()
        };
        let before = self.until(page, "videos()", |videos| frames(videos).len() == others);
        let before = frames(&before);
        self.until(page, "videos()", |videos| {
            let now = frames(videos);
            now.len() == others && now.iter().zip(&before).all(|(now, before)| *now > before + 5)
        });
    }

    /// Waits until the views of a page show pictures. (SIP.js lets only the newest of them live.)
    pub(crate) fn shows(&mut self, page: &str, others: usize) {
        let views = vec![json!({"width": 320, "height": 180}); others];
        self.until(page, "shown()", |shown| *shown == json!(views));
    }

    /// Waits until a page hears these tones and not those.
    pub(crate) fn hears(&mut self, page: &str, there: &[f64], not_there: &[f64]) {
        let all = json!([there, not_there].concat());
        self.until(page, &format!("levels({all})"), |levels| {
            let levels: Vec<f64> = levels
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect();
            let (heard, silent) = levels.split_at(there.len());
            heard.iter().all(|level| *level > -40.0) && silent.iter().all(|level| *level < -55.0)
        });
    }

    /// Sends a message inside the call; what the switch answers.
    pub(crate) fn say(&mut self, page: &str, kind: &str, body: &str) -> Value {
        self.run(page, &format!("say({}, {})", json!(kind), json!(body)))
    }

    /// Waits until a page was sent this message.
    pub(crate) fn is_told(&mut self, page: &str, from: &str, kind: &str, body: &str) {
        let wanted = json!({"from": from, "type": kind, "body": body});
        self.until(page, "messages", |messages| {
            messages.as_array().is_some_and(|all| all.contains(&wanted))
        });
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if writeln!(self.commands, "{}", json!({"end": true})).is_ok() {
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline {
                if let Ok(Some(_)) = self.child.try_wait() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The packages of the pages, by the lock file; the folder that they are in.
pub(crate) fn install() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = checkout().join("tests/interop/browser");
    let lock = std::fs::read(folder.join("package-lock.json")).expect("part of the checkout");
    let installed = folder.join("node_modules/.cordboard-lock");
    if std::fs::read(&installed).is_ok_and(|known| known == lock) {
        return folder;
    }
    let status = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .status()
        .expect("tests/run installs npm");
    assert!(status.success(), "npm ci in {}: {status}", folder.display());
    std::fs::write(installed, lock).expect("npm has made the folder");
    folder
}
