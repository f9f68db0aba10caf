#!/bin/sh
# Makes the private Python environment that notebooks' kernels run in, and
# leaves it at .quire/python. Nothing outside .quire is written.
#
#   tools/python-env.sh            make it, or return at once when it is there
#   tools/python-env.sh spark      that, and Spark in it (400 MB; needs Java 17)
#   QUIRE_PYTHON=/path/python3     use this interpreter (3.10 or newer)
#   QUIRE_PYTHON_SOURCE=index|distribution|auto   where the packages come from
#
# "index" installs python/requirements.lock, hashes checked. "distribution" uses
# Debian's packages: those installed, or else the .deb files unpacked below
# .quire/debian. "auto", the default, tries the first and then the second.
set -eu
umask 022
root=$(cd "$(dirname "$0")/.." && pwd -P)
state=$root/.quire
lock=$root/python/requirements.lock
lab_lock=$root/python/requirements-lab.lock
source=${QUIRE_PYTHON_SOURCE:-auto}
mkdir -p "$state"
. "$root/tools/python-lib.sh"
cd "$root"

# The key names all that the environment is made from, and where: a virtual
# environment holds absolute paths and cannot be moved.
key=$({ cat "$lock" "$lab_lock" "$0" "$root/tools/python-lib.sh"; echo "$root $source ${QUIRE_PYTHON:-} $(uname -sm)"; } | digest)
env=$state/python-$key

# The wheel has a key of its own: another kragle is no reason to install all again.
wheel_key=$(cat python/build_wheel.py python/kragle/*.py python/quire/*.py | digest)

finished() { [ -f "$env/.complete" ] && "$env/bin/python" -c pass 2>/dev/null; }
publish() { # the link moves in one step: a reader sees the old or the new one
	ln -sfn "python-$key" "$state/python.$$"
	mv -fT "$state/python.$$" "$state/python" 2>/dev/null || {
		rm -f "$state/python" && mv "$state/python.$$" "$state/python"
	}
}
has_kragle() { [ "$(cat "$env/.kragle" 2>/dev/null)" = "$wheel_key" ]; }

# add_kragle puts the client library, built here as a wheel, into the environment.
# A wheel is unpacked where packages are: neither pip nor a network is needed.
add_kragle() {
	has_kragle && return 0
	site=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	rm -rf "$env/.wheel"
	mkdir -p "$env/.wheel/new"
	wheel=$("$env/bin/python" "$root/python/build_wheel.py" "$env/.wheel")
	"$env/bin/python" -m zipfile -e "$wheel" "$env/.wheel/new"
	rm -rf "$site"/kragle "$site"/quire "$site"/kragle-*.dist-info
	mv "$env/.wheel/new"/* "$site/"
	"$env/bin/python" -m compileall -q "$site/kragle" "$site/quire"
	rm -rf "$env/.wheel"
	echo "$wheel_key" >"$env/.kragle"
}

# has_spark: is Spark there, where it is asked for?
with_spark=${1:-}
spark_key=$(digest <"$root/python/requirements-spark.lock")
has_spark() { [ -z "$with_spark" ] || [ "$(cat "$env/.spark" 2>/dev/null)" = "$spark_key" ]; }

# add_spark adds what python/requirements-spark.lock names, hashes checked. PySpark
# is built here from its source, with what was installed before it.
add_spark() {
	has_spark && return 0
	java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
	[ "${java:-0}" -ge 17 ] 2>/dev/null || {
		say "python environment: Spark needs Java 17 or newer on PATH. An administrator can: apt-get install -y openjdk-17-jre-headless"
		return 1
	}
	say "python environment: adding what python/requirements-spark.lock names, some minutes"
	lock=$root/python/requirements-spark.lock
	awk '/^[a-z]/ { on = /^(packaging|setuptools|wheel)==/ } on' "$lock" >"$state/spark-build.lock"
	pip_into "$env" --only-binary :all: -r "$state/spark-build.lock" >>"$state/python-env.log" 2>&1 &&
		pip_into "$env" --only-binary :all: --no-binary pyspark --no-build-isolation -r "$lock" >>"$state/python-env.log" 2>&1 || {
		say "python environment: Spark cannot be installed; .quire/python-env.log says why:"
		tail -n 5 "$state/python-env.log" | sed 's/^/    /' >&2
		return 1
	}
	echo "$spark_key" >"$env/.spark"
	say "python environment: Spark is in .quire/python"
}

if finished && has_kragle && has_spark; then
	[ "$(readlink "$state/python" 2>/dev/null)" = "python-$key" ] || publish
	exit 0
fi

hold_lock "$state/python.lock" "python environment: another make is building it, waiting"
if finished; then # the one we waited for has made it, or only kragle is another
	add_kragle
	publish
	add_spark
	exit 0
fi

from_index() {
	interpreter=$(find_python 3 10) || {
		say "python environment: no Python 3.10 or newer on PATH (set QUIRE_PYTHON)"
		return 1
	}
	say "python environment: installing what python/requirements.lock names with $interpreter, a minute or two"
	rm -rf "$env"
	install_locked "$interpreter" "$env" "$lock" "$state/python-env.log" || return 1
	add_lab
	origin="the package index, by python/requirements.lock"
}

# add_lab puts the files of JupyterLab's pages beside the kernels: the editor that
# the platform serves. Nothing of its Python code is needed. Without it notebooks
# are run and shown, and other clients edit them.
add_lab() {
	if PIP_NO_DEPS=1 UV_NO_DEPS=1 install_locked "$interpreter" "$env/.lab" "$lab_lock" "$state/python-env.log"; then
		mkdir -p "$env/share/jupyter"
		mv "$env/.lab/share/jupyter/lab" "$env/share/jupyter/lab"
	else
		say "python environment: JupyterLab's pages could not be installed; there is no editor in the browser"
	fi
	rm -rf "$env/.lab"
}

# The packages of python/requirements.in that Debian has (it has no pyarrow).
debian_packages="python3-ipykernel python3-nbformat python3-pandas python3-matplotlib python3-yaml"
debian_modules="ipykernel nbformat pandas matplotlib yaml"

from_distribution() {
	system=${QUIRE_SYSTEM_PYTHON:-/usr/bin/python3}
	[ -x "$system" ] || {
		say "python environment: there is no $system, so the distribution's packages cannot be used"
		return 1
	}
	rm -rf "$env"
	if has_modules "$system" $debian_modules; then
		venv_over "$system" "$env" || return 1
		origin="the distribution's installed packages"
	elif unpack_debian "$state/debian" $debian_packages && venv_over "$system" "$env" &&
		use_unpacked "$env" "$state/debian" && has_modules "$env/bin/python" $debian_modules; then
		origin="the distribution's packages, unpacked below .quire/debian"
	elif has_modules "$system" ipykernel; then
		rm -rf "$env"
		venv_over "$system" "$env" || return 1
		say "python environment: without$(missing_modules "$system" $debian_modules); notebooks that need them will fail"
		origin="the distribution's installed packages"
	else
		return 1
	fi
}

give_up() {
	say ""
	say "python environment: cannot be made here. One of these is needed:"
	say "  - a package index: check the network and pip's settings (pip config list), then run this again"
	say "  - the distribution's packages, installed by an administrator:"
	say "      apt-get install -y $debian_packages"
	if [ -s "$state/python-env.log" ]; then
		say "What was tried, at its end (all of it is in .quire/python-env.log):"
		tail -n 5 "$state/python-env.log" | sed 's/^/    /' >&2
	fi
	rm -rf "$env"
	exit 1
}

: >"$state/python-env.log"
import_log=$state/python-env.log
case $source in
index) from_index || give_up ;;
distribution) from_distribution || give_up ;;
auto)
	from_index || {
		if grep -q 'DO NOT MATCH THE HASHES' "$state/python-env.log"; then
			say "python environment: a package does not have the hash that python/requirements.lock names; stopping"
			give_up
		fi
		say "python environment: the package index gives no packages; trying the distribution's"
		from_distribution || give_up
	}
	;;
*)
	say "QUIRE_PYTHON_SOURCE=$source: want index, distribution or auto"
	exit 1
	;;
esac
write_kernelspec "$env"
add_kragle
echo "$origin" >"$env/.complete"
publish
# Environments of earlier lock files go, once nothing points at them.
find "$state" -maxdepth 1 -name 'python-*' -type d ! -name "python-$key" -mtime +1 -exec rm -rf {} + 2>/dev/null || true
say "python environment: .quire/python, from $origin"
add_spark
