//! Equality, order and arithmetic.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::EvalError;
use crate::json::{ListKind, list_kind};
use crate::meter::Meter;
use crate::value::{Key, List, Map, Value, compare_numbers};

/// A result of an operator.
type Result<T> = std::result::Result<T, EvalError>;

fn failed<T>(message: &str) -> Result<T> {
    Err(EvalError::failed(message))
}

/// Whether two values are the same; values of different types are not, but for numbers.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>, meter: &mut Meter) -> Result<bool> {
    meter.step(1)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => {
            meter.step(a.len() as u64 / 64)?;
            **a == **b
        }
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::List(a), Value::List(b)) => equal_lists(a, b, meter)?,
        (Value::Map(a), Value::Map(b)) => equal_maps(a, b, meter)?,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => equal(a, b, meter)?,
        (Value::Url(a), Value::Url(b)) => a.text == b.text,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Semver(a), Value::Semver(b)) => a.compare(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => a == b,
        (Value::Authorizer(a), Value::Authorizer(b)) => a == b,
        (Value::PathCheck(a), Value::PathCheck(b)) => a == b,
        (Value::GroupCheck(a), Value::GroupCheck(b)) => a == b,
        (Value::ResourceCheck(a), Value::ResourceCheck(b)) => a == b,
        (Value::Decision(a), Value::Decision(b)) => a == b,
        (a, b) => compare_numbers(a, b) == Some(Ordering::Equal),
    })
}

fn kind<'a>(list: &List<'a>) -> ListKind<'a> {
    match list {
        List::Json(_, schema) => list_kind(*schema),
        List::Made(_) => ListKind::Atomic,
    }
}

fn equal_lists(a: &List<'_>, b: &List<'_>, meter: &mut Meter) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match kind(a) {
        ListKind::Atomic => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a, &b, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // The same elements, each with its like, wherever they are.
        ListKind::Set | ListKind::Keyed(_) => {
            let mut others: Vec<Value<'_>> = b.iter().collect();
            for a in a.iter() {
                let Some(at) = position(&others, &a, meter)? else {
                    return Ok(false);
                };
                others.swap_remove(at);
            }
            Ok(true)
        }
    }
}

fn position(values: &[Value<'_>], wanted: &Value<'_>, meter: &mut Meter) -> Result<Option<usize>> {
    for (at, value) in values.iter().enumerate() {
        if equal(value, wanted, meter)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn equal_maps(a: &Map<'_>, b: &Map<'_>, meter: &mut Meter) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (Map::Json(a, None), Map::Json(b, None)) = (a, b)
        && std::ptr::eq(*a, *b)
    {
        return Ok(true);
    }
    for (key, value) in a.iter() {
        let other = match (&key, b) {
            // Here the keys are names of properties, not of fields.
            (Value::String(name), Map::Json(entries, schema)) => entries
                .get(&**name)
                .map(|other| crate::json::value(other, crate::json::schema_of_field(*schema, name))),
            _ => b.get(&key),
        };
        match other {
            Some(other) if equal(&value, &other, meter)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a list or map contains a value or key.
pub(crate) fn contains(within: &Value<'_>, wanted: &Value<'_>, meter: &mut Meter) -> Result<bool> {
    match within {
        Value::List(list) => {
            for item in list.iter() {
                if equal(&item, wanted, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(map.get(wanted).is_some()),
        _ => Err(EvalError::no_overload()),
    }
}

/// The order of two values of a type that has one.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => (**a).cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Double(a), _) if a.is_nan() => return failed("NaN values cannot be ordered"),
        (_, Value::Double(b)) if b.is_nan() => return failed("NaN values cannot be ordered"),
        (a, b) => compare_numbers(a, b).ok_or_else(EvalError::no_overload)?,
    })
}

/// The result of an operator on two values, if it is one of arithmetic, order or equality.
pub(crate) fn binary<'a>(operator: &str, a: &Value<'a>, b: &Value<'a>, meter: &mut Meter) -> Option<Result<Value<'a>>> {
    let ordered = |fits: fn(Ordering) -> bool| compare(a, b).map(|order| Value::Bool(fits(order)));
    Some(match operator {
        "_==_" => equal(a, b, meter).map(Value::Bool),
        "_!=_" => equal(a, b, meter).map(|same| Value::Bool(!same)),
        "_<_" => ordered(Ordering::is_lt),
        "_<=_" => ordered(Ordering::is_le),
        "_>_" => ordered(Ordering::is_gt),
        "_>=_" => ordered(Ordering::is_ge),
        "@in" => contains(b, a, meter).map(Value::Bool),
        "_+_" => add(a, b, meter),
        "_-_" => subtract(a, b),
        "_*_" => multiply(a, b),
        "_/_" => divide(a, b),
        "_%_" => remainder(a, b),
        _ => return None,
    })
}

fn int<'a>(number: Option<i64>) -> Result<Value<'a>> {
    number
        .map(Value::Int)
        .ok_or_else(|| EvalError::failed("integer overflow"))
}

fn uint<'a>(number: Option<u64>) -> Result<Value<'a>> {
    number
        .map(Value::Uint)
        .ok_or_else(|| EvalError::failed("unsigned integer overflow"))
}

fn add<'a>(a: &Value<'a>, b: &Value<'a>, meter: &mut Meter) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            meter.make_bytes(a.len() + b.len())?;
            Ok(Value::text(format!("{}{}", &**a, &**b)))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.make_bytes(a.len() + b.len())?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::Duration(a), Value::Duration(b)) => {
            let sum = a.plus(*b).map(Value::Duration);
            sum.ok_or_else(|| EvalError::failed("duration overflow"))
        }
        (Value::Timestamp(time), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(time)) => {
            let sum = time.plus(*span).map(Value::Timestamp);
            sum.ok_or_else(|| EvalError::failed("timestamp overflow"))
        }
        (Value::List(a), Value::List(b)) => {
            meter.step((a.len() + b.len()) as u64)?;
            meter.make_elements(a.len() + b.len())?;
            join(a, b, meter).map(Value::list)
        }
        _ => Err(EvalError::no_overload()),
    }
}

/// Two lists as one; sets have each element once, and elements with keys take the place of those with the same keys.
fn join<'a>(a: &List<'a>, b: &List<'a>, meter: &mut Meter) -> Result<Vec<Value<'a>>> {
    let mut all: Vec<Value<'a>> = a.iter().collect();
    match kind(a) {
        ListKind::Atomic => all.extend(b.iter()),
        ListKind::Set => {
            for item in b.iter() {
                if position(&all, &item, meter)?.is_none() {
                    all.push(item);
                }
            }
        }
        ListKind::Keyed(keys) => {
            let key_of = |item: &Value<'a>| -> Vec<Option<Value<'a>>> {
                let Value::Map(map) = item else { return Vec::new() };
                let names = keys.iter().filter_map(|key| crate::schema::escape(key.as_str()?));
                names.map(|name| map.field(&name)).collect()
            };
            for item in b.iter() {
                let wanted = key_of(&item);
                let mut place = None;
                for (at, known) in all.iter().enumerate() {
                    if same_keys(&key_of(known), &wanted, meter)? {
                        place = Some(at);
                        break;
                    }
                }
                match place.and_then(|at| all.get_mut(at)) {
                    Some(known) => *known = item,
                    None => all.push(item),
                }
            }
        }
    }
    Ok(all)
}

fn same_keys(a: &[Option<Value<'_>>], b: &[Option<Value<'_>>], meter: &mut Meter) -> Result<bool> {
    for (a, b) in a.iter().zip(b) {
        match (a, b) {
            (Some(a), Some(b)) if equal(a, b, meter)? => {}
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(a.len() == b.len())
}

fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => {
            let rest = a.minus(*b).map(Value::Duration);
            rest.ok_or_else(|| EvalError::failed("duration overflow"))
        }
        (Value::Timestamp(a), Value::Duration(b)) => {
            let rest = a.minus(*b).map(Value::Timestamp);
            rest.ok_or_else(|| EvalError::failed("timestamp overflow"))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let between = a.since(*b).map(Value::Duration);
            between.ok_or_else(|| EvalError::failed("duration overflow"))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn multiply<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(EvalError::no_overload()),
    }
}

fn divide<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => failed("division by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(EvalError::no_overload()),
    }
}

fn remainder<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => failed("modulus by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        _ => Err(EvalError::no_overload()),
    }
}

/// The negative of a number.
pub(crate) fn negate<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Int(number) => int(number.checked_neg()),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvalError::no_overload()),
    }
}

/// The element of a list or map.
pub(crate) fn index<'a>(of: &Value<'a>, at: &Value<'_>) -> Result<Value<'a>> {
    match of {
        Value::List(list) => {
            let place = match at {
                Value::Int(at) => usize::try_from(*at).ok(),
                Value::Uint(at) => usize::try_from(*at).ok(),
                Value::Double(at) if at.fract() == 0.0 && *at >= 0.0 && *at < 1e15 => Some(*at as usize),
                _ => return failed(&format!("unsupported index type '{}' in list", at.type_name())),
            };
            let found = place.and_then(|place| list.get(place));
            let text = crate::convert::to_text(at).unwrap_or_default();
            found.ok_or_else(|| EvalError::failed(format!("index out of bounds: {text}")))
        }
        Value::Map(map) => map.get(at).ok_or_else(|| no_such_key(at)),
        _ => Err(no_such_key(at)),
    }
}

/// The message for a key that is not there.
pub(crate) fn no_such_key(key: &Value<'_>) -> EvalError {
    let text = crate::convert::to_text(key).unwrap_or_else(|| key.type_name().to_owned());
    EvalError::failed(format!("no such key: {text}"))
}

/// A map with entries added, none of whose keys were there.
pub(crate) fn insert<'a>(
    map: Map<'a>,
    entries: impl Iterator<Item = (Value<'a>, Value<'a>)>,
    meter: &mut Meter,
) -> Result<Value<'a>> {
    let mut made = match map {
        Map::Made(made) => made,
        Map::Json(..) => {
            meter.make_elements(map.len())?;
            let keyed = map.iter().filter_map(|(key, value)| Some((Key::of(&key)?, value)));
            Arc::new(keyed.collect::<BTreeMap<_, _>>())
        }
    };
    let own = Arc::make_mut(&mut made);
    for (key, value) in entries {
        meter.make_elements(1)?;
        let text = crate::convert::to_text(&key).unwrap_or_default();
        let key = Key::of(&key).ok_or_else(EvalError::no_overload)?;
        if own.insert(key, value).is_some() {
            return failed(&format!("insert failed: key {text} already exists"));
        }
    }
    Ok(Value::Map(Map::Made(made)))
}
