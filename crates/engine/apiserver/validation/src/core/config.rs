//! ConfigMaps and Secrets.

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{entries, flag, given, same, text};
use crate::scalars::formats::config_key;
use crate::scalars::json_syntax::not_a_map;
use crate::{FieldError, Path};

const BYTES_MAX: usize = 1024 * 1024;
const KEPT: &str = "field is immutable when `immutable` is set";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Bytes of a text in base 64; what is no such text gives those before it.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |b: u8| -> Option<u32> {
        Some(u32::from(match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for digit in text.bytes().filter(|b| !b.is_ascii_whitespace()).map_while(digit) {
        buffer = (buffer << 6 | digit) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    bytes
}

fn keys(map: &Value, path: &Path, errors: &mut Errors) {
    for (key, _) in entries(map) {
        errors.check(config_key, key, &path.key(key));
    }
}

fn decoded_bytes(map: &Value) -> usize {
    entries(map).iter().map(|(_, value)| decoded(text(value)).len()).sum()
}

/// A new ConfigMap.
pub(crate) fn create_config_map(map: &Value) -> Vec<FieldError> {
    let (data, binary) = (&map["data"], &map["binaryData"]);
    Errors::of(|errors| {
        let path = Path::Root.child("data");
        for (key, _) in entries(data) {
            errors.check(config_key, key, &path.key(key));
            if binary.get(key).is_some() {
                errors.invalid(path.key(key), key, "duplicate of key present in binaryData");
            }
        }
        keys(binary, &Path::Root.child("binaryData"), errors);
        let texts: usize = entries(data).iter().map(|(_, value)| text(value).len()).sum();
        if texts + decoded_bytes(binary) > BYTES_MAX {
            errors.push(FieldError::too_long("[]", BYTES_MAX));
        }
    })
}

fn kept(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if !flag(&old["immutable"]) {
        return;
    }
    if !flag(&new["immutable"]) {
        errors.forbidden("immutable", KEPT);
    }
    for field in fields {
        if !same(&new[*field], &old[*field]) {
            errors.forbidden(*field, KEPT);
        }
    }
}

/// A ConfigMap that replaces another one.
pub(crate) fn update_config_map(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        kept(new, old, &["data", "binaryData"], errors);
        errors.extend(create_config_map(new));
    })
}

/// A new Secret.
pub(crate) fn create_secret(secret: &Value) -> Vec<FieldError> {
    let (data, path) = (&secret["data"], Path::Root.child("data"));
    Errors::of(|errors| {
        keys(data, &path, errors);
        if decoded_bytes(data) > BYTES_MAX {
            errors.push(FieldError::too_long(path, BYTES_MAX));
        }
        of_type(secret, &path, errors);
    })
}

fn of_type(secret: &Value, path: &Path, errors: &mut Errors) {
    let data = &secret["data"];
    let has = |key: &str| data.get(key).is_some();
    match text(&secret["type"]) {
        "kubernetes.io/service-account-token" if text(&secret["metadata"]["annotations"][ACCOUNT_NAME]).is_empty() => {
            let metadata = Path::Root.child("metadata");
            errors.required(metadata.child("annotations").key(ACCOUNT_NAME), "");
        }
        "kubernetes.io/dockercfg" => registries(data, ".dockercfg", path, errors),
        "kubernetes.io/dockerconfigjson" => registries(data, ".dockerconfigjson", path, errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.required(path.key("username"), "");
            errors.required(path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if text(&data["ssh-privatekey"]).is_empty() => {
            errors.required(path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)) {
                errors.required(path.key(key), "");
            }
        }
        _ => {}
    }
}

fn registries(data: &Value, key: &str, path: &Path, errors: &mut Errors) {
    let field = path.key(key);
    match data.get(key) {
        None => errors.required(field, ""),
        Some(value) => {
            if let Some(why) = not_a_map(&decoded(text(value))) {
                errors.invalid(field, "<secret contents redacted>", &why);
            }
        }
    }
}

/// A Secret that replaces another one.
pub(crate) fn update_secret(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        if given(&new["type"]) || given(&old["type"]) {
            errors.immutable(&new["type"], &old["type"], &Path::Root.child("type"));
        }
        kept(new, old, &["data"], errors);
        errors.extend(create_secret(new));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn base_64_is_decoded() {
        assert_eq!(decoded("eHg="), b"xx");
        assert_eq!(decoded("TWFu\nTQ=="), b"ManM");
        assert_eq!(decoded("*"), b"");
    }

    #[test]
    fn secrets_have_what_their_type_needs() {
        let fields = |secret: Value| -> Vec<String> { create_secret(&secret).into_iter().map(|e| e.field).collect() };
        assert_eq!(
            fields(json!({"type": "kubernetes.io/tls"})),
            ["data[tls.crt]", "data[tls.key]"]
        );
        assert!(fields(json!({"type": "kubernetes.io/basic-auth", "data": {"password": ""}})).is_empty());
        let bad = json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "eHg="}});
        assert!(
            create_secret(&bad)[0]
                .message
                .ends_with("invalid character 'x' looking for beginning of value")
        );
    }

    #[test]
    fn what_is_immutable_stays() {
        let old = json!({"immutable": true, "data": {"a": "b"}});
        let new = json!({"data": {"a": "c"}});
        assert_eq!(update_config_map(&new, &old).len(), 2);
    }
}
