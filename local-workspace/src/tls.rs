//! A certificate made at the start, for clients that want https.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The server's side of TLS, and the certificate of its issuer in PEM, which clients are to trust.
pub(crate) fn acceptor(hosts: Vec<String>) -> io::Result<(TlsAcceptor, String)> {
    let (chain, key, issuer) = certificates(hosts).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), issuer))
}

type Certificates = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

/// Makes an issuer and a certificate that it signs, as the strict checks of newer clients require. The issuer's key is
/// thrown away, so whoever trusts the issuer trusts only this one server.
fn certificates(hosts: Vec<String>) -> Result<Certificates, rcgen::Error> {
    let mut issuer = CertificateParams::new(Vec::new())?;
    issuer.distinguished_name.push(DnType::CommonName, "Local Databricks workspace, for tests only");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer_key = KeyPair::generate()?;
    let issuer_certificate = issuer.self_signed(&issuer_key)?;

    let mut server = CertificateParams::new(hosts)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &Issuer::new(issuer, issuer_key))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((vec![certificate.der().clone()], key, pem(issuer_certificate.der())))
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
