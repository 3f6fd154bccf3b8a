// Uses an API server as programs written with the JavaScript client do. KUBECONFIG names the server, RUN makes names
// unique.
import assert from 'node:assert/strict';
import {
  ApiException, AppsV1Api, CoreV1Api, CoordinationV1Api, KubeConfig, KubernetesObjectApi, PatchStrategy, VersionApi, Watch,
  makeInformer, setHeaderOptions,
} from '@kubernetes/client-node';

const run = process.env.RUN ?? String(process.pid);
const namespace = `node-${run}`;
const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);
const apps = config.makeApiClient(AppsV1Api);

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function eventually(what, ask) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${what}: at last ${error.message}`);
      await sleep(50);
    }
  }
}

async function refused(code, reason, call) {
  const error = await call.then(() => assert.fail('not refused'), (refusal) => refusal);
  assert.ok(error instanceof ApiException, String(error));
  const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
  assert.deepEqual([error.code, status.code, status.reason], [code, code, reason]);
  return status;
}

const map = (name, data, labels) => ({ metadata: { name, labels }, data });
const create = (body) => core.createNamespacedConfigMap({ namespace, body });

async function life() {
  const version = await config.makeApiClient(VersionApi).getCode();
  assert.equal(version.minor, '34');
  const made = await create(map('life', { a: '1' }));
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  made.data.a = '2';
  const replaced = await core.replaceNamespacedConfigMap({ name: 'life', namespace, body: made });
  assert.deepEqual(replaced.data, { a: '2' });
  await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'life', namespace, body: made }));
  await refused(409, 'AlreadyExists', create(map('life')));
  const status = await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'nothing', namespace }));
  assert.equal(status.message, 'configmaps "nothing" not found');
  await refused(422, 'Invalid', create(map('Not A Name')));
  const dry = await core.createNamespacedConfigMap({ namespace, body: map('dry'), dryRun: 'All' });
  assert.ok(dry.metadata.uid);
  await core.deleteNamespacedConfigMap({ name: 'life', namespace });
  await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'life', namespace }));
}

async function lists() {
  for (let number = 0; number < 5; number += 1) await create(map(`page-${number}`, {}, { paged: 'yes' }));
  const sizes = [];
  let token;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'paged=yes', limit: 2, _continue: token });
    sizes.push(page.items.length);
    token = page.metadata._continue;
  } while (token);
  assert.deepEqual(sizes, [2, 2, 1]);
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'paged=yes' });
}

async function patches() {
  const labels = { app: 'patched' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'registry.example/main:1' }] } };
  const body = { metadata: { name: 'patched' }, spec: { selector: { matchLabels: labels }, template } };
  await apps.createNamespacedDeployment({ namespace, body });
  const patch = (kind, change, more) => apps.patchNamespacedDeployment(
    { name: 'patched', namespace, body: change, ...more }, setHeaderOptions('Content-Type', kind));
  await patch(PatchStrategy.JsonPatch, [{ op: 'replace', path: '/spec/replicas', value: 3 }]);
  await patch(PatchStrategy.MergePatch, { metadata: { annotations: { merged: 'yes' } } });
  const side = [{ name: 'side', image: 'registry.example/side:1' }];
  await patch(PatchStrategy.StrategicMergePatch, { spec: { template: { spec: { containers: side } } } });
  const applied = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'patched' }, spec: { paused: true } };
  const live = await patch(PatchStrategy.ServerSideApply, applied, { fieldManager: 'node' });
  assert.deepEqual(
    [live.spec.replicas, live.metadata.annotations.merged, live.spec.template.spec.containers.length, live.spec.paused],
    [3, 'yes', 2, true]);
  const scale = await apps.readNamespacedDeploymentScale({ name: 'patched', namespace });
  assert.equal(scale.spec.replicas, 3);
}

async function anyKind() {
  const objects = KubernetesObjectApi.makeApiClient(config);
  const spec = {
    apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'any', namespace },
    spec: { schedule: '@daily', jobTemplate: { spec: { template: { spec: {
      restartPolicy: 'Never', containers: [{ name: 'a', image: 'a' }] } } } } },
  };
  const made = await objects.create(spec);
  assert.equal(made.spec.concurrencyPolicy, 'Allow');
  const patched = await objects.patch(
    { ...spec, spec: { suspend: true } }, undefined, undefined, 'node', undefined, PatchStrategy.MergePatch);
  assert.equal(patched.spec.suspend, true);
  assert.equal((await objects.list('batch/v1', 'CronJob', namespace)).items.length, 1);
  await objects.delete(spec);
  await refused(404, 'NotFound', objects.read(spec));
}

async function leases() {
  const api = config.makeApiClient(CoordinationV1Api);
  const made = await api.createNamespacedLease({
    namespace, body: { metadata: { name: 'seat' }, spec: { holderIdentity: 'a', leaseDurationSeconds: 15 } } });
  const stale = structuredClone(made);
  made.spec.holderIdentity = 'b';
  await api.replaceNamespacedLease({ name: 'seat', namespace, body: made });
  await refused(409, 'Conflict', api.replaceNamespacedLease({ name: 'seat', namespace, body: stale }));
}

async function watches() {
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const kinds = [];
  let ended;
  const end = new Promise((done) => { ended = done; });
  const query = { labelSelector: 'watched=yes', allowWatchBookmarks: true, timeoutSeconds: 30 };
  const running = await new Watch(config).watch(path, query, (kind) => kinds.push(kind), ended);
  await create(map('watched', {}, { watched: 'yes' }));
  await core.deleteNamespacedConfigMap({ name: 'watched', namespace });
  await eventually('two events', async () => assert.deepEqual(kinds, ['ADDED', 'DELETED']));
  running.abort();
  await end;
}

async function informers() {
  await create(map('before', {}, { informed: 'yes' }));
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'informed=yes' });
  const informer = makeInformer(config, path, list, 'informed=yes');
  const seen = [];
  for (const kind of ['add', 'update', 'delete']) informer.on(kind, (one) => seen.push(`${kind} ${one.metadata.name}`));
  informer.on('error', () => setTimeout(() => informer.start(), 100));
  await informer.start();
  await create(map('after', {}, { informed: 'yes' }));
  await core.patchNamespacedConfigMap(
    { name: 'after', namespace, body: { data: { a: 'b' } } }, setHeaderOptions('Content-Type', PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ name: 'before', namespace });
  await eventually('all events', async () => {
    assert.deepEqual(seen, ['add before', 'add after', 'update after', 'delete before']);
    assert.equal(informer.get('after', namespace).data.a, 'b');
  });
  await informer.stop();
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
const passed = [];
let failed = false;
for (const check of [life, lists, patches, anyKind, leases, watches, informers]) {
  try {
    await check();
    passed.push(check.name);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${check.name}: ${error.stack}`);
  }
}
await core.deleteNamespace({ name: namespace });
console.log(`passed: ${passed.join(' ')}`);
process.exit(failed ? 1 : 0);
