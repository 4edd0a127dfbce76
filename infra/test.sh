#!/usr/bin/env bash
# Sets up all that the tests need on a fresh Debian or Ubuntu, and runs every check and every test.
#   bash infra/test.sh [...]               what is given goes to pytest: -k zip
#   bash infra/test.sh --fast [...]        the checks, and the tests that need no server and no browser
#   bash infra/test.sh --coverage [...]    those tests, and the share of the code that runs in their own process
#   bash infra/test.sh --containers [...]  the tests of the image and compose.yaml, on a Docker engine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
set_up requirements-dev.lock

fast=(-m "not service and not slow and not browser and not container" --hypothesis-profile fast)
# A file's tests share what they start. Processes as measured on two cores: of four, one is at work
# on what needs no service, while the others wait for theirs (tests/conftest.py).
few=(-n "${FACECROP_TEST_PROCESSES:-3}" --dist loadfile --no-loadscope-reorder)
many=(-n "${FACECROP_TEST_PROCESSES:-4}" "${few[@]:2}")

check() {
  .venv/bin/ruff check
  .venv/bin/ruff format --check
  .venv/bin/lint-imports --no-logo
  .venv/bin/mypy
}

# Runs pytest beside the checks, whose process is named first: mypy takes a minute of one core.
test_beside() {
  local failed=0
  .venv/bin/pytest "${@:2}" || failed=$?
  wait "$1" || failed=$?
  exit "$failed"
}

case "${1:-}" in
  --containers)
    exec .venv/bin/pytest -m container "${@:2}"
    ;;
  --fast)
    check &
    test_beside $! "${fast[@]}" "${few[@]}" "${@:2}"
    ;;
  --coverage)
    .venv/bin/coverage run -m pytest "${fast[@]}" "${@:2}"
    exec .venv/bin/coverage report
    ;;
esac
check &
checks=$!
# what production runs on, for infra/servers/stack.py to start, and what people look with
missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v redis-server >/dev/null || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
[ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
if docker info >/dev/null 2>&1; then why="a matter of minutes"; else why="no Docker engine answers"; fi
echo "Left out, $why: bash infra/test.sh --containers" >&2
test_beside $checks -m "not container" "${many[@]}" "$@"
