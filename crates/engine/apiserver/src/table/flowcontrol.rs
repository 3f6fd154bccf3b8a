//! Cells of flow schemas and priority levels.

use serde_json::Value;

use super::Row;
use super::format::or_none;

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    match plural {
        "flowschemas" => {
            let conditions = row.at("status.conditions").as_array().into_iter().flatten();
            let dangling = conditions
                .into_iter()
                .find(|c| c["type"] == "Dangling")
                .and_then(|c| c["status"].as_str());
            Some(vec![
                row.name(),
                row.text("spec.priorityLevelConfiguration.name").into(),
                row.int("spec.matchingPrecedence").into(),
                or_none(row.text("spec.distinguisherMethod.type")),
                row.age(),
                dangling.unwrap_or("?").into(),
            ])
        }
        "prioritylevelconfigurations" => {
            let number = |path: &str| match row.at(path) {
                Value::Null => "<none>".into(),
                number => number.clone(),
            };
            let shares = match row.at("spec.limited.nominalConcurrencyShares") {
                Value::Null => number("spec.exempt.nominalConcurrencyShares"),
                shares => shares.clone(),
            };
            let queuing = "spec.limited.limitResponse.queuing";
            Some(vec![
                row.name(),
                row.text("spec.type").into(),
                shares,
                number(&format!("{queuing}.queues")),
                number(&format!("{queuing}.handSize")),
                number(&format!("{queuing}.queueLengthLimit")),
                row.age(),
            ])
        }
        _ => None,
    }
}
