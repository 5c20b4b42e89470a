//! TLS: the certificate that the switch shows, whom it believes itself, and how both change while
//! connections stay open.
//!
//! SIP over TLS, secure WebSocket and HTTPS show the same certificate. A connection keeps what it was made
//! with; new ones take what holds then, so replacing a certificate disturbs nobody.

mod made;
mod pair;
mod roots;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use rustls::crypto::CryptoProvider;
use rustls::server::ServerSessionMemoryCache;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::Resolved;

pub(crate) use pair::{Pair, PairError};
pub(crate) use roots::Roots;

/// TLS sessions that may be resumed without a whole handshake; each costs about a kilobyte.
const SESSIONS: usize = 4096;

/// What new connections are made with.
pub(crate) struct Keys {
    current: RwLock<Arc<Material>>,
}

/// Ready to use, replaced as a whole.
pub(crate) struct Material {
    sip: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Material {
    /// What a config asks for. One without TLS addresses gets no certificate made for it.
    ///
    /// # Errors
    /// The self-signed pair cannot be made.
    pub(crate) fn of(config: &Resolved) -> anyhow::Result<Self> {
        let pair = match &config.tls.pair {
            Some(pair) => Some(pair.clone()),
            None if config.has_tls() => Some(made::made(config)?),
            None => None,
        };
        let roots = match &config.tls.roots {
            Some(roots) => roots.clone(),
            None if config.sip.tls.is_empty() => Roots::none(),
            None => Roots::of_the_system(),
        };
        Self::new(pair.as_ref(), &roots).context("TLS cannot be set up")
    }

    /// # Errors
    /// The library refuses its own defaults, which would be a mistake in the build.
    pub(crate) fn new(pair: Option<&Pair>, roots: &Roots) -> Result<Self, rustls::Error> {
        let server = |protocols: &[&[u8]]| {
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Shown(pair.map(|pair| Arc::clone(&pair.certified)))));
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            Ok::<_, rustls::Error>(Arc::new(config))
        };
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots.store))
            .with_no_client_auth();
        // Phones know no protocol names, and some give up when they see any.
        Ok(Self {
            sip: server(&[])?,
            http: server(&[b"http/1.1"])?,
            client: Arc::new(client),
        })
    }
}

/// Shows one certificate to everybody, whatever name is asked for; none where no address has TLS.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

impl Keys {
    pub(crate) fn new(material: Material) -> Self {
        Self {
            current: RwLock::new(Arc::new(material)),
        }
    }

    /// New connections use this from now on; those that are open stay as they are.
    pub(crate) fn replace(&self, material: Material) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the next SIP connection, WebSocket included.
    pub(crate) fn sip(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current().sip))
    }

    /// For the next HTTPS connection.
    pub(crate) fn http(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current().http))
    }

    /// For the next connection of ours to a peer.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.current().client))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A file that cannot be used, and why.
fn unusable(file: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", file.display())
}
