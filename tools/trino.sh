#!/bin/sh
# A Trino for tests and trials: a real coordinator with the memory connector, by
# Maven (some 300 MB, kept in ~/.cache/quire), in Java 25 or newer (JAVA_HOME, or
# one below /usr/lib/jvm). It listens on 127.0.0.1 only.
#
#   tools/trino.sh start DIR   starts one with its files in DIR; prints its address
#   tools/trino.sh stop DIR    ends it and removes DIR
#   tools/trino.sh test        runs the tests that want one, with one
set -e
root=$(cd "$(dirname "$0")/.." && pwd)

# java prints a Java that is new enough.
java() {
	for home in "$JAVA_HOME" /usr/lib/jvm/*; do
		[ -n "$home" ] && [ -x "$home/bin/java" ] || continue
		version=$("$home/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
		[ "${version:-0}" -lt 25 ] || { echo "$home/bin/java"; return 0; }
	done
	echo "Trino needs Java 25: set JAVA_HOME" >&2
	return 1
}

case $1 in
start)
	program=$(java)
	mkdir -p "$2"
	key=$(sha256sum <"$root/tools/trino/pom.xml" | cut -c1-16)
	lib=${XDG_CACHE_HOME:-$HOME/.cache}/quire/trino-$key
	if [ ! -d "$lib" ]; then
		command -v mvn >/dev/null || { echo "Trino is got by Maven, which is not installed" >&2; exit 1; }
		rm -rf "$lib.new"
		mvn -q -B -f "$root/tools/trino/pom.xml" dependency:copy-dependencies -DoutputDirectory="$lib.new" >"$2/mvn.log" 2>&1 || { tail -n 20 "$2/mvn.log" >&2; exit 1; }
		mv "$lib.new" "$lib"
	fi
	cd "$2"
	nohup "$program" -Xmx1500m -Djava.io.tmpdir="$2" --add-modules jdk.incubator.vector -Djdk.attach.allowAttachSelf=true -cp "$lib/*" "$root/tools/trino/Trino.java" >"$2/log" 2>&1 </dev/null &
	echo $! >"$2/pid"
	for _ in $(seq 900); do
		address=$(sed -n 's,.*READY http://\([0-9.:]*\).*,\1,p' "$2/log")
		[ -z "$address" ] || { echo "trino://$address/memory/default"; exit 0; }
		kill -0 "$(cat "$2/pid")" 2>/dev/null || break
		sleep 0.2
	done
	tail -n 20 "$2/log" >&2
	exit 1
	;;
stop)
	"$root/tools/stop.sh" "$2"
	;;
test)
	dir=$(mktemp -d /tmp/quire-trino-XXXXXX)
	trap '"$0" stop "$dir"' EXIT
	QUIRE_TEST_TRINO=$("$0" start "$dir")
	export QUIRE_TEST_TRINO
	cd "$root"
	go test -count=1 -timeout 30m -tags trino -v -run Trino ./internal/query/trino
	;;
*)
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
