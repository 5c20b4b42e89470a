//! One peer's DTLS (RFC 6347) with the keys of its SRTP (RFC 5764): the library's association behind a guard. The
//! library tells peers apart by address; here each has an association of its own, so that an address may change.

#![expect(
    clippy::disallowed_types,
    reason = "the library's timers are instants; they are made from our time alone"
)]

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::BytesMut;
use cordboard_model::Time;
use cordboard_model::media::{Mki, Srtp, SrtpKey, SrtpSuite};
use rtc_crypto::RTCCryptoProvider as _;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use super::guard::{Barred, Guard};

/// Between two sendings of a flight that is not answered.
const FLIGHT: Duration = Duration::from_millis(500);
/// A handshake that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the library knows the peer by.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// RFC 5764 section 4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// The subject of our certificate; nobody reads it.
const NAME: &str = "cordboard";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error(
    "no certificate for WebRTC could be made: {0}; restart the switch, and report this if it comes again"
)]
pub struct NoIdentity(String);

/// Our certificate for WebRTC and how we shake hands with it: made once, shared by all shards.
#[derive(Clone)]
pub struct Identity {
    server: Arc<HandshakeConfig>,
    client: Arc<HandshakeConfig>,
    fingerprint: [u8; 32],
    epoch: (Instant, Time),
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identity({:02x?}..)", &self.fingerprint[..4])
    }
}

impl Identity {
    /// Makes a key (ECDSA, P-256) and a certificate for it. `epoch` says which moment of the shards' time an
    /// instant of the machine is.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new(epoch: (Instant, Time)) -> Result<Self, NoIdentity> {
        let provider = Arc::new(AwsLcRsProvider::new());
        let failed = |error: rtc_shared::error::Error| NoIdentity(error.to_string());
        let certificate =
            Certificate::generate_self_signed(vec![NAME.to_owned()], provider.crypto()).map_err(failed)?;
        let hash = digest(&SHA256, certificate.certificate[0].as_ref());
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // The fingerprint is what is verified, once the peer has proven to have the key.
            .with_insecure_skip_verify(true)
            .with_server_name(NAME.to_owned())
            .with_flight_interval(FLIGHT);
        Ok(Self {
            server: Arc::new(config.clone().build(false, None).map_err(failed)?),
            client: Arc::new(config.build(true, None).map_err(failed)?),
            fingerprint: hash.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            epoch,
        })
    }

    /// SHA-256 of the certificate.
    pub(crate) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn instant(&self, now: Time) -> Instant {
        self.epoch.0 + now.since(self.epoch.1)
    }
}

/// What came of a datagram or of time.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing that concerns anybody else.
    None,
    /// The handshake is done: the fingerprint of the certificate whose key the peer has, and the keys.
    Done([u8; 32], Box<Srtp>),
    /// It has failed, for good.
    Failed,
    /// The peer has closed it.
    Closed,
}

/// See the module.
pub(crate) struct Dtls {
    identity: Identity,
    endpoint: Endpoint,
    guard: Guard,
    client: bool,
    begun: Option<Time>,
    done: bool,
    over: bool,
}

impl fmt::Debug for Dtls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Dtls(client: {}, done: {}, over: {})",
            self.client, self.done, self.over
        )
    }
}

impl Dtls {
    /// An association in which we begin, or wait for the peer to begin.
    pub(crate) fn new(identity: &Identity, client: bool) -> Self {
        let server = (!client).then(|| Arc::clone(&identity.server));
        Self {
            identity: identity.clone(),
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, server),
            guard: Guard::default(),
            client,
            begun: None,
            done: false,
            over: false,
        }
    }

    /// Another association with the same roles.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(&self.identity, self.client)
    }

    /// The peer can be reached: begins if that is ours to do.
    pub(crate) fn reach(&mut self, now: Time) -> Step {
        if self.begun.replace(self.begun.unwrap_or(now)).is_some() || !self.client {
            return Step::None;
        }
        let (at, config) = (self.identity.instant(now), Arc::clone(&self.identity.client));
        self.guarded(|endpoint| endpoint.connect(at, PEER, config, None).map(|()| Vec::new()))
    }

    /// Takes a datagram of the peer.
    pub(crate) fn receive(&mut self, datagram: &[u8], now: Time) -> Result<Step, Barred> {
        if self.over {
            return Err(Barred::Unproven);
        }
        self.guard.admit(datagram, self.done)?;
        let at = self.identity.instant(now);
        Ok(self.guarded(|endpoint| endpoint.read(at, PEER, None, BytesMut::from(datagram))))
    }

    /// Repeats what is not answered.
    pub(crate) fn timeout(&mut self, now: Time) -> Step {
        let Some(begun) = self.begun.filter(|_| !self.done && !self.over) else {
            return Step::None;
        };
        if now.since(begun) > PATIENCE {
            self.over = true;
            return Step::Failed;
        }
        let at = self.identity.instant(now);
        if self.endpoint.poll_timeout(&PEER).is_none_or(|due| due > at) {
            return Step::None;
        }
        self.guarded(|endpoint| endpoint.handle_timeout(PEER, at).map(|()| Vec::new()))
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Time) {
        if self.done && !self.over {
            let at = self.identity.instant(now);
            self.guarded(|endpoint| {
                endpoint.stop(at, PEER);
                Ok(Vec::new())
            });
        }
        self.over = true;
    }

    /// The next datagram for the peer.
    pub(crate) fn poll(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// Whether the handshake is over.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// Lets the library work. Should it panic over what a peer has sent, this peer is lost and nobody else.
    fn guarded(
        &mut self,
        work: impl FnOnce(&mut Endpoint) -> Result<Vec<EndpointEvent>, rtc_shared::error::Error>,
    ) -> Step {
        let endpoint = &mut self.endpoint;
        let outcome = catch_unwind(AssertUnwindSafe(|| work(endpoint)));
        let Ok(Ok(events)) = outcome else {
            // Once the keys are there an error concerns one datagram: it did not prove itself.
            let fatal = outcome.is_err() || !self.done;
            self.over |= fatal;
            return if fatal { Step::Failed } else { Step::None };
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => return self.complete(),
                EndpointEvent::PeerClosed => {
                    self.over = true;
                    return Step::Closed;
                }
                _ => {}
            }
        }
        Step::None
    }

    fn complete(&mut self) -> Step {
        self.done = true;
        let keys = self.keys();
        self.over |= keys.is_none();
        keys.map_or(Step::Failed, |(fingerprint, keys)| {
            Step::Done(fingerprint, Box::new(keys))
        })
    }

    fn keys(&self) -> Option<([u8; 32], Srtp)> {
        let state = self.endpoint.get_connection_state(PEER)?;
        let shown = state.peer_certificates.first()?;
        let fingerprint = digest(&SHA256, shown).as_ref().try_into().ok()?;
        let suite = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpSuite::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpSuite::AesCm128HmacSha1_80,
            _ => return None,
        };
        let salt = suite.key_len() - 16;
        let material = state
            .export_keying_material(EXPORTER, &[], 2 * suite.key_len())
            .ok()?;
        let material: &[u8] = material.as_ref();
        // Both keys, then both salts, the client's first.
        let side = |at: usize| {
            let key = &material[16 * at..16 * (at + 1)];
            let salt = &material[32 + salt * at..32 + salt * (at + 1)];
            SrtpKey::new(suite, [key, salt].concat()).map(|key| (suite, key))
        };
        let (client, server) = (side(0)?, side(1)?);
        let (send, receive) = if self.client {
            (client, server)
        } else {
            (server, client)
        };
        Some((
            fingerprint,
            Srtp {
                send,
                send_mki: Mki::default(),
                receive,
                receive_mki: Mki::default(),
            },
        ))
    }
}
