//! The authority and its leaves, judged by an independent verifier.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engenho_pki::ca::{BACKDATE, CLIENT_LIFETIME, SERVING_LIFETIME};
use engenho_pki::{
    CaError, CertificateRequest, ClientSubject, ClusterCa, IssuedCertificate, NameError, RequestPolicy, ServingNames,
    Usage, first_service_address, write_private,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, crypto::ring::default_provider};
use x509_parser::prelude::{FromDer, X509Certificate};

pub const NOW: u64 = 1_750_000_000_000;
const DAY: u64 = 86_400_000;

pub fn ca() -> ClusterCa {
    ClusterCa::generate("cluster-1", NOW).expect("an authority")
}

fn names(list: &[&str]) -> ServingNames {
    let mut names = ServingNames::new();
    for host in list {
        names.add_host(host).expect("a host");
    }
    names
}

fn roots(ca: &ClusterCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).expect("a root");
    Arc::new(roots)
}

fn serves(ca: &ClusterCa, leaf: &IssuedCertificate, host: &str, now_ms: u64) -> bool {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca), Arc::new(default_provider()))
        .build()
        .expect("a verifier");
    let name = ServerName::try_from(host.to_owned()).expect("a server name");
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
    verifier
        .verify_server_cert(leaf.certificate(), &[], &name, &[], now)
        .is_ok()
}

fn is_client(ca: &ClusterCa, leaf: &IssuedCertificate, now_ms: u64) -> bool {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), Arc::new(default_provider()))
        .build()
        .expect("a verifier");
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
    verifier.verify_client_cert(leaf.certificate(), &[], now).is_ok()
}

fn subject(leaf: &IssuedCertificate) -> (String, Vec<String>) {
    let (_, parsed) = X509Certificate::from_der(leaf.certificate()).expect("a certificate");
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().expect("text").to_owned();
    (
        parsed.subject().iter_common_name().map(text).collect(),
        parsed.subject().iter_organization().map(text).collect(),
    )
}

#[test]
fn serving_certificates_serve_every_name_and_no_other() {
    let ca = ca();
    let service = first_service_address("10.96.0.0/12").expect("a range");
    let mut all = ServingNames::api_server("cluster.local", &[service]).expect("names");
    for host in ["node-1", "my_node.example.com.", "192.168.1.7", "[fd00::7]"] {
        all.add_host(host).expect("a host");
    }
    let leaf = ca
        .issue_serving("engenho", &all, SERVING_LIFETIME, NOW)
        .expect("a leaf");
    for host in [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "::1",
        "10.96.0.1",
        "node-1",
        "192.168.1.7",
        "fd00::7",
    ] {
        assert!(serves(&ca, &leaf, host, NOW), "{host}");
    }
    assert!(!serves(&ca, &leaf, "kubernetes.example.com", NOW));
    assert!(!serves(&ca, &leaf, "10.96.0.2", NOW));
    assert!(!is_client(&ca, &leaf, NOW), "a serving certificate is no client's");
    assert!(leaf.serves(&all));
    assert!(!leaf.serves(&names(&["other"])));
    // A clock 5 minutes behind still accepts it, one behind by more doesn't; it ends as it should.
    let skew = BACKDATE.as_millis() as u64;
    assert!(serves(&ca, &leaf, "localhost", NOW - skew));
    assert!(!serves(&ca, &leaf, "localhost", NOW - skew - 1000));
    assert!(serves(&ca, &leaf, "localhost", NOW + 30 * DAY - 1000));
    assert!(!serves(&ca, &leaf, "localhost", NOW + 30 * DAY + 2000));
    assert_eq!(leaf.not_before_ms(), NOW - skew);
    assert_eq!(leaf.not_after_ms(), NOW + 30 * DAY);
}

#[test]
fn client_certificates_name_a_user_and_all_groups() {
    let ca = ca();
    for groups in [
        vec![],
        vec!["system:masters"],
        vec!["dev", "ops", "dev:leads", &"g".repeat(250)],
    ] {
        let wanted = ClientSubject::new("jane@example.com", groups.clone());
        let leaf = ca.issue_client(&wanted, CLIENT_LIFETIME, NOW).expect("a leaf");
        assert_eq!(
            subject(&leaf),
            (
                "jane@example.com".to_owned(),
                groups.iter().map(|g| (*g).to_owned()).collect()
            )
        );
        assert!(is_client(&ca, &leaf, NOW), "{groups:?}");
        assert!(!serves(&ca, &leaf, "localhost", NOW));
        assert!(leaf.is_from(ca.certificate()));
        assert!(!leaf.is_from(self::ca().certificate()));
    }
    let admin = ca
        .issue_client(&ClientSubject::admin(), CLIENT_LIFETIME, NOW)
        .expect("a leaf");
    assert_eq!(
        subject(&admin),
        ("kubernetes-admin".to_owned(), vec!["system:masters".to_owned()])
    );
    let node = ClientSubject::node("web-1");
    assert_eq!((node.user.as_str(), node.groups.len()), ("system:node:web-1", 1));
}

#[test]
fn wrong_names_are_refused() {
    let ca = ca();
    for user in ["", "a\0b", &"u".repeat(257)] {
        let result = ca.issue_client(&ClientSubject::new(user, ["g"]), CLIENT_LIFETIME, NOW);
        assert!(matches!(result, Err(CaError::Name(NameError::Text { .. }))), "{user:?}");
    }
    let groups = (0..65).map(|n| format!("g{n}"));
    let result = ca.issue_client(&ClientSubject::new("u", groups), CLIENT_LIFETIME, NOW);
    assert!(matches!(result, Err(CaError::Name(NameError::TooMany { .. }))));
    for host in ["", "a..b", "-a", "a b", "ä.example", "a/b", &"x".repeat(64)] {
        assert!(ServingNames::new().add_dns(host).is_err(), "{host:?}");
    }
    let mut wildcard = ServingNames::new();
    wildcard.add_ip("0.0.0.0".parse().expect("an address"));
    assert!(wildcard.is_empty());
}

#[test]
fn an_authority_survives_its_text_and_refuses_others() {
    let ca = ca();
    let text = ca.to_pem();
    let again = ClusterCa::from_pem(&text).expect("the same authority");
    assert_eq!(again.certificate(), ca.certificate());
    assert_eq!(ca.not_after_ms(), NOW + 3650 * DAY);
    let leaf = again
        .issue_serving("engenho", &names(&["localhost"]), SERVING_LIFETIME, NOW)
        .expect("a leaf");
    assert!(serves(&ca, &leaf, "localhost", NOW));

    let other = self::ca().to_pem();
    let key = other.find("-----BEGIN PRIVATE").expect("a key");
    let mixed = format!("{}{}", ca.certificate_pem(), &other[key..]);
    let leaf_text = leaf.to_pem();
    for broken in [
        ca.certificate_pem().as_str(),
        &other[key..],
        mixed.as_str(),
        "",
        &leaf_text,
    ] {
        assert!(matches!(ClusterCa::from_pem(broken), Err(CaError::Read { .. })));
    }
    let loaded = IssuedCertificate::from_pem(&leaf_text).expect("the same leaf");
    assert_eq!(loaded.certificate(), leaf.certificate());
    assert_eq!(loaded.not_after_ms(), leaf.not_after_ms());
    assert!(!format!("{ca:?}{leaf:?}").contains("key:"));
}

#[test]
fn a_leaf_never_outlives_the_authority_nor_is_from_an_expired_one() {
    let ca = ca();
    let end = ca.not_after_ms();
    let late = ca
        .issue_serving("engenho", &names(&["localhost"]), SERVING_LIFETIME, end - DAY)
        .expect("a leaf");
    assert_eq!(late.not_after_ms(), end);
    for now in [end, NOW - DAY] {
        let result = ca.issue_serving("engenho", &names(&["localhost"]), SERVING_LIFETIME, now);
        assert!(matches!(result, Err(CaError::NotValidNow { .. })), "{now}");
    }
}

#[test]
fn requests_are_signed_as_far_as_allowed() {
    let ca = ca();
    let policy = RequestPolicy {
        subject: ClientSubject::new("engenho", [] as [&str; 0]),
        names: names(&["localhost", "worker-1", "10.0.0.5"]),
        usage: Usage::Serving,
        lifetime: SERVING_LIFETIME,
    };
    let request =
        CertificateRequest::generate("engenho", &names(&["worker-1", "10.0.0.5", "evil.example", "10.0.0.6"]))
            .expect("a request");
    let der = request.der().to_vec();
    let signed = ca.sign_request(&der, &policy, NOW).expect("a certificate");
    assert_eq!(signed.refused, ["evil.example", "10.0.0.6"]);
    let leaf = request.complete(signed.certificate.clone()).expect("it fits the key");
    assert!(serves(&ca, &leaf, "worker-1", NOW) && serves(&ca, &leaf, "10.0.0.5", NOW));
    for refused in ["evil.example", "10.0.0.6", "localhost"] {
        assert!(!serves(&ca, &leaf, refused, NOW), "{refused}");
    }
    // Signed twice, it has two serial numbers.
    let again = ca.sign_request(&der, &policy, NOW).expect("a certificate");
    let serial = |c: &[u8]| {
        X509Certificate::from_der(c)
            .map(|(_, c)| c.raw_serial().to_vec())
            .expect("parses")
    };
    assert_ne!(serial(&signed.certificate), serial(&again.certificate));

    let elsewhere = CertificateRequest::generate("engenho", &names(&["evil.example"])).expect("a request");
    assert!(matches!(
        ca.sign_request(elsewhere.der(), &policy, NOW),
        Err(CaError::NoNames { .. })
    ));
    let stranger = CertificateRequest::generate("system:admin", &names(&["worker-1"])).expect("a request");
    assert!(matches!(
        ca.sign_request(stranger.der(), &policy, NOW),
        Err(CaError::Subject { .. })
    ));
    let other = CertificateRequest::generate("engenho", &names(&["worker-1"])).expect("a request");
    assert!(other.complete(signed.certificate).is_err(), "for another key");

    // A client certificate gets the subject of the policy, whatever is asked.
    let node = RequestPolicy {
        subject: ClientSubject::new("system:node:w", ["system:nodes", "extra"]),
        names: ServingNames::new(),
        usage: Usage::Client,
        lifetime: CLIENT_LIFETIME,
    };
    let request = CertificateRequest::generate("system:node:w", &ServingNames::new()).expect("a request");
    let signed = ca.sign_request(request.der(), &node, NOW).expect("a certificate");
    let leaf = request.complete(signed.certificate).expect("it fits");
    assert_eq!(subject(&leaf).1, ["system:nodes", "extra"]);
    assert!(is_client(&ca, &leaf, NOW));
}

#[test]
fn a_changed_request_is_refused() {
    let ca = ca();
    let policy = RequestPolicy {
        subject: ClientSubject::new("engenho", [] as [&str; 0]),
        names: names(&["worker-1"]),
        usage: Usage::Serving,
        lifetime: SERVING_LIFETIME,
    };
    let request = CertificateRequest::generate("engenho", &names(&["worker-1"])).expect("a request");
    let der = request.der();
    let public_key = |c: &[u8]| {
        X509Certificate::from_der(c)
            .map(|(_, c)| c.public_key().raw.to_vec())
            .expect("parses")
    };
    let signed = ca.sign_request(der, &policy, NOW).expect("a certificate");
    let key = public_key(&signed.certificate);
    let mut spare = 0;
    for at in 0..der.len() {
        let mut changed = der.to_vec();
        changed[at] ^= 0x01;
        // The encoding of the signature itself has spare bits. What it covers must be as it was.
        if let Ok(signed) = ca.sign_request(&changed, &policy, NOW) {
            assert!(signed.refused.is_empty());
            assert_eq!(public_key(&signed.certificate), key, "byte {at}");
            spare += 1;
        }
    }
    assert!(spare < 8, "{spare} of {} bytes can be changed", der.len());
    for length in 0..der.len() {
        assert!(ca.sign_request(&der[..length], &policy, NOW).is_err());
    }
    assert!(ca.sign_request(&vec![0x30; 65 * 1024], &policy, NOW).is_err());
}

#[test]
fn service_ranges_have_a_first_address() {
    for (cidr, first) in [
        ("10.96.0.0/12", "10.96.0.1"),
        ("10.96.3.7/12", "10.96.0.1"),
        ("10.0.0.0/31", "10.0.0.1"),
        ("0.0.0.0/0", "0.0.0.1"),
        ("fd00:1::/108", "fd00:1::1"),
    ] {
        let first: IpAddr = first.parse().expect("an address");
        assert_eq!(first_service_address(cidr), Ok(first));
    }
    for cidr in [
        "10.96.0.0",
        "10.96.0.0/33",
        "10.96.0.1/32",
        "x/8",
        "::/129",
        "10.0.0.0/-1",
        "",
    ] {
        assert!(first_service_address(cidr).is_err(), "{cidr}");
    }
}

#[test]
fn private_files_are_replaced_whole_and_keep_links() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key.pem");
    std::fs::write(&path, "old").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let link = dir.path().join("link");
    symlink(&path, &link).expect("a link");
    write_private(&link, b"new").expect("written");
    assert_eq!(std::fs::read(&path).expect("read"), b"new");
    assert_eq!(std::fs::metadata(&path).expect("metadata").mode() & 0o777, 0o600);
    assert!(std::fs::symlink_metadata(&link).expect("metadata").is_symlink());
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("listed").count(),
        2,
        "nothing is left over"
    );
    assert!(write_private(&dir.path().join("no/dir"), b"x").is_err());
}
