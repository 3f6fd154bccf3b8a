//! What evaluating has cost so far, and how much it may. Costs are counted as upstream counts them; beside that, steps
//! and memory of our own are bounded, so that no expression runs long however cheap upstream holds it to be.

use crate::error::EvalError;
use crate::value::Value;

/// Most steps of one expression: parts evaluated, elements compared.
const STEPS_MAX: u64 = 20_000_000;
/// Most bytes all values that one expression makes may take.
const MADE_BYTES_MAX: u64 = 64 << 20;
/// What an element of a list or map counts for among these.
const ELEMENT_BYTES: u64 = 64;

/// How much all expressions of a call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What is left for all expressions.
    pub remaining: u64,
    /// What one expression may cost.
    pub per_expression: u64,
}

impl Budget {
    /// For the rules of a schema, or the policies, of one request.
    pub const fn per_call() -> Self {
        Self {
            remaining: 10_000_000,
            per_expression: 1_000_000,
        }
    }

    /// For the match conditions of one policy or webhook.
    pub const fn match_conditions() -> Self {
        Self {
            remaining: 2_500_000,
            per_expression: 1_000_000,
        }
    }
}

/// The costs of one expression.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) cost: u64,
    limit: u64,
    /// What it means that the limit is reached.
    beyond: EvalError,
    steps: u64,
    made_bytes: u64,
}

impl Meter {
    pub(crate) fn new(budget: &Budget) -> Self {
        let by_expression = budget.per_expression <= budget.remaining;
        Self {
            cost: 0,
            limit: budget.per_expression.min(budget.remaining),
            beyond: if by_expression {
                EvalError::CostLimit
            } else {
                EvalError::BudgetExhausted
            },
            steps: 0,
            made_bytes: 0,
        }
    }

    /// Adds to the cost.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            Err(self.beyond.clone())
        } else {
            Ok(())
        }
    }

    /// Adds to the steps taken.
    pub(crate) fn step(&mut self, steps: u64) -> Result<(), EvalError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEPS_MAX {
            Err(EvalError::CostLimit)
        } else {
            Ok(())
        }
    }

    /// Adds to the memory values take, before they are made.
    pub(crate) fn make_bytes(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.made_bytes = self.made_bytes.saturating_add(bytes as u64);
        if self.made_bytes > MADE_BYTES_MAX {
            Err(EvalError::CostLimit)
        } else {
            Ok(())
        }
    }

    /// The same for elements of lists and maps.
    pub(crate) fn make_elements(&mut self, elements: usize) -> Result<(), EvalError> {
        let bytes = (elements as u64).saturating_mul(ELEMENT_BYTES);
        self.make_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// How many bytes more may be made.
    pub(crate) fn bytes_left(&self) -> usize {
        usize::try_from(MADE_BYTES_MAX.saturating_sub(self.made_bytes)).unwrap_or(usize::MAX)
    }
}

/// What it costs to go over so many characters, `times` times.
fn over(size: u64, times: u64) -> u64 {
    size.saturating_mul(times).div_ceil(10)
}

/// What a call costs before it is made.
pub(crate) fn call_cost(function: &str, arguments: &[Value<'_>], meter: &mut Meter) -> Result<u64, EvalError> {
    let size = |index: usize| arguments.get(index).map_or(0, Value::size);
    let first_text = arguments.first().map_or(0, text_bytes);
    meter.step(1 + first_text / 16)?;
    Ok(match function {
        "check" => 350_000,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => match arguments.first() {
            Some(of) => traversal(of, meter)?,
            None => 0,
        },
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" => over(size(0), 1),
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" => over(size(0), 1),
        "ip" if matches!(arguments.first(), Some(Value::Cidr(_))) => 1,
        "ip" => over(size(0), 1),
        "replace" | "split" | "ip.isCanonical" => over(size(0), 2),
        // Costs what its result is long.
        "join" => 0,
        "find" | "findAll" => over(size(0) + 1, 1).saturating_mul(size(1).div_ceil(4)),
        "matches" => over(size(0) + 1, 1).saturating_mul(size(1).div_ceil(4)),
        "containsIP" => {
            over(size(0), 2)
                + if arguments.get(1).is_some_and(is_text) {
                    over(size(1), 1)
                } else {
                    0
                }
        }
        "containsCIDR" => {
            let read = if arguments.get(1).is_some_and(is_text) {
                over(size(1), 1)
            } else {
                0
            };
            over(size(0), 2) + over(size(0), 1) + 1 + read
        }
        "startsWith" | "endsWith" => over(size(0), 1),
        "strings.quote" | "format" => over(size(0), 1),
        "bytes" | "string" if matches!(arguments.first(), Some(Value::String(_) | Value::Bytes(_))) => over(size(0), 1),
        "contains" => over(size(0), 1).saturating_mul(over(size(1), 1)),
        "@in" if matches!(arguments.get(1), Some(Value::List(_))) => size(1),
        "_==_" | "_!=_" => over(size(0).min(size(1)), 1),
        "_<_" | "_<=_" | "_>_" | "_>=_" if arguments.first().is_some_and(is_text) => over(size(0).min(size(1)), 1),
        "_+_" if arguments.first().is_some_and(is_text) => over(size(0).saturating_add(size(1)), 1),
        "sets.contains" | "sets.intersects" => size(0).saturating_mul(size(1)),
        "sets.equivalent" => size(0).saturating_mul(size(1)).saturating_mul(2),
        "validate" => over(size(1), 1).saturating_mul(15),
        _ => 1,
    })
}

/// What a result costs when it is made.
pub(crate) fn result_cost(function: &str, result: &Value<'_>) -> u64 {
    if function == "join" { over(result.size(), 2) } else { 0 }
}

fn is_text(value: &Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Bytes(_))
}

fn text_bytes(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

fn traversal(value: &Value<'_>, meter: &mut Meter) -> Result<u64, EvalError> {
    meter.step(1)?;
    Ok(match value {
        Value::String(_) | Value::Bytes(_) => text_bytes(value) / 10,
        Value::List(list) => {
            let mut cost = 0_u64;
            for item in list.iter() {
                cost = cost.saturating_add(traversal(&item, meter)?);
            }
            cost
        }
        Value::Map(map) => map.len() as u64,
        _ => 1,
    })
}
