#!/usr/bin/env bash
# What people do with helm, on a chart of our own: KUBECONFIG names the server, RUN makes names unique, HELM and KUBECTL
# are the programs. Each release once with server-side apply, helm's default, and once with its own merge.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

run=${RUN:-$$}
namespace=helm-$run
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export HELM_CACHE_HOME=$scratch/cache HELM_CONFIG_HOME=$scratch/config HELM_DATA_HOME=$scratch/data

helm() { timeout 60 "$HELM" --namespace "$namespace" "$@"; }
k() { timeout 60 "$KUBECTL" --cache-dir "$scratch/kubectl" --namespace "$namespace" "$@"; }
# want WHAT IS SHOULD
want() {
  [ "$2" = "$3" ] || { echo "$1 is «$2», should be «$3»" >&2; exit 1; }
}
field() { k get "$1" -o "jsonpath=$2"; }
# refused TEXT COMMAND...: it fails, and says that.
refused() {
  local text=$1
  shift
  if "$@" >"$scratch/refused" 2>&1; then echo "not refused: $*" >&2; exit 1; fi
  grep -q -- "$text" "$scratch/refused" || { cat "$scratch/refused" >&2; exit 1; }
}

release() {
  local name=$1 side=$2
  helm install "$name" chart --create-namespace --server-side="$side" >"$scratch/out" || { cat "$scratch/out"; exit 1; }
  want "revision of the hook" "$(field "configmap/$name-before" '{.data.revision}')" 1
  want "default of the custom resource" "$(field "till/$name" '{.spec.currency}')" EUR
  want "manager" "$(k get "deployment/$name" --show-managed-fields -o 'jsonpath={.metadata.managedFields[0].operation}')" \
    "$([ "$side" = true ] && echo Apply || echo Update)"
  want "labels" "$(field "service/$name" '{.metadata.labels.app\.kubernetes\.io/managed-by}')" Helm
  refused "cannot reuse a name that is still in use" helm install "$name" chart --server-side="$side"

  # A hook that waits for pods would wait for ever: pods do not run yet. Without hooks the Job is not even made.
  helm upgrade "$name" chart --server-side="$side" --set greeting=welcome,replicas=3,migrate=true --no-hooks >/dev/null
  want "greeting" "$(field "configmap/$name" '{.data.greeting}')" welcome
  want "replicas" "$(field "deployment/$name" '{.spec.replicas}')" 3
  refused NotFound k get "job/$name-migrate"
  # The same hook again, with its deletion before.
  helm upgrade "$name" chart --server-side="$side" --reuse-values --set migrate=false,port=8081 >/dev/null
  want "revision of the hook" "$(field "configmap/$name-before" '{.data.revision}')" 3
  want "port" "$(field "service/$name" '{.spec.ports[*].port}')" 8081

  # Somebody else scales: helm's own merge takes no notice, server-side apply tells of the conflict.
  k scale "deployment/$name" --replicas=9 >/dev/null
  if [ "$side" = true ]; then
    refused conflict helm upgrade "$name" chart --server-side=true --set replicas=4 --no-hooks
    helm upgrade "$name" chart --server-side=true --set replicas=4 --no-hooks --force-conflicts >/dev/null
  else
    refused "invalid" helm upgrade "$name" chart --server-side=false --set replicas=-1 --no-hooks
    helm upgrade "$name" chart --server-side=false --set replicas=4 --no-hooks >/dev/null
  fi
  want "replicas" "$(field "deployment/$name" '{.spec.replicas}')" 4

  helm rollback "$name" 1 --no-hooks $([ "$side" = true ] && echo --force-conflicts) >/dev/null
  want "after the rollback" "$(field "deployment/$name" '{.spec.replicas}') $(field "configmap/$name" '{.data.greeting}')" \
    "2 hello"
  want "history" "$(helm history "$name" -o json |
    python3 -c 'import json,sys; print(*(row["status"] for row in json.load(sys.stdin)))')" \
    "superseded superseded superseded failed superseded deployed"
  want "list" "$(helm list --filter "^$name\$" -o json |
    python3 -c 'import json,sys; print(*(row["revision"]+row["status"] for row in json.load(sys.stdin)))')" 6deployed
  helm get manifest "$name" | k diff -f - >/dev/null || { echo "the cluster differs from the manifest"; exit 1; }
  helm status "$name" >/dev/null
  helm uninstall "$name" --no-hooks >/dev/null
  want "what is left" "$(k get deployment,service,configmap,till -l "app=$name" -o name)" ""
  want "history" "$(k get secrets -l "name=$name" -o name)" ""
}

release "server-$run" true
release "client-$run" false
helm install --dry-run=server "dry-$run" chart >"$scratch/out" || { cat "$scratch/out"; exit 1; }
want "after a dry run" "$(helm list -q)" ""

# Rendered and applied by kubectl.
name=rendered-$run
helm template "$name" chart --no-hooks --kube-version 1.34 --api-versions apps/v1/Deployment >"$scratch/rendered.yaml"
k apply -f "$scratch/rendered.yaml" >/dev/null
k apply --server-side --force-conflicts -f "$scratch/rendered.yaml" >/dev/null
want "rendered" "$(field "deployment/$name" '{.spec.template.spec.containers[*].image}')" registry.example/shop:1
k delete -f "$scratch/rendered.yaml" --timeout=30s >/dev/null
k delete crd tills.shop.example.com --timeout=30s >/dev/null
k delete namespace "$namespace" --wait=false >/dev/null
echo "passed: install upgrade rollback uninstall list history hooks template, server-side and client-side; hook Jobs are not run (--no-hooks): pods do not run yet"
