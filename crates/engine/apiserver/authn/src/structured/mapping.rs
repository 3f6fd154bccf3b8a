//! From claims to an identity: by name, or by expressions.

use std::collections::BTreeMap;

use engenho_authz::{Identity, authn};
use engenho_cel::{Bindings, Budget, Environment, Program, Type, Value as Cel, compile};
use serde_json::{Map, Value, json};

use crate::service_account::credential_id;

/// Where a fact about the user comes from.
#[derive(Debug)]
pub(super) enum Source {
    Claim { claim: String, prefix: String },
    Expression(Program),
}

/// What must be true.
#[derive(Debug)]
pub(super) struct Rule {
    source: String,
    message: String,
    program: Program,
}

impl Rule {
    pub fn new(source: String, message: String, program: Program) -> Self {
        Self {
            source,
            message,
            program,
        }
    }

    fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let found = evaluate(&self.program, name, value)?;
        match found.as_bool() {
            Some(true) => Ok(()),
            Some(false) => Err(format!(
                "validation expression '{}' failed: {}",
                self.source, self.message
            )),
            None => Err("validation expression must return a boolean".to_owned()),
        }
    }
}

/// Expressions about claims, and about users.
pub(super) struct Compiler {
    claims: Environment,
    user: Environment,
}

impl Compiler {
    pub fn new() -> Self {
        let text = Type::String;
        let texts = Type::list(text.clone());
        let fields = [
            ("username", text.clone()),
            ("uid", text.clone()),
            ("groups", texts.clone()),
            ("extra", Type::map(text.clone(), texts)),
        ];
        let user = Type::object("kubernetes.UserInfo", fields.map(|(name, of)| (name.to_owned(), of)));
        Self {
            claims: Environment::new().with("claims", Type::map(text, Type::Dyn)),
            user: Environment::new().with("user", user),
        }
    }

    pub fn claims(&self, expression: &str) -> Result<Program, String> {
        compile(expression, &self.claims).map_err(|error| error.to_string())
    }

    pub fn claims_rule(&self, expression: &str) -> Result<Program, String> {
        Self::rule(expression, &self.claims)
    }

    pub fn user_rule(&self, expression: &str) -> Result<Program, String> {
        Self::rule(expression, &self.user)
    }

    fn rule(expression: &str, environment: &Environment) -> Result<Program, String> {
        compile(expression, environment)
            .and_then(|program| program.expecting(&[Type::Bool]))
            .map_err(|error| error.to_string())
    }
}

fn evaluate<'a>(program: &Program, name: &str, value: &'a Value) -> Result<Cel<'a>, String> {
    let bindings = Bindings::new().with(name, value);
    program
        .evaluate(&bindings, &mut Budget::per_call())
        .map_err(|error| error.to_string())
}

/// What is made of claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub username: Option<Source>,
    pub groups: Option<Source>,
    pub uid: Option<Source>,
    /// Key, expression as it was written, and what runs.
    pub extra: Vec<(String, String, Program)>,
    /// Claims that must have these values.
    pub required: Vec<(String, String)>,
    pub rules: Vec<Rule>,
    pub user_rules: Vec<Rule>,
}

/// A text, texts, or nothing.
fn texts(value: &Cel<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let mut found = Vec::new();
    match value {
        Cel::Null => {}
        Cel::String(_) => found.extend(value.as_str().map(str::to_owned)),
        Cel::List(list) => {
            for element in list.iter() {
                found.push(element.as_str().ok_or_else(wrong)?.to_owned());
            }
        }
        _ => return Err(wrong()),
    }
    found.retain(|text| !text.is_empty());
    Ok(found)
}

fn text_claim<'a>(claims: &'a Map<String, Value>, claim: &str) -> Result<&'a str, String> {
    match claims.get(claim) {
        None => Err("claim not present".to_owned()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err("the claim is no string".to_owned()),
    }
}

impl Claims {
    /// The identity that verified claims stand for, or why they stand for none, in upstream's words.
    pub fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, String> {
        let all = Value::Object(claims.clone());
        let identity = Identity {
            user: self.user(claims, &all)?,
            groups: self.user_groups(claims, &all)?,
            uid: self.user_uid(claims, &all)?,
            extra: self.user_extra(claims, &all)?,
        };
        for (claim, value) in &self.required {
            if !claims.contains_key(claim) {
                return Err(format!("oidc: required claim {claim} not present in ID token"));
            }
            let found = text_claim(claims, claim).map_err(|error| format!("oidc: parse claim {claim}: {error}"))?;
            if found != value {
                return Err(format!(
                    "oidc: required claim {claim} value does not match. Got = {found}, want = {value}"
                ));
            }
        }
        for rule in &self.rules {
            rule.check("claims", &all)
                .map_err(|error| format!("oidc: error evaluating claim validation expression: {error}"))?;
        }
        if !self.user_rules.is_empty() {
            let user = json!({
                "username": identity.user,
                "uid": identity.uid,
                "groups": identity.groups,
                "extra": identity.extra,
            });
            for rule in &self.user_rules {
                rule.check("user", &user)
                    .map_err(|error| format!("oidc: error evaluating user info validation rule: {error}"))?;
            }
        }
        Ok(identity)
    }

    fn user(&self, claims: &Map<String, Value>, all: &Value) -> Result<String, String> {
        match &self.username {
            Some(Source::Expression(program)) => {
                let failed = |error: String| format!("oidc: error evaluating username claim expression: {error}");
                let found = evaluate(program, "claims", all).map_err(failed)?;
                let Some(user) = found.as_str() else {
                    return Err(failed("username claim expression must return a string".to_owned()));
                };
                if user.is_empty() {
                    return Err("oidc: empty username via CEL expression is not allowed".to_owned());
                }
                Ok(user.to_owned())
            }
            Some(Source::Claim { claim, prefix }) => {
                let user = text_claim(claims, claim);
                let user = user.map_err(|error| format!("oidc: parse username claims {claim:?}: {error}"))?;
                if claim == "email" {
                    match claims.get("email_verified") {
                        None | Some(Value::Bool(true)) => {}
                        Some(Value::Bool(false)) => return Err("oidc: email not verified".to_owned()),
                        Some(_) => {
                            return Err("oidc: parse 'email_verified' claim: the claim is no boolean".to_owned());
                        }
                    }
                }
                Ok(format!("{prefix}{user}"))
            }
            None => Err("oidc: no username is configured".to_owned()),
        }
    }

    fn user_groups(&self, claims: &Map<String, Value>, all: &Value) -> Result<Vec<String>, String> {
        match &self.groups {
            Some(Source::Claim { claim, prefix }) => {
                let wrong = || format!("oidc: parse groups claim {claim:?}: the claim is neither a string nor strings");
                let groups: Vec<String> = match claims.get(claim) {
                    None => Vec::new(),
                    Some(Value::String(one)) => vec![one.clone()],
                    Some(Value::Array(several)) => {
                        let texts = several.iter().map(|value| value.as_str().map(str::to_owned));
                        texts.collect::<Option<_>>().ok_or_else(wrong)?
                    }
                    Some(_) => return Err(wrong()),
                };
                Ok(groups.iter().map(|group| format!("{prefix}{group}")).collect())
            }
            Some(Source::Expression(program)) => {
                let found = evaluate(program, "claims", all).and_then(|value| texts(&value));
                found.map_err(|error| format!("oidc: error evaluating group claim expression: {error}"))
            }
            None => Ok(Vec::new()),
        }
    }

    fn user_uid(&self, claims: &Map<String, Value>, all: &Value) -> Result<String, String> {
        match &self.uid {
            Some(Source::Claim { claim, .. }) => {
                let uid = text_claim(claims, claim);
                uid.map(str::to_owned)
                    .map_err(|error| format!("oidc: parse uid claim {claim:?}: {error}"))
            }
            Some(Source::Expression(program)) => {
                let failed = |error: String| format!("oidc: error evaluating uid claim expression: {error}");
                let found = evaluate(program, "claims", all).map_err(failed)?;
                let uid = found.as_str().map(str::to_owned);
                uid.ok_or_else(|| failed("uid claim expression must return a string".to_owned()))
            }
            None => Ok(String::new()),
        }
    }

    fn user_extra(&self, claims: &Map<String, Value>, all: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        let id = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
        if let Some(credential) = credential_id(id) {
            extra.insert(authn::CREDENTIAL_ID.to_owned(), vec![credential]);
        }
        for (key, source, program) in &self.extra {
            let failed = |error: String| format!("oidc: error evaluating extra claim expression: {source}: {error}");
            let values = evaluate(program, "claims", all)
                .and_then(|value| texts(&value))
                .map_err(failed)?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}
