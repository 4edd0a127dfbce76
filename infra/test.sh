#!/usr/bin/env bash
# Sets up all that the tests need on a fresh Debian or Ubuntu, and runs every check and every test.
# What is given goes to pytest: bash infra/test.sh -k zip
# The tests of the image and of compose.yaml, on a Docker engine: bash infra/test.sh --containers
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
set_up requirements-dev.lock
if [ "${1:-}" = --containers ]; then
  exec .venv/bin/pytest -m container "${@:2}"
fi
# what production runs on, for tests/stack.py to start, and what people look with
missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v redis-server >/dev/null || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
[ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
.venv/bin/ruff check
.venv/bin/ruff format --check
.venv/bin/mypy
if docker info >/dev/null 2>&1; then why="a matter of minutes"; else why="no Docker engine answers"; fi
echo "Left out, $why: bash infra/test.sh --containers" >&2
# most of the service tests wait most of the time
.venv/bin/pytest -m "not container" -n "${FACECROP_TEST_PROCESSES:-2}" \
  --dist loadfile --no-loadscope-reorder "$@"
