//! Lists of resources: amounts by name, and what containers need together.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Quantity;

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts in a field; what is no amount is left out.
pub fn read(value: &Value) -> Amounts {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::read(amount).ok()?)))
        .collect()
}

/// The amounts as a field.
pub fn written(amounts: &Amounts) -> serde_json::Map<String, Value> {
    let write = |(name, amount): (&String, &Quantity)| (name.clone(), amount.to_string().into());
    amounts.iter().map(write).collect()
}

/// Adds each amount to its like.
pub fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// Keeps the larger of each two amounts.
pub fn largest(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|before| amount > before) {
            total.insert(name.clone(), *amount);
        }
    }
}

/// Which containers of a pod run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// As long as the pod does: a container, or an init container that restarts (a sidecar).
    On,
    /// To its end, before the next one begins.
    First,
}

/// What the containers of a pod need at once: all that run on, or the largest that runs before them together with the
/// sidecars started by then. `of` tells what one of them needs.
pub fn of_containers(containers: &[Value], init_containers: &[Value], of: impl Fn(&Value, Runs) -> Amounts) -> Amounts {
    let mut total = Amounts::new();
    for container in containers {
        add(&mut total, &of(container, Runs::On));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in init_containers {
        if container["restartPolicy"] == "Always" {
            let own = of(container, Runs::On);
            add(&mut total, &own);
            add(&mut sidecars, &own);
            largest(&mut starting, &sidecars);
        } else {
            let mut now = of(container, Runs::First);
            add(&mut now, &sidecars);
            largest(&mut starting, &now);
        }
    }
    largest(&mut total, &starting);
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sums_and_maxima() {
        let mut total = read(&json!({"a": "1", "b": "1"}));
        add(&mut total, &read(&json!({"a": "1", "c": "x"})));
        largest(&mut total, &read(&json!({"b": "2", "a": "1"})));
        assert_eq!(Value::Object(written(&total)), json!({"a": "2", "b": "2"}));
    }

    #[test]
    fn containers_run_together_and_init_containers_before() {
        let of = |amount: &str| json!({"cpu": amount});
        let mut sidecar = of("1");
        sidecar["restartPolicy"] = "Always".into();
        let total = of_containers(&[of("1"), of("500m")], &[of("2"), sidecar, of("4")], |container, _| {
            read(&json!({"cpu": container["cpu"]}))
        });
        assert_eq!(Value::Object(written(&total)), json!({"cpu": "5"}));
    }
}
