//! Flow schemas and priority levels.

use crate::fields::{Fields, object, set_if_missing, set_if_zero, structure};

/// Where a flow schema stands among others.
const PRECEDENCE: i64 = 1000;
/// Share of the server's concurrency of a limited level.
const SHARES: i64 = 30;
const QUEUING: [(&str, i64); 3] = [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)];

/// A FlowSchema.
pub fn flow_schema(schema: &mut Fields) {
    if let Some(spec) = structure(schema, "spec") {
        set_if_zero(spec, "matchingPrecedence", PRECEDENCE);
    }
}

/// A PriorityLevelConfiguration.
pub fn priority_level(level: &mut Fields) {
    let Some(spec) = object(level, "spec") else {
        return;
    };
    for (field, shares) in [("limited", SHARES), ("exempt", 0)] {
        if let Some(settings) = object(spec, field) {
            set_if_missing(settings, "nominalConcurrencyShares", shares);
            set_if_missing(settings, "lendablePercent", 0);
        }
    }
    let queuing = object(spec, "limited")
        .and_then(|limited| object(limited, "limitResponse"))
        .and_then(|response| object(response, "queuing"));
    if let Some(queuing) = queuing {
        for (field, value) in QUEUING {
            set_if_zero(queuing, field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::json;

    #[test]
    fn schemas_and_levels() {
        let mut schema = json!({"spec": {"matchingPrecedence": 0}});
        apply("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", &mut schema);
        assert_eq!(schema["spec"]["matchingPrecedence"], 1000);

        let mut level = json!({"spec": {
            "limited": {"nominalConcurrencyShares": 0, "limitResponse": {"queuing": {"queues": 1}}}, "exempt": {},
        }});
        apply(
            "flowcontrol.apiserver.k8s.io",
            "v1",
            "prioritylevelconfigurations",
            &mut level,
        );
        let queuing = json!({"queues": 1, "handSize": 8, "queueLengthLimit": 50});
        let limited =
            json!({"nominalConcurrencyShares": 0, "lendablePercent": 0, "limitResponse": {"queuing": queuing}});
        let exempt = json!({"nominalConcurrencyShares": 0, "lendablePercent": 0});
        assert_eq!(level["spec"], json!({"limited": limited, "exempt": exempt}));
    }
}
