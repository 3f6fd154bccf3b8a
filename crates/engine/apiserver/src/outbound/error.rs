//! Why a call out failed, in the words that clients of the Kubernetes API know.

use std::io;

use rustls::CertificateError;
use rustls::pki_types::ServerName;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// This server calls nobody.
    #[error("this server makes no connections")]
    Disabled,
    /// The host has no address.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// Its name.
        host: String,
    },
    /// Nobody accepts a connection.
    #[error("dial tcp {address}: {reason}")]
    Dial {
        /// Address and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The peer could not be trusted, or does not speak TLS.
    #[error("{reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
    /// The roots or the client certificate are no such.
    #[error("{reason}")]
    Credentials {
        /// What is wrong.
        reason: String,
    },
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// The peer hung up before it answered.
    #[error("EOF")]
    Closed,
    /// The answer is longer than allowed.
    #[error("http: response body too large (more than {bytes_max} bytes)")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{reason}")]
    Broken {
        /// How.
        reason: String,
    },
}

impl OutboundError {
    /// Of a failed `connect`.
    pub(super) fn dial(address: String, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
            _ => format!("connect: {error}"),
        };
        Self::Dial { address, reason }
    }

    /// Of a failed handshake.
    pub(super) fn handshake(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let reason = match tls {
            None if error.kind() == io::ErrorKind::UnexpectedEof => return Self::Closed,
            None if error.kind() == io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            None => error.to_string(),
            Some(rustls::Error::InvalidCertificate(why)) => {
                format!("tls: failed to verify certificate: x509: {}", certificate(why))
            }
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                "http: server gave HTTP response to HTTPS client".to_owned()
            }
            Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
            Some(other) => format!("tls: {other}"),
        };
        Self::Tls { reason }
    }

    /// Of a connection that broke after it was made.
    pub(super) fn exchange(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut last = String::new();
        while let Some(error) = next {
            if let Some(known) = error.downcast_ref::<Self>() {
                return known.clone();
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_incomplete_message() || error.is_closed() {
                    return Self::Closed;
                }
                if error.is_parse() {
                    let reason =
                        format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}");
                    return Self::Broken { reason };
                }
            }
            last = error.to_string();
            next = error.source();
        }
        Self::Broken { reason: last }
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        // A root of the same name and another key is not the one that signed it.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => name_mismatch(expected, presented),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        other => other.to_string(),
    }
}

/// `presented` are names as rustls shows them: `DnsName("a.example")`, `IpAddress(127.0.0.1)`.
fn name_mismatch(expected: &ServerName<'_>, presented: &[String]) -> String {
    let names = |kind: &str| {
        let inner = presented
            .iter()
            .filter_map(|name| name.strip_prefix(kind)?.strip_suffix(')'));
        inner.map(|name| name.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    let wanted = expected.to_str();
    match expected {
        ServerName::IpAddress(_) => match names("IpAddress(") {
            none if none.is_empty() => {
                format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
            }
            some => format!("certificate is valid for {}, not {wanted}", some.join(", ")),
        },
        _ => match names("DnsName(") {
            none if none.is_empty() => {
                format!("certificate is not valid for any names, but wanted to match {wanted}")
            }
            some => format!("certificate is valid for {}, not {wanted}", some.join(", ")),
        },
    }
}
