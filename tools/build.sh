#!/bin/sh
# Builds bin/quire: one static program, the same bytes from the same commit.
set -eu
cd "$(dirname "$0")/.."
command -v go >/dev/null 2>&1 || {
	echo "Go is not on PATH; Quire needs $(sed -n 's/^go /Go /p' go.mod) or newer" >&2
	exit 1
}
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/quire ./cmd/quire
