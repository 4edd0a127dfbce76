#!/usr/bin/env bash
# Writes the lock files: names, versions and hashes, and no registry address. All but the last
# two are from pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
  local lock=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-strip-extras --output-file "$lock" "$@"
  # What has an extra is pinned without it, too: where hashes are asked for, pip before 23.3 takes
  # neither pin for the other, and refuses whichever is missing.
  awk '/^[^ ]/ { printf "%s", again; again = ""; extra = /\[/ }
       extra { again = again $0 "\n"; sub(/\[.*\]/, "") }
       { print }
       END { printf "%s", again }' "$lock" >"$lock.part"
  mv "$lock.part" "$lock"
}
# the server's parts, every kind of worker's and the sample's too, so that the image and the quickstart
# have the same pins
image=(--extra sample --extra server --extra docker --extra kubernetes)
compile requirements.lock pyproject.toml --group build "${image[@]}"
compile requirements-dev.lock pyproject.toml --group dev "${image[@]}" --constraint requirements.lock
compile requirements-peers.lock pyproject.toml --group peers --constraint requirements-dev.lock
# the tools of infra/release.sh, which is installed beside nothing else
compile requirements-release.lock - <<<$'cyclonedx-bom>=7.2,<8\npip-audit>=2.9,<3\npip-licenses>=5,<6'
# what infra/setup.sh installs the others with
compile requirements-uv.lock - <<<'uv>=0.8,<1'
