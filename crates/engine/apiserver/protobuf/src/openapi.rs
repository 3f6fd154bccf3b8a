//! The Swagger document in protobuf: the messages of gnostic's `OpenAPIv2.proto`, which client-go reads schemas from.
//!
//! The document is the server's own, so what it never holds (headers, examples, forms, OAuth) has no form here.

use std::convert::Infallible;

use serde_json::{Map, Value};

use crate::wire::{FIXED64, put_bytes, put_nested, put_number, put_tag};

/// The media type of the document.
pub const OPENAPI_V2_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How the value of one key is written.
enum Form {
    Text,
    Texts,
    Flag,
    Integer,
    Double,
    /// Any value, as YAML.
    Any,
    Anys,
    One(fn(&mut Vec<u8>, &Value)),
    Each(fn(&mut Vec<u8>, &Value)),
}

/// The fields of one message, and the number of its vendor extensions.
struct Message {
    fields: &'static [(&'static str, u32, Form)],
    extensions: u32,
}

const DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(|out, value| message(out, value, &INFO))),
        ("host", 3, Form::Text),
        ("basePath", 4, Form::Text),
        ("schemes", 5, Form::Texts),
        ("consumes", 6, Form::Texts),
        ("produces", 7, Form::Texts),
        ("paths", 8, Form::One(paths)),
        ("definitions", 9, Form::One(|out, value| named(out, value, schema))),
        ("parameters", 10, Form::One(|out, value| named(out, value, parameter))),
        ("security", 12, Form::Each(requirement)),
        (
            "securityDefinitions",
            13,
            Form::One(|out, value| named(out, value, security)),
        ),
    ],
    extensions: 16,
};

const INFO: Message = Message {
    fields: &[
        ("title", 1, Form::Text),
        ("version", 2, Form::Text),
        ("description", 3, Form::Text),
    ],
    extensions: 7,
};

const PATH_ITEM: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("get", 2, Form::One(operation)),
        ("put", 3, Form::One(operation)),
        ("post", 4, Form::One(operation)),
        ("delete", 5, Form::One(operation)),
        ("options", 6, Form::One(operation)),
        ("head", 7, Form::One(operation)),
        ("patch", 8, Form::One(operation)),
        ("parameters", 9, Form::Each(parameter_or_reference)),
    ],
    extensions: 10,
};

const OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("summary", 2, Form::Text),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Each(parameter_or_reference)),
        ("responses", 9, Form::One(responses)),
        ("schemes", 10, Form::Texts),
        ("deprecated", 11, Form::Flag),
        ("security", 12, Form::Each(requirement)),
    ],
    extensions: 13,
};

const REFERENCE: Message = Message {
    fields: &[("$ref", 1, Form::Text), ("description", 2, Form::Text)],
    extensions: 0,
};

const BODY: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(schema)),
    ],
    extensions: 6,
};

const IN_QUERY: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("allowEmptyValue", 5, Form::Flag),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("default", 10, Form::Any),
        ("pattern", 17, Form::Text),
        ("uniqueItems", 20, Form::Flag),
        ("enum", 21, Form::Anys),
    ],
    extensions: 23,
};

const IN_PATH: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("default", 9, Form::Any),
        ("pattern", 16, Form::Text),
        ("uniqueItems", 19, Form::Flag),
        ("enum", 20, Form::Anys),
    ],
    extensions: 22,
};

const RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        // It could be the schema of a file instead.
        (
            "schema",
            2,
            Form::One(|out, value| nested(out, 1, |out| schema(out, value))),
        ),
    ],
    extensions: 5,
};

const SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Flag),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Flag),
        ("maxLength", 11, Form::Integer),
        ("minLength", 12, Form::Integer),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Integer),
        ("minItems", 15, Form::Integer),
        ("uniqueItems", 16, Form::Flag),
        ("maxProperties", 17, Form::Integer),
        ("minProperties", 18, Form::Integer),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::One(additional_properties)),
        ("type", 22, Form::One(types)),
        ("items", 23, Form::One(items)),
        ("allOf", 24, Form::Each(schema)),
        ("properties", 25, Form::One(|out, value| named(out, value, schema))),
        ("discriminator", 26, Form::Text),
        ("readOnly", 27, Form::Flag),
        (
            "externalDocs",
            29,
            Form::One(|out, value| message(out, value, &EXTERNAL_DOCS)),
        ),
        ("example", 30, Form::Any),
    ],
    extensions: 31,
};

const EXTERNAL_DOCS: Message = Message {
    fields: &[("description", 1, Form::Text), ("url", 2, Form::Text)],
    extensions: 3,
};

const API_KEY: Message = Message {
    fields: &[
        ("type", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("description", 4, Form::Text),
    ],
    extensions: 5,
};

/// The document of `/openapi/v2` as an `openapi.v2.Document`.
pub fn openapi_v2(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, document, &DOCUMENT);
    out
}

fn message(out: &mut Vec<u8>, value: &Value, shape: &Message) {
    let Some(object) = value.as_object() else { return };
    for (key, number, form) in shape.fields {
        if let Some(value) = object.get(*key) {
            field(out, *number, value, form);
        }
    }
    if shape.extensions != 0 {
        extensions(out, object, shape.extensions);
    }
}

fn field(out: &mut Vec<u8>, number: u32, value: &Value, form: &Form) {
    let each = |out: &mut Vec<u8>, write: &dyn Fn(&mut Vec<u8>, &Value)| {
        for item in value.as_array().into_iter().flatten() {
            write(out, item);
        }
    };
    match form {
        // As proto3 has it, a zero is not written.
        Form::Text => text(out, number, value),
        Form::Texts => each(out, &|out, item| {
            put_bytes(out, number, item.as_str().unwrap_or_default().as_bytes());
        }),
        Form::Flag if value == &Value::Bool(true) => put_number(out, number, 1),
        Form::Flag => {}
        Form::Integer => match value.as_i64() {
            None | Some(0) => {}
            Some(integer) => put_number(out, number, integer.cast_unsigned()),
        },
        Form::Double => match value.as_f64() {
            Some(double) if double.to_bits() != 0 => {
                put_tag(out, number, FIXED64);
                out.extend_from_slice(&double.to_le_bytes());
            }
            _ => {}
        },
        Form::Any => any(out, number, value),
        Form::Anys => each(out, &|out, item| any(out, number, item)),
        Form::One(write) => nested(out, number, |out| write(out, value)),
        Form::Each(write) => each(out, &|out, item| nested(out, number, |out| write(out, item))),
    }
}

fn text(out: &mut Vec<u8>, number: u32, value: &Value) {
    if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
        put_bytes(out, number, text.as_bytes());
    }
}

/// An `Any`: JSON is YAML.
fn any(out: &mut Vec<u8>, number: u32, value: &Value) {
    nested(out, number, |out| put_bytes(out, 2, format!("{value}\n").as_bytes()));
}

fn nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let written = put_nested(out, number, |out| {
        write(out);
        Ok::<(), Infallible>(())
    });
    match written {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// A pair of a name and what `write` makes of the value.
fn pair(out: &mut Vec<u8>, number: u32, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    nested(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        nested(out, 2, write);
    });
}

fn extensions(out: &mut Vec<u8>, object: &Map<String, Value>, number: u32) {
    for (key, value) in object.iter().filter(|(key, _)| key.starts_with("x-")) {
        nested(out, number, |out| {
            put_bytes(out, 1, key.as_bytes());
            any(out, 2, value);
        });
    }
}

/// A map, as a message whose first field is a list of pairs.
fn named(out: &mut Vec<u8>, value: &Value, write: fn(&mut Vec<u8>, &Value)) {
    for (name, value) in value.as_object().into_iter().flatten() {
        pair(out, 1, name, |out| write(out, value));
    }
}

fn paths(out: &mut Vec<u8>, value: &Value) {
    let Some(object) = value.as_object() else { return };
    extensions(out, object, 1);
    for (path, item) in object.iter().filter(|(path, _)| path.starts_with('/')) {
        pair(out, 2, path, |out| message(out, item, &PATH_ITEM));
    }
}

fn operation(out: &mut Vec<u8>, value: &Value) {
    message(out, value, &OPERATION);
}

fn responses(out: &mut Vec<u8>, value: &Value) {
    let Some(object) = value.as_object() else { return };
    for (code, answer) in object.iter().filter(|(code, _)| !code.starts_with("x-")) {
        pair(out, 1, code, |out| match answer.get("$ref") {
            None => nested(out, 1, |out| message(out, answer, &RESPONSE)),
            Some(_) => nested(out, 2, |out| message(out, answer, &REFERENCE)),
        });
    }
    extensions(out, object, 2);
}

fn parameter_or_reference(out: &mut Vec<u8>, value: &Value) {
    match value.get("$ref") {
        None => nested(out, 1, |out| parameter(out, value)),
        Some(_) => nested(out, 2, |out| message(out, value, &REFERENCE)),
    }
}

fn parameter(out: &mut Vec<u8>, value: &Value) {
    match value["in"].as_str() {
        Some("body") => nested(out, 1, |out| message(out, value, &BODY)),
        Some("query") => nested(out, 2, |out| nested(out, 3, |out| message(out, value, &IN_QUERY))),
        Some("path") => nested(out, 2, |out| nested(out, 4, |out| message(out, value, &IN_PATH))),
        _ => {}
    }
}

fn schema(out: &mut Vec<u8>, value: &Value) {
    message(out, value, &SCHEMA);
}

fn additional_properties(out: &mut Vec<u8>, value: &Value) {
    match value {
        // A member of a choice is written even if it is false.
        Value::Bool(allowed) => put_number(out, 2, u64::from(*allowed)),
        value => nested(out, 1, |out| schema(out, value)),
    }
}

fn types(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(_) => field(out, 1, value, &Form::Texts),
        value => text(out, 1, value),
    }
}

fn items(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(_) => field(out, 1, value, &Form::Each(schema)),
        value => nested(out, 1, |out| schema(out, value)),
    }
}

/// Of the ways to authenticate the document knows one: a key in a header.
fn security(out: &mut Vec<u8>, value: &Value) {
    nested(out, 2, |out| message(out, value, &API_KEY));
}

fn requirement(out: &mut Vec<u8>, value: &Value) {
    named(out, value, |out, scopes| field(out, 1, scopes, &Form::Texts));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::Reader;

    /// The fields of a message: number and, of those with a length, the bytes.
    fn fields(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut reader = Reader::new(bytes);
        let mut found = Vec::new();
        while !reader.is_empty() {
            let (number, wire) = reader.tag().unwrap();
            let value = match wire {
                2 => reader.bytes().unwrap().to_vec(),
                1 => reader.fixed64().unwrap().to_le_bytes().to_vec(),
                _ => vec![u8::try_from(reader.varint().unwrap()).unwrap()],
            };
            found.push((number, value));
        }
        found
    }

    fn of_schema(value: &Value) -> Vec<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        schema(&mut out, value);
        fields(&out)
    }

    #[test]
    fn a_schema_has_the_numbers_of_gnostic() {
        let found = of_schema(&json!({
            "description": "d", "type": "object", "required": ["a"], "minimum": 1.5, "maxItems": 3, "minItems": 0,
            "properties": {"a": {"$ref": "#/definitions/B"}}, "x-kubernetes-list-type": "map",
        }));
        let numbers: Vec<u32> = found.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [4, 9, 14, 19, 22, 25, 31]);
        assert_eq!(found[1].1, 1.5_f64.to_le_bytes());
        assert_eq!(found[2].1, [3]);
        assert_eq!(fields(&found[4].1), [(1, b"object".to_vec())]);
        let property = &fields(&found[5].1)[0];
        let property = fields(&property.1);
        assert_eq!(property[0], (1, b"a".to_vec()));
        assert_eq!(fields(&property[1].1), [(1, b"#/definitions/B".to_vec())]);
        let extension = fields(&found[6].1);
        assert_eq!(extension[0], (1, b"x-kubernetes-list-type".to_vec()));
        assert_eq!(fields(&extension[1].1), [(2, b"\"map\"\n".to_vec())]);
    }

    #[test]
    fn choices_say_which() {
        let found = of_schema(&json!({"additionalProperties": false, "items": {"type": "string"}}));
        assert_eq!(fields(&found[0].1), [(2, vec![0])]);
        assert_eq!(fields(&found[1].1)[0].0, 1);
        let mut out = Vec::new();
        parameter_or_reference(
            &mut out,
            &json!({"in": "path", "name": "n", "required": true, "type": "string"}),
        );
        let numbers = |bytes: &[u8]| fields(bytes).into_iter().next().unwrap();
        let (choice, inner) = numbers(&out);
        let (body_or_not, inner) = numbers(&inner);
        let (place, inner) = numbers(&inner);
        assert_eq!((choice, body_or_not, place), (1, 2, 4));
        let all: Vec<u32> = fields(&inner).iter().map(|(number, _)| *number).collect();
        assert_eq!(all, [1, 2, 4, 5]);
    }

    #[test]
    fn what_has_another_type_than_it_should_is_left_out() {
        let odd = json!({"swagger": 2, "paths": [], "definitions": {"A": 7}, "info": null, "security": [null]});
        assert_eq!(fields(&openapi_v2(&odd)).len(), 4);
    }
}
