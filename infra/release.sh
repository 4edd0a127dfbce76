#!/usr/bin/env bash
# What has to be asked before a release, over the network: whether a dependency of requirements.lock
# has a known vulnerability, and under which licences they all are, which dist/LICENCES.md lists then.
#   bash infra/release.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
list=dist/LICENCES.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# All that may be in here without asking: each lets the image be used, changed and handed on, and
# asks for its text alone. The MPL and the Artistic License, too, as long as the packages under them
# are handed on unchanged. Anything else, and any new mixture, stops here until somebody has read it.
allowed=(
  "MIT" "MIT License" "MIT-0" "MIT-CMU" "ISC" "ISC License (ISCL)" "Unlicense" "HPND"
  "BSD License" "BSD-2-Clause" "BSD-3-Clause" "3-Clause BSD License"
  "Apache-2.0" "Apache Software License" "PSF-2.0" "Python Software Foundation License"
  "MPL-2.0" "Mozilla Public License 2.0 (MPL 2.0)"
  "Artistic License" # text-unidecode, which may be had under the GPL instead
  "Apache-2.0 AND MIT" "Apache-2.0 AND BSD-2-Clause" "Apache-2.0 OR BSD-2-Clause"
  "Apache-2.0 OR BSD-3-Clause" "Apache-2.0 AND CNRI-Python" "MIT AND PSF-2.0"
  "MPL-2.0 AND (Apache-2.0 OR MIT)" "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0"
)

install() {
  local name=$1 lock=$2
  "$python" -m venv "$work/$name"
  "$work/$name/bin/python" -m pip install --quiet --disable-pip-version-check \
    --only-binary :all: --no-deps --require-hashes -r "$lock"
}
python=$(find_python)
echo "Installing what looks, and what is looked at (some minutes) ..." >&2
install tools requirements-release.lock
install runtime requirements.lock

licences() {
  "$work/tools/bin/pip-licenses" --python "$work/runtime/bin/python" --from mixed "$@"
}
mkdir -p dist
licences --format markdown --with-urls --output-file "$list" >/dev/null
# (python-on-whales names no licence, but has the whole text of the MIT License in that place)
licences --allow-only "$(IFS=';' && echo "${allowed[*]}")" --ignore-packages python-on-whales >/dev/null
echo "Licences: all are allowed; the list is $list"

# --strict: what cannot be looked up counts as a fault, too
if ! "$work/tools/bin/pip-audit" --progress-spinner off --strict --disable-pip --require-hashes \
  --requirement requirements.lock >"$work/found" 2>"$work/said"; then
  if [ -s "$work/found" ]; then
    cat "$work/found" >&2
    echo "Vulnerabilities: the above; raise the bounds in pyproject.toml and run infra/lock.sh" >&2
  else
    why=$(tail -n 1 "$work/said")
    echo "Vulnerabilities: not known, as the service did not answer for all: ${why#ERROR:*:}" >&2
  fi
  exit 1
fi
echo "Vulnerabilities: none is known"
