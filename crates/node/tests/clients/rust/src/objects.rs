//! Single objects: discovery, life and death, pages, patches, leases, events.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    Preconditions, PropagationPolicy,
};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::{World, eventually};

/// A ConfigMap of one label.
pub fn config_map(name: &str, label: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data: BTreeMap<String, String> = data
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name.into()),
            labels: Some([("check".to_owned(), label.to_owned())].into()),
            ..Default::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// The code of the `Status` that refused a request.
fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> anyhow::Result<(u16, String)> {
    match result {
        Err(kube::Error::Api(status)) => Ok((status.code, status.reason)),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

/// Both forms of discovery, and what a kind is called.
pub async fn discovery(world: &World) -> anyhow::Result<()> {
    let version = world.client.apiserver_version().await?;
    ensure!(version.minor == "34", "{version:?}");
    let each = Discovery::new(world.client.clone()).run().await?;
    let aggregated = Discovery::new(world.client.clone()).run_aggregated().await?;
    for discovered in [&each, &aggregated] {
        let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
        let (resource, capabilities) = discovered.resolve_gvk(&kind).context("there are no Deployments")?;
        ensure!(resource.plural == "deployments" && capabilities.scope == Scope::Namespaced);
        ensure!(capabilities.supports_operation(verbs::WATCH));
        ensure!(capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale"));
    }
    let names = |discovery: &Discovery| -> Vec<String> {
        let mut all: Vec<_> = discovery
            .groups_alphabetical()
            .iter()
            .flat_map(|group| group.recommended_resources())
            .map(|(resource, _)| format!("{}/{}", resource.api_version, resource.plural))
            .collect();
        all.sort();
        all
    };
    ensure!(names(&each) == names(&aggregated), "both forms differ");
    // An object of a kind that was only found.
    let (resource, _) = each
        .resolve_gvk(&GroupVersionKind::gvk("", "v1", "Secret"))
        .context("there are no Secrets")?;
    let secrets: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let mut secret = DynamicObject::new("found", &resource);
    secret.data = json!({"stringData": {"a": "b"}});
    let made = secrets.create(&PostParams::default(), &secret).await?;
    ensure!(
        made.data["data"]["a"] == "Yg==" && made.data["type"] == "Opaque",
        "{made:?}"
    );
    let typed: Api<Secret> = world.api();
    ensure!(typed.get("found").await?.data.is_some_and(|data| data["a"].0 == b"b"));
    Ok(())
}

/// Create, get, replace, delete, and how each is refused.
pub async fn life(world: &World) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = world.api();
    let post = PostParams::default();
    ensure!(maps.get_opt("life").await?.is_none());
    ensure!(code(maps.get("life").await)? == (404, "NotFound".into()));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&dry, &config_map("life", "life", &[])).await?;
    let mut made = maps.create(&post, &config_map("life", "life", &[("a", "1")])).await?;
    let versioned = maps.create(&post, &made).await.err().context("a version was set")?;
    ensure!(
        versioned.to_string().contains("resourceVersion should not be set"),
        "{versioned}"
    );
    ensure!(code(maps.create(&post, &config_map("life", "life", &[])).await)? == (409, "AlreadyExists".into()));
    let old = made.clone();
    made.data = Some([("a".to_owned(), "2".to_owned())].into());
    let replaced = maps.replace("life", &post, &made).await?;
    ensure!(replaced.resource_version() != old.resource_version() && replaced.uid() == old.uid());
    ensure!(code(maps.replace("life", &post, &old).await)? == (409, "Conflict".into()));
    let entry = maps.entry("life").await?.and_modify(|map| {
        map.data.get_or_insert_default().insert("b".into(), "3".into());
    });
    let mut entry = entry.or_insert(ConfigMap::default);
    entry.commit(&post).await?;
    ensure!(entry.get().data.as_ref().is_some_and(|data| data.len() == 2));
    let wrong = DeleteParams::default().preconditions(Preconditions {
        uid: Some("00000000-0000-0000-0000-000000000000".into()),
        resource_version: None,
    });
    ensure!(code(maps.delete("life", &wrong).await)? == (409, "Conflict".into()));
    let deleted = maps.delete("life", &DeleteParams::background()).await?;
    let status = deleted.right().context("it is still there")?;
    ensure!(status.is_success(), "{status:?}");
    let invalid = config_map("Not_A_Name", "life", &[]);
    ensure!(code(maps.create(&post, &invalid).await)? == (422, "Invalid".into()));
    let strict = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::default()
    };
    let unknown = json!({"metadata": {"labels": {}}, "unknown": true});
    maps.create(&post, &config_map("strict", "life", &[])).await?;
    ensure!(code(maps.patch("strict", &strict, &Patch::Merge(unknown)).await)? == (422, "Invalid".into()));
    Ok(())
}

/// Lists in pages, and the deletion of a collection.
pub async fn pages(world: &World) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = world.api();
    for number in 0..12 {
        maps.create(
            &PostParams::default(),
            &config_map(&format!("page-{number}"), "pages", &[]),
        )
        .await?;
    }
    let mut params = ListParams::default().labels("check=pages").limit(5);
    let mut sizes = Vec::new();
    let mut left = Vec::new();
    loop {
        let page = maps.list(&params).await?;
        sizes.push(page.items.len());
        left.push(page.metadata.remaining_item_count);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    // With a selector nobody counts what is left.
    ensure!(sizes == [5, 5, 2] && left == [None, None, None], "{sizes:?} {left:?}");
    let metadata = maps.list_metadata(&ListParams::default().labels("check=pages")).await?;
    ensure!(metadata.items.len() == 12);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    maps.delete_collection(&params, &ListParams::default().labels("check=pages"))
        .await?;
    ensure!(
        maps.list(&ListParams::default().labels("check=pages"))
            .await?
            .items
            .is_empty()
    );
    Ok(())
}

/// Patches, subresources and server-side apply.
pub async fn patches(world: &World) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = world.api();
    let desired = |image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}}})
    };
    let apply = PatchParams::apply("kube-checks");
    let made = deployments
        .patch("web", &apply, &Patch::Apply(desired("web:1")))
        .await?;
    let again = deployments
        .patch("web", &apply, &Patch::Apply(desired("web:1")))
        .await?;
    ensure!(
        made.resource_version() == again.resource_version(),
        "the same again was written"
    );
    let rival = deployments
        .patch("web", &PatchParams::apply("rival"), &Patch::Apply(desired("web:2")))
        .await;
    ensure!(code(rival)? == (409, "Conflict".into()));
    let forced = PatchParams::apply("rival").force();
    deployments
        .patch("web", &forced, &Patch::Apply(desired("web:2")))
        .await?;
    let params = PatchParams::default();
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}});
    deployments.patch("web", &params, &Patch::Strategic(sidecar)).await?;
    let merged = deployments
        .patch(
            "web",
            &params,
            &Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}})),
        )
        .await?;
    let containers = merged
        .spec
        .context("no spec")?
        .template
        .spec
        .context("no pods")?
        .containers;
    ensure!(containers.len() == 2 && containers.iter().any(|one| one.image.as_deref() == Some("web:2")));
    let mut scale = deployments.get_scale("web").await?;
    scale.spec.get_or_insert_default().replicas = Some(4);
    deployments.replace_scale("web", &PostParams::default(), &scale).await?;
    deployments
        .patch_scale("web", &params, &Patch::Merge(json!({"spec": {"replicas": 6}})))
        .await?;
    let status =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 6, "updatedReplicas": 6}});
    deployments
        .patch_status("web", &PatchParams::apply("status"), &Patch::Apply(status))
        .await?;
    let live = deployments.get_status("web").await?;
    ensure!(live.spec.and_then(|spec| spec.replicas) == Some(6), "it was not scaled");
    ensure!(live.status.and_then(|status| status.replicas) == Some(6), "no status");
    Ok(())
}

/// A lease that two take one after the other; times keep their microseconds.
pub async fn leases(world: &World) -> anyhow::Result<()> {
    let leases: Api<Lease> = world.api();
    let at = "2026-01-02T03:04:05.678901Z".parse()?;
    let lease = Lease {
        metadata: kube::api::ObjectMeta {
            name: Some("seat".into()),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some("one".into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(at)),
            ..LeaseSpec::default()
        }),
    };
    let made = leases.create(&PostParams::default(), &lease).await?;
    let mut taken = made.clone();
    taken.spec.get_or_insert_default().holder_identity = Some("two".into());
    leases.replace("seat", &PostParams::default(), &taken).await?;
    ensure!(code(leases.replace("seat", &PostParams::default(), &made).await)? == (409, "Conflict".into()));
    let live = leases.get("seat").await?.spec.context("no spec")?;
    ensure!(
        live.holder_identity.as_deref() == Some("two") && live.renew_time == Some(MicroTime(at)),
        "{live:?}"
    );
    Ok(())
}

/// The recorder writes one event and then counts in its series.
pub async fn events(world: &World) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = world.api();
    let about = maps
        .create(&PostParams::default(), &config_map("about", "events", &[]))
        .await?;
    let reporter = Reporter {
        controller: "kube-checks".into(),
        instance: None,
    };
    let recorder = Recorder::new(world.client.clone(), reporter);
    for _ in 0..3 {
        let event = Event {
            type_: EventType::Normal,
            reason: "Checked".into(),
            note: Some("it is there".into()),
            action: "Checking".into(),
            secondary: None,
        };
        recorder.publish(&event, &about.object_ref(&())).await?;
    }
    let events: Api<k8s_openapi::api::events::v1::Event> = world.api();
    eventually("a series of three", async || {
        let list = events.list(&ListParams::default().fields("reason=Checked")).await?;
        let counts: Vec<_> = list
            .iter()
            .map(|event| event.series.as_ref().map(|series| series.count))
            .collect();
        ensure!(counts == [Some(3)], "{counts:?}");
        Ok(())
    })
    .await
}

/// Objects of a kind by its names alone.
pub fn resource_of<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}
