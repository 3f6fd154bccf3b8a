//! Unmodified kubectl through each of five members: voters, a standby and a worker.

use std::time::Duration;

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Kubectl, MemberProcess};

use crate::support::{SETTLED, alone, binary};

#[test]
fn kubectl_works_through_every_member() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        let cache = cluster.root().join("kubectl-cache");
        let binaries = Kubectl::all(&cache);
        if binaries.is_empty() {
            eprintln!(
                "skipped: there is no kubectl in PATH or ENGENHO_KUBECTL; scripts/install-test-tools.sh gets one"
            );
            return cluster.finish().await;
        }
        cluster.members[0]
            .cli(&["formation", "set", "--voters", "3", "--standbys", "1"])
            .await?
            .ok()?;
        cluster.grow(4).await?;
        let status = cluster.settled(SETTLED).await?;
        let count = |role| status.names_of(role).len();
        ensure!(
            (count("voter"), count("standby"), count("worker")) == (3, 1, 1),
            "{status:?}"
        );
        for (turn, kubectl) in binaries.iter().enumerate() {
            for member in &cluster.members {
                session(kubectl, member, turn)
                    .await
                    .with_context(|| format!("{} through {}", kubectl.binary().display(), member.name))?;
            }
        }
        cluster.finish().await
    });
}

fn manifest(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: {value}\n")
}

/// What people do with kubectl, through one member.
async fn session(kubectl: &Kubectl, member: &MemberProcess, turn: usize) -> anyhow::Result<()> {
    let config = member.kubeconfig();
    let name = format!("cm-{}-{turn}", member.name);
    let ok = async |args: &[&str]| kubectl.ok(&config, args).await;
    let wants = |what: &str, text: String, part: &str| {
        ensure!(text.contains(part), "{what} printed no {part}:\n{text}");
        Ok(())
    };
    wants("version", ok(&["version"]).await?, "Server Version: v1.34")?;
    wants("get nodes", ok(&["get", "nodes"]).await?, "Ready")?;
    let mut watching = kubectl.watch(&config, &["get", "configmaps", "--watch"])?;
    ok(&["create", "configmap", &name, "--from-literal=key=created"]).await?;
    watching.until(&name, Duration::from_secs(20)).await?;
    let again = kubectl.run(&config, &["create", "configmap", &name]).await?;
    ensure!(again.refused(1)?.contains("already exists"));
    let jsonpath = ["get", "configmap", &name, "-o", "jsonpath={.data.key}"];
    ensure!(ok(&jsonpath).await? == "created");
    kubectl
        .with_input(&config, &["apply", "-f", "-"], &manifest(&name, "applied"))
        .await?;
    ensure!(ok(&jsonpath).await? == "applied");
    let server_side = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    kubectl
        .with_input(&config, &server_side, &manifest(&name, "before-edit"))
        .await?;
    ok(&["edit", "configmap", &name]).await?;
    ensure!(ok(&jsonpath).await? == "after-edit");
    wants(
        "diff-free apply",
        kubectl.with_input(&config, &server_side, &manifest(&name, "x")).await?,
        "serverside-applied",
    )?;
    ok(&["label", "configmap", &name, "a=b"]).await?;
    wants(
        "get -l",
        ok(&["get", "configmaps", "-l", "a=b", "-o", "name"]).await?,
        &name,
    )?;
    ok(&["annotate", "configmap", &name, "c=d"]).await?;
    for (kind, patch) in [
        ("strategic", r#"{"data":{"p":"1"}}"#),
        ("merge", r#"{"data":{"q":"2"}}"#),
        ("json", r#"[{"op":"add","path":"/data/r","value":"3"}]"#),
    ] {
        ok(&["patch", "configmap", &name, "--type", kind, "-p", patch]).await?;
    }
    let data = ok(&["get", "configmap", &name, "-o", "jsonpath={.data.p}{.data.q}{.data.r}"]).await?;
    ensure!(data == "123", "{data}");
    wants(
        "get -o wide",
        ok(&["get", "configmap", &name, "-o", "wide"]).await?,
        "DATA",
    )?;
    wants("describe", ok(&["describe", "configmap", &name]).await?, &name)?;
    wants("api-resources", ok(&["api-resources"]).await?, "deployments")?;
    wants("api-versions", ok(&["api-versions"]).await?, "apps/v1")?;
    wants("explain", ok(&["explain", "pods.spec.containers"]).await?, "image")?;
    wants("auth can-i", ok(&["auth", "can-i", "create", "pods"]).await?, "yes")?;
    let as_other = ["auth", "can-i", "create", "pods", "--as", "somebody"];
    ensure!(
        kubectl.run(&config, &as_other).await?.code == Some(1),
        "anyone may create pods"
    );
    wants("get --raw", ok(&["get", "--raw", "/readyz"]).await?, "ok")?;
    let gone = ["wait", "--for=delete", "configmap", &name, "--timeout=20s"];
    let (waited, deleted) = tokio::join!(kubectl.run(&config, &gone), async {
        ok(&["delete", "configmap", &name, "--wait=true"]).await
    });
    deleted?;
    waited?.ok()?;
    ensure!(
        kubectl
            .run(&config, &["get", "configmap", &name])
            .await?
            .refused(1)?
            .contains("NotFound")
    );
    let namespace = format!("ns-{name}");
    ok(&["create", "namespace", &namespace]).await?;
    ok(&["create", "configmap", "inside", "-n", &namespace]).await?;
    ok(&["delete", "namespace", &namespace, "--timeout=40s"]).await?;
    Ok(())
}
