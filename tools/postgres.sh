#!/bin/sh
# A PostgreSQL server for tests.
#
#   tools/postgres.sh start DIR [SETTING=VALUE...]
#                                  starts one with its data in DIR, which is made;
#                                  prints its address
#   tools/postgres.sh stop DIR     ends it and removes DIR
#   tools/postgres.sh have         says whether it is installed
#
# PostgreSQL refuses to run as root: as root it runs as the user postgres. The
# server listens on loopback, on a free port; whoever may reach that may use it.
set -eu
[ $# -ge 2 ] || [ "${1:-}" = have ] || { echo "usage: tools/postgres.sh start|stop DIR [SETTING=VALUE...] | have" >&2; exit 2; }
what=$1 dir=${2:-}
[ "$what" = have ] || shift 2
settings=
for setting; do settings="$settings -c $setting"; done
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
[ "$what" != have ] || exec test -x "$bin/initdb"
[ -x "$bin/initdb" ] || { echo "PostgreSQL's server is not installed. An administrator can: apt-get install -y postgresql" >&2; exit 1; }
as() {
	if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
cd /
case $what in
start)
	mkdir -p "$dir"
	[ "$(id -u)" != 0 ] || chown postgres "$dir"
	as "$bin/initdb" -D "$dir/data" -U quire -A trust -E UTF8 --no-locale --no-sync >"$dir.log" 2>&1 || { tail -n 5 "$dir.log" >&2; exit 1; }
	# Somebody else may take a port that was free just now.
	for try in 1 2 3 4 5; do
		port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
		as "$bin/pg_ctl" -D "$dir/data" -w -t 300 -l "$dir/log" \
			-o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 -c shared_buffers=32MB$settings" start >>"$dir.log" 2>&1 &&
			break
		[ "$try" -lt 5 ] && grep -q 'could not bind' "$dir/log" || { tail -n 5 "$dir/log" >&2; exit 1; }
		rm -f "$dir/log"
	done
	echo "postgres://quire@127.0.0.1:$port/postgres?sslmode=disable"
	;;
stop)
	as "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	rm -rf "$dir" "$dir.log"
	;;
esac
