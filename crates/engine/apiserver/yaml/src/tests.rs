use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Decoded, decode, encode, warnings};

fn read(text: &str) -> Value {
    decode(text.as_bytes())
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .value
}

fn refusal(text: &str) -> String {
    match decode(text.as_bytes()) {
        Ok(Decoded { value, .. }) => panic!("{text:?} was read as {value}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn plain_scalars_mean_what_yaml_1_1_says() {
    for (text, wanted) in [
        ("y", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("TRUE", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("yEs", json!("yEs")),
        ("", json!(null)),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("nULL", json!("nULL")),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("0777", json!(511)),
        ("0o777", json!(511)),
        ("0x1F", json!(31)),
        ("-0x1f", json!(-31)),
        ("0b101", json!(5)),
        ("0b-1", json!(-1)),
        ("08", json!(8)),
        ("1_000", json!(1000)),
        ("+12", json!(12)),
        ("0x", json!("0x")),
        ("12:30:45", json!("12:30:45")),
        ("9223372036854775807", json!(i64::MAX)),
        ("18446744073709551615", json!(u64::MAX)),
        ("18446744073709551616", json!(1.8446744073709552e19)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5", json!(1.5)),
        ("1.0", json!(1)),
        ("1e3", json!(1000)),
        (".5", json!(0.5)),
        ("1e999", json!("1e999")),
        ("1.2.3", json!("1.2.3")),
        ("-x", json!("-x")),
        ("2024-01-01", json!("2024-01-01")),
        ("2024-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z")),
        ("<<", json!("<<")),
        ("!!str 5", json!("5")),
        ("!!int \"5\"", json!(5)),
        ("!!float 5", json!(5)),
        ("!!float 5.5", json!(5.5)),
        ("!!bool yes", json!(true)),
        ("!!binary aGVsbG8=", json!("hello")),
        ("!own 5", json!("5")),
        ("! 5", json!("5")),
        ("\"5\"", json!("5")),
        ("'yes'", json!("yes")),
    ] {
        assert_eq!(read(&format!("a: {text}")), json!({ "a": wanted }), "{text}");
    }
}

#[test]
fn keys_become_texts() {
    assert_eq!(
        read("1: a\n0x10: b\ntrue: c\n1.5: d\nno: e\n2024-01-01: f\n1e7: g\n"),
        json!({"1": "a", "16": "b", "true": "c", "1.5": "d", "false": "e", "2024-01-01": "f", "1e+07": "g"})
    );
    for (text, wanted) in [
        (
            "~: a",
            "unsupported map key of type: %!s(<nil>), key: <nil>, value: \"a\"",
        ),
        (
            "18446744073709551615: [1, null]",
            "unsupported map key of type: uint64, key: 0xffffffffffffffff, value: []interface {}{1, interface {}(nil)}",
        ),
        ("[1]: a", "yaml: invalid map key: []interface {}{1}"),
        (
            "a: {{ .Values.x }}",
            "yaml: invalid map key: map[interface {}]interface {}{\".Values.x\":interface {}(nil)}",
        ),
    ] {
        assert_eq!(refusal(text), wanted);
    }
}

#[test]
fn numbers_that_json_lacks_are_refused() {
    assert_eq!(refusal("a: .inf"), "json: unsupported value: +Inf");
    assert_eq!(refusal("a: -.INF"), "json: unsupported value: -Inf");
    assert_eq!(refusal("a: .nan"), "json: unsupported value: NaN");
}

#[test]
fn anchors_and_merges() {
    assert_eq!(read("a: &x [1]\nb: *x\n"), json!({"a": [1], "b": [1]}));
    assert_eq!(
        read("base: &b {x: 1, v: 2}\nc:\n  <<: *b\n  z: 3\n"),
        json!({"base": {"x": 1, "v": 2}, "c": {"x": 1, "v": 2, "z": 3}})
    );
    assert_eq!(
        read("a: &a {x: 1}\nb: &b {x: 2, w: 3}\nc:\n  <<: [*a, *b]\n")["c"],
        json!({"x": 1, "w": 3})
    );
    assert_eq!(read("\"<<\": {a: 1}"), json!({"<<": {"a": 1}}));
    let overridden = decode(b"b: &b {x: 1}\nc:\n  <<: *b\n  x: 2\n").unwrap();
    assert_eq!(overridden.value["c"], json!({"x": 2}));
    assert_eq!(overridden.duplicates, ["line 4: key \"x\" already set in map"]);
    assert_eq!(refusal("a: *x"), "yaml: unknown anchor 'x' referenced");
    assert_eq!(refusal("&x [*x]"), "yaml: anchor 'x' value contains itself");
    assert_eq!(
        refusal("a:\n  <<: 5"),
        "yaml: map merge requires map or sequence of maps as the value"
    );
    assert_eq!(refusal("!!int abc"), "yaml: cannot decode !!str `abc` as a !!int");
    assert_eq!(
        refusal("!!binary '*'"),
        "yaml: !!binary value contains invalid base64 data"
    );
}

#[test]
fn the_last_duplicate_wins_and_is_told() {
    let found = decode(b"a: 1\nb:\n  c: 1\n  c:\n    d: 2\na: 3\n1: x\n1: z\n").unwrap();
    assert_eq!(found.value, json!({"a": 3, "b": {"c": {"d": 2}}, "1": "z"}));
    let wanted = [
        "line 5: key \"c\" already set in map",
        "line 6: key \"a\" already set in map",
        "line 8: key 1 already set in map",
    ];
    assert_eq!(found.duplicates, wanted);
    let error = found.strict_error().unwrap();
    assert_eq!(error, format!("yaml: unmarshal errors:\n  {}", wanted.join("\n  ")));
    assert_eq!(warnings(&error), wanted);
    assert_eq!(warnings("unknown field \"x\""), ["unknown field \"x\""]);
    assert_eq!(decode(b"a: 1").unwrap().strict_error(), None);
}

#[test]
fn texts_of_errors() {
    for (text, wanted) in [
        ("a: b: c", "yaml: mapping values are not allowed in this context"),
        (
            "x: 1\na: b: c",
            "yaml: line 2: mapping values are not allowed in this context",
        ),
        (
            "x: 1\na: @b",
            "yaml: line 2: found character that cannot start any token",
        ),
        (
            "x: 1\n\ta: b",
            "yaml: line 2: found a tab character that violates indentation",
        ),
        (
            "x:\n\ta: b",
            "yaml: line 2: found character that cannot start any token",
        ),
        ("x: 1\na: \"\\q\"", "yaml: line 2: found unknown escape character"),
        ("x: 1\na: [1,\n", "yaml: line 2: did not find expected node content"),
        ("a:\n  b: 1\n c: 2\n", "yaml: line 2: did not find expected key"),
        (
            "x: 1\na: {b: 1\nc: 2}\n",
            "yaml: line 2: did not find expected ',' or '}'",
        ),
        ("- a\nb: c\n", "yaml: line 1: did not find expected '-' indicator"),
        ("a: 'x", "yaml: found unexpected end of stream"),
        ("x: 1\na: 'x", "yaml: line 2: found unexpected end of stream"),
        ("x: 1\na: 'x\n", "yaml: line 3: found unexpected end of stream"),
        ("a: \u{1}", "yaml: control characters are not allowed"),
    ] {
        assert_eq!(refusal(text), wanted, "{text:?}");
    }
    assert_eq!(
        decode(b"a: \xff").unwrap_err().to_string(),
        "yaml: invalid leading UTF-8 octet"
    );
}

#[test]
fn only_the_first_document_is_read() {
    assert_eq!(read("---\na: 1\n---\nb: 2\n"), json!({"a": 1}));
    assert_eq!(read(""), Value::Null);
    assert_eq!(read("# nothing\n"), Value::Null);
    assert_eq!(read("{\"a\": [1, \"\\u00e9\", true]}"), json!({"a": [1, "é", true]}));
}

#[test]
fn the_end_of_the_text_may_lack_a_line_break() {
    assert_eq!(read("a: |\n  x"), json!({"a": "x"}));
    assert_eq!(read("a: |\n  x\n"), json!({"a": "x\n"}));
    assert_eq!(read("a: |-\n  x"), json!({"a": "x"}));
    assert_eq!(read("a: |\n  x\n# end"), json!({"a": "x\n"}));
    assert_eq!(read("a: >\n  x\n  y\nb: 1"), json!({"a": "x y\n", "b": 1}));
    assert_eq!(read("a: 'x'"), json!({"a": "x"}));
}

#[test]
fn expansion_and_depth_are_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let names = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{names}]\n"));
    }
    assert_eq!(refusal(&bomb), "yaml: document contains excessive aliasing");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 50].join(","));
    assert_eq!(refusal(&long), "yaml: document contains excessive aliasing");
    assert_eq!(refusal(&"[".repeat(100_000)), "yaml: exceeded max depth of 100");
    assert_eq!(refusal(&"- ".repeat(100_000)), "yaml: exceeded max depth of 100");
    let mut nested = "a0: &a0 [1]\n".to_owned();
    for level in 1..200 {
        nested.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert_eq!(refusal(&nested), "yaml: exceeded max depth of 100");
}

#[test]
fn directives_and_duplicates_are_bounded() {
    let directives: String = (0..200).map(|n| format!("%TAG !t{n}! x\n\n# y\n")).collect();
    assert_eq!(
        refusal(&format!("{directives}--- a\n")),
        "yaml: document has more than 100 directives"
    );
    assert_eq!(read("%YAML 1.1\n%TAG ! tag:yaml.org,2002:\n--- !str 5\n"), json!("5"));
    let found = decode("a: 1\n".repeat(5000).as_bytes()).unwrap();
    assert_eq!((found.value, found.duplicates.len()), (json!({"a": 1}), 1000));
}

#[test]
fn no_text_panics() {
    // The parser's own panics are caught.
    for text in [
        "[!,",
        "a: ''|\n 0",
        "\"\\",
        "{\n!-,,0|\tu",
        "|\r &~}*x{\"`~%}x",
        "%",
        "? ",
        "&",
        "*",
        "!",
        "--- %",
    ] {
        let _ = decode(text.as_bytes());
    }
}

#[test]
fn blocks_are_written_as_go_yaml_writes_them() {
    for (value, wanted) in [
        (json!({}), "{}\n"),
        (json!([]), "[]\n"),
        (json!(null), "null\n"),
        (json!("x"), "x\n"),
        (
            json!({"b": [1, {"c": [], "d": {}}], "a": {"x": null}}),
            "a:\n  x: null\nb:\n- 1\n- c: []\n  d: {}\n",
        ),
        (json!([[1, 2], [3]]), "- - 1\n  - 2\n- - 3\n"),
        (
            json!({"a10": 1, "a2": 2, "a-b": 3, "A": 4, "1": 5}),
            "\"1\": 5\nA: 4\na-b: 3\na2: 2\na10: 1\n",
        ),
        (
            json!({"f:a": 1, ".": {}, "k:{\"x\":1}": {}}),
            ".: {}\nf:a: 1\nk:{\"x\":1}: {}\n",
        ),
        (json!({"s": "a\nb\n"}), "s: |\n  a\n  b\n"),
        (json!({"s": "a\nb"}), "s: |-\n  a\n  b\n"),
        (json!({"s": "a\n\n"}), "s: |+\n  a\n\n"),
        (json!({"s": "\n"}), "s: |2+\n\n"),
        (json!({"s": "  a\nb"}), "s: |2-\n    a\n  b\n"),
        (json!({"s": "a \nb"}), "s: \"a \\nb\"\n"),
        (json!({"s": "a\tb"}), "s: \"a\\tb\"\n"),
        (json!({"a\nb": 1}), "? |-\n  a\n  b\n: 1\n"),
    ] {
        assert_eq!(encode(&value), wanted);
    }
}

#[test]
fn texts_are_quoted_where_they_would_mean_something_else() {
    for (text, wanted) in [
        ("", "\"\""),
        ("1", "\"1\""),
        ("1.5", "\"1.5\""),
        ("0x1", "\"0x1\""),
        ("true", "\"true\""),
        ("y", "\"y\""),
        ("off", "\"off\""),
        ("null", "\"null\""),
        ("~", "\"~\""),
        ("12:30", "\"12:30\""),
        ("2024-01-01", "\"2024-01-01\""),
        ("2024-01-01T00:00:00Z", "\"2024-01-01T00:00:00Z\""),
        ("2024-13-01", "2024-13-01"),
        ("1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("100m", "100m"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("a: b", "'a: b'"),
        ("a:b", "a:b"),
        ("a #b", "'a #b'"),
        ("#a", "'#a'"),
        ("*", "'*'"),
        ("-", "'-'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("{a}", "'{a}'"),
        ("it's", "it's"),
        ("'a", "'''a'"),
        ("é", "é"),
        ("日本", "日本"),
        ("😀", "\"\\U0001F600\""),
        ("\u{7f}", "\"\\x7F\""),
        ("---", "'---'"),
    ] {
        assert_eq!(encode(&json!({"k": text})), format!("k: {wanted}\n"), "{text:?}");
        assert_eq!(read(&encode(&json!({"k": text}))), json!({"k": text}));
    }
}

#[test]
fn long_texts_are_folded() {
    let words = "word ".repeat(30).trim_end().to_owned();
    let text = encode(&json!({ "message": words }));
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|line| line.len() < 90), "{text}");
    assert_eq!(read(&text), json!({ "message": words }));
    let unbroken = "x".repeat(200);
    assert_eq!(encode(&json!({ "k": unbroken })), format!("k: {unbroken}\n"));
    let key = "k".repeat(129);
    assert_eq!(encode(&json!({ &key: 1 })), format!("? {key}\n: 1\n"));
}

#[test]
fn numbers_are_written_as_go_writes_them() {
    for (value, wanted) in [
        (json!(1), "1"),
        (json!(-5), "-5"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(1.0), "1"),
        (json!(-0.0), "0"),
        (json!(0.5), "0.5"),
        (json!(0.0001), "0.0001"),
        (json!(0.00001), "1e-05"),
        (json!(123456.5), "123456.5"),
        (json!(1234567.5), "1.2345675e+06"),
        (json!(1e20), "1e+20"),
        (json!(1e21), "1e+21"),
        (json!(1e100), "1e+100"),
    ] {
        assert_eq!(encode(&value), format!("{wanted}\n"));
    }
}

#[test]
fn an_order_that_is_none_does_no_harm() {
    let keys: Vec<String> = (0..300).map(|n| format!("{n}{}", ["", "a", "-"][n % 3])).collect();
    let map: serde_json::Map<String, Value> = keys.iter().map(|key| (key.clone(), json!(1))).collect();
    let value = Value::Object(map);
    assert_eq!(read(&encode(&value)), value);
}

fn values() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        any::<String>(),
        "[ -~\n]{0,12}",
        "[ynoftrueals~.0-9+_:xbT-]{0,8}",
        "[a-z ]{60,200}",
        "[\\x00-\\x20\u{80}-\u{a1}\u{2027}-\u{202a}\u{7eff}\u{feff}\u{1f600}a]{0,9}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64)
            .prop_filter("whole numbers become integers", |value| value.fract() != 0.0)
            .prop_map(Value::from),
        texts.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(texts.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in values()) {
        let text = encode(&value);
        let found = decode(text.as_bytes());
        prop_assert!(found.is_ok(), "{:?} of {:?}", found, text);
        prop_assert_eq!(found.unwrap().value, value, "{:?}", text);
    }

    #[test]
    fn json_is_yaml(value in values()) {
        let text = value.to_string();
        // Readers of YAML refuse control characters that JSON lets be, and know more line breaks.
        prop_assume!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']));
        if let Ok(found) = decode(text.as_bytes()) {
            prop_assert_eq!(found.value, value);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-a?:,\\[\\]{}#&*!|>'\"%@` \n\t<~0x9\\\\.é]{0,40}") {
        if let Ok(found) = decode(text.as_bytes()) {
            let again = decode(encode(&found.value).as_bytes());
            prop_assert_eq!(again.map(|found| found.value), Ok(found.value));
        }
    }
}
