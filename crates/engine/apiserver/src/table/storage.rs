//! Cells of storage.

use serde_json::Value;

use super::Row;
use super::format::{column, count, or_none, or_unset, texts};
use crate::object;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    let (name, age) = (row.name(), row.age());
    let flag = |path: &str, otherwise: bool| Value::from(row.at(path).as_bool().unwrap_or(otherwise));
    let or = |path: &str, otherwise: &str| match row.text(path) {
        "" => Value::from(otherwise),
        text => text.into(),
    };
    Some(match plural {
        "storageclasses" => {
            let default = object::annotation(row.object, DEFAULT_CLASS) == Some("true");
            let shown = if default {
                format!("{} (default)", object::name(row.object)).into()
            } else {
                name
            };
            vec![
                shown,
                row.text("provisioner").into(),
                or("reclaimPolicy", "Delete"),
                or("volumeBindingMode", "Immediate"),
                flag("allowVolumeExpansion", false),
                age,
            ]
        }
        "csidrivers" => vec![
            name,
            flag("spec.attachRequired", true),
            flag("spec.podInfoOnMount", false),
            flag("spec.storageCapacity", false),
            or_unset(&column(row.at("spec.tokenRequests"), "audience", ",")),
            flag("spec.requiresRepublish", false),
            or_none(&texts(row.at("spec.volumeLifecycleModes")).join(",")),
            age,
        ],
        "csinodes" => vec![name, count(row.at("spec.drivers")).into(), age],
        "csistoragecapacities" => vec![name, object::creation_timestamp(row.object).into()],
        "volumeattachments" => vec![
            name,
            row.text("spec.attacher").into(),
            row.text("spec.source.persistentVolumeName").into(),
            row.text("spec.nodeName").into(),
            flag("status.attached", false),
            age,
        ],
        "volumeattributesclasses" => vec![name, row.text("driverName").into(), age],
        _ => return None,
    })
}
