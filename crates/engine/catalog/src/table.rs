//! Columns of the tables that `kubectl get` prints (`meta.k8s.io/v1 Table`).

use crate::Str;

static TABLE: &str = include_str!("../data/columns.txt");

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub ty: Str,
    /// `name` for the column that identifies the object, else empty for built-in resources.
    pub format: Str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

/// Columns of a resource; those of [`default_columns`] if it has none of its own.
pub fn columns(group: &str, version: &str, plural: &str) -> Vec<Column> {
    let head = format!("{} {plural}", crate::resource::api_version(group, version));
    let mut lines = TABLE.lines().skip_while(|line| *line != head).skip(1);
    let columns: Vec<Column> = lines
        .by_ref()
        .map_while(|line| line.strip_prefix("  "))
        .filter_map(column)
        .collect();
    if columns.is_empty() { default_columns() } else { columns }
}

/// Name and creation time: what a resource without a printer of its own shows.
pub fn default_columns() -> Vec<Column> {
    [("Name", "string", "name"), ("Created At", "date", "")]
        .map(|(name, ty, format)| Column {
            name: name.into(),
            ty: ty.into(),
            format: format.into(),
            priority: 0,
        })
        .into()
}

fn column(line: &'static str) -> Option<Column> {
    let mut parts = line.splitn(3, ' ');
    let kind = parts.next()?;
    let (ty, format) = kind.split_once('/').unwrap_or((kind, ""));
    let priority = parts.next()?.parse().ok()?;
    Some(Column {
        name: parts.next()?.into(),
        ty: ty.into(),
        format: format.into(),
        priority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Verb};

    #[test]
    fn every_listable_resource_has_columns_and_starts_with_its_name() {
        for resource in Catalog::builtin()
            .resources()
            .filter(|resource| resource.verbs.contains(Verb::List))
        {
            let head = format!("\n{} {}\n", resource.api_version(), resource.plural);
            assert!(TABLE.contains(&head), "no columns for {}", head.trim());
            let columns = columns(&resource.group, &resource.version, &resource.plural);
            let expected = match resource.plural.as_ref() {
                "events" => "Last Seen",
                _ => "Name",
            };
            assert_eq!(columns[0].name, expected, "{}", resource.plural);
        }
    }

    #[test]
    fn pods_and_unknown_resources() {
        let pods = columns("", "v1", "pods");
        let wide: Vec<_> = pods
            .iter()
            .filter(|column| column.priority == 1)
            .map(|column| &*column.name)
            .collect();
        assert_eq!(wide, ["IP", "Node", "Nominated Node", "Readiness Gates"]);
        assert_eq!(columns("example.com", "v1", "widgets"), default_columns());
    }
}
