//! Cells of HorizontalPodAutoscalers.

use serde_json::Value;

use super::Row;
use super::format::int_or_string;

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    if plural != "horizontalpodautoscalers" {
        return None;
    }
    let reference = format!(
        "{}/{}",
        row.text("spec.scaleTargetRef.kind"),
        row.text("spec.scaleTargetRef.name")
    );
    let minimum = match row.at("spec.minReplicas") {
        Value::Null => "<unset>".to_owned(),
        number => number.to_string(),
    };
    Some(vec![
        row.name(),
        reference.into(),
        targets(row).into(),
        minimum.into(),
        row.int("spec.maxReplicas").into(),
        row.int("status.currentReplicas").into(),
        row.age(),
    ])
}

/// Present and wanted value of each metric, three at most.
fn targets(row: &Row<'_>) -> String {
    let current = |i: usize, source: &str, field: &str| {
        let found = &row.at("status.currentMetrics")[i][source]["current"][field];
        if found.is_null() {
            "<unknown>".into()
        } else {
            int_or_string(found)
        }
    };
    let mut all = Vec::new();
    for (i, metric) in row.at("spec.metrics").as_array().into_iter().flatten().enumerate() {
        let (source, prefix) = match metric["type"].as_str() {
            Some("Resource") => (
                "resource",
                format!("{}: ", metric["resource"]["name"].as_str().unwrap_or_default()),
            ),
            Some("ContainerResource") => (
                "containerResource",
                format!("{}: ", metric["containerResource"]["name"].as_str().unwrap_or_default()),
            ),
            Some("Pods") => ("pods", String::new()),
            Some("Object") => ("object", String::new()),
            Some("External") => ("external", String::new()),
            _ => {
                all.push("<unknown type>".to_owned());
                continue;
            }
        };
        let target = &metric[source]["target"];
        all.push(if let Some(percent) = target["averageUtilization"].as_i64() {
            let have = current(i, source, "averageUtilization");
            let have = if have == "<unknown>" { have } else { format!("{have}%") };
            format!("{prefix}{have}/{percent}%")
        } else if !target["averageValue"].is_null() {
            let suffix = if source == "pods" || source.ends_with("esource") {
                ""
            } else {
                " (avg)"
            };
            format!(
                "{prefix}{}/{}{suffix}",
                current(i, source, "averageValue"),
                int_or_string(&target["averageValue"])
            )
        } else {
            format!(
                "{prefix}{}/{}",
                current(i, source, "value"),
                int_or_string(&target["value"])
            )
        });
    }
    if let Some(percent) = row.at("spec.targetCPUUtilizationPercentage").as_i64() {
        let have = row.at("status.currentCPUUtilizationPercentage").as_i64();
        all.insert(
            0,
            format!(
                "cpu: {}/{percent}%",
                have.map_or_else(|| "<unknown>".into(), |h| format!("{h}%"))
            ),
        );
    }
    match all.len() {
        0 => "<none>".into(),
        1..=2 => all.join(", "),
        more => format!("{} + {} more...", all[..2].join(", "), more - 2),
    }
}
