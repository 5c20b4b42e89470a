//! Kamailio, for comparison, where it is installed (Debian: `apt-get install kamailio`).

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cordboard_tests::program::Program;

use crate::datagrams::local;

/// A running Kamailio on a port of the loopback, with registrations in memory.
pub struct Kamailio {
    /// Its first process, whose children do the work; ended when dropped.
    pub process: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Kamailio {
    /// Starts it; `None` where it is not installed. With the word `AUTH` every REGISTER needs a digest (password
    /// `secret`).
    pub fn start(folder: &Path, words: &[&str]) -> Option<Self> {
        let address = free_address();
        let config = folder.join("kamailio.cfg");
        std::fs::write(&config, CONFIG.replace("@ADDRESS@", &address.to_string()))
            .expect("the folder is ours");
        let mut command = Command::new("kamailio");
        // In the foreground, with room for the transactions of an overload.
        command
            .args(["-DD", "-E", "-m", "1024", "-M", "16", "-f"])
            .arg(&config)
            .arg("-Y")
            .arg(folder);
        for word in words {
            command.args(["-A", word]);
        }
        let process = Program::start("kamailio", folder, &mut command).ok()?;
        let answers = cordboard_tests::until(Duration::from_secs(10), || answers(address).then_some(()));
        assert!(
            answers.is_some(),
            "kamailio does not answer:\n{}",
            process.output()
        );
        Some(Self { process, address })
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It ends its children when it is asked to end.
        let _ = self.process.signal(nix::sys::signal::Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5));
    }
}

/// A port that is free now.
fn free_address() -> SocketAddr {
    local(&UdpSocket::bind("127.0.0.1:0").expect("a free port"))
}

fn answers(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("not zero");
    let local = local(&socket);
    let ping = format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{port};rport\r\nMax-Forwards: 5\r\n\
         From: <sip:a@lab.test>;tag=1\r\nTo: <sip:{server}>\r\nCall-ID: {port}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        port = local.port()
    );
    socket.send_to(ping.as_bytes(), server).is_ok() && socket.recv(&mut [0; 2048]).is_ok()
}

/// A registrar that keeps contacts in memory and relays statefully.
const CONFIG: &str = r#"#!KAMAILIO
debug=0
children=2
auto_aliases=no
alias="lab.test"
maxbuffer=4194304
disable_tcp=yes
listen=udp:@ADDRESS@
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 12)
modparam("registrar", "max_contacts", 5)
request_route {
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (t_precheck_trans()) { t_check_trans(); exit; }
  t_check_trans();
  if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
  if (is_method("REGISTER")) {
#!ifdef AUTH
    if (!pv_www_authenticate("lab.test", "secret", "0")) { www_challenge("lab.test", "0"); exit; }
#!endif
    save("location");
    exit;
  }
  if (uri == myself && !lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
  if (!t_relay()) { sl_reply_error(); }
}
"#;
