//! Image references, as far as the pull policy depends on them.

/// Longest name of a repository with its registry.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

/// The policy for an image: one whose tag moves is pulled each time. A reference that is none is not called latest.
pub fn pull_policy(reference: &str) -> &'static str {
    if is_latest(reference) { "Always" } else { "IfNotPresent" }
}

/// Whether a reference names the tag `latest`, or neither a tag nor a digest.
fn is_latest(reference: &str) -> bool {
    // A bare content identifier could be taken for a name.
    if reference.len() == 64 && reference.bytes().all(is_lower_hex) {
        return false;
    }
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let (domain, rest) = match named.split_once('/') {
        Some((first, rest)) if is_domain_like(first) => (Some(first), rest),
        _ => (None, named),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let valid = domain.is_none_or(is_domain)
        && path.split('/').all(is_path_component)
        && domain.map_or(0, |d| d.len() + 1) + path.len() <= MAX_NAME
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    valid
        && match tag {
            Some(tag) => tag == "latest",
            None => digest.is_none(),
        }
}

/// Whether the first part of a name is a registry rather than a folder of the default one.
fn is_domain_like(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else {
                return false;
            };
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match after {
                "" => return true,
                _ => ("", after.strip_prefix(':')),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => return text.split('.').all(is_label),
        },
    };
    let numbered = port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    numbered && (text.starts_with('[') || host.split('.').all(is_label))
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case letters and digits, with single separators between them: a dot, one or two underscores, dashes.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|b| alphanumeric(*b)) && bytes.last().is_some_and(|b| alphanumeric(*b));
    ends && bytes
        .split(|b| alphanumeric(*b))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| word(*b))
        && bytes.len() <= MAX_TAG
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(is_lower_hex)
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_move() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let table = [
            ("nginx".to_owned(), true),
            ("nginx:latest".to_owned(), true),
            ("library/nginx".to_owned(), true),
            ("localhost:5000/a/b_c/d--e".to_owned(), true),
            ("[::1]:5000/a:latest".to_owned(), true),
            ("Registry.example/a".to_owned(), true),
            (format!("nginx:latest@{digest}"), true),
            (format!("nginx@{digest}"), false),
            ("nginx:1".to_owned(), false),
            ("registry.example:5000/a:1".to_owned(), false),
            // None of these is a reference.
            (String::new(), false),
            (" nginx".to_owned(), false),
            ("Nginx".to_owned(), false),
            ("a//b".to_owned(), false),
            ("a/B".to_owned(), false),
            ("nginx:".to_owned(), false),
            ("nginx@sha256:0a".to_owned(), false),
            ("a..b".to_owned(), false),
            ("0a".repeat(32), false),
            ("[::1/a".to_owned(), false),
        ];
        for (reference, latest) in table {
            assert_eq!(is_latest(&reference), latest, "{reference}");
        }
        assert_eq!((pull_policy("a"), pull_policy("a:1")), ("Always", "IfNotPresent"));
    }
}
