"""Uses an API server as programs written with the Python client do. KUBECONFIG names the server, RUN makes names unique."""

import base64
import io
import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

RUN = os.environ.get("RUN") or str(os.getpid())
NAMESPACE = f"py-{RUN}"
PATIENCE = 20

config.load_kube_config()
core = client.CoreV1Api()
apps = client.AppsV1Api()


def want(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what} is {found!r}, should be {expected!r}")


def eventually(what, ask):
    """Asks until nothing is raised."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: at last {error}") from error
            time.sleep(0.1)


def refused(status, reason, call, *args, **kwargs):
    """The Status of a request that is refused."""
    try:
        answer = call(*args, **kwargs)
    except ApiException as error:
        body = json.loads(error.body)
        want("status", error.status, status)
        want("code of the body", body["code"], status)
        want("reason", body.get("reason"), reason)
        want("kind", (body["kind"], body["apiVersion"], body["status"]), ("Status", "v1", "Failure"))
        if not error.reason or "content-type" not in {name.lower() for name in error.headers}:
            raise AssertionError(f"no HTTP reason or headers: {error}")
        return body
    raise AssertionError(f"not refused: {answer}")


def config_map(name, data=None, **metadata):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **metadata), data=data)


def deployment(name, image="registry.example/main:1"):
    labels = {"app": name}
    container = client.V1Container(name="main", image=image, ports=[client.V1ContainerPort(container_port=80)])
    pods = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container]))
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=pods)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name, labels=labels), spec=spec)


def version_and_schema():
    version = client.VersionApi().get_code()
    want("version", (version.major, version.minor), ("1", "34"))
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    want("groups", {"apps", "batch", "apiextensions.k8s.io"} <= groups, True)
    resources = {resource.name for resource in core.get_api_resources().resources}
    want("resources", {"pods", "pods/log", "configmaps"} <= resources, True)
    host = client.ApiClient()
    swagger = json.loads(host.call_api("/openapi/v2", "GET", auth_settings=["BearerToken"], response_type="str",
                                       _preload_content=False, _return_http_data_only=True).data)
    want("swagger", swagger["swagger"], "2.0")
    index = json.loads(host.call_api("/openapi/v3", "GET", auth_settings=["BearerToken"], response_type="str",
                                     _preload_content=False, _return_http_data_only=True).data)
    where = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    path, query = where.split("?")
    document = json.loads(host.call_api(path, "GET", query_params=[tuple(query.split("="))], auth_settings=["BearerToken"],
                                        _preload_content=False, _return_http_data_only=True).data)
    want("a schema", "io.k8s.api.apps.v1.Deployment" in document["components"]["schemas"], True)


def life():
    made = core.create_namespaced_config_map(NAMESPACE, config_map("life", {"a": "1"}), field_manager="python")
    want("manager", made.metadata.managed_fields[0].manager, "python")
    want("time zone", made.metadata.creation_timestamp.tzinfo is not None, True)
    made.data["a"] = "2"
    replaced = core.replace_namespaced_config_map("life", NAMESPACE, made)
    want("data", replaced.data, {"a": "2"})
    body = refused(409, "Conflict", core.replace_namespaced_config_map, "life", NAMESPACE, made)
    want("message", "the object has been modified" in body["message"], True)
    body = refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, config_map("life"))
    want("details", body["details"], {"name": "life", "kind": "configmaps"})
    want("message", body["message"], 'configmaps "life" already exists')
    body = refused(404, "NotFound", core.read_namespaced_config_map, "nothing", NAMESPACE)
    want("message", body["message"], 'configmaps "nothing" not found')
    body = refused(422, "Invalid", core.create_namespaced_config_map, NAMESPACE, config_map("Not A Name"))
    want("field", body["details"]["causes"][0]["field"], "metadata.name")
    body = refused(400, "BadRequest", core.create_namespaced_config_map, NAMESPACE,
                   {"metadata": {"name": "strict"}, "dat": {}}, field_validation="Strict")
    want("message", 'unknown field "dat"' in body["message"], True)
    refused(404, "NotFound", core.create_namespaced_config_map, "no-such-namespace", config_map("life"))
    secret = client.V1Secret(metadata=client.V1ObjectMeta(generate_name="made-"), string_data={"a": "ü"})
    secret = core.create_namespaced_secret(NAMESPACE, secret)
    want("secret", base64.b64decode(secret.data["a"]).decode(), "ü")
    dry = core.create_namespaced_config_map(NAMESPACE, config_map("dry"), dry_run="All")
    want("uid of a dry run", bool(dry.metadata.uid), True)
    refused(404, "NotFound", core.read_namespaced_config_map, "dry", NAMESPACE)
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))
    refused(409, "Conflict", core.delete_namespaced_config_map, "life", NAMESPACE, body=options)
    status = core.delete_namespaced_config_map("life", NAMESPACE)
    want("deletion", (status.status, status.details.name), ("Success", "life"))


def pods():
    spec = client.V1PodSpec(containers=[client.V1Container(name="main", image="registry.example/main:1")])
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="pod", labels={"a": "b"}), spec=spec)
    # The service account of a new namespace takes a moment.
    made = eventually("a pod", lambda: core.create_namespaced_pod(NAMESPACE, pod))
    want("defaults", (made.spec.restart_policy, made.status.phase, made.status.qos_class), ("Always", "Pending", "BestEffort"))
    want("selected", len(core.list_namespaced_pod(NAMESPACE, field_selector="status.phase=Pending").items), 1)
    status = {"status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}}
    want("phase", core.patch_namespaced_pod_status("pod", NAMESPACE, status).status.phase, "Running")
    want("all", [one.metadata.name for one in core.list_pod_for_all_namespaces(label_selector="a=b").items
                 if one.metadata.namespace == NAMESPACE], ["pod"])
    refused(422, "Invalid", core.patch_namespaced_pod, "pod", NAMESPACE, {"spec": {"restartPolicy": "Never"}})
    core.delete_namespaced_pod("pod", NAMESPACE, grace_period_seconds=0)
    refused(404, "NotFound", core.read_namespaced_pod, "pod", NAMESPACE)


def pages():
    for number in range(7):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"page-{number}", labels={"paged": "yes"}))
    sizes, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes", limit=3, _continue=token)
        sizes.append(len(page.items))
        token = page.metadata._continue
        if not token:
            break
    want("pages", sizes, [3, 3, 1])
    every = core.list_namespaced_config_map(NAMESPACE, limit=2)
    rest = core.list_namespaced_config_map(NAMESPACE, limit=500, _continue=every.metadata._continue)
    want("what is left", every.metadata.remaining_item_count, len(rest.items))
    refused(400, "BadRequest", core.list_namespaced_config_map, NAMESPACE, limit=1, _continue="nonsense")
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="paged=yes")
    want("items", core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes").items, [])


def watches():
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    changes = threading.Thread(target=lambda: (
        core.create_namespaced_config_map(NAMESPACE, config_map("watched", labels={"watched": "yes"})),
        core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"a": "b"}}),
        core.delete_namespaced_config_map("watched", NAMESPACE)))
    changes.start()
    watcher, kinds = watch.Watch(), []
    for event in watcher.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=start,
                                label_selector="watched=yes", timeout_seconds=PATIENCE):
        kinds.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    changes.join()
    want("events", kinds, [(kind, "watched") for kind in ("ADDED", "MODIFIED", "DELETED")])
    # Without a version: what is there, and an end after the timeout.
    core.create_namespaced_config_map(NAMESPACE, config_map("there", labels={"watched": "there"}))
    started = time.monotonic()
    found = [event["type"] for event in watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, label_selector="watched=there", timeout_seconds=1)]
    want("events at first", found, ["ADDED"])
    want("ends in time", 0.5 < time.monotonic() - started < 5, True)
    # With bookmarks of the beginning, as clients of streaming lists ask.
    answer = core.list_namespaced_config_map(
        NAMESPACE, watch=True, allow_watch_bookmarks=True, send_initial_events=True,
        resource_version_match="NotOlderThan", timeout_seconds=2, _preload_content=False)
    events = [json.loads(line) for line in io.BytesIO(answer.data) if line.strip()]
    marks = [event for event in events if event["type"] == "BOOKMARK"
             and event["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true"]
    want("bookmarks of the end", len(marks), 1)
    refused(400, "BadRequest", core.list_namespaced_config_map, NAMESPACE, resource_version="no-number")


def patches():
    apps.create_namespaced_deployment(NAMESPACE, deployment("patched"))
    host = client.ApiClient()

    def patch(kind, body, **query):
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/patched"
        return host.call_api(path, "PATCH", header_params={"Content-Type": kind, "Accept": "application/json"}, body=body,
                             query_params=list(query.items()), response_type="V1Deployment", auth_settings=["BearerToken"],
                             _return_http_data_only=True)

    patch("application/json-patch+json", [{"op": "replace", "path": "/spec/replicas", "value": 3}])
    patch("application/merge-patch+json", {"metadata": {"annotations": {"merged": "yes"}}})
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "registry.example/side:1"}]}}}}
    patch("application/strategic-merge-patch+json", side)
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "patched"}, "spec": {"paused": True}}
    live = patch("application/apply-patch+yaml", applied, fieldManager="python")
    want("after all", (live.spec.replicas, live.metadata.annotations["merged"], len(live.spec.template.spec.containers),
                       live.spec.paused), (3, "yes", 2, True))
    refused(415, "UnsupportedMediaType", patch, "application/x-unknown+json", {})
    refused(422, "Invalid", patch, "application/json-patch+json", [{"op": "test", "path": "/spec/replicas", "value": 9}])
    # The client's own methods choose the kind of patch by the body: a list is a JSON patch, else it is strategic.
    scale = apps.patch_namespaced_deployment_scale("patched", NAMESPACE, {"spec": {"replicas": 5}})
    want("scale", (scale.spec.replicas, scale.status.selector), (5, "app=patched"))
    live = apps.patch_namespaced_deployment("patched", NAMESPACE, [{"op": "remove", "path": "/spec/paused"}])
    want("generation", live.metadata.generation, 6)
    apps.delete_namespaced_deployment("patched", NAMESPACE, propagation_policy="Background")


def propagation():
    apps.create_namespaced_deployment(NAMESPACE, deployment("owner"))
    apps.delete_namespaced_deployment("owner", NAMESPACE, propagation_policy="Orphan",
                                      body=client.V1DeleteOptions(dry_run=["All"]))
    want("after a dry deletion", apps.read_namespaced_deployment("owner", NAMESPACE).metadata.deletion_timestamp, None)
    apps.delete_namespaced_deployment("owner", NAMESPACE, propagation_policy="Background")
    refused(404, "NotFound", apps.read_namespaced_deployment, "owner", NAMESPACE)
    held = config_map("held", finalizers=["example.com/hold"])
    core.create_namespaced_config_map(NAMESPACE, held)
    core.delete_namespaced_config_map("held", NAMESPACE, propagation_policy="Foreground")
    live = core.read_namespaced_config_map("held", NAMESPACE)
    want("finalizers", sorted(live.metadata.finalizers), ["example.com/hold", "foregroundDeletion"])
    core.patch_namespaced_config_map("held", NAMESPACE, [{"op": "replace", "path": "/metadata/finalizers", "value": []}])
    refused(404, "NotFound", core.read_namespaced_config_map, "held", NAMESPACE)


def reviews():
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(verb="create", resource="pods", namespace=NAMESPACE)))
    want("allowed", client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed, True)
    account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot"))
    core.create_namespaced_service_account(NAMESPACE, account)
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("robot", NAMESPACE, request).status.token
    settings = client.Configuration.get_default_copy()
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": f"Bearer {token}"}
    robot = client.ApiClient(settings)
    me = client.AuthenticationV1Api(robot).create_self_subject_review(client.V1SelfSubjectReview())
    want("user", me.status.user_info.username, f"system:serviceaccount:{NAMESPACE}:robot")
    want("robot may", client.AuthorizationV1Api(robot).create_self_subject_access_review(review).status.allowed, False)
    body = refused(403, "Forbidden", client.CoreV1Api(robot).list_namespaced_secret, NAMESPACE)
    want("message", body["message"],
         f'secrets is forbidden: User "system:serviceaccount:{NAMESPACE}:robot" cannot list resource "secrets" '
         f'in API group "" in the namespace "{NAMESPACE}"')
    settings.api_key = {"authorization": "Bearer wrong"}
    refused(401, "Unauthorized", client.CoreV1Api(client.ApiClient(settings)).list_namespaced_secret, NAMESPACE)


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tins.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: tins, singular: tin, kind: Tin, listKind: TinList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              count: {type: integer, minimum: 0, default: 1}
              content: {type: string, enum: [fish, beans]}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


def custom_objects():
    group = f"py-{RUN}.example.com"
    extensions = client.ApiextensionsV1Api()
    definition = yaml.safe_load(DEFINITION.replace("GROUP", group))
    extensions.create_custom_resource_definition(definition)
    try:
        def established():
            conditions = extensions.read_custom_resource_definition(f"tins.{group}").status.conditions or []
            want("established", [one.status for one in conditions if one.type == "Established"], ["True"])

        eventually("the definition", established)
        objects = client.CustomObjectsApi()
        where = (group, "v1", NAMESPACE, "tins")
        tin = {"apiVersion": f"{group}/v1", "kind": "Tin", "metadata": {"name": "one"}, "spec": {"content": "fish"}}
        made = eventually("a tin", lambda: objects.create_namespaced_custom_object(*where, tin))
        want("default", made["spec"]["count"], 1)
        wrong = {**tin, "metadata": {"name": "two"}, "spec": {"content": "glass"}}
        body = refused(422, "Invalid", objects.create_namespaced_custom_object, *where, wrong)
        want("field", body["details"]["causes"][0]["field"], "spec.content")
        patched = objects.patch_namespaced_custom_object(*where, "one", {"spec": {"count": 4}})
        want("generation", patched["metadata"]["generation"], 2)
        objects.patch_namespaced_custom_object_status(*where, "one", {"status": {"count": 4}})
        scale = objects.get_namespaced_custom_object_scale(*where, "one")
        want("scale", (scale["spec"]["replicas"], scale["status"]["replicas"]), (4, 4))
        patched["spec"]["count"] = 0
        refused(409, "Conflict", objects.replace_namespaced_custom_object, *where, "one", patched)
        events = watch.Watch().stream(objects.list_namespaced_custom_object, *where, timeout_seconds=1)
        want("watched", [event["object"]["metadata"]["name"] for event in events], ["one"])
        through_dynamic_client(group)
        objects.delete_collection_namespaced_custom_object(*where)
        want("left", objects.list_namespaced_custom_object(*where)["items"], [])
    finally:
        extensions.delete_custom_resource_definition(f"tins.{group}")


def through_dynamic_client(group):
    with tempfile.TemporaryDirectory() as folder:
        anything = dynamic.DynamicClient(client.ApiClient(), cache_file=os.path.join(folder, "discovery"))
        tins = anything.resources.get(api_version=f"{group}/v1", kind="Tin")
        body = {"apiVersion": f"{group}/v1", "kind": "Tin", "metadata": {"name": "applied"}, "spec": {"count": 2}}
        made = tins.server_side_apply(body=body, namespace=NAMESPACE, field_manager="python")
        want("count", made.spec.count, 2)
        body["spec"]["count"] = 3
        try:
            tins.server_side_apply(body=body, namespace=NAMESPACE, field_manager="other")
            raise AssertionError("a field of another manager was taken")
        except ConflictError as error:
            want("cause", json.loads(error.body)["details"]["causes"][0]["field"], ".spec.count")
        tins.server_side_apply(body=body, namespace=NAMESPACE, field_manager="other", force_conflicts=True)
        want("through its status", tins.status.get(name="applied", namespace=NAMESPACE).spec.count, 3)
        tins.delete(name="applied", namespace=NAMESPACE)
        deployments = anything.resources.get(api_version="apps/v1", kind="Deployment")
        sent = client.ApiClient().sanitize_for_serialization(deployment("dynamic"))
        sent.update(apiVersion="apps/v1", kind="Deployment")
        deployments.create(body=sent, namespace=NAMESPACE)
        deployments.patch(name="dynamic", namespace=NAMESPACE, body={"spec": {"replicas": 7}},
                          content_type="application/merge-patch+json")
        want("replicas", deployments.get(name="dynamic", namespace=NAMESPACE).spec.replicas, 7)
        seen = [event["type"] for event in deployments.watch(namespace=NAMESPACE, name="dynamic", timeout=1)]
        want("watched", seen, ["ADDED"])
        deployments.delete(name="dynamic", namespace=NAMESPACE)
        try:
            deployments.get(name="dynamic", namespace=NAMESPACE)
            raise AssertionError("it is still there")
        except NotFoundError:
            pass


MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: from-yaml}
spec: {selector: {app: x}, ports: [{port: 80, targetPort: web}]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: from-list}, data: {a: b}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: from-yaml}
spec:
  schedule: "*/5 * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}
"""


def from_yaml():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(MANIFESTS)
        file.flush()
        utils.create_from_yaml(client.ApiClient(), file.name, namespace=NAMESPACE)
        try:
            utils.create_from_yaml(client.ApiClient(), file.name, namespace=NAMESPACE)
            raise AssertionError("it was created twice")
        except utils.FailToCreateError as error:
            want("each is refused", {one.status for one in error.api_exceptions}, {409})
        utils.create_from_yaml(client.ApiClient(), file.name, namespace=NAMESPACE, apply=True)
    service = core.read_namespaced_service("from-yaml", NAMESPACE)
    want("service", (service.spec.type, service.spec.ports[0].target_port, bool(service.spec.cluster_ip)), ("ClusterIP", "web", True))
    want("list", core.read_namespaced_config_map("from-list", NAMESPACE).data, {"a": "b"})


def election():
    """Two candidates: when the first has let go, the second leads."""
    order, done = [], threading.Event()

    def candidate(name):
        lock = ConfigMapLock("election", NAMESPACE, name)

        def lead():
            order.append(name)
            if len(order) == 2:
                done.set()

        settings = electionconfig.Config(lock, lease_duration=3, renew_deadline=2, retry_period=1,
                                         onstarted_leading=lead, onstopped_leading=lambda: None)
        elector = leaderelection.LeaderElection(settings)
        # Whoever has it does not renew it: the other takes over once it has run out.
        if elector.acquire():
            lead()

    threads = [threading.Thread(target=candidate, args=(name,), daemon=True) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    want("both led", done.wait(PATIENCE), True)
    record = core.read_namespaced_config_map("election", NAMESPACE).metadata.annotations
    want("holder", json.loads(record["control-plane.alpha.kubernetes.io/leader"])["holderIdentity"], order[1])


def main():
    # The client logs each turn of an election.
    logging.disable(logging.WARNING)
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    checks = [version_and_schema, life, pods, pages, watches, patches, propagation, reviews, custom_objects, from_yaml, election]
    wanted, passed, failed = sys.argv[1:], [], []
    for check in checks:
        name = check.__name__
        if wanted and name not in wanted:
            continue
        try:
            check()
            passed.append(name)
        except (Exception, SystemExit):
            failed.append(name)
            print(f"FAILED {name}:\n{traceback.format_exc()}")
    core.delete_namespace(NAMESPACE)
    print("passed:", " ".join(passed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
