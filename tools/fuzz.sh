#!/bin/sh
# Runs every fuzz test for FUZZTIME (30s), one after another; FUZZ narrows them
# to the names that hold it. What they find lands in testdata/fuzz: commit it.
set -eu
cd "$(dirname "$0")/.."
grep -rlE '^func Fuzz' --include='*_test.go' internal | sort | while read -r file; do
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		case $name in *"${FUZZ:-}"*) ;; *) continue ;; esac
		echo "$(dirname "$file") $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-30s}" "./$(dirname "$file")"
	done
done
