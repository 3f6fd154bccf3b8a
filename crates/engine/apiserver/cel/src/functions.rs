//! The functions of the libraries on values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engenho_quantity::Quantity;
use regex::Regex;

use crate::error::EvalError;
use crate::formats::NamedFormat;
use crate::meter::Meter;
use crate::net;
use crate::operators;
use crate::semver::Version;
use crate::text;
use crate::time::{Timestamp, zone_offset};
use crate::url::Url;
use crate::value::{Key, List, Map, Value};

/// A result of a function.
type Result<T> = std::result::Result<T, EvalError>;

fn failed<T>(message: impl Into<String>) -> Result<T> {
    Err(EvalError::failed(message))
}

fn number<'a>(number: usize) -> Value<'a> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Calls a function; none if there is none of the name for such values.
pub(crate) fn call<'a>(
    function: &str,
    arguments: &[Value<'a>],
    pattern: Option<&Regex>,
    meter: &mut Meter,
) -> Option<Result<Value<'a>>> {
    match arguments {
        [value @ Value::String(_), rest @ ..] => on_text(function, value, rest, pattern, meter),
        [Value::List(list), rest @ ..] => on_list(function, list, rest, meter),
        [Value::Timestamp(time), rest @ ..] => on_time(function, *time, rest),
        [Value::Optional(of), rest @ ..] => on_optional(function, of.as_deref(), rest),
        [Value::Quantity(amount), rest @ ..] => on_quantity(function, *amount, rest),
        [Value::Cidr(network), rest @ ..] => on_network(function, *network, rest),
        [Value::Semver(a), Value::Semver(b)] => ordered(function, a.compare(b)),
        [Value::Map(map), rest @ ..] => on_map(function, map, rest, meter),
        [Value::Format(format), Value::String(text)] if function == "validate" => {
            let wrong = format.validate(text);
            let wrong = (!wrong.is_empty()).then(|| Value::texts(wrong.iter().map(String::as_str)));
            Some(Ok(wrong.map_or(Value::Optional(None), Value::some)))
        }
        [] => without_arguments(function),
        [one] => on_one(function, one),
        _ => None,
    }
    .or_else(|| match (function, arguments) {
        ("optional.of", [of]) => Some(Ok(of.clone().some())),
        ("optional.ofNonZeroValue", [of]) if of.is_zero() => Some(Ok(Value::Optional(None))),
        ("optional.ofNonZeroValue", [of]) => Some(Ok(of.clone().some())),
        (to, [of]) => crate::convert::convert(to, of),
        _ => None,
    })
}

fn without_arguments<'a>(function: &str) -> Option<Result<Value<'a>>> {
    if function == "optional.none" {
        return Some(Ok(Value::Optional(None)));
    }
    let format = NamedFormat::named(function.strip_prefix("format.")?)?;
    Some(Ok(Value::Format(format)))
}

fn ordered<'a>(function: &str, order: Ordering) -> Option<Result<Value<'a>>> {
    Some(Ok(match function {
        "isGreaterThan" => Value::Bool(order.is_gt()),
        "isLessThan" => Value::Bool(order.is_lt()),
        "compareTo" => Value::Int(order as i64),
        _ => return None,
    }))
}

fn on_one<'a>(function: &str, one: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(Ok(match (function, one) {
        ("size", Value::Bytes(bytes)) => number(bytes.len()),
        ("getHours", Value::Duration(span)) => Value::Int(span.nanos / 3_600_000_000_000),
        ("getMinutes", Value::Duration(span)) => Value::Int(span.nanos / 60_000_000_000),
        ("getSeconds", Value::Duration(span)) => Value::Int(span.nanos / 1_000_000_000),
        ("getMilliseconds", Value::Duration(span)) => Value::Int(span.nanos / 1_000_000),
        ("getScheme", Value::Url(url)) => Value::text(url.scheme.as_str()),
        ("getHost", Value::Url(url)) => Value::text(url.host.as_str()),
        ("getHostname", Value::Url(url)) => Value::text(url.hostname()),
        ("getPort", Value::Url(url)) => Value::text(url.port()),
        ("getEscapedPath", Value::Url(url)) => Value::text(url.escaped_path()),
        ("getQuery", Value::Url(url)) => {
            let values = url.query_values().into_iter();
            let entry = |(name, values): (String, Vec<String>)| {
                (
                    Key::String(name.into()),
                    Value::texts(values.iter().map(String::as_str)),
                )
            };
            Value::Map(Map::Made(Arc::new(values.map(entry).collect::<BTreeMap<_, _>>())))
        }
        ("family", Value::Ip(address)) => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
        ("isUnspecified", Value::Ip(address)) => Value::Bool(address.is_unspecified()),
        ("isLoopback", Value::Ip(address)) => Value::Bool(address.is_loopback()),
        ("isLinkLocalMulticast", Value::Ip(address)) => Value::Bool(net::is_link_local_multicast(*address)),
        ("isLinkLocalUnicast", Value::Ip(address)) => Value::Bool(net::is_link_local_unicast(*address)),
        ("isGlobalUnicast", Value::Ip(address)) => Value::Bool(net::is_global_unicast(*address)),
        ("major", Value::Semver(of)) => Value::Int(of.major as i64),
        ("minor", Value::Semver(of)) => Value::Int(of.minor as i64),
        ("patch", Value::Semver(of)) => Value::Int(of.patch as i64),
        _ => return None,
    }))
}

fn on_text<'a>(
    function: &str,
    value: &Value<'a>,
    rest: &[Value<'a>],
    pattern: Option<&Regex>,
    meter: &mut Meter,
) -> Option<Result<Value<'a>>> {
    let Value::String(text) = value else { return None };
    let of = &**text;
    let bool = |value| Some(Ok(Value::Bool(value)));
    let made = |text: &str| Some(Ok(Value::text(text)));
    match (function, rest) {
        ("size", []) => Some(Ok(number(of.chars().count()))),
        ("contains", [Value::String(part)]) => bool(of.contains(&**part)),
        ("startsWith", [Value::String(part)]) => bool(of.starts_with(&**part)),
        ("endsWith", [Value::String(part)]) => bool(of.ends_with(&**part)),
        ("matches" | "find" | "findAll", [Value::String(expression), limit @ ..]) => {
            Some(matched(function, of, expression, limit, pattern, meter))
        }
        ("charAt", [Value::Int(at)]) => Some(text::char_at(of, *at).map(Value::text)),
        ("indexOf", [Value::String(part)]) => Some(text::index_of(of, part, 0).map(Value::Int)),
        ("indexOf", [Value::String(part), Value::Int(from)]) => Some(text::index_of(of, part, *from).map(Value::Int)),
        ("lastIndexOf", [Value::String(part)]) => Some(text::last_index_of(of, part, None).map(Value::Int)),
        ("lastIndexOf", [Value::String(part), Value::Int(from)]) => {
            Some(text::last_index_of(of, part, Some(*from)).map(Value::Int))
        }
        ("lowerAscii", []) => made(&of.to_ascii_lowercase()),
        ("upperAscii", []) => made(&of.to_ascii_uppercase()),
        ("trim", []) => made(of.trim()),
        ("replace", [Value::String(old), Value::String(new), limit @ ..]) => {
            let limit = match limit {
                [] => -1,
                [Value::Int(limit)] => *limit,
                _ => return None,
            };
            let room = meter.make_bytes(text::replaced_bytes_max(of, old, new));
            Some(room.map(|()| Value::text(text::replace(of, old, new, limit))))
        }
        ("split", [Value::String(separator), limit @ ..]) => {
            let limit = match limit {
                [] => -1,
                [Value::Int(limit)] => *limit,
                _ => return None,
            };
            let parts = text::split(of, separator, limit);
            let room = meter
                .make_elements(parts.len())
                .and_then(|()| meter.make_bytes(of.len()));
            Some(room.map(|()| Value::texts(parts)))
        }
        ("substring", [Value::Int(start)]) => Some(text::substring_from(of, *start).map(Value::text)),
        ("substring", [Value::Int(start), Value::Int(end)]) => Some(text::substring(of, *start, *end).map(Value::text)),
        ("format", [Value::List(values)]) => {
            Some(crate::format::format(of, values, meter.bytes_left()).and_then(|text| {
                meter.make_bytes(text.len())?;
                Ok(Value::text(text))
            }))
        }
        ("strings.quote", []) => made(&text::quote(of)),
        ("url", []) => Some(match Url::parse(of) {
            Ok(url) => Ok(Value::Url(Arc::new(url))),
            Err(why) => failed(format!("URL parse error during conversion from string: {why}")),
        }),
        ("isURL", []) => bool(Url::parse(of).is_ok()),
        ("ip", []) => Some(net::parse_ip(of).map(Value::Ip).map_err(EvalError::failed)),
        ("isIP", []) => bool(net::parse_ip(of).is_ok()),
        ("ip.isCanonical", []) => Some(match net::parse_ip(of) {
            Ok(address) => Ok(Value::Bool(address.to_string() == of)),
            Err(why) => failed(why),
        }),
        ("cidr", []) => Some(network(of).map(Value::Cidr)),
        ("isCIDR", []) => bool(net::parse_cidr(of).is_ok()),
        ("quantity", []) => Some(match Quantity::parse(of) {
            Ok(amount) => Ok(Value::Quantity(amount)),
            Err(why) => failed(why.to_string()),
        }),
        ("isQuantity", []) => bool(Quantity::parse(of).is_ok()),
        ("semver" | "isSemver", normalize @ ([] | [Value::Bool(_)])) => {
            let read = match normalize {
                [Value::Bool(true)] => Version::parse_normalized(of),
                _ => Version::parse(of),
            };
            match (function, read) {
                ("isSemver", read) => bool(read.is_ok()),
                (_, Ok(version)) => Some(Ok(Value::Semver(Arc::new(version)))),
                (_, Err(why)) => Some(failed(why)),
            }
        }
        ("format.named", []) => Some(Ok(match NamedFormat::named(of) {
            Some(format) => Value::Format(format).some(),
            None => Value::Optional(None),
        })),
        _ => None,
    }
}

fn matched<'a>(
    function: &str,
    text: &str,
    expression: &str,
    limit: &[Value<'a>],
    pattern: Option<&Regex>,
    meter: &mut Meter,
) -> Result<Value<'a>> {
    let compiled;
    let pattern = match pattern {
        Some(pattern) => pattern,
        None => {
            // Compiling takes about as long as some hundred other steps for each letter.
            meter.step(expression.len() as u64 * 100)?;
            compiled = crate::patterns::compile(expression).map_err(|why| match function {
                "matches" => EvalError::failed(why),
                _ => EvalError::failed(format!(
                    "Illegal regex: {}",
                    why.trim_start_matches("error parsing regexp: ")
                )),
            })?;
            &compiled
        }
    };
    match (function, limit) {
        ("matches", []) => Ok(Value::Bool(pattern.is_match(text))),
        ("find", []) => Ok(Value::text(pattern.find(text).map_or("", |found| found.as_str()))),
        ("findAll", [] | [Value::Int(_)]) => {
            let limit = match limit {
                [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let mut found = Vec::new();
            for part in pattern.find_iter(text).take(limit) {
                meter.make_elements(1)?;
                found.push(Value::text(part.as_str()));
            }
            Ok(Value::list(found))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn network(text: &str) -> Result<net::Cidr> {
    net::parse_cidr(text).map_err(|why| {
        EvalError::failed(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })
}

fn on_network<'a>(function: &str, of: net::Cidr, rest: &[Value<'a>]) -> Option<Result<Value<'a>>> {
    Some(match (function, rest) {
        ("ip", []) => Ok(Value::Ip(of.address)),
        ("prefixLength", []) => Ok(Value::Int(i64::from(of.bits))),
        ("masked", []) => Ok(Value::Cidr(of.masked())),
        ("containsIP", [Value::Ip(address)]) => Ok(Value::Bool(of.contains(*address))),
        ("containsIP", [Value::String(text)]) => {
            let address: Result<IpAddr> = net::parse_ip(text).map_err(EvalError::failed);
            address.map(|address| Value::Bool(of.contains(address)))
        }
        ("containsCIDR", [Value::Cidr(other)]) => Ok(Value::Bool(of.contains_network(*other))),
        ("containsCIDR", [Value::String(text)]) => network(text).map(|other| Value::Bool(of.contains_network(other))),
        _ => return None,
    })
}

fn on_list<'a>(function: &str, list: &List<'a>, rest: &[Value<'a>], meter: &mut Meter) -> Option<Result<Value<'a>>> {
    Some(match (function, rest) {
        ("size", []) => Ok(number(list.len())),
        ("isSorted", []) => is_sorted(list),
        ("sum", []) => sum(list, meter),
        ("min", []) => extreme(list, Ordering::is_lt, "min"),
        ("max", []) => extreme(list, Ordering::is_gt, "max"),
        ("indexOf", [wanted]) => find(list.iter().enumerate(), wanted, meter),
        ("lastIndexOf", [wanted]) => {
            let backwards = (0..list.len()).rev();
            find(backwards.filter_map(|at| Some((at, list.get(at)?))), wanted, meter)
        }
        ("join", []) => join(list, "", meter),
        ("join", [Value::String(separator)]) => join(list, separator, meter),
        ("sets.contains", [Value::List(other)]) => contains_all(list, other, meter).map(Value::Bool),
        ("sets.equivalent", [Value::List(other)]) => contains_all(list, other, meter)
            .and_then(|one_way| Ok(one_way && contains_all(other, list, meter)?))
            .map(Value::Bool),
        ("sets.intersects", [Value::List(other)]) => intersects(list, other, meter).map(Value::Bool),
        _ => return None,
    })
}

fn contains_all(list: &List<'_>, wanted: &List<'_>, meter: &mut Meter) -> Result<bool> {
    let within = Value::List(list.clone());
    for item in wanted.iter() {
        if !operators::contains(&within, &item, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects(list: &List<'_>, other: &List<'_>, meter: &mut Meter) -> Result<bool> {
    let within = Value::List(list.clone());
    for item in other.iter() {
        if operators::contains(&within, &item, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find<'a>(
    items: impl Iterator<Item = (usize, Value<'a>)>,
    wanted: &Value<'_>,
    meter: &mut Meter,
) -> Result<Value<'a>> {
    for (at, item) in items {
        if operators::equal(&item, wanted, meter)? {
            return Ok(number(at));
        }
    }
    Ok(Value::Int(-1))
}

fn is_sorted<'a>(list: &List<'_>) -> Result<Value<'a>> {
    let mut before = None;
    for item in list.iter() {
        if let Some(before) = &before
            && operators::compare(before, &item)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>, meter: &mut Meter) -> Result<Value<'a>> {
    let mut items = list.iter();
    let Some(mut total) = items.next() else {
        return Ok(Value::Int(0));
    };
    for item in items {
        match operators::binary("_+_", &total, &item, meter) {
            Some(sum) => total = sum?,
            None => return Err(EvalError::no_overload()),
        }
    }
    Ok(total)
}

fn extreme<'a>(list: &List<'a>, beats: fn(Ordering) -> bool, name: &str) -> Result<Value<'a>> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let better = match &best {
            Some(best) => beats(operators::compare(&item, best)?),
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))
}

fn join<'a>(list: &List<'_>, separator: &str, meter: &mut Meter) -> Result<Value<'a>> {
    let mut made = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::String(text) = &item else {
            let shown = crate::convert::to_text(&item).unwrap_or_else(|| item.type_name().to_owned());
            return failed(format!("join: invalid input: {shown}"));
        };
        let between = if index == 0 { "" } else { separator };
        meter.make_bytes(between.len() + text.len())?;
        made.push_str(between);
        made.push_str(text);
    }
    Ok(Value::text(made))
}

fn on_map<'a>(function: &str, map: &Map<'a>, rest: &[Value<'a>], meter: &mut Meter) -> Option<Result<Value<'a>>> {
    Some(match (function, rest) {
        ("size", []) => Ok(number(map.len())),
        (crate::macros::MAP_INSERT, [key, value]) => {
            let entry = std::iter::once((key.clone(), value.clone()));
            operators::insert(map.clone(), entry, meter)
        }
        (crate::macros::MAP_INSERT, [Value::Map(entries)]) => operators::insert(map.clone(), entries.iter(), meter),
        _ => return None,
    })
}

fn on_optional<'a>(function: &str, of: Option<&Value<'a>>, rest: &[Value<'a>]) -> Option<Result<Value<'a>>> {
    Some(match (function, of, rest) {
        ("hasValue", of, []) => Ok(Value::Bool(of.is_some())),
        ("value", Some(of), []) => Ok(of.clone()),
        ("value", None, []) => failed("optional.none() dereference"),
        _ => return None,
    })
}

fn on_quantity<'a>(function: &str, of: Quantity, rest: &[Value<'a>]) -> Option<Result<Value<'a>>> {
    // The same amount with the other sign, which amounts have only as text.
    let negative = |amount: Quantity| {
        let text = amount.to_string();
        let turned = text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned);
        Quantity::parse(&turned).map_err(|why| EvalError::failed(why.to_string()))
    };
    let whole = || of.is_multiple_of(Quantity::whole(1)).then(|| of.value());
    let integer = || whole().filter(|whole| Quantity::whole(*whole) == of);
    Some(match (function, rest) {
        ("sign", []) => Ok(Value::Int(of.cmp(&Quantity::ZERO) as i64)),
        ("isInteger", []) => Ok(Value::Bool(integer().is_some())),
        ("asInteger", []) => {
            let integer = integer().map(Value::Int);
            integer.ok_or_else(|| EvalError::failed("cannot convert value to integer"))
        }
        ("asApproximateFloat", []) => Ok(Value::Double(approximate(&of.to_string()))),
        ("add", [Value::Quantity(other)]) => Ok(Value::Quantity(of.plus(*other))),
        ("add", [Value::Int(other)]) => Ok(Value::Quantity(of.plus(Quantity::whole(*other)))),
        ("sub", [Value::Quantity(other)]) => negative(*other).map(|other| Value::Quantity(of.plus(other))),
        ("sub", [Value::Int(other)]) => negative(Quantity::whole(*other)).map(|other| Value::Quantity(of.plus(other))),
        (_, [Value::Quantity(other)]) => return ordered(function, of.cmp(other)),
        _ => return None,
    })
}

/// The floating point number nearest to an amount in its canonical form.
fn approximate(amount: &str) -> f64 {
    let end = amount
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(amount.len());
    let (digits, suffix) = amount.split_at(end);
    let digits: f64 = digits.parse().unwrap_or(0.0);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
        .iter()
        .position(|known| *known == suffix);
    if let Some(power) = binary {
        return digits * 1024_f64.powi(i32::try_from(power + 1).unwrap_or_default());
    }
    let power = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        other => other.trim_start_matches(['e', 'E']).parse().unwrap_or(0),
    };
    if power < 0 {
        digits / 10_f64.powi(-power)
    } else {
        digits * 10_f64.powi(power)
    }
}

fn on_time<'a>(function: &str, time: Timestamp, rest: &[Value<'a>]) -> Option<Result<Value<'a>>> {
    if !function.starts_with("get") {
        return None;
    }
    let offset = match rest {
        [] => 0,
        [Value::String(zone)] => match zone_offset(zone) {
            Some(offset) => offset,
            None => return Some(failed(format!("unknown time zone {}", &**zone))),
        },
        _ => return None,
    };
    let civil = time.civil(offset);
    Some(Ok(Value::Int(match function {
        "getFullYear" => civil.year,
        "getMonth" => civil.month - 1,
        "getDayOfYear" => civil.day_of_year,
        "getDayOfMonth" => civil.day - 1,
        "getDate" => civil.day,
        "getDayOfWeek" => civil.day_of_week,
        "getHours" => civil.second_of_day / 3600,
        "getMinutes" => civil.second_of_day / 60 % 60,
        "getSeconds" => civil.second_of_day % 60,
        "getMilliseconds" => i64::from(time.nanos / 1_000_000),
        _ => return None,
    })))
}
