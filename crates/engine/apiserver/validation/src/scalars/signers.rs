//! Names of signers of certificates, and of the bundles of trust they keep.

use crate::names::{dns_label, dns_subdomain};
use crate::{FieldError, Path, go_quoted};

const DOMAIN_LENGTH_MAX: usize = 253;
/// A domain, a slash, a namespace, a dot and a name.
const LENGTH_MAX: usize = 253 + 253 + 63 + 1 + 1;

/// The name of a signer: `example.com/name`.
pub fn signer_name(name: &str, path: &Path) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![FieldError::invalid(path, name, detail)];
    };
    let mut errors = Vec::new();
    if domain.len() > DOMAIN_LENGTH_MAX {
        errors.push(FieldError::too_long(path, DOMAIN_LENGTH_MAX));
    }
    errors.extend(first_wrong(domain, dns_label, path));
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, detail));
    }
    errors.extend(first_wrong(rest, dns_subdomain, path));
    if name.len() > LENGTH_MAX {
        errors.push(FieldError::too_long(path, LENGTH_MAX));
    }
    errors
}

fn first_wrong(segment: &str, check: fn(&str) -> Vec<String>, path: &Path) -> Vec<FieldError> {
    segment
        .split('.')
        .map(|label| (label, check(label)))
        .find(|(_, wrong)| !wrong.is_empty())
        .into_iter()
        .flat_map(|(label, wrong)| wrong.into_iter().map(move |w| (label, w)))
        .map(|(label, w)| FieldError::invalid(path, segment, &format!("validating label {}: {w}", go_quoted(label))))
        .collect()
}

/// What is wrong with the name of a bundle; one of a signer is named after it.
pub fn trust_bundle_name(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()],
            false => dns_subdomain(name),
        };
    }
    let prefix = signer.replace('/', ":") + ":";
    match name.strip_prefix(&prefix) {
        Some(rest) => dns_subdomain(rest),
        None => vec![format!(
            "ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
        )],
    }
}

/// The signer a bundle's name speaks of.
pub fn signer_of_bundle(name: &str) -> String {
    name.rsplit_once(':')
        .map_or_else(String::new, |(signer, _)| signer.replace(':', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signers_and_bundles() {
        let path = Path::Root.child("signerName");
        assert!(signer_name("example.com/a.b", &path).is_empty());
        assert_eq!(signer_name("example", &path).len(), 1);
        assert_eq!(signer_name("a/b", &path).len(), 1);
        assert_eq!(signer_of_bundle("example.com:a:b"), "example.com/a");
        assert!(trust_bundle_name("example.com:a:b", "example.com/a").is_empty());
    }
}
