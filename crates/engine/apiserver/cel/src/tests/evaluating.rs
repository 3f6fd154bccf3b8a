//! What expressions give for an object.

use serde_json::json;

use super::gives;
use crate::authorizer::{Authorizer, Decision, Question, ResourceCheck, Target};
use crate::{Bindings, Budget, Environment, Identity, Type, compile};

#[track_caller]
fn all(table: &[(&str, &str)]) {
    for (expression, wanted) in table {
        assert_eq!(gives(expression), *wanted, "{expression}");
    }
}

#[test]
fn operators() {
    all(&[
        ("1 + 2 * 3 - 4 / 2 % 2", "7"),
        ("-7 / 2", "-3"),
        ("-7 % 4", "-3"),
        ("7u - 3u", "4"),
        ("1.5 * 2.0", "3.0"),
        ("'a' + 'b'", "\"ab\""),
        ("b'a' + b'b' == b'ab'", "true"),
        ("[1] + [2]", "[1,2]"),
        ("1 == 1 && 'a' != 'b'", "true"),
        ("dyn(1) == 1u && dyn(1.0) == 1", "true"),
        ("1 < 2u && 2u < 2.5 && 'a' < 'b'", "true"),
        ("2 in [1, 2] && !('x' in {'y': 1})", "true"),
        ("true ? 1 : 2", "1"),
        ("{'a': 1}.a + {'b': 2}['b'] + [1, 2, 3][2]", "6"),
        ("{1: 'x'}[dyn(1u)]", "\"x\""),
        ("!true || -(1) == -1", "true"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("0u - 1u", "error: unsigned integer overflow"),
        ("-9223372036854775808 / -1", "error: integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("[1][1]", "error: index out of bounds: 1"),
        ("[1][-1]", "error: index out of bounds: -1"),
        ("{'a': 1}.b", "error: no such key: b"),
        ("{'a': 1}['c']", "error: no such key: c"),
        ("dyn('a') + 1", "error: no such overload"),
        ("dyn('a') < dyn(1)", "error: no such overload"),
        ("dyn(1) && true", "error: no such overload"),
        ("{'a': 1, 'a': 2}", "error: Failed with repeated key: a"),
        ("false && 1 / 0 == 1", "false"),
        ("1 / 0 == 1 && false", "false"),
        ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 || false", "error: division by zero"),
    ]);
}

#[test]
fn objects() {
    all(&[
        ("object.metadata.namespace", "\"default\""),
        ("object.spec.replicas > 2", "true"),
        ("object.spec.missing", "error: no such key: missing"),
        ("has(object.spec.missing)", "false"),
        ("has(object.spec.gone) && object.spec.gone == null", "true"),
        ("has(object.a.b)", "error: no such key: a"),
        ("'app' in object.metadata.labels", "true"),
        ("object.metadata.labels['a/b']", "\"c\""),
        ("object.spec.containers.all(c, c.image.contains(':'))", "true"),
        (
            "object.spec.containers.exists(c, has(c.ports) && 80 in c.ports)",
            "true",
        ),
        ("object.spec.containers.map(c, c.name)", "[\"a\",\"b\"]"),
        ("object.spec.containers.filter(c, has(c.ports)).size()", "1"),
        ("oldObject == null", "true"),
        ("object == object", "true"),
        ("type(object.spec.ratio) == double && type(object) == map", "true"),
        ("object.spec.replicas.name", "error: no such key: name"),
        ("object.spec.name.x", "error: no such key: name"),
        ("has(object.spec.gone.x) || has(object.spec.replicas.x)", "false"),
        ("object.spec.gone.x", "error: no such key: x"),
        ("object.spec.gone.?x.hasValue()", "false"),
        ("object.spec.replicas['x']", "error: no such key: x"),
        (
            "object.spec.containers.name",
            "error: unsupported index type 'string' in list",
        ),
        ("request.name", "error: no such attribute(s): request"),
    ]);
}

#[test]
fn comprehensions() {
    all(&[
        ("[1, 2, 3].all(x, x > 0)", "true"),
        ("[].all(x, x > 0)", "true"),
        ("[1, 2].exists(x, x == 2)", "true"),
        ("[1, 2, 2].exists_one(x, x == 2)", "false"),
        ("[1, 2].map(x, x > 1, x * 2)", "[4]"),
        ("{'a': 1, 'b': 2}.map(k, k)", "[\"a\",\"b\"]"),
        ("{'a': 1}.all(k, k == 'a')", "true"),
        ("[[1], [2, 3]].map(x, x.map(y, y + 1))", "[[2],[3,4]]"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 1].all(x, 1 / x == 2)", "false"),
        ("[0, 1].all(x, 1 / x == 1)", "error: division by zero"),
        ("[0, 1].map(x, 1 / x)", "error: division by zero"),
        ("[1, 2].all(i, v, i + 1 == v)", "true"),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"),
        ("[3, 4].existsOne(i, v, v == 4)", "true"),
        ("[3, 4].transformList(i, v, i * v)", "[0,4]"),
        ("[3, 4].transformList(i, v, i > 0, v)", "[4]"),
        ("{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", "{\"b\":2}"),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", "{\"x\":\"a\"}"),
        (
            "{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})",
            "error: insert failed: key x already exists",
        ),
        ("[1].map(x, [x].map(x, x + 1))", "[[2]]"),
        ("dyn(1).all(x, true)", "error: no such overload"),
    ]);
}

#[test]
fn optionals() {
    all(&[
        ("object.?metadata.?name.orValue('x')", "\"web\""),
        ("object.?nothing.?name.orValue('x')", "\"x\""),
        ("object.?nothing.hasValue()", "false"),
        ("{'a': 1}[?'b'].orValue(5)", "5"),
        ("[1, 2][?7].hasValue()", "false"),
        ("optional.of(1).value()", "1"),
        ("optional.none().value()", "error: optional.none() dereference"),
        ("optional.ofNonZeroValue('').hasValue()", "false"),
        ("optional.none().or(optional.of(2)).value()", "2"),
        ("optional.of(1).or(optional.of(1 / 0)).value()", "1"),
        ("object.?metadata.optMap(m, m.name + '!').value()", "\"web!\""),
        ("optional.of({'a': 1}).optFlatMap(m, m[?'a']).value()", "1"),
        ("[?optional.none(), ?optional.of(1)]", "[1]"),
        ("{?'a': optional.none(), ?'b': optional.of(2)}", "{\"b\":2}"),
        ("optional.of(1) == optional.of(1)", "true"),
    ]);
}

#[test]
fn conversions() {
    all(&[
        ("int('12') + int(1.9) + int(3u)", "16"),
        ("int('1.5')", "error: type conversion error from 'string' to 'int'"),
        ("int(1e30)", "error: integer overflow"),
        ("uint(-1)", "error: unsigned integer overflow"),
        ("double('0.5') + double(1)", "1.5"),
        (
            "string(1) + string(1.5) + string(true) + string(b'x') + string(2u)",
            "\"11.5truex2\"",
        ),
        (
            "string(b'\\xff')",
            "error: invalid UTF-8 in bytes, cannot convert to string",
        ),
        ("bool('true') && !bool('F')", "true"),
        ("bytes('hi') == b'hi'", "true"),
        ("duration('1h30m').getMinutes()", "90"),
        ("string(duration('90s'))", "\"90s\""),
        ("duration('1h') - duration('30m') == duration('30m')", "true"),
        ("timestamp('2024-02-29T10:20:30Z').getMonth()", "1"),
        ("timestamp('2024-02-29T10:20:30Z').getDate()", "29"),
        ("timestamp('2024-02-29T23:20:30Z').getHours('+02:00')", "1"),
        (
            "timestamp('2024-02-29T23:20:30Z').getHours('Nowhere/Else')",
            "error: unknown time zone Nowhere/Else",
        ),
        (
            "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
            "true",
        ),
        (
            "timestamp('9999-12-31T23:59:59Z') + duration('24h')",
            "error: timestamp overflow",
        ),
        ("type(1) == int && type('') == string && type(type(1)) == type", "true"),
        ("type(null) == null_type && type([]) == list", "true"),
        ("int(dyn([]))", "error: no such overload: int(list)"),
        (
            "size('é') + 'ab'.size() + size([1]) + size({'a': 1}) + size(b'abc')",
            "8",
        ),
    ]);
}

#[test]
fn libraries() {
    all(&[
        ("[1, 3, 2].max() + [1, 3, 2].min() + [1, 2].sum()", "7"),
        ("['a', 'b'].isSorted() && ![2, 1].isSorted()", "true"),
        ("[duration('1s'), duration('2s')].sum() == duration('3s')", "true"),
        ("[1, 2, 2].indexOf(2) + [1, 2, 2].lastIndexOf(2)", "3"),
        ("[].max()", "error: max called on empty list"),
        ("'abc 123'.find('[0-9]+')", "\"123\""),
        ("'1 2 3'.findAll('[0-9]', 2)", "[\"1\",\"2\"]"),
        ("'abc'.matches('^a.c$') && !'b'.matches('a')", "true"),
        (
            "'abc'.matches(object.metadata.name + '(')",
            "error: error parsing regexp: missing closing ): `web(`",
        ),
        (
            "'tacocat'.charAt(3) + 'AbC'.lowerAscii() + 'AbC'.upperAscii()",
            "\"oabcABC\"",
        ),
        ("'hello'.indexOf('l') + 'hello'.lastIndexOf('l')", "5"),
        ("'a,b,c'.split(',')", "[\"a\",\"b\",\"c\"]"),
        (
            "' x '.trim() + 'hello'.replace('l', 'L', 1) + 'tacocat'.substring(4)",
            "\"xheLlocat\"",
        ),
        ("['a', 'b'].join('-') + '%s'.format(['x'])", "\"a-bx\""),
        ("'%s %d'.format([dyn('x'), dyn(1)])", "\"x 1\""),
        ("strings.quote('a\"b')", "\"\\\"a\\\\\\\"b\\\"\""),
        ("'abc'.charAt(9)", "error: index out of range: 9"),
        (
            "sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])",
            "true",
        ),
        ("url('https://e.com:80/p?k=v').getHostname()", "\"e.com\""),
        ("url('https://e.com:80/p?k=v').getQuery()", "{\"k\":[\"v\"]}"),
        ("isURL('../x')", "false"),
        (
            "url('../x')",
            "error: URL parse error during conversion from string: parse \"../x\": invalid URI for request",
        ),
        ("quantity('1.5Gi').isGreaterThan(quantity('1G'))", "true"),
        (
            "quantity('50k').add(20).sub(quantity('10')) == quantity('50010')",
            "true",
        ),
        ("quantity('1m').isInteger() || isQuantity('x')", "false"),
        ("quantity('2k').asInteger() + sign(quantity('-1'))", "1999"),
        ("quantity('1500m').asApproximateFloat()", "1.5"),
        ("quantity('1').compareTo(quantity('2'))", "-1"),
        (
            "quantity('x')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("ip('192.168.0.1').family() + ip('::1').family()", "10"),
        ("ip.isCanonical('127.0.0.1') && !ip.isCanonical('0::1')", "true"),
        ("isIP('1.2.3.4') && !isIP('1.2.3')", "true"),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
            "true",
        ),
        (
            "string(cidr('10.1.2.3/8').masked()) + string(cidr('10.1.2.3/8').ip())",
            "\"10.0.0.0/810.1.2.3\"",
        ),
        ("isCIDR('10.0.0.0/99')", "false"),
        (
            "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('v1', true)",
            "true",
        ),
        ("semver('1.2.3').major() + semver('1.2.3').patch()", "4"),
        ("format.dns1123Label().validate('ok').hasValue()", "false"),
        (
            "format.named('uuid').value().validate('x').value()",
            "[\"does not match the UUID format\"]",
        ),
        ("format.named('nope').hasValue()", "false"),
    ]);
}

struct OnlyPods;

impl Authorizer for OnlyPods {
    fn authorize(&self, question: &Question<'_>) -> Decision {
        let allowed = match (question.target, question.identity) {
            (Target::Resource(check), Identity::Requester) => check.resource == "pods" && question.verb == "get",
            (Target::Path(path), _) => path == "/healthz",
            (Target::Resource(check), Identity::ServiceAccount { name, .. }) => check.name == **name,
        };
        Decision {
            allowed,
            reason: if allowed { String::new() } else { "no".to_owned() },
            error: None,
        }
    }
}

#[test]
fn permissions() {
    for (expression, wanted) in [
        (
            "authorizer.group('').resource('pods').namespace('x').check('get').allowed()",
            "true",
        ),
        ("authorizer.group('').resource('nodes').check('get').reason()", "\"no\""),
        ("authorizer.path('/healthz').check('get').allowed()", "true"),
        ("authorizer.requestResource.check('get').allowed()", "true"),
        (
            "authorizer.serviceAccount('ns', 'sa').group('').resource('x').name('sa').check('get').allowed()",
            "true",
        ),
        (
            "authorizer.serviceAccount('NS', 'sa').group('').resource('x').check('get').allowed()",
            "Invalid service account namespace",
        ),
        ("authorizer.path(' ').check('get').allowed()", "path must not be empty"),
        (
            "[1, 2, 3].all(x, authorizer.path('/healthz').check('get').allowed())",
            "operation cancelled: actual cost limit exceeded",
        ),
    ] {
        let environment = Environment::match_condition();
        let program = compile(expression, &environment).unwrap();
        let bindings = Bindings::new().with_authorizer(&OnlyPods, ResourceCheck::new("", "pods"));
        let text = match program.evaluate(&bindings, &mut Budget::match_conditions()) {
            Ok(value) => value.to_json().unwrap().to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(text, wanted, "{expression}");
    }
}

#[test]
fn schemas() {
    let schema = json!({"type": "object", "properties": {
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "if": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": true},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let object = json!({"min": 3, "max": 5, "if": "x", "at": "2024-01-01T00:00:00Z", "port": "http",
        "set": ["a", "b"], "keyed": [{"name": "a", "v": 1}, {"name": "b", "v": 2}], "m": {"if": "y"}});
    let old = json!({"set": ["b", "a"], "keyed": [{"name": "b", "v": 2}, {"name": "a", "v": 1}]});
    for (expression, wanted) in [
        ("self.min <= self.max", "true"),
        ("self.__if__ == 'x' && has(self.__if__)", "true"),
        ("self.at.getFullYear()", "2024"),
        (
            "type(self.port) == string ? self.port == 'http' : self.port == 80",
            "true",
        ),
        ("self.set == oldSelf.set", "true"),
        ("self.set + ['a', 'c']", "[\"a\",\"b\",\"c\"]"),
        ("self.keyed == oldSelf.keyed", "true"),
        ("self.keyed + oldSelf.keyed == self.keyed", "true"),
        ("self.m['if'] + self.m.__if__", "error: no such key: __if__"),
        ("!has(oldSelf.frozen)", "compile"),
        ("!has(oldSelf.min) || self.min == oldSelf.min", "true"),
    ] {
        let environment = Environment::validation_rule(&schema, false, false).unwrap();
        let text = match compile(expression, &environment) {
            Err(_) => "compile".to_owned(),
            Ok(program) => {
                let bindings = Bindings::new()
                    .with_schema("self", &object, &schema)
                    .with_schema("oldSelf", &old, &schema);
                match program.evaluate(&bindings, &mut Budget::per_call()) {
                    Ok(value) => value.to_json().unwrap().to_string(),
                    Err(why) => format!("error: {why}"),
                }
            }
        };
        assert_eq!(text, wanted, "{expression}");
    }
}

#[test]
fn variables_of_policies() {
    let object = super::pod();
    let environment = Environment::admission_policy(false, false);
    let first = compile("object.spec.replicas", &environment).unwrap();
    let environment = environment.with_variable("replicas", first.result_type().clone());
    let second = compile("variables.replicas + 1", &environment).unwrap();
    let environment = environment
        .with_variable("more", Type::Int)
        .with_variable("bad", Type::Dyn);
    let bad = compile("object.nothing", &environment).unwrap();
    let bindings = Bindings::new()
        .with("object", &object)
        .with_variable("replicas", &first)
        .with_variable("more", &second)
        .with_variable("bad", &bad);
    for (expression, wanted) in [
        ("variables.more == 4", "true"),
        ("variables.more == 4 && has(variables.replicas)", "true"),
        (
            "variables.bad == 1",
            "composited variable \"bad\" fails to evaluate: no such key: nothing",
        ),
        ("variables.bad == 1 || true", "true"),
    ] {
        let program = compile(expression, &environment).unwrap();
        let text = match program.evaluate(&bindings, &mut Budget::per_call()) {
            Ok(value) => value.to_json().unwrap().to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(text, wanted, "{expression}");
    }
    assert!(
        compile("variables.none", &environment)
            .unwrap_err()
            .to_string()
            .contains("undefined field 'none'")
    );
}
