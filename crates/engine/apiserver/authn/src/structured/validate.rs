//! Whether a configuration makes sense, in upstream's words; what does is compiled.

use super::jwt::{JwtAuthenticator, Provider};
use super::mapping::{Claims, Compiler, Rule, Source};
use super::{AuthenticationConfig, Document, IssuerConfig, JwtConfig, Mapping, PROVIDERS_MAX};

/// Collects findings.
#[derive(Default)]
pub(super) struct Findings(Vec<String>);

impl Findings {
    fn invalid(&mut self, field: &str, value: &str, detail: &str) {
        self.0.push(format!("{field}: Invalid value: {value:?}: {detail}"));
    }

    fn required(&mut self, field: &str, detail: &str) {
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(": {detail}")
        };
        self.0.push(format!("{field}: Required value{detail}"));
    }

    fn duplicate(&mut self, field: &str, value: &str) {
        self.0.push(format!("{field}: Duplicate value: {value:?}"));
    }
}

/// Compiles a document, or gives all that is wrong with it.
pub(super) fn compile(document: Document, own_issuers: &[String]) -> Result<AuthenticationConfig, Vec<String>> {
    let mut findings = Findings::default();
    let many = document.jwt.len();
    if many > PROVIDERS_MAX {
        let text = format!("jwt: Too many: {many}: must have at most {PROVIDERS_MAX} items");
        return Err(vec![text]);
    }
    let (mut urls, mut discoveries) = (Vec::new(), Vec::new());
    let mut jwt = Vec::new();
    for (at, one) in document.jwt.into_iter().enumerate() {
        let field = format!("jwt[{at}]");
        let (url, discovery) = (one.issuer.url.clone(), one.issuer.discovery_url.clone());
        if let Some(compiled) = authenticator(one, &field, own_issuers, &mut findings) {
            jwt.push(compiled);
        }
        if urls.contains(&url) {
            findings.duplicate(&format!("{field}.issuer.url"), &url);
        }
        if !discovery.is_empty() && discoveries.contains(&discovery) {
            findings.duplicate(&format!("{field}.issuer.discoveryURL"), &discovery);
        }
        urls.push(url);
        discoveries.push(discovery);
    }
    if let Some(anonymous) = &document.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let paths: Vec<&str> = anonymous.conditions.iter().map(|c| c.path.as_str()).collect();
        let detail = "enabled should be set to true when conditions are defined";
        findings.invalid("anonymous.conditions", &paths.join(","), detail);
    }
    if findings.0.is_empty() {
        Ok(AuthenticationConfig {
            jwt,
            anonymous: document.anonymous,
        })
    } else {
        Err(findings.0)
    }
}

fn authenticator(
    config: JwtConfig,
    field: &str,
    own_issuers: &[String],
    findings: &mut Findings,
) -> Option<JwtAuthenticator> {
    issuer(&config.issuer, &format!("{field}.issuer"), own_issuers, findings);
    let compiler = Compiler::new();
    let mut claims = Claims::default();
    let mut expressions: Vec<String> = Vec::new();

    let (mut seen_claims, mut seen_rules) = (Vec::new(), Vec::new());
    for (at, rule) in config.claim_validation_rules.into_iter().enumerate() {
        let field = format!("{field}.claimValidationRules[{at}]");
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (false, false) => findings.invalid(&field, &rule.claim, "claim and expression can't both be set"),
            (true, true) => findings.required(&field, "claim or expression is required"),
            (false, true) => {
                if !rule.message.is_empty() {
                    let detail = "may not be specified when claim is set";
                    findings.invalid(&format!("{field}.message"), &rule.message, detail);
                }
                if seen_claims.contains(&rule.claim) {
                    findings.duplicate(&format!("{field}.claim"), &rule.claim);
                }
                seen_claims.push(rule.claim.clone());
                claims.required.push((rule.claim, rule.required_value));
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let detail = "may not be specified when expression is set";
                    findings.invalid(&format!("{field}.requiredValue"), &rule.required_value, detail);
                }
                let field = format!("{field}.expression");
                if seen_rules.contains(&rule.expression) {
                    findings.duplicate(&field, &rule.expression);
                    continue;
                }
                seen_rules.push(rule.expression.clone());
                expressions.push(rule.expression.clone());
                match compiler.claims_rule(&rule.expression) {
                    Ok(program) => claims.rules.push(Rule::new(rule.expression, rule.message, program)),
                    Err(error) => findings.invalid(&field, &rule.expression, &error),
                }
            }
        }
    }

    let mappings = config.claim_mappings;
    let base = format!("{field}.claimMappings");
    let username = mappings.username.expression.clone();
    claims.username = source(
        &mappings.username,
        &format!("{base}.username"),
        true,
        &compiler,
        findings,
    );
    claims.groups = source(&mappings.groups, &format!("{base}.groups"), false, &compiler, findings);
    let uid = Mapping {
        // A UID has no prefix.
        prefix: Some(String::new()).filter(|_| mappings.uid.expression.is_empty()),
        ..mappings.uid
    };
    claims.uid = source(&uid, &format!("{base}.uid"), false, &compiler, findings);
    let mut keys: Vec<String> = Vec::new();
    for (at, one) in mappings.extra.into_iter().enumerate() {
        let field = format!("{base}.extra[{at}]");
        extra_key(&one.key, &format!("{field}.key"), findings);
        if keys.contains(&one.key) {
            findings.duplicate(&format!("{field}.key"), &one.key);
            continue;
        }
        keys.push(one.key.clone());
        let field = format!("{field}.valueExpression");
        if one.value_expression.is_empty() {
            findings.required(&field, "");
            continue;
        }
        expressions.push(one.value_expression.clone());
        match compiler.claims(&one.value_expression) {
            Ok(program) => claims.extra.push((one.key, one.value_expression, program)),
            Err(error) => findings.invalid(&field, &one.value_expression, &error),
        }
    }
    expressions.push(username.clone());
    if selects(&username, "email") && !expressions.iter().any(|e| selects(e, "email_verified")) {
        let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                      claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is \
                      used in claimMappings.username.expression";
        findings.invalid(&format!("{base}.username.expression"), &username, detail);
    }

    let mut seen = Vec::new();
    for (at, rule) in config.user_validation_rules.into_iter().enumerate() {
        let field = format!("{field}.userValidationRules[{at}].expression");
        if rule.expression.is_empty() {
            findings.required(&field, "");
        } else if seen.contains(&rule.expression) {
            findings.duplicate(&field, &rule.expression);
        } else {
            seen.push(rule.expression.clone());
            match compiler.user_rule(&rule.expression) {
                Ok(program) => claims
                    .user_rules
                    .push(Rule::new(rule.expression, rule.message, program)),
                Err(error) => findings.invalid(&field, &rule.expression, &error),
            }
        }
    }
    findings.0.is_empty().then(|| {
        let issuer = config.issuer;
        JwtAuthenticator {
            provider: Provider {
                url: issuer.url,
                discovery_url: Some(issuer.discovery_url).filter(|url| !url.is_empty()),
                certificate_authority: Some(issuer.certificate_authority).filter(|pem| !pem.is_empty()),
                audiences: issuer.audiences,
            },
            claims,
        }
    })
}

fn source(
    mapping: &Mapping,
    field: &str,
    required: bool,
    compiler: &Compiler,
    findings: &mut Findings,
) -> Option<Source> {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => findings.invalid(field, "", "claim and expression can't both be set"),
        (true, true) if required => findings.required(field, "claim or expression is required"),
        (true, true) => {}
        (true, false) => {
            if let Some(prefix) = &mapping.prefix {
                let detail = "may not be specified when expression is set";
                findings.invalid(&format!("{field}.prefix"), prefix, detail);
            }
            match compiler.claims(&mapping.expression) {
                Ok(program) => return Some(Source::Expression(program)),
                Err(error) => findings.invalid(&format!("{field}.expression"), &mapping.expression, &error),
            }
        }
        (false, true) => match &mapping.prefix {
            Some(prefix) => {
                return Some(Source::Claim {
                    claim: mapping.claim.clone(),
                    prefix: prefix.clone(),
                });
            }
            None => {
                let detail =
                    "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                findings.required(&format!("{field}.prefix"), detail);
            }
        },
    }
    None
}

fn issuer(issuer: &IssuerConfig, field: &str, own_issuers: &[String], findings: &mut Findings) {
    let at = format!("{field}.url");
    if issuer.url.is_empty() {
        findings.required(&at, "");
    } else {
        if own_issuers.contains(&issuer.url) {
            let detail = format!(
                "URL must not overlap with disallowed issuers: [{}]",
                own_issuers.join(" ")
            );
            findings.invalid(&at, &issuer.url, &detail);
        }
        url(&issuer.url, &at, findings);
    }
    let at = format!("{field}.discoveryURL");
    if !issuer.discovery_url.is_empty() {
        if issuer.discovery_url.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            findings.invalid(&at, &issuer.discovery_url, "discoveryURL must be different from URL");
        }
        url(&issuer.discovery_url, &at, findings);
    }
    audiences(issuer, field, findings);
    if !issuer.egress_selector_type.is_empty() {
        let detail = "egress selector is not supported when StructuredAuthenticationConfigurationEgressSelector feature \
                      gate is disabled";
        findings.invalid(
            &format!("{field}.egressSelectorType"),
            &issuer.egress_selector_type,
            detail,
        );
    }
}

fn audiences(issuer: &IssuerConfig, field: &str, findings: &mut Findings) {
    let at = format!("{field}.audiences");
    if issuer.audiences.is_empty() {
        return findings.required(&at, &format!("at least one {at} is required"));
    }
    for (number, audience) in issuer.audiences.iter().enumerate() {
        let at = format!("{at}[{number}]");
        if audience.is_empty() {
            findings.required(&at, "");
        }
        if issuer.audiences[..number].contains(audience) {
            findings.duplicate(&at, audience);
        }
    }
    let (policy, at) = (
        issuer.audience_match_policy.as_str(),
        format!("{field}.audienceMatchPolicy"),
    );
    if issuer.audiences.len() > 1 && policy != "MatchAny" {
        findings.invalid(
            &at,
            policy,
            "audienceMatchPolicy must be MatchAny for multiple audiences",
        );
    }
    if issuer.audiences.len() == 1 && !policy.is_empty() && policy != "MatchAny" {
        let detail = "audienceMatchPolicy must be empty or MatchAny for single audience";
        findings.invalid(&at, policy, detail);
    }
}

fn url(text: &str, field: &str, findings: &mut Findings) {
    let rest = text.strip_prefix("https://");
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let checks = [
        (rest.is_none(), "URL scheme must be https"),
        (
            authority.is_some_and(|authority| authority.contains('@')),
            "URL must not contain a username or password",
        ),
        (text.contains('?'), "URL must not contain a query"),
        (text.contains('#'), "URL must not contain a fragment"),
    ];
    for (_, detail) in checks.iter().filter(|(wrong, _)| *wrong) {
        findings.invalid(field, text, detail);
    }
}

fn extra_key(key: &str, field: &str, findings: &mut Findings) {
    match key.split_once('/') {
        _ if key.is_empty() => findings.required(field, ""),
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            let of = |base: &str| domain == base || domain.ends_with(&format!(".{base}"));
            if of("kubernetes.io") || of("k8s.io") {
                let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                findings.invalid(field, key, detail);
            }
        }
        _ => findings.invalid(field, key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if key.to_lowercase() != key {
        findings.invalid(field, key, "must be lowercase");
    }
}

/// Whether an expression selects a claim.
fn selects(expression: &str, claim: &str) -> bool {
    ["claims.", "claims.?"].iter().any(|start| {
        expression.match_indices(start).any(|(at, found)| {
            let rest = &expression[at + found.len()..];
            let next = rest.strip_prefix(claim).map(|rest| rest.chars().next());
            next.is_some_and(|next| next.is_none_or(|c| !c.is_alphanumeric() && c != '_'))
        })
    })
}
