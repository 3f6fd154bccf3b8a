#!/usr/bin/env bash
# Client libraries and tools that others wrote, against the built binary: three members, one of each role, and every
# client through the voter, the standby and the worker. What cannot run here is skipped and said so; whatever runs has to
# succeed. `scripts/clients.sh NAME...` runs some: helm, kube, python, go, node.
#
# Uses the dev build, or the binary that ENGENHO_TEST_BINARY names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/engenho-target}
tools=${ENGENHO_TOOLS:-$HOME/.cache/engenho-tools}
clients=$PWD/crates/node/tests/clients
jobs=${ENGENHO_JOBS:-2}
only=("$@")
# One run of one client.
time_max=180

scripts/install-test-tools.sh clients >/dev/null || echo "not all tools could be installed"
engenho=${ENGENHO_TEST_BINARY:-}
if [ -z "$engenho" ]; then
  cargo build -j "$jobs" --quiet -p engenho
  engenho=$CARGO_TARGET_DIR/debug/engenho
fi

dir=$(mktemp -d)
dev=
finish() {
  local code=$?
  if [ -n "$dev" ] && kill -0 "$dev" 2>/dev/null; then
    kill -INT "$dev" 2>/dev/null || true
    wait "$dev" 2>/dev/null || true
  fi
  if [ "$code" -eq 0 ]; then
    rm -rf "$dir"
  else
    tail -n 20 "$dir/dev.log" 2>/dev/null || true
    echo "clients: failed; the files stay in $dir"
  fi
}
trap finish EXIT

wanted() {
  [ "${#only[@]}" -eq 0 ] && return 0
  local name
  for name in "${only[@]}"; do [ "$name" = "$1" ] && return 0; done
  return 1
}

# What can run is built and listed first: a cluster that waits for a compiler has other timings than one that works.
ready=() skipped=()
skip() {
  skipped+=("$1: $2")
}

bounded() { timeout "$time_max" "$@"; }
helm_client() { HELM=$tools/bin/helm KUBECTL=$tools/bin/kubectl bounded "$clients/helm/check.sh"; }
kube_client() { bounded "$CARGO_TARGET_DIR/debug/engenho-client-kube"; }
python_client() { PYTHONPATH=$tools/python bounded python3 -W ignore -B "$clients/python/clients.py"; }
# By a worker it asks for streaming lists, as later releases of it do by default.
go_client() { KUBE_FEATURE_WatchListClient=$([ "$role" = worker ] && echo true || echo false) bounded "$tools/go-bin/clients"; }
node_client() { bounded node "$tools/node/clients.mjs"; }

prepare_helm() { [ -x "$tools/bin/helm" ] && [ -x "$tools/bin/kubectl" ] || { skip helm "helm is not installed"; return 1; }; }
prepare_kube() {
  cargo build -j "$jobs" --quiet --locked --manifest-path "$clients/rust/Cargo.toml" && return 0
  # Without its dependencies it cannot be built; with them it has to.
  if cargo fetch --quiet --locked --manifest-path "$clients/rust/Cargo.toml" 2>/dev/null; then
    echo "kube: it does not compile"
    exit 1
  fi
  skip kube "its dependencies cannot be fetched here"
  return 1
}
prepare_python() {
  [ -f "$tools/python/.stamp" ] || { skip python "the client cannot be installed here"; return 1; }
}
prepare_go() {
  [ -f "$tools/go/.stamp" ] || { skip go "Debian's packages of Go and client-go cannot be had here"; return 1; }
  mkdir -p "$tools/go-path/src/engenho" "$tools/go-bin"
  ln -sfn "$clients/go" "$tools/go-path/src/engenho/clients"
  (
    export GOROOT=$tools/go/usr/lib/go-1.24 GOPATH=$tools/go-path:$tools/go/usr/share/gocode GOCACHE=$tools/go-cache
    export GO111MODULE=off GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
    cd "$tools/go-path/src/engenho/clients"
    "$GOROOT/bin/go" build -p "$jobs" -o "$tools/go-bin/clients" .
  ) || { echo "go: it does not compile"; exit 1; }
}
prepare_node() {
  [ -f "$tools/node/.stamp" ] || { skip node "the client cannot be installed here"; return 1; }
  cp "$clients/node/clients.mjs" "$tools/node/"
}

for client in helm kube python go node; do
  if wanted "$client" && "prepare_$client"; then ready+=("$client"); fi
done

data_dir() { printf '%s/cluster/%s' "$dir" "$1"; }
# names EXPRESSION: of the members for which it holds.
names() {
  "$engenho" status -o json --data-dir "$(data_dir n1)" 2>/dev/null |
    python3 -c "import json,sys; print(*(m['name'] for m in json.load(sys.stdin)['members'] if m['apiReady'] and $1))" 2>/dev/null
}
# until SECONDS COMMAND...: it succeeds.
until_so() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "not in time: $*"; return 1; }
    sleep 0.2
  done
}
voters_are() { [ "$(names "m['role'] == 'voter'" | wc -w)" = "$1" ]; }

"$engenho" dev --nodes 3 --dir "$dir/cluster" --logs --base-port "${ENGENHO_CLIENTS_PORT:-26443}" >"$dir/dev.log" 2>&1 &
dev=$!
until_so 60 voters_are 3
"$engenho" formation set --voters 1 --standbys 1 --data-dir "$(data_dir n1)" >/dev/null
until_so 60 voters_are 1
roles=(voter standby worker)

failed=()
for client in "${ready[@]}"; do
  for role in "${roles[@]}"; do
    member=$(names "m['role'] == '$role'")
    if [ -z "$member" ]; then
      echo "there is no $role"
      exit 1
    fi
    started=$SECONDS
    export KUBECONFIG RUN=$role
    KUBECONFIG=$(data_dir "$member")/admin.kubeconfig
    log=$dir/$client-$role.log
    # In a process of its own, so that `set -e` holds inside it.
    if ("${client}_client") >"$log" 2>&1; then
      echo "$client through the $role $member, $((SECONDS - started)) s: $(grep '^passed:' "$log" | tail -n 1)"
    else
      failed+=("$client/$role")
      echo "$client through the $role $member FAILED after $((SECONDS - started)) s:"
      tail -n 40 "$log"
    fi
  done
done

for line in "${skipped[@]}"; do echo "skipped: $line"; done
if [ "${#failed[@]}" -gt 0 ]; then
  echo "clients: failed: ${failed[*]}"
  exit 1
fi
[ "${#ready[@]}" -gt 0 ] || { echo "clients: no client can run here"; exit 1; }
kill -INT "$dev"
wait "$dev" || { echo "engenho dev ended with $?"; exit 1; }
dev=
echo "clients: ok: ${ready[*]}"
