//! The parts of a request, in one process: reading and writing bodies, and whole requests over a store of one replica.
//!
//! `cargo bench -p engenho-apiserver`. Each codec stands beside the plain library for its format in the same run: what
//! Kubernetes' strictness costs is their ratio.

// Tests use more of it.
#[allow(dead_code)]
#[path = "../tests/it/harness.rs"]
mod harness;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engenho_cel::{Bindings, Budget, Environment, compile};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{World, request};

const PODS: &str = "/api/v1/namespaces/default/pods";
const POD_COUNT: u32 = 10_000;
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "tier": "front"}, "annotations": {"note": "x".repeat(200)}},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": "registry.example/app:1.0",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    })
}

/// One request, whose answer is read to its end: its size.
async fn ask(world: &World, request: Request<engenho_apiserver::Body>) -> usize {
    let response = world.send(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    body.len()
}

fn accepting(path: &str, accept: &str) -> Request<engenho_apiserver::Body> {
    let mut request = request("GET", path, "", None);
    request
        .headers_mut()
        .insert("accept", accept.parse().expect("a header"));
    request
}

fn codecs(criterion: &mut Criterion) {
    let (runtime, world) = world();
    let stored = runtime.block_on(async {
        assert_eq!(world.call("POST", PODS, Some(pod("one"))).await.0, 201);
        world.call("GET", &format!("{PODS}/one"), None).await.1
    });
    let text = stored.to_string();
    let yaml = engenho_yaml::encode(&stored);
    let wire = engenho_protobuf::encode(&stored).expect("a pod");
    let mut group = criterion.benchmark_group("codecs");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("json read, strictly", |b| {
        b.iter(|| engenho_patch::decode::json(black_box(text.as_bytes())).expect("JSON"));
    });
    group.bench_function("json read, serde_json", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(text.as_bytes())).expect("JSON"));
    });
    group.bench_function("json written, serde_json", |b| {
        b.iter(|| black_box(&stored).to_string())
    });
    group.throughput(Throughput::Bytes(yaml.len() as u64));
    group.bench_function("yaml read, as Kubernetes", |b| {
        b.iter(|| engenho_yaml::decode(black_box(yaml.as_bytes())).expect("YAML"));
    });
    group.bench_function("yaml read, serde_yaml_ng", |b| {
        b.iter(|| serde_yaml_ng::from_slice::<Value>(black_box(yaml.as_bytes())).expect("YAML"));
    });
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("protobuf read", |b| {
        b.iter(|| engenho_protobuf::decode(black_box(&wire), None).expect("a pod"));
    });
    group.bench_function("protobuf written", |b| {
        b.iter(|| engenho_protobuf::encode(black_box(&stored)).expect("a pod"));
    });
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let (runtime, world) = world();
    runtime.block_on(async {
        assert_eq!(world.call("POST", PODS, Some(pod("one"))).await.0, 201);
    });
    let one = format!("{PODS}/one");
    let dry = format!("{PODS}?dryRun=All");
    let patched = format!("{one}?dryRun=All");
    let applied = format!("{one}?dryRun=All&fieldManager=bench&force=true");
    let mut labels = pod("one");
    labels["metadata"]["labels"]["more"] = "1".into();
    let change = json!({"metadata": {"labels": {"more": "1"}}});
    let mut group = criterion.benchmark_group("requests");
    let mut case = |name: &str, make: &dyn Fn() -> Request<engenho_apiserver::Body>| {
        group.bench_function(name, |b| b.iter(|| runtime.block_on(ask(&world, make()))));
    };
    case("get, json", &|| accepting(&one, "application/json"));
    case("get, protobuf", &|| accepting(&one, PROTOBUF));
    case("get, table", &|| accepting(&one, TABLE));
    case("create (dry)", &|| {
        request("POST", &dry, "application/json", Some(pod("two")))
    });
    let patch = |kind: &'static str| request("PATCH", &patched, kind, Some(change.clone()));
    case("merge patch (dry)", &|| patch("application/merge-patch+json"));
    case("strategic merge patch (dry)", &|| {
        patch("application/strategic-merge-patch+json")
    });
    case("server-side apply (dry)", &|| {
        request("PATCH", &applied, "application/apply-patch+yaml", Some(labels.clone()))
    });
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let (runtime, world) = world();
    runtime.block_on(async {
        for i in 0..POD_COUNT {
            assert_eq!(world.call("POST", PODS, Some(pod(&format!("p-{i}")))).await.0, 201);
        }
    });
    let mut group = criterion.benchmark_group("lists");
    group.sample_size(10);
    let shapes = [("json", "application/json"), ("protobuf", PROTOBUF), ("table", TABLE)];
    for (name, accept) in shapes {
        let size = runtime.block_on(ask(&world, accepting(PODS, accept)));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new(name, POD_COUNT), |b| {
            b.iter(|| runtime.block_on(ask(&world, accepting(PODS, accept))));
        });
    }
    let selected = format!("{PODS}?labelSelector=app%3Dweb,tier!%3Dback");
    let size = runtime.block_on(ask(&world, accepting(&selected, "application/json")));
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function(BenchmarkId::new("json, by labels", POD_COUNT), |b| {
        b.iter(|| runtime.block_on(ask(&world, accepting(&selected, "application/json"))));
    });
    group.finish();
}

fn expressions(criterion: &mut Criterion) {
    let text = "object.spec.containers.all(c, c.image.startsWith('registry.example/') && !c.name.matches('^x+$'))";
    let environment = Environment::admission_policy(false, false);
    let object = pod("one");
    let program = compile(text, &environment).expect("an expression");
    let mut group = criterion.benchmark_group("cel");
    group.bench_function("compile", |b| {
        b.iter(|| compile(black_box(text), &environment).expect("an expression"))
    });
    group.bench_function("evaluate", |b| {
        b.iter(|| {
            let bindings = Bindings::new().with("object", &object);
            let value = program.evaluate(&bindings, &mut Budget::per_call()).map(|_| ());
            value.expect("a value");
        });
    });
    group.finish();
}

fn world() -> (Runtime, World) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let world = runtime.block_on(World::new());
    (runtime, world)
}

criterion_group!(parts, codecs, requests, lists, expressions);
criterion_main!(parts);
