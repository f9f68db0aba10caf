#!/bin/sh
# Builds bin/quire: one static program, the same bytes from the same commit. Tables
# for debuggers are left out (a third of it); stack traces are as before.
set -eu
cd "$(dirname "$0")/.."
command -v go >/dev/null 2>&1 || {
	echo "Go is not on PATH; Quire needs $(sed -n 's/^go /Go /p' go.mod) or newer" >&2
	exit 1
}
tools/web.sh
mkdir -p bin
tools/duckdb.sh
shim=internal/compute/program/built/quire-shim
if [ "$(go env GOOS)" = linux ]; then # of no commit's time, so that it is the same as long as what it is made of is
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$shim" ./cmd/quire-shim
else
	rm -f "$shim"
fi
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/quire ./cmd/quire
