//! Bindings of roles.

use crate::fields::{Fields, items, object, set_if_empty, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// A RoleBinding or ClusterRoleBinding: users and groups belong to the RBAC group, as does the role that is bound.
pub fn binding(binding: &mut Fields) {
    if let Some(role) = object(binding, "roleRef") {
        set_if_empty(role, "apiGroup", GROUP);
    }
    for subject in items(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            set_if_empty(subject, "apiGroup", GROUP);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::json;

    #[test]
    fn users_and_roles_have_a_group() {
        let subjects = json!([{"kind": "User"}, {"kind": "ServiceAccount"}, {"kind": "Group", "apiGroup": "g"}]);
        let mut object = json!({"roleRef": {"kind": "Role", "apiGroup": ""}, "subjects": subjects});
        apply("rbac.authorization.k8s.io", "v1", "rolebindings", &mut object);
        let group = "rbac.authorization.k8s.io";
        let subjects = json!([
            {"kind": "User", "apiGroup": group}, {"kind": "ServiceAccount"}, {"kind": "Group", "apiGroup": "g"},
        ]);
        assert_eq!(
            object,
            json!({"roleRef": {"kind": "Role", "apiGroup": group}, "subjects": subjects})
        );
    }
}
