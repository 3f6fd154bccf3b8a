//! Every verb of kubectl on every built-in kind, through a worker: it has no replica, so each request crosses the mesh.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, Kubectl, eventually};

use crate::support::{SETTLED, alone, binary};

const NAMESPACE: &str = "verbs";
/// One object a kind.
const KINDS: &str = include_str!("kinds.yaml");
/// Kinds whose replacement is a deletion and a creation: what the server filled in cannot be left out again.
const REPLACED_BY_FORCE: [&str; 2] = ["Job", "Pod"];
const SCALED: [&str; 4] = ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// One object of the file.
struct Object {
    kind: String,
    api_version: String,
    name: String,
    manifest: String,
}

impl Object {
    fn all() -> anyhow::Result<Vec<Self>> {
        let documents = KINDS.split("\n---\n").filter(|text| !text.starts_with('#'));
        documents.map(Self::read).collect()
    }

    /// The file is written with one field a line.
    fn read(manifest: &str) -> anyhow::Result<Self> {
        let field = |start: &str| {
            let line = manifest.lines().find_map(|line| line.strip_prefix(start));
            line.map(|text| text.trim().to_owned())
                .with_context(|| format!("no {start} in\n{manifest}"))
        };
        Ok(Self {
            kind: field("kind:")?,
            api_version: field("apiVersion:")?,
            name: field("  name:")?,
            manifest: format!("{manifest}\n"),
        })
    }

    /// `Deployment.v1.apps`, which names a resource without doubt.
    fn resource(&self) -> String {
        match self.api_version.split_once('/') {
            Some((group, version)) => format!("{}.{version}.{group}", self.kind),
            None => format!("{}.{}.", self.kind, self.api_version),
        }
    }

    /// As `--prune-allowlist` wants it.
    fn pruned(&self) -> String {
        let core = if self.api_version.contains('/') { "" } else { "core/" };
        format!("{core}{}/{}", self.api_version, self.kind)
    }
}

#[test]
fn kubectl_does_everything_to_every_kind() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        let cache = cluster.root().join("kubectl-cache");
        let Some(kubectl) = Kubectl::all(&cache).into_iter().next() else {
            eprintln!(
                "skipped: there is no kubectl in PATH or ENGENHO_KUBECTL; scripts/install-test-tools.sh gets one"
            );
            return cluster.finish().await;
        };
        let shape = ["formation", "set", "--voters", "1", "--standbys", "0"];
        cluster.members[0].cli(&shape).await?.ok()?;
        cluster.grow(1).await?;
        let status = cluster.settled(SETTLED).await?;
        let worker = status.names_of("worker").first().map(|name| (*name).to_owned());
        let member = cluster.member(&worker.context("there is no worker")?)?;
        let config = member.kubeconfig();
        kubectl.ok(&config, &["create", "namespace", NAMESPACE]).await?;
        let objects = Object::all()?;
        every_kind_is_there(&kubectl, member, &objects).await?;
        for object in &objects {
            verbs(&kubectl, member, object)
                .await
                .with_context(|| format!("{} {}", object.resource(), object.name))?;
        }
        prune(&kubectl, member, &objects).await?;
        cluster.finish().await
    });
}

/// A kind that is served and missing in the file is a mistake of this test.
async fn every_kind_is_there(
    kubectl: &Kubectl,
    member: &engenho_harness::MemberProcess,
    objects: &[Object],
) -> anyhow::Result<()> {
    let args = ["api-resources", "--verbs=create,update,patch,delete", "--no-headers"];
    let served = kubectl.ok(&member.kubeconfig(), &args).await?;
    let kinds: BTreeSet<&str> = served
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let tried: BTreeSet<&str> = objects.iter().map(|object| object.kind.as_str()).collect();
    let missing: Vec<_> = kinds.difference(&tried).collect();
    ensure!(
        missing.is_empty() && kinds.len() > 50,
        "not tried: {missing:?} of\n{served}"
    );
    Ok(())
}

async fn verbs(kubectl: &Kubectl, member: &engenho_harness::MemberProcess, object: &Object) -> anyhow::Result<()> {
    let config = member.kubeconfig();
    let (resource, name) = (object.resource(), object.name.as_str());
    let on = async |verb: &[&str], more: &[&str]| {
        let args = [verb, &[resource.as_str(), name], more, &["-n", NAMESPACE]].concat();
        kubectl.ok(&config, &args).await
    };
    let from = async |args: &[&str]| {
        kubectl
            .with_input(&config, &[args, &["-f", "-"]].concat(), &object.manifest)
            .await
    };
    let get = async |output: &str| on(&["get"], &["-o", output]).await;

    from(&["create"]).await?;
    for (output, part) in [
        ("wide", "NAME"),
        ("yaml", "uid:"),
        ("name", name),
        ("jsonpath={.metadata.name}", name),
    ] {
        let text = get(output).await?;
        ensure!(text.contains(part), "get -o {output} printed no {part}:\n{text}");
    }
    let described = on(&["describe"], &[]).await?;
    ensure!(described.contains(name), "describe printed\n{described}");
    let version = format!("--api-version={}", object.api_version);
    let explained = kubectl.ok(&config, &["explain", &object.kind, &version]).await?;
    ensure!(explained.contains("FIELDS:"), "explain printed\n{explained}");
    on(&["label"], &["labelled=x"]).await?;
    on(&["annotate"], &["annotated=x"]).await?;
    let patches = [
        ("--type=strategic", r#"{"metadata":{"labels":{"strategic":"x"}}}"#),
        ("--type=merge", r#"{"metadata":{"labels":{"merge":"x"}}}"#),
        (
            "--type=json",
            r#"[{"op":"add","path":"/metadata/labels/json","value":"x"}]"#,
        ),
    ];
    for (kind, patch) in patches {
        on(&["patch"], &[kind, "-p", patch]).await?;
    }
    from(&["apply", "--server-side", "--force-conflicts"]).await?;
    on(&["edit"], &[]).await?;
    let state = "jsonpath={.metadata.annotations.stage} {.metadata.annotations.annotated} {.metadata.labels.labelled} \
                 {.metadata.labels.strategic} {.metadata.labels.merge} {.metadata.labels.json}";
    let state = get(state).await?;
    ensure!(state == "after-edit x x x x x", "after all changes: {state}");
    let force: &[&str] = match REPLACED_BY_FORCE.contains(&object.kind.as_str()) {
        true => &["replace", "--force", "--grace-period=0"],
        false => &["replace"],
    };
    from(force).await?;
    // Without a difference it succeeds.
    from(&["diff"]).await?;
    if SCALED.contains(&object.kind.as_str()) {
        on(&["scale"], &["--replicas=2"]).await?;
        ensure!(get("jsonpath={.spec.replicas}").await? == "2", "it was not scaled");
    }
    from(&["apply"]).await?;
    on(&["delete"], &["--timeout=30s"]).await?;
    let args = ["get", &resource, name, "-n", NAMESPACE, "--ignore-not-found"];
    ensure!(kubectl.ok(&config, &args).await?.is_empty(), "it is still there");
    Ok(())
}

/// `apply --prune` deletes what was applied before and is not in the manifest any more: one object of all remains.
async fn prune(kubectl: &Kubectl, member: &engenho_harness::MemberProcess, objects: &[Object]) -> anyhow::Result<()> {
    let config = member.kubeconfig();
    // An API that nobody serves would make kubectl's discovery incomplete.
    let objects: Vec<&Object> = objects.iter().filter(|object| object.kind != "APIService").collect();
    let manifests: Vec<&str> = objects.iter().map(|object| object.manifest.as_str()).collect();
    kubectl
        .with_input(&config, &["apply", "-f", "-"], &manifests.join("---\n"))
        .await?;
    let allowed: Vec<String> = objects
        .iter()
        .map(|object| format!("--prune-allowlist={}", object.pruned()))
        .collect();
    let mut args = vec!["apply", "--prune", "-l", "verbs=test", "-f", "-"];
    args.extend(allowed.iter().map(String::as_str));
    let one = objects.first().context("the file is empty")?;
    kubectl.with_input(&config, &args, &one.manifest).await?;
    let mut resources: Vec<String> = objects.iter().map(|object| object.resource()).collect();
    resources.sort();
    let resources = resources.join(",");
    eventually("only one object is left", Duration::from_secs(30), async || {
        let args = ["get", &resources, "-l", "verbs=test", "-A", "-o", "name"];
        let left = kubectl.ok(&config, &args).await?;
        ensure!(left.trim() == format!("configmap/{}", one.name), "left:\n{left}");
        Ok(())
    })
    .await
}
