//! The functions expressions may call, with the types they take and give.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::types::Type;

/// One way to call a function. A member's first argument is what it is called on.
#[derive(Debug, Clone)]
pub(crate) struct Overload {
    pub(crate) member: bool,
    pub(crate) arguments: Vec<Type>,
    pub(crate) result: Type,
    /// How many types of it are to be found out.
    pub(crate) parameters: u32,
}

/// A line a function, then a line an overload: what it is called on and a dot if it is a member, the types it takes,
/// the type it gives. A and B are any types; names of libraries are short for those of [`library_type`].
const DECLARATIONS: &str = "\
_?_:_: (bool, A, A) A
_&&_: (bool, bool) bool
_||_: (bool, bool) bool
!_: (bool) bool
@not_strictly_false: (bool) bool
_==_: (A, A) bool
_!=_: (A, A) bool
_+_: (bytes, bytes) bytes | (double, double) double | (duration, duration) duration
_+_: (duration, timestamp) timestamp | (timestamp, duration) timestamp | (int, int) int
_+_: (list(A), list(A)) list(A) | (string, string) string | (uint, uint) uint
_/_: (double, double) double | (int, int) int | (uint, uint) uint
_%_: (int, int) int | (uint, uint) uint
_*_: (double, double) double | (int, int) int | (uint, uint) uint
-_: (double) double | (int) int
_-_: (double, double) double | (duration, duration) duration | (int, int) int
_-_: (timestamp, duration) timestamp | (timestamp, timestamp) duration | (uint, uint) uint
_[_]: (list(A), int) A | (map(A, B), A) B
_[_]: (optional(list(A)), int) optional(A) | (optional(map(A, B)), A) optional(B)
_[?_]: (list(A), int) optional(A) | (optional(list(A)), int) optional(A)
_[?_]: (map(A, B), A) optional(B) | (optional(map(A, B)), A) optional(B)
@in: (A, list(A)) bool | (A, map(A, B)) bool
size: (bytes) int | bytes.() int | (list(A)) int | list(A).() int
size: (map(A, B)) int | map(A, B).() int | (string) int | string.() int
type: (A) type(A)
bool: (bool) bool | (string) bool
bytes: (bytes) bytes | (string) bytes
double: (double) double | (int) double | (string) double | (uint) double
duration: (duration) duration | (int) duration | (string) duration
dyn: (A) dyn
int: (int) int | (double) int | (duration) int | (string) int | (timestamp) int | (uint) int
string: (string) string | (bool) string | (bytes) string | (double) string | (duration) string | (int) string
string: (timestamp) string | (uint) string | (IP) string | (CIDR) string
timestamp: (timestamp) timestamp | (int) timestamp | (string) timestamp
uint: (uint) uint | (double) uint | (int) uint | (string) uint
contains: string.(string) bool
endsWith: string.(string) bool
startsWith: string.(string) bool
matches: (string, string) bool | string.(string) bool
getFullYear: timestamp.() int | timestamp.(string) int
getMonth: timestamp.() int | timestamp.(string) int
getDayOfYear: timestamp.() int | timestamp.(string) int
getDayOfMonth: timestamp.() int | timestamp.(string) int
getDate: timestamp.() int | timestamp.(string) int
getDayOfWeek: timestamp.() int | timestamp.(string) int
getHours: timestamp.() int | timestamp.(string) int | duration.() int
getMinutes: timestamp.() int | timestamp.(string) int | duration.() int
getSeconds: timestamp.() int | timestamp.(string) int | duration.() int
getMilliseconds: timestamp.() int | timestamp.(string) int | duration.() int
optional.of: (A) optional(A)
optional.ofNonZeroValue: (A) optional(A)
optional.none: () optional(A)
value: optional(A).() A
hasValue: optional(A).() bool
or: optional(A).(optional(A)) optional(A)
orValue: optional(A).(A) A
charAt: string.(int) string
indexOf: string.(string) int | string.(string, int) int | list(A).(A) int
lastIndexOf: string.(string) int | string.(string, int) int | list(A).(A) int
lowerAscii: string.() string
upperAscii: string.() string
replace: string.(string, string) string | string.(string, string, int) string
split: string.(string) list(string) | string.(string, int) list(string)
substring: string.(int) string | string.(int, int) string
trim: string.() string
format: string.(list(dyn)) string
strings.quote: (string) string
join: list(string).() string | list(string).(string) string
find: string.(string) string
findAll: string.(string) list(string) | string.(string, int) list(string)
sets.contains: (list(A), list(A)) bool
sets.equivalent: (list(A), list(A)) bool
sets.intersects: (list(A), list(A)) bool
cel.@mapInsert: (map(A, B), A, B) map(A, B) | (map(A, B), map(A, B)) map(A, B)
url: (string) URL
isURL: (string) bool
getScheme: URL.() string
getHost: URL.() string
getHostname: URL.() string
getPort: URL.() string
getEscapedPath: URL.() string
getQuery: URL.() map(string, list(string))
ip: (string) IP | CIDR.() IP
isIP: (string) bool
ip.isCanonical: (string) bool
family: IP.() int
isUnspecified: IP.() bool
isLoopback: IP.() bool
isLinkLocalMulticast: IP.() bool
isLinkLocalUnicast: IP.() bool
isGlobalUnicast: IP.() bool
cidr: (string) CIDR
isCIDR: (string) bool
containsIP: CIDR.(string) bool | CIDR.(IP) bool
containsCIDR: CIDR.(string) bool | CIDR.(CIDR) bool
prefixLength: CIDR.() int
masked: CIDR.() CIDR
quantity: (string) Quantity
isQuantity: (string) bool
sign: (Quantity) int
asInteger: Quantity.() int
isInteger: Quantity.() bool
asApproximateFloat: Quantity.() double
add: Quantity.(Quantity) Quantity | Quantity.(int) Quantity
sub: Quantity.(Quantity) Quantity | Quantity.(int) Quantity
isGreaterThan: Quantity.(Quantity) bool | Semver.(Semver) bool
isLessThan: Quantity.(Quantity) bool | Semver.(Semver) bool
compareTo: Quantity.(Quantity) int | Semver.(Semver) int
semver: (string) Semver | (string, bool) Semver
isSemver: (string) bool | (string, bool) bool
major: Semver.() int
minor: Semver.() int
patch: Semver.() int
validate: Format.(string) optional(list(string))
format.named: (string) optional(Format)
path: Authorizer.(string) PathCheck
group: Authorizer.(string) GroupCheck
serviceAccount: Authorizer.(string, string) Authorizer
resource: GroupCheck.(string) ResourceCheck
subresource: ResourceCheck.(string) ResourceCheck
namespace: ResourceCheck.(string) ResourceCheck
name: ResourceCheck.(string) ResourceCheck
fieldSelector: ResourceCheck.(string) ResourceCheck
labelSelector: ResourceCheck.(string) ResourceCheck
check: PathCheck.(string) Decision | ResourceCheck.(string) Decision
allowed: Decision.() bool
reason: Decision.() string
errored: Decision.() bool
error: Decision.() string";

/// The full names of the types of the libraries.
const LIBRARY_TYPES: [(&str, &str); 11] = [
    ("URL", "kubernetes.URL"),
    ("IP", "net.IP"),
    ("CIDR", "net.CIDR"),
    ("Quantity", "kubernetes.Quantity"),
    ("Semver", "kubernetes.Semver"),
    ("Format", "kubernetes.NamedFormat"),
    ("Authorizer", "kubernetes.authorization.Authorizer"),
    ("PathCheck", "kubernetes.authorization.PathCheck"),
    ("GroupCheck", "kubernetes.authorization.GroupCheck"),
    ("ResourceCheck", "kubernetes.authorization.ResourceCheck"),
    ("Decision", "kubernetes.authorization.Decision"),
];

/// What can be put in an order.
const COMPARABLE: [&str; 8] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "timestamp",
    "duration",
];
const NUMBERS: [&str; 3] = ["int", "uint", "double"];

/// All functions by name.
pub(crate) static FUNCTIONS: LazyLock<BTreeMap<String, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions = BTreeMap::<String, Vec<Overload>>::new();
    let mut declare = |name: &str, overload: Option<Overload>| {
        functions.entry(name.to_owned()).or_default().extend(overload);
    };
    for (name, overloads) in DECLARATIONS.lines().filter_map(|line| line.rsplit_once(": ")) {
        for overload in overloads.split(" | ") {
            declare(name, Overload::read(overload));
        }
    }
    for operator in ["_<_", "_<=_", "_>_", "_>=_"] {
        for of in COMPARABLE {
            declare(operator, Overload::read(&format!("({of}, {of}) bool")));
        }
        for (a, b) in NUMBERS.iter().flat_map(|a| NUMBERS.iter().map(move |b| (a, b))) {
            if a != b {
                declare(operator, Overload::read(&format!("({a}, {b}) bool")));
            }
        }
    }
    for of in COMPARABLE {
        declare("isSorted", Overload::read(&format!("list({of}).() bool")));
        declare("min", Overload::read(&format!("list({of}).() {of}")));
        declare("max", Overload::read(&format!("list({of}).() {of}")));
    }
    for of in ["int", "uint", "double", "duration"] {
        declare("sum", Overload::read(&format!("list({of}).() {of}")));
    }
    for format in crate::formats::NAMES {
        declare(&format!("format.{format}"), Overload::read("() Format"));
    }
    functions
});

/// The type of a library by its short name.
pub(crate) fn library_type(short: &str) -> Option<Type> {
    let (_, name) = LIBRARY_TYPES.iter().find(|(known, _)| *known == short)?;
    Some(Type::opaque(name))
}

/// The names of types, as values of expressions.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "dyn" => Type::Dyn,
        "type" => Type::Type(None),
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        other => Type::opaque(LIBRARY_TYPES.iter().find(|(_, known)| *known == other)?.1),
    })
}

impl Overload {
    fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text, highest: 0 };
        let mut arguments = Vec::new();
        let member = !reader.rest.starts_with('(');
        if member {
            arguments.push(reader.of()?);
            reader.take('.')?;
        }
        reader.take('(')?;
        while reader.take(')').is_none() {
            arguments.push(reader.of()?);
            let _ = reader.take(',');
            let _ = reader.take(' ');
        }
        reader.take(' ')?;
        let result = reader.of()?;
        Some(Self {
            member,
            arguments,
            result,
            parameters: reader.highest,
        })
    }
}

struct Reader<'t> {
    rest: &'t str,
    highest: u32,
}

impl Reader<'_> {
    fn take(&mut self, letter: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(letter)?;
        Some(())
    }

    fn of(&mut self) -> Option<Type> {
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match name {
            "A" | "B" => {
                let number = u32::from(name == "B");
                self.highest = self.highest.max(number + 1);
                Type::Param(number)
            }
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "list" => Type::list(self.within()?),
            "optional" => Type::optional(self.within()?),
            "type" => Type::Type(Some(Arc::new(self.within()?))),
            "map" => {
                self.take('(')?;
                let key = self.of()?;
                self.take(',')?;
                self.take(' ')?;
                let value = self.of()?;
                self.take(')')?;
                Type::map(key, value)
            }
            other => library_type(other).or_else(|| type_named(other))?,
        })
    }

    fn within(&mut self) -> Option<Type> {
        self.take('(')?;
        let of = self.of()?;
        self.take(')')?;
        Some(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        for (name, overloads) in DECLARATIONS.lines().map(|line| line.rsplit_once(": ").unwrap()) {
            for overload in overloads.split(" | ") {
                assert!(Overload::read(overload).is_some(), "{name}: {overload}");
            }
        }
        assert_eq!(FUNCTIONS["_<_"].len(), 14);
        assert_eq!(FUNCTIONS["indexOf"].len(), 3);
        assert_eq!(FUNCTIONS["_?_:_"][0].parameters, 1);
    }
}
