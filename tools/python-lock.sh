#!/bin/sh
# Locks python/*.in into python/*.lock: exact versions with the sha256 of every
# platform's file, for CPython 3.10 and later, and no index address.
# Needs uv on PATH (or in $UV). Run it by hand when a requirement changes.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-uv}
cd python # a file that is named in another is beside it
for name in requirements requirements-test requirements-spark requirements-scala requirements-hub; do
	source=
	case $name in # what there is no wheel of
	requirements-spark) source="--no-binary pyspark" ;;
	requirements-scala) source="--no-binary pyspark --no-binary apache-toree" ;;
	esac
	"$uv" pip compile --quiet --universal --python-version 3.10 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --only-binary :all: $source \
		--output-file "$name.lock" "$name.in"
	grep -vE '^[[:space:]]+(--index-url|--find-links)|://' "$name.lock" >"$name.lock.tmp"
	mv "$name.lock.tmp" "$name.lock"
done
