#!/bin/sh
# A simulated day of schedules: 10,000 of them, 150,000 fires, servers killed at
# random; and all of them firing at once. On SQLite with one server, on PostgreSQL
# with two. MINUTES (10) is how long the day takes, KILLS (100) how many there are.
set -eu
cd "$(dirname "$0")/.."
records=$(mktemp -d)
trap 'tools/postgres.sh stop "$records"' EXIT
export QUIRE_SIMULATE_MINUTES="${MINUTES:-10}" QUIRE_SIMULATE_KILLS="${KILLS:-100}" QUIRE_SIMULATE_RUSH=10000
echo "SQLite"
go test -tags simulate -count=1 -timeout 60m -run 'TestSimulated(Day|Rush)' -v ./internal/schedule | grep -E '^(day|rush|---|FAIL|ok)|_test.go'
if tools/postgres.sh have; then
	QUIRE_TEST_POSTGRES=$(tools/postgres.sh start "$records")
	export QUIRE_TEST_POSTGRES QUIRE_TEST_RECORDS=postgres
	echo "PostgreSQL"
	go test -tags simulate -count=1 -timeout 60m -run 'TestSimulated(Day|Rush)' -v ./internal/schedule | grep -E '^(day|rush|---|FAIL|ok)|_test.go'
fi
