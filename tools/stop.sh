#!/bin/sh
# Ends the process whose id is in DIR/pid, by force after ten seconds, and removes
# DIR: tools/stop.sh DIR
set -e
pid=$(cat "$1/pid" 2>/dev/null) && kill "$pid" 2>/dev/null || :
for _ in $(seq 100); do
	[ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || break
	sleep 0.1
done
[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
rm -rf "$1"
