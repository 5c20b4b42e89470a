//! The transport of one client: a socket, checks, a handshake, and SRTP.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nix::sys::socket::{setsockopt, sockopt};
use rtc_crypto::RTCCryptoProvider as _;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::reader::Reader;
use super::stun;
use crate::client::token;

/// What the kernel is asked to keep for a client that does not read for a while, in bytes.
const ROOM: usize = 4 << 20;
/// Between two checks before the first answer, and after it (RFC 7675).
const CHECKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(2500));

/// A certificate that many clients share, and the handshake's settings: AES-GCM alone.
pub struct Identity {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    provider: Arc<AwsLcRsProvider>,
    fingerprint: String,
}

/// Where the other side is, and its half of the secrets.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(super) address: SocketAddr,
    pub(super) ufrag: String,
    pub(super) password: String,
    /// Whether it begins the handshake.
    pub(super) active: bool,
}

/// A datagram that came, opened.
#[derive(Debug)]
pub enum Opened {
    /// RTP.
    Media(BytesMut),
    /// RTCP.
    Control(BytesMut),
    /// SRTP that could not be opened.
    Spoiled,
    /// A check's answer, a piece of the handshake.
    Transport,
}

/// See the module.
pub struct Peer {
    /// Connected to the other side once that is known.
    pub(super) socket: UdpSocket,
    pub(super) ufrag: String,
    pub(super) password: String,
    identity: Arc<Identity>,
    remote: Option<Remote>,
    endpoint: Option<Endpoint>,
    answered: bool,
    begun: bool,
    send: Option<Context>,
    receive: Option<Context>,
    next_check: Instant,
    checks: u64,
}

impl Identity {
    /// A new one.
    ///
    /// # Panics
    /// The cipher library makes no certificate.
    pub fn new() -> Arc<Self> {
        let provider = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["client".to_owned()], provider.crypto())
            .expect("the cipher library makes certificates");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.certificate[0]);
        let mut fingerprint = String::new();
        for (place, byte) in hash.as_ref().iter().enumerate() {
            let _ = write!(fingerprint, "{}{byte:02X}", if place == 0 { "" } else { ":" });
        }
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_server_name("switch".to_owned())
            .with_insecure_skip_verify(true);
        Arc::new(Self {
            server: Arc::new(
                config
                    .clone()
                    .build(false, None)
                    .expect("the settings are complete"),
            ),
            client: Arc::new(config.build(true, None).expect("the settings are complete")),
            provider,
            fingerprint,
        })
    }

    /// SHA-256 of the certificate, as a description has it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Peer {
    /// A client at this address of ours that knows nobody yet.
    ///
    /// # Errors
    /// No socket could be had.
    pub fn new(identity: &Arc<Identity>, address: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        if setsockopt(&socket, sockopt::RcvBufForce, &ROOM).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &ROOM);
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(io::Error::from)?;
        Ok(Self {
            socket,
            ufrag: token(),
            password: format!("{}-{}-{}", token(), token(), token()).replace('-', "+"),
            identity: Arc::clone(identity),
            remote: None,
            endpoint: None,
            answered: false,
            begun: false,
            send: None,
            receive: None,
            next_check: Instant::now(),
            checks: 0,
        })
    }

    /// The fingerprint of its certificate.
    pub fn fingerprint(&self) -> &str {
        self.identity.fingerprint()
    }

    /// The other side has described itself; later descriptions change nothing of the transport.
    ///
    /// # Errors
    /// Its address cannot be reached.
    pub fn meet(&mut self, remote: Remote) -> io::Result<()> {
        if self.remote.is_some() {
            return Ok(());
        }
        self.socket.connect(remote.address)?;
        let server = remote.active.then(|| Arc::clone(&self.identity.server));
        self.endpoint = Some(Endpoint::new(
            self.socket.local_addr()?,
            TransportProtocol::UDP,
            server,
        ));
        self.remote = Some(remote);
        Ok(())
    }

    /// Where the other side is, once that is known.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.as_ref().map(|remote| remote.address)
    }

    /// Its socket, for what is not protected.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Whether the handshake is done.
    pub const fn is_connected(&self) -> bool {
        self.receive.is_some()
    }

    /// Sends checks, begins the handshake, repeats what was not answered.
    pub fn tick(&mut self, now: Instant) {
        let (Some(remote), Some(endpoint)) = (&self.remote, &mut self.endpoint) else {
            return;
        };
        if now >= self.next_check {
            self.checks += 1;
            self.next_check = now + if self.answered { CHECKS.1 } else { CHECKS.0 };
            let username = format!("{}:{}", remote.ufrag, self.ufrag);
            let _ = self
                .socket
                .send(&stun::check(self.checks, &username, &remote.password)); // it comes again
        }
        if self.answered && !remote.active && !std::mem::replace(&mut self.begun, true) {
            let client = Arc::clone(&self.identity.client);
            endpoint
                .connect(now, remote.address, client, None)
                .expect("nothing was begun before");
        }
        if endpoint
            .poll_timeout(&remote.address)
            .is_some_and(|due| due <= now)
        {
            let _ = endpoint.handle_timeout(remote.address, now); // a handshake that fails is seen by its absence
        }
        self.flush();
    }

    fn flush(&mut self) {
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        while let Some(transmit) = endpoint.poll_transmit() {
            let _ = self.socket.send(&transmit.message); // what is lost is repeated
        }
    }

    /// Hands everything that has come to `each`, with the time at which the kernel had it.
    pub(super) fn empty(&mut self, reader: &mut Reader, mut each: impl FnMut(Opened, u64)) {
        let fd = self.socket.as_raw_fd();
        reader.empty(fd, |bytes, at| each(self.take(bytes), at));
    }

    /// Takes a datagram.
    fn take(&mut self, bytes: &[u8]) -> Opened {
        match bytes.first() {
            Some(0..=3) => self.check(bytes),
            Some(20..=63) => self.handshake(bytes),
            Some(128..=191) if bytes.len() >= 12 => {
                let Some(receive) = &mut self.receive else {
                    return Opened::Spoiled;
                };
                if (192..=223).contains(&bytes[1]) {
                    return receive
                        .decrypt_rtcp(bytes)
                        .map_or(Opened::Spoiled, Opened::Control);
                }
                return receive.decrypt_rtp(bytes).map_or(Opened::Spoiled, Opened::Media);
            }
            _ => {}
        }
        Opened::Transport
    }

    fn check(&mut self, bytes: &[u8]) {
        self.answered |= stun::is_answer(bytes);
        if let Some(Remote {
            address: SocketAddr::V4(source),
            ..
        }) = &self.remote
            && let Some(answer) = stun::answer(bytes, &self.password, *source)
        {
            let _ = self.socket.send(&answer); // the check comes again
        }
    }

    fn handshake(&mut self, bytes: &[u8]) {
        let (Some(remote), Some(endpoint)) = (&self.remote, &mut self.endpoint) else {
            return;
        };
        let events = endpoint.read(Instant::now(), remote.address, None, BytesMut::from(bytes));
        let done = events
            .into_iter()
            .flatten()
            .any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        if done {
            self.complete();
        }
        self.flush();
    }

    fn complete(&mut self) {
        let (Some(remote), Some(endpoint)) = (&self.remote, &self.endpoint) else {
            return;
        };
        let state = endpoint
            .get_connection_state(remote.address)
            .expect("its handshake is done");
        let mut config = Config {
            profile: ProtectionProfile::AeadAes128Gcm,
            ..Default::default()
        };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .expect("its handshake is done");
        config
            .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
            .expect("the material has the length that was asked for");
        let (keys, crypto) = (&config.keys, self.identity.provider.crypto());
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, config.profile, None, None, crypto).expect("the keys have their lengths")
        };
        self.receive = Some(context(&keys.remote_master_key, &keys.remote_master_salt));
        self.send = Some(context(&keys.local_master_key, &keys.local_master_salt));
    }

    /// Sends RTCP; nothing happens before the handshake is done, or after the association is lent.
    pub fn send_control(&mut self, packet: &[u8]) {
        if let Some(Ok(packet)) = self.send.as_mut().map(|send| send.encrypt_rtcp(packet)) {
            let _ = self.socket.send(&packet); // what the kernel does not take is lost, as on any network
        }
    }

    /// What a thread of its own needs to send media: a socket, and the keys, which are gone from here then.
    pub(super) fn lend(&mut self) -> Option<(UdpSocket, Context)> {
        Some((self.socket.try_clone().ok()?, self.send.take()?))
    }

    /// Gives the keys back.
    pub(super) fn give_back(&mut self, send: Context) {
        self.send = Some(send);
    }
}
