//! Certificates as operators get them wrong, and the pair that is made where there is none.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::made::made;
use super::*;
use crate::config;

struct Files {
    folder: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

/// A pair that holds between two years.
fn files(from: i32, to: i32) -> Files {
    let folder = TempDir::new().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let mut params = CertificateParams::new(vec!["lab.test".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let private = KeyPair::generate().unwrap();
    std::fs::write(&cert, params.self_signed(&private).unwrap().pem()).unwrap();
    std::fs::write(&key, private.serialize_pem()).unwrap();
    Files { folder, cert, key }
}

fn refused(cert: &Path, key: &Path) -> PairError {
    Pair::read(cert, key).expect_err("the pair is no good")
}

#[test]
fn a_good_pair_is_taken() {
    let files = files(2020, 4000);
    let pair = Pair::read(&files.cert, &files.key).unwrap();
    assert_eq!(pair.warning(), None);
    assert!(Material::new(Some(&pair), &Roots::none()).is_ok());
    assert!(
        !format!("{pair:?}").contains("certified"),
        "what is logged holds no key"
    );
}

#[test]
fn each_mistake_names_the_file_and_what_would_be_right() {
    let good = files(2020, 4000);
    let other = files(2020, 4000);
    let nowhere = good.folder.path().join("nowhere.pem");
    let text = good.folder.path().join("text.pem");
    std::fs::write(&text, "hello").unwrap();
    let broken = good.folder.path().join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();

    for (cert, part) in [
        (&nowhere, "nowhere.pem: cannot be read: No such file"),
        (&text, "text.pem: holds no certificate; expected PEM"),
        (&good.key, "key.pem: holds no certificate; expected PEM"),
        (&broken, "broken.pem: the first certificate is not one"),
        (&files(2000, 2001).cert, "the certificate ended on Jan  1"),
        (&files(3000, 3001).cert, "the certificate holds only from Jan  1"),
    ] {
        let error = refused(cert, &good.key);
        assert!(
            matches!(&error, PairError::Cert(what) if what.contains(part)),
            "{part}: {error}"
        );
    }
    for (key, part) in [
        (&nowhere, "nowhere.pem: cannot be read: No such file"),
        (&good.cert, "cert.pem: holds no private key"),
        (&other.key, "key.pem: is not the key of the certificate in "),
    ] {
        let error = refused(&good.cert, key);
        assert!(
            matches!(&error, PairError::Key(what) if what.contains(part)),
            "{part}: {error}"
        );
    }
}

#[test]
fn authorities_are_certificates() {
    let files = files(2020, 4000);
    assert_eq!(Roots::read(&files.cert).unwrap().store.len(), 1);
    let error = Roots::read(&files.key).unwrap_err().to_string();
    assert!(error.contains("key.pem: holds no certificate"), "{error}");
}

fn config_of(folder: &TempDir) -> Resolved {
    let text = format!(
        "node = {{ name = \"lab one\", data_dir = \"{}\", public_ip = [\"192.0.2.7\", \"2001:db8::7\"] }}\n\
         sip.tls = [\"127.0.0.1:0\"]\nsip.realm = \"lab.test\"\n",
        folder.path().display()
    );
    config::parse(Path::new("x.toml"), &text).unwrap().config
}

#[test]
fn the_pair_is_made_once_for_every_name_of_the_node_and_kept_secret() {
    let folder = TempDir::new().unwrap();
    let config = config_of(&folder);
    let first = made(&config).unwrap();
    let again = made(&config).unwrap();
    let der = &first.certified.cert[0];
    assert_eq!(der, &again.certified.cert[0], "it is made once");
    let mode = std::fs::metadata(folder.path().join("made-key.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => format!("{} bytes", bytes.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        ["4 bytes", "16 bytes", "lab.test", "localhost"],
        "`lab one` is no host name"
    );
}

#[test]
fn a_made_pair_that_does_not_fit_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let config = config_of(&folder);
    let first = made(&config).unwrap();
    let other = files(2020, 4000);
    std::fs::copy(&other.key, folder.path().join("made-key.pem")).unwrap();
    let second = made(&config).unwrap();
    assert_ne!(first.certified.cert, second.certified.cert);
    std::fs::copy(files(2000, 2001).cert, folder.path().join("made-cert.pem")).unwrap();
    assert!(made(&config).unwrap().ends > std::time::SystemTime::now());
}
