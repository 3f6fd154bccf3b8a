//! Watchers and reflectors, by lists and watches and by streaming lists.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::objects::config_map;
use crate::{World, eventually};

fn config(streaming: bool) -> watcher::Config {
    match streaming {
        true => watcher::Config::default().streaming_lists(),
        // Small pages, so that the first list takes several.
        false => watcher::Config::default().page_size(3),
    }
}

/// A reflector that was filled, then follows what happens.
pub async fn watching(world: &World, streaming: bool) -> anyhow::Result<()> {
    let label = if streaming { "streaming" } else { "listing" };
    let maps: Api<ConfigMap> = world.api();
    let name = |number: usize| format!("{label}-{number}");
    for number in 0..7 {
        maps.create(&PostParams::default(), &config_map(&name(number), label, &[]))
            .await?;
    }
    let (reader, writer) = reflector::store();
    let stream = watcher(maps.clone(), config(streaming).labels(&format!("check={label}")));
    let reflected = stream.default_backoff().reflect(writer).applied_objects();
    let task = tokio::spawn(async move {
        pin_mut!(reflected);
        while let Ok(Some(_)) = reflected.try_next().await {}
    });
    tokio::time::timeout(Duration::from_secs(20), reader.wait_until_ready())
        .await
        .context("the reflector is not ready")??;
    ensure!(reader.len() == 7, "at first {} are there", reader.len());
    maps.patch(
        &name(0),
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"a": "b"}})),
    )
    .await?;
    maps.create(&PostParams::default(), &config_map(&name(7), label, &[]))
        .await?;
    maps.delete(&name(1), &DeleteParams::default()).await?;
    // It leaves the selection without being deleted.
    let unlabelled = json!({"metadata": {"labels": {"check": null}}});
    maps.patch(&name(2), &PatchParams::default(), &Patch::Merge(unlabelled))
        .await?;
    let result = eventually("the reflector has what is there", async || {
        let names: Vec<String> = reader.state().iter().map(|map| map.name_any()).collect();
        ensure!(
            names.len() == 6 && !names.contains(&name(1)) && !names.contains(&name(2)),
            "{names:?}"
        );
        let changed = reader
            .get(&ObjectRef::new(&name(0)).within(&world.namespace))
            .context("not there")?;
        ensure!(changed.data == Some(BTreeMap::from([("a".into(), "b".into())])));
        Ok(())
    })
    .await;
    task.abort();
    result?;
    nodes(world.client.clone(), streaming).await
}

/// The first events of a watcher: one for each object, in between their beginning and end.
async fn nodes(client: Client, streaming: bool) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client);
    let stream = watcher(nodes, config(streaming));
    pin_mut!(stream);
    let mut seen = Vec::new();
    loop {
        match stream.next().await.context("the watcher ended")?? {
            watcher::Event::Init => seen.push("init".to_owned()),
            watcher::Event::InitApply(node) => seen.push(node.name_any()),
            watcher::Event::InitDone => break,
            other => anyhow::bail!("before the end of the first list: {other:?}"),
        }
    }
    seen.sort();
    ensure!(seen == ["init", "n1", "n2", "n3"], "{seen:?}");
    Ok(())
}

/// Metadata alone, as garbage collectors watch.
pub async fn metadata(world: &World) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = world.api();
    maps.create(&PostParams::default(), &config_map("bare", "metadata", &[("a", "b")]))
        .await?;
    let bare: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(world.client.clone(), &world.namespace);
    let stream = watcher(bare, watcher::Config::default().labels("check=metadata")).applied_objects();
    pin_mut!(stream);
    let first: PartialObjectMeta<ConfigMap> = stream.next().await.context("the watcher ended")??;
    ensure!(first.name_any() == "bare" && first.labels()["check"] == "metadata");
    let annotated = json!({"metadata": {"annotations": {"x": "y"}}});
    let patched = maps
        .patch_metadata("bare", &PatchParams::default(), &Patch::Merge(annotated))
        .await?;
    ensure!(patched.annotations()["x"] == "y");
    let second = tokio::time::timeout(Duration::from_secs(20), stream.next()).await?;
    ensure!(second.context("the watcher ended")??.annotations()["x"] == "y");
    Ok(())
}
