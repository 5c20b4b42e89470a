//! baresip: a phone that sends a tone from a file and records what it hears.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cordboard_tests::program::Program;
use cordboard_tests::switch::Switch;
use cordboard_tests::tone;

use crate::SOON;
use crate::sipp::free_port;

/// A running baresip with a folder of its own.
#[derive(Debug)]
pub(crate) struct Baresip {
    program: Program,
    folder: PathBuf,
    /// Where it takes keys, as if somebody pressed them.
    console: SocketAddr,
}

impl Baresip {
    /// Starts one that registers as `user`, calls `target`, sends `hertz` (0: silence) and ends after `seconds`; it
    /// knows G.711 only.
    pub(crate) fn call(switch: &Switch, user: &str, target: &str, hertz: f64, seconds: u32) -> Self {
        Self::call_as(switch, user, target, hertz, seconds, "audio_codecs=pcmu")
    }

    /// The same, with more to say about its account: codecs, encryption.
    pub(crate) fn call_as(
        switch: &Switch,
        user: &str,
        target: &str,
        hertz: f64,
        seconds: u32,
        account: &str,
    ) -> Self {
        let folder = switch.folder().join(user);
        std::fs::create_dir(&folder).expect("each user has one baresip");
        let amplitude = if hertz > 0.0 { 0.3 } else { 0.0 };
        let samples = tone::sine(hertz, amplitude, 0, 60 * tone::RATE as usize);
        tone::write_wav(&folder.join("tone.wav"), &samples).expect("written");
        let account = format!(
            "<sip:{user}@lab.test>;auth_pass=secret;outbound=\"sip:{}\";regint=600;{account}\n",
            switch.sip()
        );
        std::fs::write(folder.join("accounts"), account).expect("written");
        std::fs::write(folder.join("contacts"), "").expect("written");
        let console = SocketAddr::from(([127, 0, 0, 1], free_port()));
        std::fs::write(folder.join("config"), config(&folder, user, console)).expect("written");
        let mut command = Command::new("baresip");
        command
            .arg("-f")
            .arg(&folder)
            .args(["-e", &format!("/dial sip:{target}@lab.test")]);
        command.args(["-t", &seconds.to_string()]);
        let name = format!("baresip-{user}");
        let program =
            Program::start(&name, switch.folder(), &mut command).expect("tests/run installs baresip");
        Self {
            program,
            folder,
            console,
        }
    }

    /// Presses a key: of its commands (`x` holds, `X` resumes), or of the phone.
    pub(crate) fn press(&self, key: char) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket
            .send_to(key.to_string().as_bytes(), self.console)
            .expect("it listens");
    }

    /// Waits until it says something.
    pub(crate) fn expect(&self, words: &str) {
        let seen = || self.program.output().contains(words).then_some(());
        cordboard_tests::until(SOON, seen)
            .unwrap_or_else(|| panic!("no {words:?} in\n{}", self.program.output()));
    }

    /// Waits for its end; what it has heard.
    pub(crate) fn recording(&mut self, patience: Duration) -> Vec<i16> {
        self.program.expect_success(patience);
        let entries = std::fs::read_dir(&self.folder).expect("its folder is there");
        let names = entries.filter_map(Result::ok).map(|e| e.path());
        let file = names.filter(|p| p.to_string_lossy().ends_with("-dec.wav")).max();
        let file = file.unwrap_or_else(|| panic!("no recording:\n{}", self.program.output()));
        tone::read_wav(&file).expect("a recording")
    }
}

/// sndfile writes what comes in and what goes out; aubridge swallows what would be played.
fn config(folder: &Path, user: &str, console: SocketAddr) -> String {
    let (port, folder) = (free_port(), folder.display());
    let modules = [
        "/usr/lib/baresip/modules",
        "/usr/lib/x86_64-linux-gnu/baresip/modules",
        "/usr/local/lib/baresip/modules",
    ];
    let modules = modules
        .iter()
        .find(|m| Path::new(m).is_dir())
        .expect("baresip has its modules where Debian puts them");
    format!(
        "poll_method epoll\nsip_listen 127.0.0.1:{port}\ncall_local_timeout 120\n\
         audio_source aufile,{folder}/tone.wav\naudio_player aubridge,{user}\naudio_alert aubridge,alert-{user}\n\
         ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nrtcp_mux no\n\
         jitter_buffer_type fixed\njitter_buffer_delay 2-6\nnet_interface 127.0.0.1\nmodule_path {modules}\n\
         module g711.so\nmodule g722.so\nmodule opus.so\nmodule srtp.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
         module cons.so\ncons_listen {console}\nmodule_app account.so\nmodule_app menu.so\nsnd_path {folder}\n"
    )
}
