//! Whom the switch believes when it makes a TLS connection itself.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::unusable;

/// The authorities whose certificates are believed.
#[derive(Clone)]
pub(crate) struct Roots {
    pub(super) store: Arc<RootCertStore>,
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.store.len())
    }
}

/// Why a file of authorities cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RootsError(String);

impl Roots {
    /// Those of a PEM file, and no others.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub(crate) fn read(file: &Path) -> Result<Self, RootsError> {
        let bytes = std::fs::read(file)
            .map_err(|error| RootsError(unusable(file, format!("cannot be read: {error}"))))?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|_| {
                RootsError(unusable(
                    file,
                    "is not PEM throughout; expected -----BEGIN CERTIFICATE-----",
                ))
            })?;
            store.add(certificate).map_err(|error| {
                RootsError(unusable(
                    file,
                    format!("holds a certificate that cannot be used: {error}"),
                ))
            })?;
        }
        if store.is_empty() {
            return Err(RootsError(unusable(
                file,
                "holds no certificate; expected PEM (-----BEGIN CERTIFICATE-----)",
            )));
        }
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Those of this machine; none at all where it has none, so that no connection of ours is made.
    pub(crate) fn of_the_system() -> Self {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, ignored) = store.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "certificate authorities of this machine");
        if added == 0 {
            tracing::warn!(
                "this machine has no certificate authorities (ca-certificates): TLS connections to phones cannot be made, only taken; give `[tls] ca`"
            );
        }
        Self {
            store: Arc::new(store),
        }
    }

    /// None: for a switch that makes no TLS connections.
    pub(crate) fn none() -> Self {
        Self {
            store: Arc::new(RootCertStore::empty()),
        }
    }
}
