#!/bin/sh
# The quick loop: no network, no kernel, no Python installation needed.
set -eu
cd "$(dirname "$0")/.."
export GOPROXY=off
for name in $(env | sed -n 's/^\(QUIRE_TEST_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done

# tool NAME ARGS...: a tool of tools/go.mod, where its source is on this machine.
tool() {
	name=$1
	shift
	if go tool -modfile=tools/go.mod -n "$name" >/dev/null 2>&1; then
		go tool -modfile=tools/go.mod "$name" "$@"
	elif [ "$name" = gofumpt ]; then
		gofmt "$@"
	else
		echo "check: $name is not in the module cache, left out (go mod download in tools/ brings it)" >&2
	fi
}

files=$(git ls-files --cached --others --exclude-standard '*.go')
unformatted=$(tool gofumpt -l $files)
[ -z "$unformatted" ] || {
	echo "not formatted:"
	echo "$unformatted"
	exit 1
}
if [ -d web/node_modules ]; then
	tools/web.sh check
else
	echo "check: the web app's packages are not installed, left out (make build brings them)" >&2
fi
go vet ./...
tool staticcheck ./...
if command -v golangci-lint >/dev/null 2>&1; then golangci-lint run ./...; fi
race=
if command -v "${CC:-gcc}" >/dev/null 2>&1; then race="-race -gcflags=all=-d=checkptr=0"; fi # how SQLite in Go counts is refused
go test $race -short ./...
