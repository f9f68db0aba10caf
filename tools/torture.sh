#!/bin/sh
# The slow half of the reliability harness: what a loss of power leaves, system
# calls that fail, a minute without the object store, giving back what was
# taken, and planted faults, each of which must turn the harness red. Linux only,
# as root: it mounts file systems from images in memory. ROUNDS (40) is how often
# the power goes; FAULTS names the faults to plant, comma-separated, else all.
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "torture: $1" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "mounting images needs root"
for program in strace:strace mkfs.ext4:e2fsprogs; do
	command -v "${program%%:*}" >/dev/null 2>&1 && continue
	command -v apt-get >/dev/null 2>&1 || fail "${program%%:*} is not installed"
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${program##*:}"; } >/dev/null ||
		fail "${program##*:} cannot be installed"
done
tools/test-env.sh
. build/testenv/env.sh

mkdir -p build/torture
go build -o build/torture/quire ./cmd/quire
go build -tags torture -o build/torture/quire-faulty ./cmd/quire
go test -tags torture -c -o build/torture/server.test ./internal/server

# harness BINARY ROUNDS TEST: one part of the harness on one binary.
harness() {
	(cd internal/server && QUIRE_TEST_BINARY=../../build/torture/$1 QUIRE_TEST_ROUNDS=$2 QUIRE_TEST_OUTAGE=60s \
		QUIRE_TEST_FAULTS=${FAULTS:-} ../../build/torture/server.test -test.run="^($3)\$" -test.v -test.timeout=60m) \
		>"build/torture/$4.log" 2>&1 || {
		grep -v ' level=' "build/torture/$4.log" | tail -n 60
		fail "$3 is red; build/torture/$4.log has all of it"
	}
	grep -E '_test.go:[0-9]+: .*(rounds|away|before [0-9]|fault, caught)' "build/torture/$4.log" | sed 's/^ *[a-z_]*_test.go:[0-9]*: //'
	grep -E '^ +[a-z-]+ +Test[A-Za-z]+ +[0-9]+ rounds' "build/torture/$4.log" || true
}

echo "loss of power, ${ROUNDS:-40} rounds"
harness quire "${ROUNDS:-40}" TestPowerLoss power
echo "system calls that fail"
harness quire 1 TestInjectedErrors inject
echo "a minute without the object store; a full disk"
harness quire 1 'TestObjectStoreDown|TestQueuedRunsOutliveAnOutage|TestDiskFull' store
echo "soak: 200 runs"
harness quire 200 TestSoak soak
echo "planted faults"
harness quire-faulty 1 TestPlantedFaults faults
