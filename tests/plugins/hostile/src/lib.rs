//! Does everything that a plugin should not, on demand; for tests.
//!
//! What it does is the `act` of its config; without one, the message's text or the caller's display
//! name says it. Anything that is no act is passed, so it is also a well-behaved plugin.

#![forbid(unsafe_code)]

use std::hint::black_box;

use cordboard_sdk::{
    Admission, CallRouter, ConferencePolicy, JoinAsk, JoinVerdict, Message, MessageFilter, MessageVerdict,
    Plugin, Rewrite, RouteAsk, RouteVerdict, audience, kv, log, time,
};

/// The config.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// What to do on every question.
    act: String,
    /// What to do at the start.
    start: String,
}

struct Hostile {
    config: Config,
    /// What was allocated and not given back.
    hoard: Vec<Vec<u8>>,
    /// How many questions this instance was asked.
    asked: u32,
}

impl Plugin for Hostile {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        let mut hostile = Self {
            config,
            hoard: Vec::new(),
            asked: 0,
        };
        match hostile.config.start.clone().as_str() {
            "refuse" => Err("start = \"refuse\": it was told so".into()),
            act => {
                hostile.act(act);
                Ok(hostile)
            }
        }
    }
}

impl Hostile {
    /// Does what is bad for this instance or for the host; returns if there is nothing to do.
    fn act(&mut self, act: &str) {
        let (act, number) = act.split_once(' ').unwrap_or((act, ""));
        let number: u64 = number.parse().unwrap_or(0);
        match act {
            "spin" => loop {
                black_box(());
            },
            "bomb" => loop {
                self.hoard.push(black_box(vec![1; 1 << 20]));
            },
            "trap" => panic!("it was told so"),
            "stack" => {
                black_box(deeper(black_box(1)));
            }
            "slow" => {
                let end = time::now() + number;
                while time::now() < end {}
            }
            "log" => (0..10_000).for_each(|line| log::warn(format!("line {line}\nand a false one"))),
            "kv" => {
                (0..number).for_each(|key| {
                    let _ = black_box(kv::set(&format!("key {key}"), b"value"));
                });
            }
            _ => {}
        }
    }

    /// The act of this question.
    fn chosen(&mut self, said: &str) -> String {
        self.asked += 1;
        if self.config.act.is_empty() {
            said.to_owned()
        } else {
            self.config.act.clone()
        }
    }
}

impl ConferencePolicy for Hostile {
    fn join(&mut self, ask: JoinAsk) -> JoinVerdict {
        let act = self.chosen(&ask.display_name);
        self.act(&act);
        match act.as_str() {
            "smuggle" => JoinVerdict::refuse(403, "No\r\nVia: me"),
            "refuse" => JoinVerdict::refuse(12, "No"),
            "rename" => JoinVerdict::Admit(Admission {
                display_name: Some(format!("{}!", ask.display_name)),
                muted: Some(true),
                ..Admission::default()
            }),
            _ => JoinVerdict::Pass,
        }
    }
}

impl MessageFilter for Hostile {
    fn filter(&mut self, message: Message) -> MessageVerdict {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let act = self.chosen(&text);
        self.act(&act);
        match act.as_str() {
            "smuggle" => MessageVerdict::Rewrite(Rewrite {
                display_name: Some("a\r\nVia: me".into()),
                ..Rewrite::default()
            }),
            "audience" => MessageVerdict::reply(format!("{:?}", audience::current())),
            "huge" => MessageVerdict::with_body(vec![b'x'; 10 << 20]),
            "large" => MessageVerdict::with_body(vec![b'x'; 300 << 10]),
            "asked" => MessageVerdict::reply(self.asked.to_string()),
            "drop" => MessageVerdict::Drop,
            "shout" => MessageVerdict::with_body(text.to_uppercase()),
            "sign" => MessageVerdict::Rewrite(Rewrite {
                body: Some(format!("{text} -- {}", message.display_name).into_bytes()),
                display_name: Some("signed".into()),
                ..Rewrite::default()
            }),
            _ => MessageVerdict::Pass,
        }
    }
}

impl CallRouter for Hostile {
    fn route(&mut self, ask: RouteAsk) -> RouteVerdict {
        let act = self.chosen(&ask.display_name);
        self.act(&act);
        match act.split_once(' ').unwrap_or((&act, "")) {
            ("conference", number) => RouteVerdict::conference(number),
            ("user", user) => RouteVerdict::user(user),
            ("refuse", _) => RouteVerdict::refuse(12, format!("No {} for {:?}", ask.number, ask.user)),
            ("smuggle", _) => RouteVerdict::user("bob\r\nVia: me"),
            _ => RouteVerdict::Pass,
        }
    }
}

/// Recurses until the stack ends.
#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let array = black_box([depth; 64]);
    deeper(depth + 1) + array[(depth % 64) as usize]
}

cordboard_sdk::export!(Hostile: conference_policy, message_filter, call_router);
