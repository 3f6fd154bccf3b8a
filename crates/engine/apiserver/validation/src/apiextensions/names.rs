//! Names of custom resources.

use serde_json::Value;

use crate::get::{text, texts};
use crate::names::dns_1035_label;
use crate::shared::Errors;
use crate::{FieldError, Path};

/// What is wrong with names; absent ones are the caller's to refuse.
pub(super) fn validate(names: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for key in ["plural", "singular"] {
        errors.extend(label(text(&names[key]), &path.child(key)));
    }
    for key in ["kind", "listKind"] {
        let name = text(&names[key]);
        let wrong = dns_1035_label(&name.to_lowercase());
        if !name.is_empty() && !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(FieldError::invalid(path.child(key), name, &detail));
        }
    }
    errors.extend(labels(names, "shortNames", path));
    let (kind, list) = (text(&names["kind"]), text(&names["listKind"]));
    if !kind.is_empty() && kind == list {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(path.child("listKind"), list, detail));
    }
    errors.extend(labels(names, "categories", path));
    errors
}

fn label(name: &str, path: &Path<'_>) -> Errors {
    let wrong = dns_1035_label(name);
    match name.is_empty() || wrong.is_empty() {
        true => Errors::new(),
        false => vec![FieldError::invalid(path, name, &wrong.join(","))],
    }
}

fn labels(names: &Value, key: &str, path: &Path<'_>) -> Errors {
    let path = path.child(key);
    let list = texts(&names[key]).enumerate();
    list.filter_map(|(i, name)| {
        let wrong = dns_1035_label(name);
        (!wrong.is_empty()).then(|| FieldError::invalid(path.index(i), name, &wrong.join(",")))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_labels() {
        let path = Path::Root.child("names");
        let fine = json!({"plural": "as", "kind": "A", "listKind": "AList", "shortNames": ["a"]});
        assert!(validate(&fine, &path).is_empty());
        let bad = json!({"plural": "As", "kind": "A_", "listKind": "A_", "shortNames": ["A"], "categories": [""]});
        assert_eq!(validate(&bad, &path).len(), 6);
    }
}
