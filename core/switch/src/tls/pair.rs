//! A certificate chain and its private key, read from PEM files and checked before anybody sees them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{provider, unusable};

/// A certificate whose end is nearer than this is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A chain and its key that belong together and hold now.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The file of the chain.
    pub(crate) file: PathBuf,
    /// When the first certificate of the chain ends.
    pub(crate) ends: SystemTime,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("file", &self.file)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// Why a pair cannot be used: whose fault it is, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairError {
    /// About the file of the chain.
    #[error("{0}")]
    Cert(String),
    /// About the file of the key.
    #[error("{0}")]
    Key(String),
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, a certificate that does not hold now, a key of
    /// another certificate.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Self, PairError> {
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| PairError::Cert(unusable(cert, what(&error, "certificate"))))?;
        let Some(first) = chain.first() else {
            let why =
                "holds no certificate; expected PEM (-----BEGIN CERTIFICATE-----), the switch's own first";
            return Err(PairError::Cert(unusable(cert, why)));
        };
        let ends = holds_until(first).map_err(|why| PairError::Cert(unusable(cert, why)))?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| PairError::Key(unusable(key, what(&error, "private key"))))?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
            let why = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("is not the key of the certificate in {}", cert.display())
                }
                other => format!(
                    "is no key that can be used: {other}; expected RSA, ECDSA or Ed25519 without a password"
                ),
            };
            PairError::Key(unusable(key, why))
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            file: cert.to_path_buf(),
            ends,
        })
    }

    /// Said where the certificate will end soon.
    pub(crate) fn warning(&self) -> Option<String> {
        let left = self.ends.duration_since(SystemTime::now()).unwrap_or_default();
        (left < SOON).then(|| {
            unusable(
                &self.file,
                format!("the certificate ends in {} days", left.as_secs() / 86_400),
            )
        })
    }
}

/// An error of the PEM reader in words; it never shows what stands in a file.
fn what(error: &pem::Error, expected: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no {expected}; expected PEM (-----BEGIN ...-----)"),
        _ => "is not PEM throughout; expected -----BEGIN ...----- to -----END ...-----".into(),
    }
}

/// The end of a certificate that holds now.
fn holds_until(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| "the first certificate is not one (X.509)".to_owned())?;
    let now = seconds(SystemTime::now());
    let (begins, ends) = (parsed.validity().not_before, parsed.validity().not_after);
    if now < begins.timestamp() {
        return Err(format!(
            "the certificate holds only from {begins} on; is the clock right?"
        ));
    }
    if now > ends.timestamp() {
        return Err(format!("the certificate ended on {ends}; put a new one there"));
    }
    let ends = u64::try_from(ends.timestamp()).unwrap_or_default();
    // A far end such as the year 9999 is one that the clock can hold.
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(ends))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
