//! Impersonation: `Impersonate-User` and its companions, each of which needs a permission of its own.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::authorize;
use crate::authorizer::{Attributes, Identity};
use crate::identity::{AUTHENTICATED, UNAUTHENTICATED};
use crate::server::Inner;
use crate::status::Status;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A header's text. One that cannot be read must not be taken for absent: the request would go on as its sender.
fn utf8(value: &HeaderValue) -> Result<String, Status> {
    std::str::from_utf8(value.as_bytes())
        .map(str::to_owned)
        .map_err(|_| Status::bad_request("an impersonation header is not UTF-8"))
}

/// The identity the request goes on with. Takes the headers away.
pub(crate) async fn apply(server: &Inner, who: Identity, headers: &mut HeaderMap) -> Result<Identity, Status> {
    let text = |name: &HeaderName| headers.get(name).map_or_else(|| Ok(String::new()), utf8);
    let (user, uid) = (text(&USER)?, text(&UID)?);
    let groups: Vec<String> = headers.get_all(&GROUP).iter().map(utf8).collect::<Result<_, _>>()?;
    let mut target = Identity {
        user,
        uid,
        groups,
        ..Identity::default()
    };
    for (name, value) in headers.iter() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else {
            continue;
        };
        let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
        let values = target.extra.entry(key).or_default();
        values.push(utf8(value)?);
    }
    if target == Identity::default() {
        return Ok(who);
    }
    if target.user.is_empty() {
        return Err(Status::internal(
            "requested impersonation without a user: Impersonate-User must be set",
        ));
    }
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|n| n.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
    permit(server, &who, &target).await?;
    if target.groups.is_empty()
        && let Some((namespace, _)) = service_account(&target.user)
    {
        target.groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    if target.user == crate::identity::ANONYMOUS {
        if !target.in_group(UNAUTHENTICATED) {
            target.groups.push(UNAUTHENTICATED.into());
        }
    } else if !target.in_group(AUTHENTICATED) && !target.in_group(UNAUTHENTICATED) {
        target.groups.push(AUTHENTICATED.into());
    }
    Ok(target)
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?
        .split_once(':')
        .filter(|(ns, name)| !ns.is_empty() && !name.is_empty())
}

/// Each part of the target must be granted.
async fn permit(server: &Inner, who: &Identity, target: &Identity) -> Result<(), Status> {
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
        identity: who.clone(),
        verb: "impersonate".into(),
        resource_request: true,
        group: group.into(),
        version: if group.is_empty() { String::new() } else { "v1".into() },
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    };
    let mut wanted = vec![match service_account(&target.user) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
        None => ask("", "users", "", "", &target.user),
    }];
    wanted.extend(target.groups.iter().map(|group| ask("", "groups", "", "", group)));
    for (key, values) in &target.extra {
        let of_key = |value: &String| ask("authentication.k8s.io", "userextras", key, "", value);
        wanted.extend(values.iter().map(of_key));
    }
    if !target.uid.is_empty() {
        wanted.push(ask("authentication.k8s.io", "uids", "", "", &target.uid));
    }
    for attributes in &wanted {
        let decision = server.deps.authorizer.authorize(attributes).await;
        // Who acts for another must be beyond doubt.
        if !decision.allowed() || decision.error.is_some() {
            return Err(authorize::refusal(attributes, &decision.reason));
        }
    }
    Ok(())
}
