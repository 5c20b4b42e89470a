//! A browser as far as the switch sees one: checks, a handshake, and protected packets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use cordboard_model::LegId;
use cordboard_model::media::peer::{IceCredentials, LocalPeer};
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
use zeroize::Zeroizing;

use super::stun::Check;

const SWITCH: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 10_000);

pub(crate) struct Browser {
    pub(crate) leg: LegId,
    pub(crate) address: SocketAddr,
    pub(crate) ice: IceCredentials,
    pub(crate) local: Option<LocalPeer>,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    /// Whether it sends checks.
    pub(crate) checks: bool,
    pub(crate) is_client: bool,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// What came, unprotected, at which millisecond.
    pub(crate) media: Vec<(u64, Vec<u8>)>,
    pub(crate) control: Vec<(u64, Vec<u8>)>,
    pub(crate) answers: Vec<Vec<u8>>,
    /// Protected packets that could not be opened.
    pub(crate) spoiled: usize,
    pub(crate) endpoint: Endpoint,
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    begun: bool,
    contexts: Option<(Context, Context)>,
    provider: Arc<AwsLcRsProvider>,
    transactions: u64,
    next_check: u64,
}

impl Browser {
    pub(crate) fn new(leg: u64, is_client: bool, profiles: &[SrtpProtectionProfile]) -> Self {
        let provider = Arc::new(AwsLcRsProvider::new());
        let certificate =
            Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto()).unwrap();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.certificate[0]);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_server_name("switch".to_owned())
            .with_insecure_skip_verify(true);
        let server = Arc::new(config.clone().build(false, None).unwrap());
        let client = Arc::new(config.build(true, None).unwrap());
        let address = SocketAddr::from(([10, 0, 1, leg as u8], 50_000));
        let serves = (!is_client).then(|| Arc::clone(&server));
        Self {
            leg: LegId(leg),
            address,
            ice: IceCredentials {
                ufrag: format!("br{leg}"),
                pwd: Zeroizing::new(format!("password of browser {leg:04}")),
            },
            local: None,
            fingerprint: hash.as_ref().try_into().unwrap(),
            connected: false,
            closed: false,
            checks: true,
            is_client,
            outgoing: VecDeque::new(),
            media: Vec::new(),
            control: Vec::new(),
            answers: Vec::new(),
            spoiled: 0,
            endpoint: Endpoint::new(address, TransportProtocol::UDP, serves),
            client,
            server,
            begun: false,
            contexts: None,
            provider,
            transactions: leg << 32,
            next_check: 0,
        }
    }

    /// A check of the pair in use.
    pub(crate) fn check(&mut self) -> Option<Check> {
        let local = self.local.as_ref()?;
        self.transactions += 1;
        Some(Check {
            username: format!("{}:{}", local.ice.ufrag, self.ice.ufrag),
            password: local.ice.pwd.to_string(),
            nominates: true,
            extra: Vec::new(),
        })
    }

    /// Does what is due at this millisecond.
    pub(crate) fn tick(&mut self, ms: u64, now: Instant) {
        if self.checks && ms >= self.next_check && self.local.is_some() {
            self.next_check = ms + if self.answers.is_empty() { 50 } else { 2500 };
            let check = self.check().unwrap().bytes(self.transactions);
            self.outgoing.push_back(check);
        }
        if !self.answers.is_empty() && self.is_client && !std::mem::replace(&mut self.begun, true) {
            self.endpoint
                .connect(now, SWITCH, Arc::clone(&self.client), None)
                .unwrap();
        }
        if self.endpoint.poll_timeout(&SWITCH).is_some_and(|due| due <= now) {
            let _ = self.endpoint.handle_timeout(SWITCH, now);
        }
        self.flush();
    }

    /// Ends its association, as a page does that closes its connection.
    pub(crate) fn closes(&mut self, now: Instant) {
        self.endpoint.stop(now, SWITCH);
        self.flush();
    }

    /// Has another transport with the same certificate.
    pub(crate) fn renews(&mut self) {
        let serves = (!self.is_client).then(|| Arc::clone(&self.server));
        self.endpoint = Endpoint::new(self.address, TransportProtocol::UDP, serves);
        (self.begun, self.connected, self.contexts) = (false, false, None);
        (self.next_check, self.checks) = (0, true);
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.outgoing.push_back(transmit.message.to_vec());
        }
    }

    /// Takes a datagram of the switch.
    pub(crate) fn receive(&mut self, ms: u64, now: Instant, bytes: &[u8]) {
        match bytes[0] {
            0..=3 => self.answers.push(bytes.to_vec()),
            20..=63 => {
                let events = self.endpoint.read(now, SWITCH, None, BytesMut::from(bytes));
                for event in events.into_iter().flatten() {
                    match event {
                        EndpointEvent::HandshakeComplete => self.complete(),
                        EndpointEvent::PeerClosed => self.closed = true,
                        _ => {}
                    }
                }
                self.flush();
            }
            _ => {
                let Some((receive, _)) = &mut self.contexts else {
                    return;
                };
                let control = (192..=223).contains(&bytes[1]);
                let opened = if control {
                    receive.decrypt_rtcp(bytes)
                } else {
                    receive.decrypt_rtp(bytes)
                };
                match opened {
                    Ok(opened) if control => self.control.push((ms, opened.to_vec())),
                    Ok(opened) => self.media.push((ms, opened.to_vec())),
                    Err(_) => self.spoiled += 1,
                }
            }
        }
    }

    fn complete(&mut self) {
        let state = self.endpoint.get_connection_state(SWITCH).unwrap();
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            _ => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let mut config = Config {
            profile,
            ..Default::default()
        };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .unwrap();
        config
            .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
            .unwrap();
        let keys = &config.keys;
        let replay = (
            rtc_srtp::option::srtp_replay_protection(256),
            rtc_srtp::option::srtcp_replay_protection(64),
        );
        let crypto = self.provider.crypto();
        let receive = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(replay.0),
            Some(replay.1),
            crypto,
        );
        let send = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto,
        );
        self.contexts = Some((receive.unwrap(), send.unwrap()));
        self.connected = true;
    }

    /// Protects an RTP packet.
    pub(crate) fn protect(&mut self, packet: &[u8]) -> Vec<u8> {
        let (_, send) = self.contexts.as_mut().expect("the handshake is done");
        send.encrypt_rtp(packet).unwrap().to_vec()
    }

    /// Protects an RTCP packet.
    pub(crate) fn protect_control(&mut self, packet: &[u8]) -> Vec<u8> {
        let (_, send) = self.contexts.as_mut().expect("the handshake is done");
        send.encrypt_rtcp(packet).unwrap().to_vec()
    }

    pub(crate) fn send(&mut self, packet: &[u8]) {
        let packet = self.protect(packet);
        self.outgoing.push_back(packet);
    }

    pub(crate) fn send_control(&mut self, packet: &[u8]) {
        let packet = self.protect_control(packet);
        self.outgoing.push_back(packet);
    }

    /// Payloads of what came from this source, in the order of arrival.
    pub(crate) fn payloads(&self, ssrc: u32) -> Vec<&[u8]> {
        let of = self
            .media
            .iter()
            .filter(|(_, packet)| packet[8..12] == ssrc.to_be_bytes());
        of.map(|(_, packet)| &packet[12..]).collect()
    }
}
