//! What the API server shows to aggregated API servers: a certificate of the authority that they were told to believe.

use std::sync::Arc;

use engenho_engine::apiserver::ProxyCertificate;
use engenho_engine::apiserver::outbound::ClientCertificate;
use engenho_engine::pki::ca::CLIENT_LIFETIME;
use engenho_engine::pki::{ClientSubject, ClusterCa, IssuedCertificate};
use parking_lot::Mutex;
use revoada_core::env::Clock;

/// A client certificate that is made when it is first needed, and anew before it ends.
pub struct FrontProxy {
    authority: ClusterCa,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<(IssuedCertificate, ClientCertificate)>>,
}

impl FrontProxy {
    /// Certificates of `authority`.
    pub fn new(authority: ClusterCa, clock: Arc<dyn Clock>) -> Self {
        Self {
            authority,
            clock,
            current: Mutex::new(None),
        }
    }
}

impl ProxyCertificate for FrontProxy {
    fn current(&self) -> Option<ClientCertificate> {
        let now_ms = self.clock.unix_ms();
        let mut current = self.current.lock();
        if let Some((issued, shown)) = &*current
            && !issued.renewal_due(0, now_ms)
        {
            return Some(shown.clone());
        }
        let issued = self
            .authority
            .issue_client(&ClientSubject::front_proxy(), CLIENT_LIFETIME, now_ms);
        match issued {
            Ok(issued) => {
                let shown = ClientCertificate {
                    chain_pem: issued.certificate_pem().into(),
                    key_pem: issued.key_pem().to_string().into(),
                };
                *current = Some((issued, shown.clone()));
                Some(shown)
            }
            Err(error) => {
                tracing::warn!(%error, "aggregated API servers will not know this server");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(u64);

    impl Clock for At {
        fn unix_ms(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_certificate_is_used_again() {
        let now = 1_750_000_000_000;
        let authority = ClusterCa::generate_front_proxy("c", now).expect("an authority");
        let proxy = FrontProxy::new(authority, Arc::new(At(now)));
        let first = proxy.current().expect("a certificate");
        assert_eq!(proxy.current(), Some(first));
    }
}
