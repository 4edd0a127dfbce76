# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh. `set_up LOCK` makes .venv at the project's root and installs
# LOCK and the project into it; the second call finds that done. Needs Python 3.11 or newer.

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
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  cp "$lock" "$stamp"
}
