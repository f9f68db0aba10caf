#!/bin/sh
# Makes what the tests compare with and run on, and writes build/testenv/env.sh,
# which names it all. Everything is below build/ and .quire/, but for R's kernel
# and Chromium: as root they are installed from the distribution when missing.
set -eu
umask 022
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
mkdir -p build/tools .quire
. tools/python-lib.sh
hold_lock "$root/build/testenv.lock" "test environment: another make is building it, waiting"
env=$root/build/testenv
kernels=$env/share/jupyter/kernels

fail() {
	say "test environment: $1"
	[ -z "${2:-}" ] || tail -n 8 "$2" | sed 's/^/    /' >&2
	exit 1
}

# kernelspec NAME LANGUAGE TITLE ARGV...: writes a kernel.json.
kernelspec() {
	name=$1 language=$2 title=$3
	shift 3
	mkdir -p "$kernels/$name"
	"$env/bin/python" -c 'import json, sys
print(json.dumps({"argv": sys.argv[3:], "display_name": sys.argv[2], "language": sys.argv[1]}, indent=1))' \
		"$language" "$title" "$@" >"$kernels/$name/kernel.json"
}

# Papermill, nbclient and bash_kernel, in an environment of their own.
papermill() {
	lock=$root/python/requirements-test.lock
	key=$({ cat "$lock" tools/python-lib.sh; echo "$root"; } | digest)
	[ "$(cat "$env/.complete" 2>/dev/null)" = "$key" ] && "$env/bin/python" -c pass 2>/dev/null && return 0
	interpreter=$(find_python 3 10) || fail "no Python 3.10 or newer on PATH (set QUIRE_PYTHON)"
	say "test environment: installing Papermill and its kin, about half a minute"
	rm -rf "$env"
	mkdir -p "$env"
	install_locked "$interpreter" "$env" "$lock" "$root/build/testenv.log" ||
		fail "the packages of python/requirements-test.lock cannot be installed (a package index is needed):" "$root/build/testenv.log"
	rm -rf "$env/share/jupyter/kernels/python3" # the python3 kernel is that of .quire/python
	kernelspec bash bash Bash "$env/bin/python" -m bash_kernel -f '{connection_file}'
	echo "$key" >"$env/.complete"
}

# JupyterLab's front end alone: its wheel without what its Python side needs.
jupyterlab() {
	lock=$root/python/requirements-lab.lock
	key=$({ cat "$lock" tools/python-lib.sh; echo "$root"; } | digest)
	[ "$(cat "$root/build/lab/.complete" 2>/dev/null)" = "$key" ] && return 0
	interpreter=$(find_python 3 10) || fail "no Python 3.10 or newer on PATH (set QUIRE_PYTHON)"
	say "test environment: installing JupyterLab's front end"
	rm -rf "$root/build/lab"
	mkdir -p "$root/build/lab"
	PIP_NO_DEPS=1 UV_NO_DEPS=1 install_locked "$interpreter" "$root/build/lab" "$lock" "$root/build/lab.log" ||
		fail "JupyterLab of python/requirements-lab.lock cannot be installed (a package index is needed):" "$root/build/lab.log"
	echo "$key" >"$root/build/lab/.complete"
}

ir() {
	has_ir() { Rscript -e 'library(IRkernel)' >/dev/null 2>&1; }
	install="apt-get install -y r-base-core r-cran-irkernel"
	if ! has_ir; then
		[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 ||
			fail "R with IRkernel is not installed. An administrator can: $install"
		say "test environment: installing R's kernel from the distribution"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install --no-install-recommends; } \
			>build/ir.log 2>&1 || fail "R's kernel cannot be installed ($install):" build/ir.log
		has_ir || fail "R is installed, and yet library(IRkernel) is an error" build/ir.log
	fi
	kernelspec ir R R "$(command -v R)" --slave -e 'IRkernel::main()' --args '{connection_file}'
}

browser() {
	install="apt-get install -y chromium"
	if ! command -v chromium >/dev/null 2>&1; then
		[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 ||
			fail "Chromium is not installed (no chromium on PATH). An administrator can: $install"
		say "test environment: installing Chromium from the distribution"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install --no-install-recommends; } \
			>build/chromium.log 2>&1 || fail "Chromium cannot be installed ($install):" build/chromium.log
	fi
	from_npm browser
}

# from_npm NAME: installs what tools/NAME/package-lock.json names into build/tools/NAME.
from_npm() {
	command -v npm >/dev/null 2>&1 || fail "Node.js with npm is not on PATH; $1 comes from npm"
	cmp -s "tools/$1/package-lock.json" "build/tools/$1/package-lock.json" && [ -f "build/tools/$1/.complete" ] && return 0
	say "test environment: installing $1 with npm"
	rm -rf "build/tools/$1"
	mkdir -p "build/tools/$1"
	cp "tools/$1/package.json" "tools/$1/package-lock.json" "build/tools/$1/"
	npm ci --prefix "build/tools/$1" --ignore-scripts --no-audit --no-fund --no-update-notifier \
		>"build/$1.log" 2>&1 || fail "npm cannot install $1:" "build/$1.log"
	: >"build/tools/$1/.complete"
}

deno() {
	from_npm deno
	kernelspec deno typescript Deno "$root/build/tools/deno/node_modules/@deno/linux-x64-glibc/deno" \
		jupyter --kernel --conn '{connection_file}'
}

# from_go NAME PACKAGE: builds a server of tools/go.mod into build/tools/NAME.
from_go() {
	[ "build/tools/$1" -nt tools/go.mod ] && return 0
	say "test environment: building $1, some minutes the first time"
	CGO_ENABLED=0 go build -C tools -o "$root/build/tools/$1" "$2" >"build/$1.log" 2>&1 ||
		fail "$1 does not build:" "build/$1.log"
	touch "build/tools/$1" # go build leaves a program alone that is already right
}

servers() {
	from_go versitygw github.com/versity/versitygw/cmd/versitygw
	from_go fake-gcs-server github.com/fsouza/fake-gcs-server
	from_npm azurite
	from_npm ydoc
	from_npm jupyterlab-services
}

# What only the benchmarks compare with: Debian's jupyter-server and nbconvert.
# Without them their columns stay empty.
peers() {
	command -v jupyter-server >/dev/null 2>&1 && /usr/bin/python3 -c 'import nbconvert' 2>/dev/null && return 0
	install="apt-get install -y jupyter-server python3-nbconvert"
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say "test environment: installing jupyter-server and nbconvert from the distribution"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install --no-install-recommends; } >build/peers.log 2>&1 && return 0
	fi
	say "test environment: no jupyter-server to compare with. An administrator can: $install"
}

case ${1:-all} in
all)
	papermill
	ir
	browser
	deno
	servers
	jupyterlab
	;;
bench)
	papermill
	from_go versitygw github.com/versity/versitygw/cmd/versitygw
	peers
	;;
*) fail "usage: tools/test-env.sh [all|bench]" ;;
esac

cat >build/testenv/env.sh.new <<END
# Made by tools/test-env.sh; read with ".".
export QUIRE_ENV='$root/.quire/python'
export QUIRE_TEST_PYTHON='$root/.quire/python/bin/python'
export QUIRE_TEST_PAPERMILL='$env/bin/papermill'
export QUIRE_TEST_KERNELS=python3,ir,deno
export QUIRE_TEST_CHROMIUM='$(command -v chromium)'
export QUIRE_TEST_BROWSER='$root/build/tools/browser'
export QUIRE_TEST_S3_SERVER='$root/build/tools/versitygw'
export QUIRE_TEST_GCS_SERVER='$root/build/tools/fake-gcs-server'
export QUIRE_TEST_AZURE_SERVER='$root/build/tools/azurite/node_modules/.bin/azurite-blob'
export QUIRE_TEST_JUPYTERLAB='$root/build/tools/jupyterlab-services/node_modules'
export QUIRE_TEST_LAB='$root/build/lab/share/jupyter'
export QUIRE_TEST_YDOC='$root/build/tools/ydoc'
export QUIRE_TEST_PYYAML='$root/.quire/python/bin/python'
export JUPYTER_PATH='$env/share/jupyter:$root/.quire/python/share/jupyter'
END
mv -f build/testenv/env.sh.new build/testenv/env.sh
