//! Tables of instances: the columns that a definition names, and their cells.

use engenho_validation::get::{items, text};
use serde_json::{Value, json};

use crate::go;
use crate::jsonpath::JsonPath;

/// What a name is, to people.
pub const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
/// What a time of creation is, to people.
pub const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// A column after the name.
#[derive(Debug, Clone)]
pub struct Column {
    /// Head.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub ty: String,
    /// OpenAPI format.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 is always shown.
    pub priority: i64,
    /// Where the value is.
    pub path: JsonPath,
}

/// The columns of a definition's version; its age, if it names none.
pub(crate) fn columns(version: &Value) -> Vec<Column> {
    let own = items(&version["additionalPrinterColumns"]);
    let age = [age()];
    read(if own.is_empty() { &age } else { own })
}

/// The columns of the scale subresource.
pub fn scale_columns() -> Vec<Column> {
    let column = |name: &str, of: &str, path: &str| {
        let description = format!("Number of {of} replicas");
        json!({"name": name, "type": "integer", "description": description, "jsonPath": path})
    };
    read(&[
        column("Desired", "desired", ".spec.replicas"),
        column("Available", "actual", ".status.replicas"),
        age(),
    ])
}

fn age() -> Value {
    json!({"name": "Age", "type": "date", "description": AGE, "jsonPath": ".metadata.creationTimestamp"})
}

fn read(listed: &[Value]) -> Vec<Column> {
    let column = |column: &Value| {
        let path = text(&column["jsonPath"]);
        let description = match text(&column["description"]) {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            text => text.to_owned(),
        };
        Some(Column {
            name: text(&column["name"]).to_owned(),
            ty: text(&column["type"]).to_owned(),
            format: text(&column["format"]).to_owned(),
            description,
            priority: column["priority"].as_i64().unwrap_or_default(),
            path: JsonPath::parse(path).ok()?,
        })
    };
    // A path that cannot be read ends the table.
    listed.iter().map_while(column).collect()
}

/// `columnDefinitions` of a table of instances.
pub fn definitions(columns: &[Column]) -> Value {
    let name = json!({"name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0});
    let own = columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.ty,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    std::iter::once(name).chain(own).collect()
}

/// The cells of an instance. `age` gives the time since a timestamp, as people read it, or none if it is no timestamp.
pub fn cells(columns: &[Column], object: &Value, age: &dyn Fn(&str) -> Option<String>) -> Vec<Value> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let own = columns.iter().map(|column| {
        let found = column.path.find(object).unwrap_or_default();
        found
            .into_iter()
            .next()
            .map_or(Value::Null, |value| cell(&column.ty, value, age))
    });
    std::iter::once(name.into()).chain(own).collect()
}

fn cell(ty: &str, value: Value, age: &dyn Fn(&str) -> Option<String>) -> Value {
    match (ty, value) {
        ("string", Value::Null) => "<no value>".into(),
        ("string", composite @ (Value::Array(_) | Value::Object(_))) => go::json(&composite).into(),
        ("string", value) => go::sprint(&value).into(),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Value::Null, |float| (float as i64).into()),
        },
        ("number", Value::Number(number)) => Value::Number(number),
        ("boolean", Value::Bool(flag)) => flag.into(),
        ("date", Value::String(time)) if time.is_empty() => "<unknown>".into(),
        ("date", Value::String(time)) => age(&time).unwrap_or_else(|| "<invalid>".to_owned()).into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Definition;

    #[test]
    fn cells_are_of_their_type() {
        let columns = json!([
            {"name": "S", "type": "string", "jsonPath": ".spec.s"},
            {"name": "I", "type": "integer", "jsonPath": ".spec.i", "priority": 1, "description": "d"},
            {"name": "N", "type": "number", "jsonPath": ".spec.n"},
            {"name": "B", "type": "boolean", "jsonPath": ".spec.b"},
            {"name": "D", "type": "date", "jsonPath": ".spec.d"},
        ]);
        let names = json!({"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"});
        let crd = |columns: Value| {
            let version = json!({"name": "v1", "served": true, "storage": true, "additionalPrinterColumns": columns});
            let crd = json!({"spec": {"versions": [version]}, "status": {"acceptedNames": names}});
            Definition::compile(&crd).unwrap().versions.remove(0)
        };
        let version = crd(columns);
        let of = |spec: Value| {
            let object = json!({"metadata": {"name": "x"}, "spec": spec});
            let age = |time: &str| (time == "t").then(|| "5m".to_owned());
            Value::Array(cells(&version.columns, &object, &age))
        };
        assert_eq!(
            of(json!({"s": "a", "i": 1, "n": 1.5, "b": true, "d": "t"})),
            json!(["x", "a", 1, 1.5, true, "5m"])
        );
        assert_eq!(
            of(json!({"s": {"k": [1]}, "i": 1.9, "n": 2, "b": 1, "d": "z"})),
            json!(["x", "{\"k\":[1]}", 1, 2, null, "<invalid>"])
        );
        assert_eq!(
            of(json!({"s": 1.0, "i": "1"})),
            json!(["x", "1", null, null, null, null])
        );
        let heads = definitions(&version.columns);
        assert_eq!(
            heads[1]["description"],
            "Custom resource definition column (in JSONPath format): .spec.s"
        );
        assert_eq!(
            (&heads[2]["description"], &heads[2]["priority"]),
            (&json!("d"), &json!(1))
        );
        let scale = scale_columns();
        let shown = json!({"metadata": {"name": "x"}, "spec": {"replicas": 3}, "status": {"replicas": 0}});
        assert_eq!(Value::Array(cells(&scale, &shown, &|_| None)), json!(["x", 3, 0, null]));
        let plain = definitions(&crd(json!([])).columns);
        assert_eq!(
            (plain.as_array().map(Vec::len), &plain[1]["name"]),
            (Some(2), &json!("Age"))
        );
    }
}
