//! Where a webhook of this server is that a kubeconfig describes, and how it is called.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, header};

use crate::outbound::{ClientCertificate, Destination, Roots, Tls};
use crate::tokens::destination;

/// What a kubeconfig says of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// Certificates that vouch for it, PEM; otherwise those that the machine trusts.
    pub certificate_authority: Option<Bytes>,
    /// Whether any certificate will do.
    pub unverified: bool,
    /// The name that its certificate has to be for, if not the one in the URL.
    pub server_name: Option<String>,
    /// What is shown to it.
    pub client: Option<ClientCertificate>,
    /// A bearer token that is shown to it.
    pub token: Option<String>,
}

/// An endpoint that can be called.
#[derive(Debug)]
pub(crate) struct Place {
    pub to: Destination,
    path: String,
    token: Option<HeaderValue>,
}

impl Endpoint {
    /// Where it is; the error says what is wrong with it.
    pub(crate) fn place(&self) -> Result<Place, String> {
        let roots = match &self.certificate_authority {
            _ if self.unverified => Roots::Unverified,
            Some(pem) => Roots::Bundle(pem.clone()),
            None => Roots::System,
        };
        let (mut to, path) = destination(&self.url, roots.clone())?;
        to.tls = Some(Arc::new(Tls {
            roots,
            server_name: self.server_name.clone().unwrap_or_else(|| to.host.clone()),
            client: self.client.clone(),
        }));
        let token = match &self.token {
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| "the token has signs that no header carries".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Place { to, path, token })
    }
}

impl Place {
    /// A review to post. `query` follows the path, with its question mark.
    pub fn request(&self, query: &str, review: &serde_json::Value) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::post(format!("{}{query}", self.path))
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        request.body(Bytes::from(review.to_string()))
    }
}
