//! Lists of resources: amounts by name.

use std::collections::BTreeMap;

use engenho_quantity::Quantity;
use serde_json::Value;

use crate::get::{Fields, fields};

/// Amounts by resource.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// The amounts in a field; what is no amount is validation's to refuse.
pub(crate) fn read(value: &Value) -> Amounts {
    fields(value)
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::read(amount).ok()?)))
        .collect()
}

/// The amounts as a field.
pub(crate) fn written(amounts: &Amounts) -> Fields {
    let write = |(name, amount): (&String, &Quantity)| (name.clone(), amount.to_string().into());
    amounts.iter().map(write).collect()
}

/// Adds each amount to its like.
pub(crate) fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// Keeps the larger of each two amounts.
pub(crate) fn largest(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|before| amount > before) {
            total.insert(name.clone(), *amount);
        }
    }
}

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
    use serde_json::json;

    #[test]
    fn growth_is_never_negative() {
        let now = read(&json!({"a": "3", "b": "1", "c": "2Gi", "d": "0", "e": "5", "f": "1"}));
        let before = read(&json!({"a": "500m", "b": "2", "c": "1Gi", "e": "5", "f": "-1"}));
        let expected = json!({"a": "2500m", "c": "1Gi", "f": "2"});
        assert_eq!(Value::Object(written(&growth(&now, &before))), expected);
    }

    #[test]
    fn sums_and_maxima() {
        let mut total = read(&json!({"a": "1", "b": "1"}));
        add(&mut total, &read(&json!({"a": "1", "c": "x"})));
        largest(&mut total, &read(&json!({"b": "2", "a": "1"})));
        assert_eq!(Value::Object(written(&total)), json!({"a": "2", "b": "2"}));
    }
}
