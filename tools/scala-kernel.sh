#!/bin/sh
# Adds a Scala kernel, with Spark in it, to the prepared environment: Apache Toree
# from the package index, by python/requirements-scala.lock. It needs Java 17 (Toree
# uses what Java 18 has switched off) and 700 MB below .quire.
set -eu
umask 022
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
. tools/python-lib.sh
state=$root/.quire
lock=$root/python/requirements-scala.lock
key=$({ cat "$lock" "$0"; echo "$root"; } | digest)
env=$state/scala-$key
log=$state/scala-kernel.log
kernel=$state/python/share/jupyter/kernels/scala
[ -d "$state/python/share/jupyter" ] || tools/python-env.sh

java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${java:-0}" = 17 ] || {
	say "scala kernel: Java 17 is not on PATH. An administrator can: apt-get install -y openjdk-17-jre-headless"
	exit 1
}
hold_lock "$state/scala.lock" "scala kernel: another one is building it, waiting"
if ! [ -f "$env/.complete" ]; then
	interpreter=$(find_python 3 10) || {
		say "scala kernel: no Python 3.10 or newer on PATH (set QUIRE_PYTHON)"
		exit 1
	}
	say "scala kernel: installing what python/requirements-scala.lock names, some minutes"
	rm -rf "$env"
	: >"$log"
	"$interpreter" -m venv "$env" >>"$log" 2>&1 &&
		awk '/^[a-z]/ { on = /^(packaging|setuptools|wheel)==/ } on' "$lock" >"$state/scala-build.lock" &&
		pip_into "$env" --only-binary :all: -r "$state/scala-build.lock" >>"$log" 2>&1 &&
		pip_into "$env" --only-binary :all: --no-binary pyspark --no-binary apache-toree --no-build-isolation -r "$lock" >>"$log" 2>&1 &&
		"$env/bin/python" -m jupyter toree install --sys-prefix --interpreters=Scala \
			--spark_home="$("$env/bin/python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')" \
			--spark_opts="--master=local[*] --conf spark.ui.enabled=false --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1" >>"$log" 2>&1 || {
		say "scala kernel: it cannot be installed; .quire/scala-kernel.log says why:"
		tail -n 5 "$log" | sed 's/^/    /' >&2
		exit 1
	}
	: >"$env/.complete"
fi
mkdir -p "$kernel"
"$env/bin/python" - "$env" >"$kernel/kernel.json.new" <<'END'
import json, sys
spec = json.load(open(sys.argv[1] + "/share/jupyter/kernels/apache_toree_scala/kernel.json"))
spec["display_name"] = "Scala (Spark)"
print(json.dumps(spec, indent=1))
END
mv -f "$kernel/kernel.json.new" "$kernel/kernel.json"
say "scala kernel: scala, Apache Toree with Spark $("$env/bin/python" -c 'import pyspark; print(pyspark.__version__)')"
