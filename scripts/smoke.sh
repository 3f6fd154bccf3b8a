#!/usr/bin/env bash
# The binary as the README starts it: three members, kubectl through each of them, the leader killed, and on it goes.
# Uses the dev build, or the binary that ENGENHO_TEST_BINARY names; every kubectl of ENGENHO_KUBECTL (separated by colons),
# else the one in PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/engenho-target}
IFS=: read -r -a kubectls <<<"${ENGENHO_KUBECTL:-$(command -v kubectl)}"
engenho=${ENGENHO_TEST_BINARY:-}
if [ -z "$engenho" ]; then
  cargo build -j "${ENGENHO_JOBS:-2}" --quiet -p engenho
  engenho=$CARGO_TARGET_DIR/debug/engenho
fi

dir=$(mktemp -d)
log=$dir/dev.log
dev=
finish() {
  local code=$?
  if [ -n "$dev" ] && kill -0 "$dev" 2>/dev/null; then
    kill -INT "$dev" 2>/dev/null || true
    wait "$dev" 2>/dev/null || true
  fi
  if [ "$code" -ne 0 ]; then
    tail -n 40 "$log" || true
    for file in "$dir"/cluster/*.log "$dir"/cluster/*/*.log; do
      [ -f "$file" ] && { echo "--- $file"; tail -n 20 "$file"; }
    done
    echo "smoke: failed; the files stay in $dir"
  else
    rm -rf "$dir"
  fi
}
trap finish EXIT

# retry SECONDS COMMAND...: until it succeeds.
retry() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >"$dir/last" 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "not in time: $*"
      cat "$dir/last"
      return 1
    fi
    sleep 0.2
  done
}

data_dir() { printf '%s/cluster/%s' "$dir" "$1"; }
status() { "$engenho" status -o json --data-dir "$(data_dir "$1")"; }
# ask MEMBER EXPRESSION: of the status `s` as that member sees it.
ask() { status "$1" | python3 -c "import json,sys; s=json.load(sys.stdin); print($2)"; }
k() { "$kubectl" --kubeconfig "$(data_dir "$1")/admin.kubeconfig" --cache-dir "$dir/cache" "${@:2}"; }
settled() {
  [ "$(ask "$1" "sum(m['apiReady'] and m['state'] == 'alive' and m['role'] == 'voter' for m in s['members'])")" = "$2" ]
}

"$engenho" dev --nodes 3 --dir "$dir/cluster" --logs >"$log" 2>&1 &
dev=$!
members=(n1 n2 n3)
retry 60 settled n1 3

for kubectl in "${kubectls[@]}"; do
  echo "kubectl: $("$kubectl" version --client | head -n 1)"
  for member in "${members[@]}"; do
    name=smoke-$member-$RANDOM
    k "$member" get --raw /readyz >/dev/null
    k "$member" create configmap "$name" --from-literal=a=1 >/dev/null
    resource_version=$(k "$member" get configmap "$name" -o 'jsonpath={.metadata.resourceVersion}')
    # A watch from here on sees what the others do.
    "$kubectl" --kubeconfig "$(data_dir "$member")/admin.kubeconfig" get --raw \
      "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=$resource_version&fieldSelector=metadata.name%3D$name" \
      >"$dir/watched" 2>/dev/null &
    watching=$!
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: "2"}\n' "$name" >"$dir/manifest.yaml"
    k "$member" apply -f "$dir/manifest.yaml" >/dev/null 2>&1
    k "$member" apply --server-side --force-conflicts -f "$dir/manifest.yaml" >/dev/null
    k "$member" label configmap "$name" smoke=yes >/dev/null
    for reader in "${members[@]}"; do
      [ "$(k "$reader" get configmaps -l smoke=yes -o name)" = "configmap/$name" ]
      [ "$(k "$reader" get configmap "$name" -o 'jsonpath={.data.a}')" = 2 ]
    done
    k "$member" delete configmap "$name" >/dev/null
    retry 10 grep -q '"type":"DELETED"' "$dir/watched"
    kill "$watching" 2>/dev/null || true
    wait "$watching" 2>/dev/null || true
    echo "  $member: get, create, apply, label, watch, delete"
  done
done

kubectl=${kubectls[0]}
k n1 create configmap survivor --from-literal=kept=yes >/dev/null
leader=$(ask n1 "next(m['name'] for m in s['members'] if m['id'] == s['leader'])")
pid=$(pgrep -f -- "--data-dir[= ]$(data_dir "$leader")( |\$)" | head -n 1)
kill -9 "$pid"
started=$SECONDS
survivors=()
for member in "${members[@]}"; do [ "$member" = "$leader" ] || survivors+=("$member"); done
for member in "${survivors[@]}"; do
  retry 15 k "$member" create configmap "after-$member" --from-literal=a=1
  [ "$(k "$member" get configmap survivor -o 'jsonpath={.data.kept}')" = yes ]
done
echo "leader $leader killed: kubectl goes on through ${survivors[*]} within $((SECONDS - started)) s"

kill -INT "$dev"
wait "$dev" || { echo "engenho dev ended with $?"; exit 1; }
dev=
if pgrep -f -- "--data-dir[= ]$dir/cluster/" >/dev/null; then
  echo "members outlive engenho dev"
  exit 1
fi
echo "smoke: ok"
