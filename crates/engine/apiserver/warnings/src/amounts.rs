//! Amounts of bytes that are no whole number of bytes.

use std::fmt::Display;

use engenho_quantity::Quantity;
use serde_json::Value;

/// Warns of a fraction of a byte; an amount that is not given is none.
pub(crate) fn bytes(amount: &Value, at: impl Display, warnings: &mut Vec<String>) {
    let Ok(quantity) = Quantity::read(amount) else {
        return;
    };
    if !quantity.in_milli().is_multiple_of(Quantity::whole(1)) {
        warnings.push(format!(
            "{at}: fractional byte value \"{quantity}\" is invalid, must be an integer"
        ));
    }
}

/// Fractions of a byte in the spec of a claim.
pub(crate) fn of_claim(spec: &Value, at: impl Display, warnings: &mut Vec<String>) {
    for list in ["requests", "limits"] {
        bytes(
            &spec["resources"][list]["storage"],
            format_args!("{at}.resources.{list}[storage]"),
            warnings,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fractions() {
        let of = |amount: Value| {
            let mut warnings = Vec::new();
            bytes(&amount, "f", &mut warnings);
            warnings
        };
        for whole in [
            json!("1Gi"),
            json!("10Pi"),
            json!("1.5Ki"),
            json!("1000m"),
            json!(3),
            json!("2e3"),
            json!(null),
            json!({}),
        ] {
            assert!(of(whole.clone()).is_empty(), "{whole}");
        }
        let text = |amount: &str| {
            vec![format!(
                "f: fractional byte value \"{amount}\" is invalid, must be an integer"
            )]
        };
        assert_eq!(of(json!("500m")), text("500m"));
        assert_eq!(of(json!("1.5")), text("1500m"));
    }

    #[test]
    fn claims() {
        let mut warnings = Vec::new();
        let spec = json!({"resources": {"limits": {"storage": "1500m"}, "requests": {"storage": "500m", "cpu": "1m"}}});
        of_claim(&spec, "spec", &mut warnings);
        assert_eq!(
            warnings,
            [
                "spec.resources.requests[storage]: fractional byte value \"500m\" is invalid, must be an integer",
                "spec.resources.limits[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            ]
        );
    }
}
