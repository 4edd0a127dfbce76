#!/usr/bin/env bash
# What has to be asked before a release, over the network: whether a dependency of requirements.lock
# has a known vulnerability, and under which licences they all are. Writes what goes with the image:
#   dist/LICENCES.md       which package has which licence
#   dist/THIRD-PARTY.txt   the text of each, those of the models and sample photographs first
#   dist/sbom.cdx.json     the bill of materials, in CycloneDX
#   bash infra/release.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source infra/setup.sh
list=dist/LICENCES.md texts=dist/THIRD-PARTY.txt sbom=dist/sbom.cdx.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# All that may be in here without asking: each lets the image be used, changed and handed on, and
# asks for its text alone. The MPL, the LGPL and the Artistic License, too, as long as the packages
# under them are handed on unchanged. Anything else, and any new mixture, stops here until somebody
# has read it.
allowed=(
  "MIT" "MIT License" "MIT-0" "MIT-CMU" "ISC" "ISC License (ISCL)" "Unlicense" "HPND"
  "BSD License" "BSD-2-Clause" "BSD-3-Clause" "3-Clause BSD License"
  "Apache-2.0" "Apache Software License" "PSF-2.0" "Python Software Foundation License"
  "MPL-2.0" "Mozilla Public License 2.0 (MPL 2.0)"
  # pi-heif, whose decoders of HEIC are shared libraries of their own, handed on unchanged
  "GNU Lesser General Public License v3 (LGPLv3)"
  # inflate64, a package of its own, handed on unchanged
  "GNU Lesser General Public License v2 or later (LGPLv2+)" "LGPL-2.1-or-later"
  "Artistic License" # text-unidecode, which may be had under the GPL instead
  "Apache-2.0 AND MIT" "Apache-2.0 AND BSD-2-Clause" "Apache-2.0 OR BSD-2-Clause"
  "Apache-2.0 OR BSD-3-Clause" "Apache-2.0 AND CNRI-Python" "MIT AND PSF-2.0"
  "MPL-2.0 AND (Apache-2.0 OR MIT)" "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0"
)

install() {
  local name=$1 lock=$2
  # without pip, which is not in the image, and so is not to be in its bill of materials
  "$python" -m venv --without-pip "$work/$name"
  "$python" -m pip --python "$work/$name/bin/python" install --quiet --disable-pip-version-check \
    --only-binary :all: --no-deps --require-hashes -r "$lock"
}
python=$(find_python)
echo "Installing the tools and what they check (some minutes) ..." >&2
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

"$work/tools/bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible \
  --output-file "$sbom" "$work/runtime/bin/python"
"$work/runtime/bin/python" -P infra/third_party.py requirements.lock "$texts" "$sbom"
echo "To go with the image: $texts and $sbom"

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
