#!/bin/sh
# Locks python/*.in into python/*.lock: exact versions with the sha256 of every
# platform's file, for CPython 3.10 and later, and no index address.
# Needs uv on PATH (or in $UV). Run it by hand when a requirement changes.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-uv}
for name in requirements requirements-test; do
	"$uv" pip compile --quiet --universal --python-version 3.10 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --only-binary :all: \
		--output-file "python/$name.lock" "python/$name.in"
	grep -vE '^[[:space:]]+(--index-url|--find-links)|://' "python/$name.lock" >"python/$name.lock.tmp"
	mv "python/$name.lock.tmp" "python/$name.lock"
done
