//! One filled object of each kind as JSON and as protobuf: both directions must agree with upstream to the byte.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Kinds whose bytes can differ although they mean the same, with the reason.
const ENCODED_OTHERWISE: [(&str, &str); 0] = [];

#[test]
fn vectors_of_upstream_are_met() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../../shared/k8s-1.34/wire");
    if !folder.is_dir() {
        println!("skipped: there are no vectors at {}", folder.display());
        return;
    }
    let (mut met, mut unknown, mut faults) = (0, Vec::new(), Vec::new());
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "pb"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let json: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let text = |member: &str| json[member].as_str().unwrap_or_default();
        if !engenho_protobuf::knows(text("apiVersion"), text("kind")) {
            unknown.push(name);
            continue;
        }
        match engenho_protobuf::decode(&bytes, None) {
            Ok(decoded) if decoded == json => {}
            Ok(decoded) => faults.push(format!("{name} decodes otherwise: {}", difference(&json, &decoded))),
            Err(error) => faults.push(format!("{name} doesn't decode: {error}")),
        }
        match engenho_protobuf::encode(&json) {
            Ok(encoded) if encoded == bytes => {}
            Ok(encoded) if ENCODED_OTHERWISE.iter().any(|(kind, _)| *kind == name) => {
                assert_eq!(engenho_protobuf::decode(&encoded, None).as_ref(), Ok(&json), "{name}");
            }
            Ok(encoded) => {
                let at = encoded.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
                let near = |bytes: &[u8]| {
                    let from = at.saturating_sub(24).min(bytes.len());
                    String::from_utf8_lossy(&bytes[from..(at + 24).min(bytes.len())]).into_owned()
                };
                faults.push(format!(
                    "{name} encodes otherwise at byte {at}: {:?}, wanted {:?}",
                    near(&encoded),
                    near(&bytes)
                ));
            }
            Err(error) => faults.push(format!("{name} doesn't encode: {error}")),
        }
        met += 1;
    }
    println!("{met} kinds; not served: {}", unknown.join(" "));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(met > 80, "only {met} kinds have vectors");
    // What isn't served has no table; nothing that is may be among it.
    for name in &unknown {
        let version = name.rsplit('.').nth(1).unwrap_or_default();
        let old = version.contains("alpha") || version.contains("beta");
        let other = ["admission.k8s.io.", "apidiscovery.k8s.io."]
            .iter()
            .any(|g| name.starts_with(g));
        // Its JSON names no kind: it is only ever a frame of a stream.
        let internal = ["core.v1.WatchEvent"].contains(&name.as_str());
        assert!(old || other || internal, "{name} has no messages");
    }
}

fn difference(want: &Value, have: &Value) -> String {
    match (want, have) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) if other == value => {}
                    Some(other) => return format!("{key}.{}", difference(value, other)),
                    None => return format!("{key} is missing"),
                }
            }
            let more: Vec<_> = b.keys().filter(|k| !a.contains_key(*k)).collect();
            format!("more: {more:?}")
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (value, other)) in a.iter().zip(b).enumerate() {
                if value != other {
                    return format!("{i}.{}", difference(value, other));
                }
            }
            String::new()
        }
        _ => format!(" {have} instead of {want}"),
    }
}
