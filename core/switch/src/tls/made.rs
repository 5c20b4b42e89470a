//! The self-signed pair that is made where no certificate is configured: once, in the data folder, for its
//! owner only.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::{Pair, PairError};
use crate::config::Resolved;

/// Browsers refuse certificates that hold for longer than 825 days.
const LIFE: Duration = Duration::from_secs(820 * 24 * 3600);
/// A pair that ends sooner is made anew.
const REST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The pair of the data folder, which exists; made if it is not there or does not hold any more.
///
/// # Errors
/// It cannot be made or written.
pub(crate) fn made(config: &Resolved) -> anyhow::Result<Pair> {
    let folder = &config.node.data_dir;
    let (cert, key) = (folder.join("made-cert.pem"), folder.join("made-key.pem"));
    let enough = SystemTime::now() + REST;
    match Pair::read(&cert, &key) {
        Ok(pair) if pair.ends > enough => {
            tracing::warn!(
                file = %cert.display(),
                "no `[tls] cert`: the self-signed certificate of the data folder is shown; phones and browsers must be told to accept it"
            );
            return Ok(pair);
        }
        Ok(_) => {
            tracing::warn!(file = %cert.display(), "the self-signed certificate ends soon and is made anew");
        }
        Err(PairError::Cert(_) | PairError::Key(_)) if !cert.exists() || !key.exists() => {}
        Err(error) => tracing::warn!("the self-signed certificate is made anew: {error}"),
    }
    let names = names(config);
    write(&names, &cert, &key)
        .with_context(|| format!("cannot make a self-signed certificate in {}", folder.display()))?;
    tracing::warn!(
        file = %cert.display(),
        names = names.join(", "),
        "no `[tls] cert`: a self-signed certificate was made; phones and browsers must be told to accept it"
    );
    Ok(Pair::read(&cert, &key)?)
}

/// What the certificate is good for: every name that a phone or browser may know this node by.
fn names(config: &Resolved) -> Vec<String> {
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    names.extend(config.node.public_ip.iter().map(ToString::to_string));
    names.extend(config.accounts.iter().map(|account| account.realm.clone()));
    names.insert(config.node.name.to_ascii_lowercase());
    names
        .into_iter()
        .filter(|name| name.parse::<IpAddr>().is_ok() || is_host_name(name))
        .collect()
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn write(names: &[String], cert: &Path, key: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Cordboard self-signed");
    params.distinguished_name = subject;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    // Clocks of phones run late.
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + LIFE).into();
    let private = KeyPair::generate()?;
    let certificate = params.self_signed(&private)?;
    // A crash in between leaves files that do not fit, which the next start notices.
    put(key, private.serialize_pem().as_bytes(), 0o600)?;
    put(cert, certificate.pem().as_bytes(), 0o644)?;
    Ok(())
}

/// Puts a file there whole or not at all.
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // A file that is left from a crash keeps its mode when it is opened: it must go first.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
