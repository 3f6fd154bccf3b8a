//! A small HTTPS client for the API of one member, authenticated as its kubeconfig says.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::client::conn::http2;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Deadline of connecting, handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// Idle connections that are kept.
const IDLE_MAX: usize = 32;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if the answer had one.
    pub retry_after: Option<String>,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} is no JSON", self.text()))
    }

    /// The body as text, shortened.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(600).collect()
    }

    /// Fails unless the status is the wanted one.
    pub fn want(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status == status,
            "status {}, want {status}: {}",
            self.status,
            self.text()
        );
        Ok(self)
    }
}

/// How a client authenticates.
#[derive(Clone)]
pub enum Access {
    /// With the client certificate of the kubeconfig.
    Certificate,
    /// Not at all.
    Anonymous,
    /// With this bearer token.
    Token(String),
}

struct Inner {
    address: SocketAddr,
    tls: TlsConnector,
    tls_h2: TlsConnector,
    token: Option<String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// A client of one endpoint; cheap to clone, keeps its connections.
#[derive(Clone)]
pub struct ApiClient {
    inner: Arc<Inner>,
}

/// The lines of an answer that goes on, as of a watch.
pub struct Lines {
    response: Response<Incoming>,
    buffer: BytesMut,
    _connection: SendRequest<Full<Bytes>>,
}

impl ApiClient {
    /// A client as the kubeconfig's current (and only) entry says.
    pub fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        Self::with_access(path, Access::Certificate)
    }

    /// A client of the kubeconfig's server that authenticates in another way.
    pub fn with_access(path: &Path, access: Access) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let config: Value = serde_yaml_ng::from_str(&text).context("a kubeconfig that is no YAML")?;
        let field = |section: &str, kind: &str, key: &str| -> anyhow::Result<String> {
            config[section][0][kind][key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("the kubeconfig has no {section}[0].{kind}.{key}"))
        };
        let pem = |section: &str, kind: &str, key: &str| -> anyhow::Result<Vec<u8>> {
            Ok(BASE64.decode(field(section, kind, key)?.as_bytes())?)
        };
        let server = field("clusters", "cluster", "server")?;
        let address = server
            .strip_prefix("https://")
            .with_context(|| format!("{server} is no https URL"))?
            .trim_end_matches('/')
            .parse()
            .with_context(|| format!("{server} names no address and port"))?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&pem("clusters", "cluster", "certificate-authority-data")?) {
            roots.add(root?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match &access {
            Access::Certificate => {
                let chain = CertificateDer::pem_slice_iter(&pem("users", "user", "client-certificate-data")?)
                    .collect::<Result<Vec<_>, _>>()?;
                let key = PrivateKeyDer::from_pem_slice(&pem("users", "user", "client-key-data")?)?;
                builder.with_client_auth_cert(chain, key)?
            }
            Access::Anonymous | Access::Token(_) => builder.with_no_client_auth(),
        };
        let mut config_h2 = config.clone();
        config_h2.alpn_protocols = vec![b"h2".to_vec()];
        let token = match access {
            Access::Token(token) => Some(token),
            Access::Certificate | Access::Anonymous => None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                address,
                tls: TlsConnector::from(Arc::new(config)),
                tls_h2: TlsConnector::from(Arc::new(config_h2)),
                token,
                idle: Mutex::default(),
            }),
        })
    }

    /// Where it connects to.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    async fn open(&self, tls: &TlsConnector) -> anyhow::Result<TokioIo<TlsStream<TcpStream>>> {
        let address = self.inner.address;
        let opened = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let tls = tls.connect(ServerName::from(address.ip()), tcp).await?;
            anyhow::Ok(TokioIo::new(tls))
        };
        tokio::time::timeout(CONNECT, opened)
            .await
            .context("connecting takes too long")?
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let (sender, connection) = http1::handshake(self.open(&self.inner.tls).await?).await?;
        tokio::spawn(async move {
            // The request that broke says why.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// An HTTP/2 connection of its own.
    pub async fn connection(&self) -> anyhow::Result<Connection> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(self.open(&self.inner.tls_h2).await?)
            .await?;
        tokio::spawn(async move {
            // The request that broke says why.
            let _ = connection.await;
        });
        Ok(Connection {
            client: self.clone(),
            sender,
        })
    }

    fn request(&self, method: Method, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.inner.address.to_string())
            .header(CONTENT_TYPE, kind);
        if let Some(token) = &self.inner.token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(builder.body(Full::new(body))?)
    }

    fn pooled(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// One request, its answer read whole. It is sent once: an error leaves open whether it was carried out.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
        deadline: Duration,
    ) -> anyhow::Result<Reply> {
        let request = self.request(method, path, kind, body.into())?;
        let exchange = async {
            let mut sender = match self.pooled() {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            let body = response.into_body().collect().await?.to_bytes();
            let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(sender);
            }
            anyhow::Ok(Reply {
                status,
                retry_after,
                body,
            })
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(done) => done,
            Err(_) => bail!("no answer within {} ms", deadline.as_millis()),
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(
            Method::GET,
            path,
            "application/json",
            Bytes::new(),
            Duration::from_secs(10),
        )
        .await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.send(
            Method::POST,
            path,
            "application/json",
            serde_json::to_vec(body)?,
            Duration::from_secs(10),
        )
        .await
    }

    /// PATCH with a merge patch.
    pub async fn merge_patch(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        let body = serde_json::to_vec(body)?;
        self.send(
            Method::PATCH,
            path,
            "application/merge-patch+json",
            body,
            Duration::from_secs(10),
        )
        .await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(
            Method::DELETE,
            path,
            "application/json",
            Bytes::new(),
            Duration::from_secs(10),
        )
        .await
    }

    /// GET of an answer that goes on; the status has to be 200.
    pub async fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        let request = self.request(Method::GET, path, "application/json", Bytes::new())?;
        let mut sender = self.connect().await?;
        let response = tokio::time::timeout(CONNECT, sender.send_request(request)).await??;
        ensure!(response.status() == 200, "status {} of {path}", response.status());
        Ok(Lines {
            response,
            buffer: BytesMut::new(),
            _connection: sender,
        })
    }
}

/// One HTTP/2 connection that many requests share, as those of a Go client do. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    client: ApiClient,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Sends a request and gives the answer's head; its body may go on for long.
    pub async fn begin(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = self.client.request(method, path, kind, body.into())?;
        *request.uri_mut() = format!("https://{}{path}", self.client.address()).parse()?;
        request.headers_mut().remove(HOST);
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request and reads the answer to its end; gives the status and the length of the body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(u16, usize)> {
        let mut response = self.begin(method, path, kind, body).await?;
        let mut length = 0;
        while let Some(frame) = response.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok((response.status().as_u16(), length))
    }
}

impl Lines {
    /// The next line as JSON; `None` when the answer ended in order.
    pub async fn next(&mut self, deadline: Duration) -> anyhow::Result<Option<Value>> {
        let line = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let line = self.buffer.split_to(end + 1);
                    return Ok(Some(serde_json::from_slice(&line)?));
                }
                match self.response.frame().await {
                    Some(frame) => {
                        if let Ok(data) = frame?.into_data() {
                            self.buffer.extend_from_slice(&data);
                        }
                    }
                    None => return Ok(None),
                }
            }
        };
        tokio::time::timeout(deadline, line)
            .await
            .context("no further line in time")?
    }
}
