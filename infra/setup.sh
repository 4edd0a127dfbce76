# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh. `set_up LOCK` makes .venv at the project's root and installs
# LOCK and the project into it; the second call finds that done. Needs Python 3.11 or newer.
# Run by itself, `bash infra/setup.sh`, it sets up what the tests and checks need.

# Where it is set, each of the hundreds of processes of the tests compiles all that it imports anew.
unset PYTHONDONTWRITEBYTECODE

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Facecrop needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python." >&2
  return 1
}

# Installs Debian packages, where this is Debian or Ubuntu and we may.
apt_install() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  if ! command -v apt-get >/dev/null || { [ "${#as_root[@]}" -gt 0 ] && ! command -v sudo >/dev/null; }; then
    echo "Please install: $*" >&2
    return 1
  fi
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

set_up() {
  local lock=$1 python stamp
  stamp=.venv/.installed-$lock
  if [ -f "$stamp" ] && cmp -s "$stamp" "$lock" && [ "$stamp" -nt pyproject.toml ]; then
    return
  fi
  python=$(find_python)
  # Debian splits venv's other half off into a package of its own
  "$python" -c 'import ensurepip' 2>/dev/null ||
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  echo "Installing into .venv from $lock (a minute or two, this once) ..." >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  install --require-hashes -r "$lock"
  install --no-deps --no-build-isolation --editable .
  cp "$lock" "$stamp"
}

# Installs into .venv: with uv, which takes a tenth of the time, or with pip where it cannot be had.
install() {
  local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check) uv
  if uv=$(command -v uv) ||
    { "${pip[@]}" --require-hashes -r requirements-uv.lock 2>/dev/null && uv=.venv/bin/uv; }; then
    # uv reads none of pip's settings
    UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("${pip[@]:0:3}" config get global.index-url 2>/dev/null)}} \
      "$uv" pip install --quiet --compile-bytecode --python .venv/bin/python "$@" && return
    echo "uv could not install that: now pip tries." >&2
  fi
  "${pip[@]}" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  set_up requirements-dev.lock
fi
