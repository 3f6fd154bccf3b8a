//! One member: it starts fast, serves, stops in order, and its data survives both ways of ending.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::ensure;
use engenho_harness::{Access, Cluster};

use crate::support::{READY, alone, binary, config_maps, create, value};

#[test]
fn one_member_serves_stops_and_comes_back() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        let member = &cluster.members[0];
        let mode = std::fs::metadata(member.kubeconfig())?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "the kubeconfig has mode {mode:o}");
        let status = member.status().await?;
        ensure!(
            status.quorum && status.members.len() == 1 && status.names_of("voter") == ["n1"],
            "{status:?}"
        );

        let api = member.api()?;
        let version = api.get("/version").await?.want(200)?.json()?;
        ensure!(
            version["gitVersion"].as_str().is_some_and(|of| of.starts_with("v1.34")),
            "{version}"
        );
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            api.get(&format!("/api/v1/namespaces/{namespace}")).await?.want(200)?;
        }
        api.get("/api/v1/nodes/n1").await?.want(200)?;
        create(&api, "kept").await?;
        api.get(&config_maps("kept")).await?.want(200)?;
        api.delete(&config_maps("absent")).await?.want(404)?;

        let anonymous = member.api_as(Access::Anonymous)?;
        anonymous.get("/readyz").await?.want(200)?;
        anonymous.get(&config_maps("kept")).await?.want(403)?;
        let stranger = member.api_as(Access::Token("nobody-gave-this".into()))?;
        stranger.get(&config_maps("kept")).await?.want(401)?;

        let member = &mut cluster.members[0];
        let took = member.stop(Duration::from_secs(10)).await?;
        ensure!(took < Duration::from_secs(10), "stopping took {took:?}");
        let after = member.status().await;
        ensure!(after.is_err(), "a member that is down answered");
        member.up()?;
        member.ready(READY).await?;
        let api = member.api()?;
        ensure!(value(&api, "kept").await? == "kept");
        create(&api, "kept-too").await?;

        member.kill().await?;
        member.up()?;
        member.ready(READY).await?;
        let api = member.api()?;
        ensure!(value(&api, "kept").await? == "kept" && value(&api, "kept-too").await? == "kept-too");
        cluster.finish().await
    });
}
