#!/usr/bin/env bash
# Sets up all that the tests need on a fresh Debian or Ubuntu, and runs every check and every test.
# What is given goes to pytest: bash infra/test.sh -k zip
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
set_up requirements-dev.lock
.venv/bin/ruff check
.venv/bin/ruff format --check
.venv/bin/mypy
.venv/bin/pytest "$@"
