# shellcheck shell=bash
# Sourced by quickstart.sh, test.sh and release.sh. All that is done is done by infra/install.py: this
# finds a Python for it, 3.11 or newer. `set_up LOCK` makes .venv at the project's root and installs LOCK
# and the project into it; the second call finds that done.
# Run by itself, `bash infra/setup.sh`, it sets up what the tests and checks need.

# Where it is set, each of the hundreds of processes of the tests compiles all that it imports anew.
unset PYTHONDONTWRITEBYTECODE

infra=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 "$infra/../.venv/bin/python"; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Facecrop needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python." >&2
  return 1
}

set_up() {
  local python
  python=$(find_python)
  "$python" "$infra/install.py" "$1"
}

# Installs Debian packages, where this is Debian or Ubuntu and we may.
apt_install() {
  local python
  python=$(find_python)
  "$python" "$infra/install.py" --debian "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  set_up requirements-dev.lock
fi
