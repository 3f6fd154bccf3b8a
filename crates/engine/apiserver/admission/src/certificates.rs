//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may have which certificate.

use data_encoding::BASE64;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use crate::get::{quoted, text};
use crate::{Operation, Outcome, Refusal, Request};

/// API group of certificate signing requests.
pub(crate) const GROUP: &str = "certificates.k8s.io";
/// Their plural name.
pub(crate) const RESOURCE: &str = "certificatesigningrequests";
/// Signs certificates that the API server takes for its clients'.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Whose members may do anything.
const ALL_POWERFUL: &str = "system:masters";

/// What an author is asked to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// What is done.
    pub verb: String,
    /// API group of the resource.
    pub group: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// A question to the authorizer that a write depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// It is enough that the author is allowed one of these.
    pub any_of: Vec<Attributes>,
    /// The message of [`Refusal::Forbidden`] otherwise.
    pub refusal: String,
}

/// Approving and signing takes the right to do so for the signer in question.
pub(crate) fn authorization(request: &Request<'_>, object: &Value, old: Option<&Value>) -> Option<Authorization> {
    let old = old?;
    if !request.concerns(GROUP, RESOURCE) || request.operation != Operation::Update {
        return None;
    }
    let is_issued = ["certificate", "conditions"]
        .iter()
        .any(|field| !is_same(&object["status"][*field], &old["status"][*field]));
    let verb = match request.subresource {
        "approval" => "approve",
        "status" if is_issued => "sign",
        _ => return None,
    };
    let signer = text(&old["spec"]["signerName"]);
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    let names = [signer.to_owned(), format!("{domain}/*")];
    let attributes = |name: String| Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        resource: "signers".to_owned(),
        namespace: String::new(),
        name,
    };
    Some(Authorization {
        any_of: names.map(attributes).to_vec(),
        refusal: format!(
            "user not permitted to {verb} requests with signerName {}",
            quoted(signer)
        ),
    })
}

/// Missing and empty are the same.
fn is_same(one: &Value, two: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    one == two || (is_empty(one) && is_empty(two))
}

pub(crate) fn validate<E>(request: &Request<'_>, object: &Value) -> Outcome<E> {
    if !request.creates(GROUP, RESOURCE) || text(&object["spec"]["signerName"]) != CLIENT_SIGNER {
        return Ok(());
    }
    let subject = Subject::read(object).map_err(|fault| Refusal::forbidden(format!("failed to parse CSR: {fault}")))?;
    if subject.organizations.iter().any(|name| name == ALL_POWERFUL) {
        return Err(Refusal::forbidden(format!(
            "use of {CLIENT_SIGNER} signer with {ALL_POWERFUL} group is not allowed"
        )));
    }
    Ok(())
}

/// Whom a certificate is requested for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// User name. Of several, the last one, which is the one that counts.
    pub common_name: String,
    /// Groups.
    pub organizations: Vec<String>,
}

impl Subject {
    /// Reads the subject out of a certificate signing request's `spec.request`.
    pub fn read(object: &Value) -> Result<Self, &'static str> {
        const MALFORMED: &str = "asn1: structure error: malformed request";
        const NO_PEM: &str = "PEM block type must be CERTIFICATE REQUEST";
        let bytes = BASE64
            .decode(text(&object["spec"]["request"]).as_bytes())
            .map_err(|_| NO_PEM)?;
        let (_, pem) = parse_x509_pem(&bytes).map_err(|_| NO_PEM)?;
        if pem.label != "CERTIFICATE REQUEST" {
            return Err(NO_PEM);
        }
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| MALFORMED)?;
        let subject = &request.certification_request_info.subject;
        let mut read = Self::default();
        for name in subject.iter_common_name() {
            read.common_name = name.as_str().map_err(|_| MALFORMED)?.to_owned();
        }
        for name in subject.iter_organization() {
            read.organizations
                .push(name.as_str().map_err(|_| MALFORMED)?.to_owned());
        }
        Ok(read)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lookup::tests::{refused, request};
    use rcgen::{CertificateParams, DnType, KeyPair};
    use serde_json::json;

    /// A certificate signing request for such a subject.
    pub(crate) fn signing_request(signer: &str, common_name: &str, organization: &str) -> Value {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        json!({"spec": {"signerName": signer, "request": BASE64.encode(pem.as_bytes())}})
    }

    #[test]
    fn nobody_is_made_all_powerful() {
        let create = request(Operation::Create, GROUP, RESOURCE);
        let of = |signer: &str, group: &str| {
            let object = signing_request(signer, "jane", group);
            refused(validate(&create, &object))
        };
        assert_eq!(of(CLIENT_SIGNER, "devs"), "");
        assert_eq!(of("example.com/x", ALL_POWERFUL), "");
        assert_eq!(
            of(CLIENT_SIGNER, ALL_POWERFUL),
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        );
        let broken = json!({"spec": {"signerName": CLIENT_SIGNER, "request": "eA=="}});
        assert!(refused(validate(&create, &broken)).starts_with("failed to parse CSR: "));
    }

    #[test]
    fn approving_and_signing_take_a_right_of_their_own() {
        let old = json!({"spec": {"signerName": "a.b/c"}, "status": {}});
        let signed = json!({"spec": {"signerName": "x/y"}, "status": {"certificate": "Zg=="}});
        let of = |subresource: &'static str, new: &Value| {
            let mut request = request(Operation::Update, GROUP, RESOURCE);
            request.subresource = subresource;
            authorization(&request, new, Some(&old))
        };
        let approve = of("approval", &old).unwrap();
        assert_eq!(
            approve.refusal,
            "user not permitted to approve requests with signerName \"a.b/c\""
        );
        let names: Vec<&str> = approve.any_of.iter().map(|asked| &*asked.name).collect();
        assert_eq!((names, &*approve.any_of[0].verb), (vec!["a.b/c", "a.b/*"], "approve"));
        let sign = of("status", &signed).unwrap();
        assert_eq!(
            sign.refusal,
            "user not permitted to sign requests with signerName \"a.b/c\""
        );
        let mut labelled = old.clone();
        labelled["status"] = json!({"conditions": []});
        assert_eq!(of("status", &labelled), None);
        assert_eq!(of("", &signed), None);
    }
}
