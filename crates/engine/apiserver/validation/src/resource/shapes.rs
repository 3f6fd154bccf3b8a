//! How the structures of claims print.

use crate::gojson::Shape;

const SELECTOR: Shape = Shape::Struct(&[(
    "CEL",
    "cel",
    Shape::Maybe(&Shape::Struct(&[("Expression", "expression", Shape::Text)])),
)]);
const TOLERATION: Shape = Shape::Struct(&[
    ("Key", "key", Shape::Text),
    ("Operator", "operator", Shape::Text),
    ("Value", "value", Shape::Text),
    ("Effect", "effect", Shape::Text),
    ("TolerationSeconds", "tolerationSeconds", Shape::Same),
]);
const CAPACITY: Shape = Shape::Maybe(&Shape::Struct(&[("Requests", "requests", Shape::Same)]));
const EXACT: Shape = Shape::Struct(&[
    ("DeviceClassName", "deviceClassName", Shape::Text),
    ("Selectors", "selectors", Shape::List(&SELECTOR)),
    ("AllocationMode", "allocationMode", Shape::Text),
    ("Count", "count", Shape::Number),
    ("AdminAccess", "adminAccess", Shape::Same),
    ("Tolerations", "tolerations", Shape::List(&TOLERATION)),
    ("Capacity", "capacity", CAPACITY),
]);
const ALTERNATIVE: Shape = Shape::Struct(&[
    ("Name", "name", Shape::Text),
    ("DeviceClassName", "deviceClassName", Shape::Text),
    ("Selectors", "selectors", Shape::List(&SELECTOR)),
    ("AllocationMode", "allocationMode", Shape::Text),
    ("Count", "count", Shape::Number),
    ("Tolerations", "tolerations", Shape::List(&TOLERATION)),
    ("Capacity", "capacity", CAPACITY),
]);
const REQUEST: Shape = Shape::Struct(&[
    ("Name", "name", Shape::Text),
    ("Exactly", "exactly", Shape::Maybe(&EXACT)),
    ("FirstAvailable", "firstAvailable", Shape::List(&ALTERNATIVE)),
]);
const CONSTRAINT: Shape = Shape::Struct(&[
    ("Requests", "requests", Shape::Same),
    ("MatchAttribute", "matchAttribute", Shape::Same),
    ("DistinctAttribute", "distinctAttribute", Shape::Same),
]);
const OPAQUE: Shape = Shape::Maybe(&Shape::Struct(&[
    ("Driver", "driver", Shape::Text),
    ("Parameters", "parameters", Shape::Same),
]));
const CONFIG: Shape = Shape::Struct(&[("Requests", "requests", Shape::Same), ("Opaque", "opaque", OPAQUE)]);
const DEVICES: Shape = Shape::Struct(&[
    ("Requests", "requests", Shape::List(&REQUEST)),
    ("Constraints", "constraints", Shape::List(&CONSTRAINT)),
    ("Config", "config", Shape::List(&CONFIG)),
]);
const RESULT: Shape = Shape::Struct(&[
    ("Request", "request", Shape::Text),
    ("Driver", "driver", Shape::Text),
    ("Pool", "pool", Shape::Text),
    ("Device", "device", Shape::Text),
    ("AdminAccess", "adminAccess", Shape::Same),
    ("Tolerations", "tolerations", Shape::List(&TOLERATION)),
    ("BindingConditions", "bindingConditions", Shape::Same),
    ("BindingFailureConditions", "bindingFailureConditions", Shape::Same),
    ("ShareID", "shareID", Shape::Same),
    ("ConsumedCapacity", "consumedCapacity", Shape::Same),
]);
const RESULT_CONFIG: Shape = Shape::Struct(&[
    ("Source", "source", Shape::Text),
    ("Requests", "requests", Shape::Same),
    ("Opaque", "opaque", OPAQUE),
]);

/// The spec of a claim.
pub(super) const CLAIM_SPEC: Shape = Shape::Struct(&[("Devices", "devices", DEVICES)]);
/// The spec of a template of claims.
pub(super) const TEMPLATE_SPEC: Shape =
    Shape::Struct(&[("ObjectMeta", "metadata", Shape::Same), ("Spec", "spec", CLAIM_SPEC)]);
/// What was allocated to a claim.
pub(super) const ALLOCATION: Shape = Shape::Struct(&[
    (
        "Devices",
        "devices",
        Shape::Struct(&[
            ("Results", "results", Shape::List(&RESULT)),
            ("Config", "config", Shape::List(&RESULT_CONFIG)),
        ]),
    ),
    ("NodeSelector", "nodeSelector", Shape::Same),
    ("AllocationTimestamp", "allocationTimestamp", Shape::Same),
]);
