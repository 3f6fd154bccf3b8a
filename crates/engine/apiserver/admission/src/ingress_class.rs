//! DefaultIngressClass: ingresses that name no class get the default one.

use serde_json::Value;

use crate::get::{annotation, name, newest, section, set};
use crate::{Lookup, Outcome, Request};

const GROUP: &str = "networking.k8s.io";
/// Where an ingress could name its class before there was a field.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Makes a class the default.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

pub(crate) fn mutate<L: Lookup>(request: &Request<'_>, ingress: &mut Value, lookup: &L) -> Outcome<L::Error> {
    if !request.creates(GROUP, "ingresses")
        || annotation(ingress, CLASS_ANNOTATION).is_some()
        || !ingress["spec"]["ingressClassName"].is_null()
    {
        return Ok(());
    }
    let classes = lookup.list(GROUP, "ingressclasses", "")?;
    let is_default = |class: &Value| annotation(class, DEFAULT_ANNOTATION) == Some("true");
    if let Some(class) = newest(classes, is_default)
        && let Some(spec) = section(ingress, "spec")
    {
        set(spec, "ingressClassName", name(&class));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::lookup::tests::{Stored, request};
    use serde_json::json;

    #[test]
    fn an_ingress_without_class_gets_the_default() {
        let class = |name: &str, is_default: &str| {
            let annotations = json!({DEFAULT_ANNOTATION: is_default});
            (
                GROUP,
                "ingressclasses",
                json!({"metadata": {"name": name, "annotations": annotations}}),
            )
        };
        let stored = Stored::of(&[class("b", "true"), class("a", "false"), class("c", "true")]);
        let chosen = |mut ingress: Value| {
            mutate(&request(Operation::Create, GROUP, "ingresses"), &mut ingress, &stored).unwrap();
            ingress["spec"]["ingressClassName"].take()
        };
        assert_eq!(chosen(json!({"spec": {}})), "b");
        assert_eq!(chosen(json!({"spec": {"ingressClassName": "x"}})), "x");
        let annotated = json!({"metadata": {"annotations": {CLASS_ANNOTATION: "x"}}, "spec": {}});
        assert_eq!(chosen(annotated), Value::Null);
    }
}
