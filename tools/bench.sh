#!/bin/sh
# Quire, Papermill and the raw floor on the same kernel, in one run. The table
# goes to standard output; arguments go to ./bench (-runs 3 -out docs/bench.md).
set -eu
cd "$(dirname "$0")/.."
tools/python-env.sh
tools/test-env.sh bench || echo "bench: Papermill is not here; its column stays empty" >&2
if [ -f build/testenv/env.sh ]; then . build/testenv/env.sh; fi
mkdir -p build
go build -trimpath -o build/bench ./bench
exec build/bench "$@"
