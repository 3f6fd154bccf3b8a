//! Lists of resources, compared.

use engenho_quantity::Quantity;
use engenho_quantity::amounts::Amounts;

/// What there is of each resource in `now` beyond `before`, and nothing of what there is less of.
pub(crate) fn growth(now: &Amounts, before: &Amounts) -> Amounts {
    let beyond = |(name, amount): (&String, &Quantity)| match before.get(name) {
        Some(less) => (amount > less).then(|| (name.clone(), less_by(*amount, *less))),
        None => (*amount > Quantity::ZERO).then(|| (name.clone(), *amount)),
    };
    now.iter().filter_map(beyond).collect()
}

/// A smaller amount taken from a larger one. The larger one itself if the smaller has more digits than can be read.
fn less_by(amount: Quantity, less: Quantity) -> Quantity {
    let text = less.to_string();
    let opposite = match text.strip_prefix('-') {
        Some(positive) => Quantity::parse(positive),
        None => Quantity::parse(&format!("-{text}")),
    };
    opposite.map_or(amount, |opposite| amount.plus(opposite))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engenho_quantity::amounts::{read, written};
    use serde_json::{Value, json};

    #[test]
    fn growth_is_never_negative() {
        let now = read(&json!({"a": "3", "b": "1", "c": "2Gi", "d": "0", "e": "5", "f": "1"}));
        let before = read(&json!({"a": "500m", "b": "2", "c": "1Gi", "e": "5", "f": "-1"}));
        let expected = json!({"a": "2500m", "c": "1Gi", "f": "2"});
        assert_eq!(Value::Object(written(&growth(&now, &before))), expected);
    }
}
