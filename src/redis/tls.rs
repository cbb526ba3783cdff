//! TLS for `rediss://`: the authorities to trust, and our own certificate.
//!
//! It must not weaken anything silently: skipping verification happens only when the settings say so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::endpoint::TlsSettings;
use super::error::TlsProblem;

/// Reads the files that the settings name and makes a connector. Blocking: it reads files.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub(super) fn connector(settings: &TlsSettings) -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if settings.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        let named = settings.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let roots = roots(settings.ca_file.as_deref(), &named)?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let inner = inner.map_err(|e| e.to_string())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { inner, named }))
    };
    let config = match (&settings.cert_file, &settings.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| format!("cannot read the key that tls_key_file names: {e}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| format!("certificate and key do not fit: {e}"))?
        }
        _ => return Err("a client certificate needs both its certificate file and its key file".to_owned()),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_file: Option<&Path>, named: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in named {
                store
                    .add(certificate.clone())
                    .map_err(|e| format!("{} holds a certificate that cannot be used: {e}", path.display()))?;
            }
        }
        None => {
            // Single unreadable certificates in the machine's store are common and harmless; none at all is not.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err("there is no authority to trust; name a CA file".to_owned());
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("cannot read certificates from {}: {e}", path.display());
    let list = CertificateDer::pem_file_iter(path)
        .map_err(|e| wrong(&e))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong(&e))?;
    if list.is_empty() { Err(wrong(&"it has none")) } else { Ok(list) }
}

/// What kind of failure an error of a TLS connection is, and its reason in words; `None` where it is none of TLS.
pub(super) fn problem(error: &io::Error) -> Option<(TlsProblem, String)> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match kind(error) {
        TlsProblem::OwnAuthority => (TlsProblem::OwnAuthority, OwnAuthority.to_string()),
        problem => (problem, error.to_string()),
    })
}

fn kind(error: &Error) -> TlsProblem {
    match error {
        Error::InvalidMessage(_) => TlsProblem::NotTls,
        Error::InvalidCertificate(why) => match why {
            CertificateError::Other(OtherError(e)) if e.is::<OwnAuthority>() => TlsProblem::OwnAuthority,
            CertificateError::UnknownIssuer => TlsProblem::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::Expired,
            _ => TlsProblem::Other,
        },
        // What servers answer to a client certificate that is missing or that they do not trust.
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        ) => TlsProblem::ClientCertificate,
        _ => TlsProblem::Other,
    }
}

/// Verifies as usual, and tells where a server shows the very certificate that is named as the authority: `openssl req -x509` makes
/// one that may sign others, which is not taken for a server's.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// The certificates of the CA file; none where the machine's are trusted.
    named: Vec<CertificateDer<'static>>,
}

/// Why such a certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the server shows the authority's own certificate, which may sign others and so is not taken for a server's")]
struct OwnAuthority;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::Other(_)) if self.named.contains(end_entity) => {
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OwnAuthority))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Accepts every certificate but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
