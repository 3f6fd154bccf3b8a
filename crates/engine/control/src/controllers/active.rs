//! The Namespaces that things are to be created in.

use serde_json::Value;

use crate::client::Client;
use crate::error::ControlError;

/// Where Namespaces are stored.
pub(super) const PREFIX: &str = "/registry/core/namespaces/";

/// Names of the Namespaces that aren't on their way out, as of this replica.
pub(super) fn active(client: &Client) -> Result<Vec<String>, ControlError> {
    let namespaces = client.stored(PREFIX)?;
    let names = namespaces.iter().filter(|namespace| is_active(namespace));
    let names = names.filter_map(|namespace| namespace["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

fn is_active(namespace: &Value) -> bool {
    namespace["metadata"]["deletionTimestamp"].is_null() && namespace["status"]["phase"] != "Terminating"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_deleted_is_not_active() {
        assert!(is_active(
            &json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})
        ));
        assert!(!is_active(
            &json!({"metadata": {"deletionTimestamp": "2023-11-14T22:13:20Z"}})
        ));
        assert!(!is_active(&json!({"metadata": {}, "status": {"phase": "Terminating"}})));
    }
}
