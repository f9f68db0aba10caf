#!/bin/sh
# All the tests. What they need is installed below build/ and .quire/ first. A
# test that is skipped counts as failed. The last line is "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
tools/python-env.sh
tools/test-env.sh
. build/testenv/env.sh
tools/build.sh

echo "go vet ./..."
go vet ./...

echo "python/tests"
"$QUIRE_TEST_PYTHON" -W error -m unittest discover -s python/tests >build/python-tests.log 2>&1 || {
	cat build/python-tests.log
	exit 1
}
if grep -q skipped build/python-tests.log; then
	cat build/python-tests.log
	echo "a Python test was skipped"
	exit 1
fi
python_count=$(sed -n 's/^Ran \([0-9]*\) tests* in .*/\1/p' build/python-tests.log)
echo "ok  	python/tests	$python_count tests"

export QUIRE_TEST_BINARY="$PWD/bin/quire"
node --test --test-reporter=tap tools/browser/*.test.js >build/browser-tests.log 2>&1 || {
	grep -A 20 '^ *not ok' build/browser-tests.log || tail -n 40 build/browser-tests.log
	echo "the browser tests failed; all of it is in build/browser-tests.log"
	exit 1
}
browser_count=$(sed -n 's/^# pass \([0-9]*\)$/\1/p' build/browser-tests.log)
grep -q '^# skipped 0$' build/browser-tests.log && [ "${browser_count:-0}" -gt 0 ] || {
	echo "a browser test was skipped, or there was none; see build/browser-tests.log"
	exit 1
}
echo "ok  	tools/browser	$browser_count tests"

# The race detector needs a C compiler; where there is none, tests run without.
race=
if command -v "${CC:-gcc}" >/dev/null 2>&1; then
	race=-race
	export CGO_ENABLED=1
fi
go test -C tools -count=1 ./testsum
go build -C tools -o ../build/tools/testsum ./testsum
go test $race -count=1 -timeout "${TESTTIMEOUT:-20m}" -json ./... | build/tools/testsum -also "$((python_count + browser_count))"
