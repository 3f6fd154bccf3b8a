//! The table of printed columns, from empty lists requested as tables.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::Value;

use super::source::{Source, list, text};

/// Makes the table: a head line per resource, then a line `type[/format] priority name` per column.
pub fn table(source: &mut Source) -> anyhow::Result<String> {
    let mut out = String::new();
    for file in source.names("tables", "api")? {
        let document = source.json(&format!("tables/{file}.json"))?;
        let (version, plural) = file
            .rsplit_once('_')
            .with_context(|| format!("unexpected name {file}"))?;
        let version = version
            .trim_start_matches("apis_")
            .trim_start_matches("api_")
            .replace('_', "/");
        let _ = writeln!(out, "\n{version} {plural}");
        for column in list(&document, "columnDefinitions")? {
            let (name, kind, format) = (text(column, "name")?, text(column, "type")?, text(column, "format")?);
            let priority = column
                .get("priority")
                .and_then(Value::as_i64)
                .context("column without priority")?;
            let separator = if format.is_empty() { "" } else { "/" };
            let _ = writeln!(out, "  {kind}{separator}{format} {priority} {name}");
        }
    }
    Ok(out)
}
