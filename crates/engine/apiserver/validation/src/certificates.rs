//! CertificateSigningRequest.

use serde_json::Value;

use crate::get::{items, optional_int, same, text, texts};
use crate::labels::check;
use crate::names::{dns_label, dns_subdomain};
use crate::pem;
use crate::shared::Errors;
use crate::{FieldError, Path, go_quoted};

const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const SIGNER_BYTES_MAX: usize = 571;
const DOMAIN_BYTES_MAX: usize = 253;
/// Usages of keys, sorted.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that are `True` if they are there, and stay.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// What is tolerated since the old object had it too.
#[derive(Debug, Clone, Copy, Default)]
struct Lenient {
    both_decisions: bool,
    legacy_signer: bool,
    repeated_conditions: bool,
    nameless_conditions: bool,
    any_certificate: bool,
    unknown_usages: bool,
    repeated_usages: bool,
}

/// What a path of the API may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Object,
    Status,
    Approval,
}

/// What is wrong with a new CertificateSigningRequest.
pub(crate) fn create(object: &Value) -> Errors {
    validate(object, Lenient::default())
}

/// What is wrong with a CertificateSigningRequest that replaces another.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    changed(new, old, Through::Object)
}

/// What is wrong with a status that replaces another.
pub(crate) fn update_status(new: &Value, old: &Value) -> Errors {
    changed(new, old, Through::Status)
}

/// What is wrong with an approval or a denial.
pub(crate) fn update_approval(new: &Value, old: &Value) -> Errors {
    changed(new, old, Through::Approval)
}

fn conditions(object: &Value) -> &[Value] {
    items(&object["status"]["conditions"])
}

fn of_type<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    conditions(object).iter().filter(|c| text(&c["type"]) == kind).collect()
}

fn certificate(object: &Value) -> &str {
    text(&object["status"]["certificate"])
}

fn repeats<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut texts = texts;
    texts.any(|text| !seen.insert(text))
}

fn tolerated(new: &Value, old: &Value) -> Lenient {
    let types = || conditions(old).iter().map(|c| text(&c["type"]));
    let usages = || texts(&old["spec"]["usages"]);
    Lenient {
        both_decisions: types().any(|t| t == "Approved") && types().any(|t| t == "Denied"),
        legacy_signer: text(&old["spec"]["signerName"]) == LEGACY_SIGNER,
        repeated_conditions: repeats(types()),
        nameless_conditions: types().any(str::is_empty),
        any_certificate: certificate(new) == certificate(old) || certificate_fault(certificate(old)).is_some(),
        unknown_usages: usages().any(|usage| !USAGES.contains(&usage)),
        repeated_usages: repeats(usages()),
    }
}

fn changed(new: &Value, old: &Value, through: Through) -> Errors {
    let mut errors = validate(new, tolerated(new, old));
    let status = Path::Root.child("status");
    for kind in DECISIONS {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            let detail = format!("updates may not remove a condition of type {}", go_quoted(kind));
            errors.push(FieldError::forbidden(status.child("conditions"), &detail));
        }
    }
    for kind in ["Approved", "Denied"]
        .into_iter()
        .filter(|_| through != Through::Approval)
    {
        let (after, before) = (of_type(new, kind), of_type(old, kind));
        let verb = match after.len().cmp(&before.len()) {
            std::cmp::Ordering::Greater => "add",
            std::cmp::Ordering::Equal if after.iter().zip(&before).any(|(a, b)| !same(a, b)) => "modify",
            _ => continue,
        };
        let detail = format!("updates may not {verb} a condition of type {}", go_quoted(kind));
        errors.push(FieldError::forbidden(status.child("conditions"), &detail));
    }
    if certificate(new) != certificate(old) {
        let field = status.child("certificate");
        if through != Through::Status {
            errors.push(FieldError::forbidden(field, "updates may not set certificate content"));
        } else if !certificate(old).is_empty() {
            let detail = "updates may not modify existing certificate content";
            errors.push(FieldError::forbidden(field, detail));
        }
    }
    errors
}

fn validate(object: &Value, lenient: Lenient) -> Errors {
    let spec = &object["spec"];
    let path = Path::Root.child("spec");
    let mut errors = Errors::new();
    let request = text(&spec["request"]);
    if let Some(fault) = request_fault(request) {
        errors.push(FieldError::invalid(
            path.child("request"),
            spec["request"].clone(),
            &fault,
        ));
    }
    let usages_path = path.child("usages");
    let usages: Vec<&str> = texts(&spec["usages"]).collect();
    if usages.is_empty() {
        errors.push(FieldError::required(usages_path, ""));
    }
    for (i, usage) in usages.iter().enumerate() {
        if !lenient.unknown_usages && !USAGES.contains(usage) {
            errors.push(FieldError::not_supported(usages_path.index(i), *usage, &USAGES));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, usage) in usages.iter().enumerate() {
        if !seen.insert(*usage) && !lenient.repeated_usages {
            errors.push(FieldError::duplicate(usages_path.index(i), *usage));
        }
    }
    let signer = text(&spec["signerName"]);
    let signer_path = path.child("signerName");
    if signer == LEGACY_SIGNER && !lenient.legacy_signer {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(signer_path, signer, detail));
    } else {
        errors.extend(signer_name(signer, &signer_path));
    }
    if let Some(seconds) = optional_int(&spec["expirationSeconds"])
        && seconds < 600
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(path.child("expirationSeconds"), seconds, detail));
    }
    errors.extend(condition_list(object, lenient));
    if !lenient.any_certificate
        && let Some(fault) = certificate_fault(certificate(object))
    {
        errors.push(FieldError::invalid("status.certificate", "<certificate data>", &fault));
    }
    errors
}

fn condition_list(object: &Value, lenient: Lenient) -> Errors {
    let mut errors = Errors::new();
    let above = Path::Root.child("status");
    let path = above.child("conditions");
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in conditions(object).iter().enumerate() {
        let at = path.index(i);
        let (kind, status) = (text(&condition["type"]), text(&condition["status"]));
        if kind.is_empty() && !lenient.nameless_conditions {
            errors.push(FieldError::required(at.child("type"), ""));
        }
        let allowed: &[&str] = match DECISIONS.contains(&kind) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        if status.is_empty() {
            errors.push(FieldError::required(at.child("status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(FieldError::not_supported(at.child("status"), status, allowed));
        }
        let opposite = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "-",
        };
        if !lenient.both_decisions && seen.contains(opposite) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(path, kind, detail));
        }
        if !seen.insert(kind) && !lenient.repeated_conditions {
            errors.push(FieldError::duplicate(at.child("type"), kind));
        }
    }
    errors
}

/// The name of a signer: a domain and a path (upstream `ValidateSignerName`).
fn signer_name(name: &str, path: &Path<'_>) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![FieldError::invalid(path, name, detail)];
    };
    let mut errors = Errors::new();
    if domain.len() > DOMAIN_BYTES_MAX {
        errors.push(FieldError::too_long(path, DOMAIN_BYTES_MAX));
    }
    errors.extend(segment(domain, dns_label, path));
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, detail));
    }
    errors.extend(segment(rest, dns_subdomain, path));
    if name.len() > SIGNER_BYTES_MAX {
        errors.push(FieldError::too_long(path, SIGNER_BYTES_MAX));
    }
    errors
}

/// The first label of a segment that is wrong.
fn segment(segment: &str, rule: fn(&str) -> Vec<String>, path: &Path<'_>) -> Errors {
    let wrong = segment.split('.').find(|label| !check(rule, label, path).is_empty());
    let faults = wrong.map(|label| (label, rule(label)));
    let faults = faults.into_iter().flat_map(|(label, faults)| {
        let detail = move |fault| format!("validating label {}: {fault}", go_quoted(label));
        faults.into_iter().map(detail)
    });
    faults
        .map(|detail| FieldError::invalid(path, segment, &detail))
        .collect()
}

fn request_fault(encoded: &str) -> Option<String> {
    let decoded = pem::base64(encoded).unwrap_or_default();
    let block = pem::blocks(&decoded).into_iter().next();
    match block {
        Some(block) if block.label == "CERTIFICATE REQUEST" => {
            (!pem::is_signed_structure(&block.bytes)).then(|| "asn1: structure error: malformed request".to_owned())
        }
        _ => Some("PEM block type must be CERTIFICATE REQUEST".to_owned()),
    }
}

fn certificate_fault(encoded: &str) -> Option<String> {
    if encoded.is_empty() {
        return None;
    }
    let decoded = pem::base64(encoded).unwrap_or_default();
    let blocks = pem::blocks(&decoded);
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            let label = go_quoted(&block.label);
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {label}"));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if block.bytes.is_empty() {
            return Some("found CERTIFICATE PEM block containing 0 certificates".to_owned());
        }
        if !pem::is_signed_structure(&block.bytes) {
            return Some("x509: malformed certificate".to_owned());
        }
    }
    blocks
        .is_empty()
        .then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `-----BEGIN CERTIFICATE REQUEST-----`, a sequence of two sequences and a bit string, and the end.
    const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFjd0FEQUFBd0VBCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

    fn request(conditions: Value) -> Value {
        json!({
            "spec": {"request": REQUEST, "signerName": "a.b/c", "usages": ["client auth"]},
            "status": {"conditions": conditions},
        })
    }

    #[test]
    fn requests_say_what_they_are_for() {
        let plain = request(json!([]));
        assert_eq!(create(&plain), []);
        let fields: Vec<String> = create(&json!({})).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec.request", "spec.usages", "spec.signerName"]);
    }

    #[test]
    fn decisions_are_made_by_approval_and_stay() {
        let approved = request(json!([{"type": "Approved", "status": "True"}]));
        let plain = request(json!([]));
        assert!(update_approval(&approved, &plain).is_empty());
        assert_eq!(update_status(&approved, &plain).len(), 1);
        assert_eq!(update_approval(&plain, &approved).len(), 1);
        let both = json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]);
        assert_eq!(update_approval(&request(both), &approved)[0].field, "status.conditions");
    }

    #[test]
    fn signers_have_a_domain_and_a_path() {
        let path = Path::Root.child("signerName");
        assert!(signer_name("example.com/a.b", &path).is_empty());
        for name in ["a", "a/b/c", "a/b", "A.b/c", ""] {
            assert_eq!(signer_name(name, &path).len(), 1, "{name}");
        }
    }

    #[test]
    fn certificates_come_from_the_status() {
        let mut new = request(json!([]));
        new["status"]["certificate"] = json!("eA==");
        assert_eq!(
            update_status(&new, &request(json!([])))[0].message,
            "Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
        );
        assert_eq!(update(&new, &request(json!([]))).len(), 2);
        assert_eq!(update_status(&request(json!([])), &new).len(), 1);
    }
}
