#!/bin/sh
# Builds quire-duckdb, the program with DuckDB in it, and puts it where quire
# embeds it. Done again only when what it is made of has changed.
set -eu
cd "$(dirname "$0")/.."
out=internal/query/duckdb/worker/quire-duckdb.zst
key=$(cat go.sum cmd/quire-duckdb/*.go internal/query/frame/*.go tools/duckdb.sh | cksum | tr ' ' '-')-$(go env GOOS)-$(go env GOARCH)
mark=build/duckdb/key
[ -s "$out" ] && [ "$(cat "$mark" 2>/dev/null || true)" = "$key" ] && exit 0
mkdir -p build/duckdb
if ! { command -v c++ && command -v cc; } >/dev/null 2>&1; then
	if [ -s "$out" ]; then
		echo "quire-duckdb: no C++ compiler here; the one that was built before stays in" >&2
		exit 0
	fi
	echo "quire-duckdb: no C++ compiler here, so quire is built without DuckDB: install one (Debian: apt install g++) and run make build again" >&2
	exit 0
fi
echo "quire-duckdb: building the program with DuckDB in it, about a minute the first time" >&2
CGO_ENABLED=1 go build -trimpath -tags duckdb_arrow -o build/duckdb/quire-duckdb \
	-ldflags '-s -w -extldflags "-static-libstdc++ -static-libgcc"' ./cmd/quire-duckdb
build/duckdb/quire-duckdb pack build/duckdb/quire-duckdb "$out"
echo "$key" >"$mark"
