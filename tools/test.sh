#!/bin/sh
# All the tests. What they need is installed below build/ and .quire/ first. A
# test that is skipped counts as failed. The last line is "N passed, N failed".
# A part that fails is told at once, and the others run all the same.
set -eu
cd "$(dirname "$0")/.."
# The same flags as tools/build.sh, so that what a test is made of is compiled once.
# With RACE=1 (make race) the race detector watches the Go tests, and all takes
# nearly twice as long.
export GOFLAGS=-trimpath
race= cgo=0
if [ -n "${RACE:-}" ]; then
	race="-race -gcflags=all=-d=checkptr=0" cgo=1 # SQLite in Go counts with addresses in ways that checkptr refuses
fi

# Setting up waits for the network, building for the processors: side by side.
tools/test-env.sh &
setup=$!
compiler=
postgres=
ends() {
	pkill -P "$setup" 2>/dev/null || :
	kill "$setup" $compiler 2>/dev/null || :
	[ -z "$postgres" ] || tools/postgres.sh stop "$postgres"
}
trap ends EXIT
trap 'exit 130' INT TERM
tools/build.sh
[ -f web/dist/app/manifest.json ] || {
	echo "the web app was not built: Node.js 20 with npm is needed"
	exit 1
}
# The Go tests are compiled beside the parts before them, with what these leave of
# the processors. What does not compile is told by go vet and go test.
CGO_ENABLED=$cgo nice -n 19 go list $race -export -test -deps ./... >/dev/null 2>&1 &
compiler=$!

broken=0
# part NAME LOG COMMAND...: runs a part of the tests with its output in a file,
# which is shown when it fails.
part() {
	name=$1 log=$2
	shift 2
	"$@" >"$log" 2>&1 && return 0
	tail -n 80 "$log"
	echo "FAIL	$name (all of it is in $log)"
	broken=$((broken + 1))
	return 1
}

web_count=0
if part web build/web-tests.log tools/web.sh check; then
	web_count=$(sed 's/\x1b\[[0-9;]*m//g' build/web-tests.log | sed -n 's/^ *Tests  *\([0-9]*\) passed ([0-9]*)$/\1/p')
	[ "${web_count:-0}" -gt 0 ] || {
		cat build/web-tests.log
		echo "a test of the web app was skipped, or there was none"
		exit 1
	}
	echo "ok  	web	$web_count tests"
fi

part vet build/vet.log go vet ./... || :

wait "$setup" || exit 1
. build/testenv/env.sh
python_count=0
if part python/tests build/python-tests.log "$QUIRE_TEST_PYTHON" -W error -m unittest discover -s python/tests; then
	if grep -q skipped build/python-tests.log; then
		cat build/python-tests.log
		echo "a Python test was skipped"
		exit 1
	fi
	python_count=$(sed -n 's/^Ran \([0-9]*\) tests* in .*/\1/p' build/python-tests.log)
	echo "ok  	python/tests	$python_count tests"
fi
part mypy build/mypy.log build/testenv/bin/mypy --config-file python/pyproject.toml || :

export QUIRE_TEST_BINARY="$PWD/bin/quire"
browser_count=0
if part tools/browser build/browser-tests.log node --test --test-reporter=tap tools/browser/*.test.js; then
	browser_count=$(sed -n 's/^# pass \([0-9]*\)$/\1/p' build/browser-tests.log)
	grep -q '^# skipped 0$' build/browser-tests.log && [ "${browser_count:-0}" -gt 0 ] || {
		echo "a browser test was skipped, or there was none; see build/browser-tests.log"
		exit 1
	}
	echo "ok  	tools/browser	$browser_count tests"
else
	grep -A 20 '^ *not ok' build/browser-tests.log || :
fi

go test -C tools -count=1 ./testsum
go build -C tools -o ../build/tools/testsum ./testsum
# The records' suites once more in PostgreSQL, which costs little beside the rest.
records="./internal/run ./internal/schedule ./internal/search ./internal/contents ./internal/job"
postgres=$(mktemp -d)
QUIRE_TEST_POSTGRES=$(tools/postgres.sh start "$postgres" fsync=off full_page_writes=off)
export QUIRE_TEST_POSTGRES
wait "$compiler" || :
export CGO_ENABLED=$cgo
# Calendars are counted out minute by minute, in one goroutine: the race detector
# would find nothing and take ten times as long.
calendars=${race:+-skip=^TestTransitions\$}
# Those that take longest begin first.
longest="./internal/server ./internal/compute/local ./cmd/quire ./internal/kernel"
{
	go test $race -count=1 -timeout "${TESTTIMEOUT:-20m}" $calendars -json $longest ./... || :
	[ -z "$race" ] || CGO_ENABLED=0 go test -count=1 -timeout 10m -run '^TestTransitions$' -json ./internal/schedule || :
	QUIRE_TEST_RECORDS=postgres go test -count=1 -timeout 10m -skip 'Transitions|Known|Fuzz' -json $records || :
} | build/tools/testsum -also "$((python_count + web_count + browser_count))" -broken "$broken"
