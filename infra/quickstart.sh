#!/usr/bin/env bash
# Facecrop on this machine, with a Prefect server and its UI.
#   bash infra/quickstart.sh [ARCHIVE]   sets up, starts the server, crops ARCHIVE (a sample if none)
#   bash infra/quickstart.sh --stop      ends what it started
set -euo pipefail
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
set_up requirements.lock
exec .venv/bin/python infra/quickstart.py --from "$started_in" "$@"
