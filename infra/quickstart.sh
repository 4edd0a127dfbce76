#!/usr/bin/env bash
# Facecrop on this machine, with a Prefect server and its UI. On Windows: quickstart.ps1.
#   bash infra/quickstart.sh [ARCHIVE]   sets up, starts the server, crops ARCHIVE (a sample if none)
#   bash infra/quickstart.sh --stop      ends what it started
set -euo pipefail
# shellcheck source=infra/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
python=$(find_python)
exec "$python" "$infra/quickstart.py" "$@"
