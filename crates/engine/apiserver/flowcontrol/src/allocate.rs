//! Dividing the server's seats among levels that can use more or fewer of them.

/// A level's part in the division.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Claim {
    /// What it could use; at least `lower`.
    pub target: f64,
    /// What it gets in any case.
    pub lower: f64,
    /// What it gets at most.
    pub upper: f64,
}

/// Targets are taken as at least this, so that nothing is divided by zero.
const TARGET_MIN: f64 = 0.001;
const EPSILON: f64 = 1e-7;

/// Gives each claim the same multiple of its target, within its bounds, so that all add up to `sum`: the parts and the
/// multiple. `None` if the bounds leave no such division.
pub(crate) fn allocate(sum: f64, claims: &[Claim]) -> Option<(Vec<f64>, f64)> {
    let is_sound = |c: &Claim| c.lower >= 0.0 && c.target >= c.lower && c.upper >= c.lower;
    if sum.is_nan() || sum < 0.0 || !claims.iter().all(is_sound) {
        return None;
    }
    let target = |c: &Claim| c.target.max(TARGET_MIN);
    let low: f64 = claims.iter().map(|c| c.lower).sum();
    let high: f64 = claims.iter().map(|c| c.upper).sum();
    if low - sum > EPSILON || sum - high > EPSILON {
        return None;
    }
    if sum == 0.0 {
        return Some((vec![0.0; claims.len()], 0.0));
    }
    let ratios = |bound: fn(&Claim) -> f64| claims.iter().map(move |c| bound(c) / target(c));
    if low - sum > -EPSILON {
        let fair = ratios(|c| c.lower).fold(f64::MAX, f64::min);
        return Some((claims.iter().map(|c| c.lower).collect(), fair));
    }
    if sum - high > -EPSILON {
        let fair = ratios(|c| c.upper).fold(0.0, f64::max);
        return Some((claims.iter().map(|c| c.upper).collect(), fair));
    }
    let part = |c: &Claim, fair: f64| (fair * target(c)).min(c.upper).max(c.lower);
    let total = |fair: f64| claims.iter().map(|c| part(c, fair)).sum::<f64>();
    // The total grows with the multiple, in straight pieces between the multiples at which a bound begins to count.
    let mut bounds: Vec<f64> = ratios(|c| c.lower).chain(ratios(|c| c.upper)).collect();
    bounds.sort_by(f64::total_cmp);
    let below = bounds.partition_point(|bound| total(*bound) < sum);
    let from = below.checked_sub(1).map_or(0.0, |i| bounds[i]);
    let to = bounds.get(below).copied().unwrap_or(from);
    let (at_from, at_to) = (total(from), total(to));
    let fair = if at_to - at_from > EPSILON * EPSILON {
        from + (to - from) * (sum - at_from) / (at_to - at_from)
    } else {
        to
    };
    Some((claims.iter().map(|c| part(c, fair)).collect(), fair))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(target: f64, lower: f64, upper: f64) -> Claim {
        Claim { target, lower, upper }
    }

    #[test]
    fn parts_follow_targets_within_bounds() {
        let (parts, fair) = allocate(30.0, &[claim(1.0, 0.0, 100.0), claim(2.0, 0.0, 100.0)]).expect("a division");
        assert_eq!((parts, fair), (vec![10.0, 20.0], 10.0));
        let (parts, _) = allocate(30.0, &[claim(1.0, 0.0, 5.0), claim(2.0, 0.0, 100.0)]).expect("a division");
        assert_eq!(parts, vec![5.0, 25.0]);
        let (parts, _) = allocate(30.0, &[claim(20.0, 18.0, 50.0), claim(30.0, 0.0, 50.0)]).expect("a division");
        assert_eq!(parts, vec![18.0, 12.0]);
        assert_eq!(allocate(10.0, &[claim(20.0, 18.0, 50.0)]), None);
        assert_eq!(allocate(10.0, &[claim(2.0, 3.0, 50.0)]), None);
        assert_eq!(allocate(0.0, &[]), Some((Vec::new(), 0.0)));
    }

    proptest! {
        #[test]
        fn divisions_add_up(raw in proptest::collection::vec((0_u32..50, 0_u32..50, 0_u32..200), 1..9), at in 0.0_f64..=1.0) {
            let claims: Vec<Claim> = raw
                .iter()
                .map(|(lower, more, room)| {
                    let lower = f64::from(*lower);
                    claim(lower + f64::from(*more), lower, lower + f64::from(*room))
                })
                .collect();
            let low: f64 = claims.iter().map(|c| c.lower).sum();
            let high: f64 = claims.iter().map(|c| c.upper).sum();
            let sum = low + (high - low) * at;
            let (parts, fair) = allocate(sum, &claims).expect("a division");
            prop_assert!((parts.iter().sum::<f64>() - sum).abs() < 1e-3, "{parts:?} {sum}");
            for (part, claim) in parts.iter().zip(&claims) {
                prop_assert!(*part >= claim.lower - 1e-9 && *part <= claim.upper + 1e-9);
                let free = *part > claim.lower + 1e-6 && *part < claim.upper - 1e-6;
                prop_assert!(!free || (part - fair * claim.target.max(TARGET_MIN)).abs() < 1e-3);
            }
        }
    }
}
