//! A controller of a kind of its own: each `Greeting` becomes a ConfigMap that it owns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::objects::resource_of;
use crate::{World, eventually};

const FINALIZER: &str = "kube.example.com/greeted";

/// Whom to greet.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "kube.example.com",
    version = "v1",
    kind = "Greeting",
    namespaced,
    status = "GreetingStatus",
    shortname = "gr",
    selectable = ".spec.whom",
    scale(spec_replicas_path = ".spec.times", status_replicas_path = ".status.times"),
    printcolumn(name = "Whom", type_ = "string", json_path = ".spec.whom"),
    derive = "PartialEq"
)]
struct GreetingSpec {
    #[x_kube(validation = "self.size() < 20")]
    whom: String,
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 9))]
    times: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mood: Option<Mood>,
}

#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
enum Mood {
    Glad,
    Sad,
}

#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
struct GreetingStatus {
    times: i32,
    observed_generation: i64,
}

fn once() -> i32 {
    1
}

#[derive(Debug)]
struct Failed(anyhow::Error);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Failed {}

async fn reconcile(greeting: Arc<Greeting>, client: Arc<Client>) -> Result<Action, Failed> {
    let namespace = greeting.namespace().unwrap_or_default();
    let api: Api<Greeting> = Api::namespaced((*client).clone(), &namespace);
    let (to, greetings) = (&client, &api);
    let steps = |event: Event<Greeting>| async move {
        match event {
            Event::Apply(greeting) => greet(to, greetings, &greeting).await.map_err(Failed),
            Event::Cleanup(greeting) => leave(to, &greeting).await.map_err(Failed),
        }
    };
    finalizer(&api, FINALIZER, greeting, steps)
        .await
        .map_err(|error| Failed(error.into()))
}

async fn greet(client: &Client, api: &Api<Greeting>, greeting: &Greeting) -> anyhow::Result<Action> {
    let namespace = greeting.namespace().context("no namespace")?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let owner = greeting.controller_owner_ref(&()).context("no owner")?;
    let text = format!("hello {}", greeting.spec.whom).repeat(usize::try_from(greeting.spec.times)?);
    let apply = PatchParams::apply("greeter").force();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": greeting.name_any(), "ownerReferences": [owner]}, "data": {"text": text}});
    maps.patch(&greeting.name_any(), &apply, &Patch::Apply(map)).await?;
    let status = GreetingStatus {
        times: greeting.spec.times,
        observed_generation: greeting.metadata.generation.unwrap_or_default(),
    };
    let status = json!({"apiVersion": "kube.example.com/v1", "kind": "Greeting", "status": status});
    api.patch_status(&greeting.name_any(), &apply, &Patch::Apply(status))
        .await?;
    Ok(Action::requeue(Duration::from_secs(300)))
}

/// Nobody collects garbage here: what it made it takes away.
async fn leave(client: &Client, greeting: &Greeting) -> anyhow::Result<Action> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &greeting.namespace().context("no namespace")?);
    match maps.delete(&greeting.name_any(), &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code != 404 => Err(kube::Error::Api(status).into()),
        _ => Ok(Action::await_change()),
    }
}

/// Definition, controller, instances; then all of it goes.
pub async fn reconciles(world: &World) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = Greeting::crd_name();
    let apply = PatchParams::apply("kube-checks").force();
    definitions.patch(name, &apply, &Patch::Apply(Greeting::crd())).await?;
    let established = await_condition(definitions.clone(), name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(20), established)
        .await
        .context("the definition is not established")??;
    let greetings: Api<Greeting> = world.api();
    eventually("the kind is served", async || {
        Ok(greetings.list(&ListParams::default()).await?)
    })
    .await?;
    let controller = Controller::new(greetings.clone(), watcher::Config::default())
        .owns(world.api::<ConfigMap>(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(200)),
            Arc::new(world.client.clone()),
        );
    let task = tokio::spawn(controller.for_each(async |_| {}));
    let result = instances(world, &greetings).await;
    task.abort();
    result?;
    definitions.delete(name, &DeleteParams::default()).await?;
    eventually("the definition is gone", async || {
        ensure!(definitions.get_opt(name).await?.is_none());
        Ok(())
    })
    .await
}

async fn instances(world: &World, greetings: &Api<Greeting>) -> anyhow::Result<()> {
    let post = PostParams::default();
    let greeting = |name: &str, whom: &str, times| {
        let spec = GreetingSpec {
            whom: whom.into(),
            times,
            mood: Some(Mood::Glad),
        };
        Greeting::new(name, spec)
    };
    let refused = greetings.create(&post, &greeting("too-often", "w", 10)).await;
    let refused = refused.err().context("too many times")?.to_string();
    ensure!(refused.contains("spec.times"), "{refused}");
    let refused = greetings
        .create(&post, &greeting("too-long", &"long".repeat(5), 1))
        .await;
    ensure!(refused.is_err(), "a rule did not hold");
    for number in 0..5 {
        greetings
            .create(&post, &greeting(&format!("g{number}"), &format!("w{number}"), 1))
            .await?;
    }
    let defaulted: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource_of::<Greeting>());
    let mut bare = DynamicObject::new("bare", &resource_of::<Greeting>());
    bare.data = json!({"spec": {"whom": "bare"}});
    let made = defaulted.create(&post, &bare).await?;
    ensure!(made.data["spec"]["times"] == 1, "no default: {made:?}");
    let maps: Api<ConfigMap> = world.api();
    let text_of = async |name: &str| -> anyhow::Result<String> {
        let map = maps.get(name).await?;
        ensure!(map.owner_references().len() == 1 && map.owner_references()[0].kind == "Greeting");
        map.data.and_then(|mut data| data.remove("text")).context("no text")
    };
    let current = async |name: &str, text: &str| {
        eventually(name, async || {
            let live = greetings.get_status(name).await?;
            let status = live.status.clone().context("no status")?;
            ensure!(Some(status.observed_generation) == live.metadata.generation, "{live:?}");
            let is = text_of(name).await?;
            ensure!(is == text, "{is}");
            Ok(())
        })
        .await
    };
    for number in 0..5 {
        current(&format!("g{number}"), &format!("hello w{number}")).await?;
    }
    let selected = greetings.list(&ListParams::default().fields("spec.whom=w3")).await?;
    ensure!(selected.items.len() == 1 && selected.items[0].name_any() == "g3");
    // Changed by its scale; and what it owns comes back when somebody deletes it.
    let scale = Patch::Merge(json!({"spec": {"replicas": 3}}));
    greetings.patch_scale("g1", &PatchParams::default(), &scale).await?;
    current("g1", &"hello w1".repeat(3)).await?;
    maps.delete("g2", &DeleteParams::default()).await?;
    current("g2", "hello w2").await?;
    // Each has a finalizer: it goes when the controller has cleaned up.
    greetings
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    eventually("all are gone", async || {
        let left = greetings.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "{left:?}");
        ensure!(maps.get_opt("g1").await?.is_none() && maps.get_opt("bare").await?.is_none());
        Ok(())
    })
    .await
}
