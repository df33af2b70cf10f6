//! Connections: TLS, certificates, proxies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;
use super::settings::{RegistrySettings, Trust};

/// Bundles of certificate authorities where distributions keep them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a registry may think before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// A request's body.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;
type Direct = Client<HttpsConnector<HttpConnector>, Body>;
type Tunnelled = Client<HttpsConnector<Tunnel<HttpConnector>>, Body>;

/// Open connections, one set that checks certificates and one that does not.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    strict: Direct,
    lenient: Direct,
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
}

impl Connections {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        let provider = Arc::new(ring::default_provider());
        let strict = tls(&provider)
            .with_root_certificates(roots(settings)?)
            .with_no_client_auth();
        let lenient = tls(&provider)
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(&provider))))
            .with_no_client_auth();
        Ok(Self {
            strict: direct(strict.clone()),
            lenient: direct(lenient),
            tls: Arc::new(strict),
            proxies: Arc::new(Matcher::from_env()),
        })
    }

    /// Sends one request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
        trust: Trust,
    ) -> Result<Response<Incoming>, RegistryError> {
        let url = request.uri().to_string();
        let proxy = if trust == Trust::Verify {
            self.proxies.intercept(request.uri())
        } else {
            None
        };
        let answer = async {
            match (proxy, trust) {
                (Some(proxy), _) => self.tunnel(&proxy).request(request).await,
                (None, Trust::Verify) => self.strict.request(request).await,
                (None, Trust::Anything) => self.lenient.request(request).await,
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(result) => result.map_err(|error| RegistryError::Connect {
                url,
                reason: with_causes(&error),
            }),
            Err(_) => Err(RegistryError::Connect {
                url,
                reason: "no answer in time".to_owned(),
            }),
        }
    }

    fn tunnel(&self, proxy: &Intercept) -> Tunnelled {
        let mut tunnel = Tunnel::new(proxy.uri().clone(), http());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*self.tls).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tunnel);
        Client::builder(TokioExecutor::new()).build(connector)
    }
}

fn tls(
    provider: &Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
}

fn http() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector
}

fn direct(config: ClientConfig) -> Direct {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http());
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .build(connector)
}

/// The system's authorities, and those that the settings add. A certificate of `<host>/` is trusted for all hosts
/// that the settings list, because the administrator put it there.
fn roots(settings: &RegistrySettings) -> Result<RootCertStore, RegistryError> {
    let mut roots = RootCertStore::empty();
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let bundle = named
        .into_iter()
        .chain(BUNDLES.map(Into::into))
        .find(|path| path.is_file());
    if let Some(bundle) = bundle {
        add_file(&mut roots, &bundle)?;
    }
    for directory in settings
        .certificates
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .flatten()
    {
        for file in std::fs::read_dir(directory.path())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            if file.extension().is_some_and(|extension| extension == "crt") {
                add_file(&mut roots, &file)?;
            }
        }
    }
    Ok(roots)
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), RegistryError> {
    let failed =
        |reason: String| RegistryError::Certificate(format!("`{}`: {reason}", file.display()));
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    let certificates: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    // Bundles have a few old certificates that are not understood; the others are of use.
    roots.add_parsable_certificates(certificates);
    Ok(())
}

/// Accepts any certificate: for registries that the administrator calls insecure.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An address of a request.
pub(super) fn parse_uri(text: &str) -> Result<Uri, RegistryError> {
    text.parse()
        .map_err(|_| RegistryError::Address(text.to_owned()))
}

/// One line with all causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
