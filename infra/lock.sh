#!/usr/bin/env bash
# Writes the two lock files anew from pyproject.toml: names, versions and hashes, and no registry address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
  # extras stay in: pip, which asks for hashes, takes a pin without its extra for another package's
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-strip-extras "$@" pyproject.toml
}
# the server's parts and every kind of worker's too, so that the image and the quickstart have the same pins
image=(--extra server --extra docker --extra kubernetes)
compile --group build "${image[@]}" --output-file requirements.lock
compile --group dev --extra heic "${image[@]}" --constraint requirements.lock --output-file requirements-dev.lock
