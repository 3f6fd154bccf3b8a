//! Paths of files.

use crate::{FieldError, Path};

/// A path none of whose parts is `..`.
pub fn no_backsteps(target: &str, field: &Path) -> Vec<FieldError> {
    match target.split('/').any(|part| part == "..") {
        true => vec![FieldError::invalid(field, target, "must not contain '..'")],
        false => Vec::new(),
    }
}

/// A relative path that stays below where it starts.
pub fn local_descending(target: &str, field: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if target.starts_with('/') {
        errors.push(FieldError::invalid(field, target, "must be a relative path"));
    }
    errors.extend(no_backsteps(target, field));
    errors
}

/// A relative path that stays below and does not begin as hidden data of volumes do.
pub fn local_non_reserved(target: &str, field: &Path) -> Vec<FieldError> {
    let mut errors = local_descending(target, field);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(FieldError::invalid(field, target, "must not start with '..'"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_stay_below() {
        let field = Path::Root.child("path");
        assert!(local_non_reserved("a/b..c", &field).is_empty());
        assert_eq!(local_non_reserved("/a", &field).len(), 1);
        assert_eq!(local_non_reserved("../a", &field).len(), 1);
        assert_eq!(local_non_reserved("..", &field).len(), 2);
        assert_eq!(local_non_reserved("..a", &field).len(), 1);
    }
}
