#!/bin/sh
# A Spark Connect server for tests and trials, of the Spark in .quire/python
# (tools/python-env.sh spark). It listens on 127.0.0.1 only.
#
#   tools/spark.sh have        is there one to start?
#   tools/spark.sh start DIR   starts one with its files in DIR; prints its address, and its UI's
#   tools/spark.sh stop DIR    ends it and removes DIR
#   tools/spark.sh test        runs the tests that want one, with one
set -e
root=$(cd "$(dirname "$0")/.." && pwd)
spark=$(ls -d "$root"/.quire/python/lib/python3*/site-packages/pyspark 2>/dev/null | head -1)

# port prints one that nothing listens on.
port() { "$root/.quire/python/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

case $1 in
have)
	[ -n "$spark" ] && [ -x "$spark/bin/spark-class" ] && ls "$spark"/jars/spark-connect_* >/dev/null 2>&1 && command -v java >/dev/null
	;;
start)
	mkdir -p "$2"
	connect=$(port)
	ui=$(port)
	cd "$2"
	SPARK_HOME=$spark SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_DIRS=$2 nohup "$spark/bin/spark-class" org.apache.spark.deploy.SparkSubmit \
		--class org.apache.spark.sql.connect.service.SparkConnectServer --name quire --master 'local[2]' --driver-memory 1g \
		--conf spark.connect.grpc.binding.address=127.0.0.1 --conf spark.connect.grpc.binding.port="$connect" \
		--conf spark.driver.host=127.0.0.1 --conf spark.ui.port="$ui" --conf spark.sql.shuffle.partitions=2 \
		--conf spark.sql.session.timeZone=UTC --conf spark.sql.warehouse.dir="$2/warehouse" --conf spark.log.level=WARN \
		spark-internal >"$2/log" 2>&1 </dev/null &
	echo $! >"$2/pid"
	for _ in $(seq 600); do
		if "$root/.quire/python/bin/python" -c "import socket; socket.create_connection(('127.0.0.1', $connect), 1)" 2>/dev/null; then
			echo "sc://127.0.0.1:$connect http://127.0.0.1:$ui"
			exit 0
		fi
		kill -0 "$(cat "$2/pid")" 2>/dev/null || break
		sleep 0.2
	done
	cat "$2/log" >&2
	exit 1
	;;
stop)
	"$root/tools/stop.sh" "$2"
	;;
test)
	"$0" have || { echo "Spark is not installed: make spark installs it" >&2; exit 1; }
	dir=$(mktemp -d /tmp/quire-spark-XXXXXX)
	trap '"$0" stop "$dir"' EXIT
	read -r QUIRE_TEST_SPARK QUIRE_TEST_SPARK_UI <<-END
		$("$0" start "$dir")
	END
	export QUIRE_TEST_SPARK QUIRE_TEST_SPARK_UI
	cd "$root"
	go test -count=1 -timeout 30m -tags spark -v -run Spark ./internal/query/spark
	;;
*)
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
