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

# The race detector needs a C compiler; where there is none, tests run without.
race=
if command -v "${CC:-gcc}" >/dev/null 2>&1; then
	race=-race
	export CGO_ENABLED=1
fi
go test -C tools -count=1 ./testsum
go build -C tools -o ../build/tools/testsum ./testsum
go test $race -count=1 -timeout "${TESTTIMEOUT:-20m}" -json ./... | build/tools/testsum -also "$python_count"
