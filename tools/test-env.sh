#!/bin/sh
# Makes what the tests compare with and run on, and writes build/testenv/env.sh,
# which names it all. Everything is below build/ and .quire/, but for R's kernel:
# as root it is installed from the distribution when it is missing.
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
	key=$({ cat "$lock" tools/test-env.sh tools/python-lib.sh; echo "$root"; } | digest)
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

deno() {
	command -v npm >/dev/null 2>&1 || fail "Node.js with npm is not on PATH; the JavaScript kernel comes from npm"
	deno=$root/build/tools/deno/node_modules/@deno/linux-x64-glibc/deno
	if ! cmp -s tools/deno/package-lock.json build/tools/deno/package-lock.json || [ ! -x "$deno" ]; then
		rm -rf build/tools/deno
		mkdir -p build/tools/deno
		cp tools/deno/package.json build/tools/deno/
		cp tools/deno/package-lock.json build/tools/deno/
		npm ci --prefix build/tools/deno --ignore-scripts --no-audit --no-fund --no-update-notifier \
			>build/deno.log 2>&1 || {
			rm -rf build/tools/deno
			fail "npm cannot install the JavaScript kernel:" build/deno.log
		}
	fi
	kernelspec deno typescript Deno "$deno" jupyter --kernel --conn '{connection_file}'
}

s3_server() {
	[ -x build/tools/versitygw ] && [ build/tools/versitygw -nt tools/go.mod ] && return 0
	say "test environment: building the S3 server, some minutes the first time"
	CGO_ENABLED=0 go build -C tools -o "$root/build/tools/versitygw" github.com/versity/versitygw/cmd/versitygw \
		>build/versitygw.log 2>&1 || fail "the S3 server does not build:" build/versitygw.log
	touch build/tools/versitygw
}

case ${1:-all} in
all)
	papermill
	ir
	deno
	s3_server
	;;
papermill) papermill ;;
*) fail "usage: tools/test-env.sh [all|papermill]" ;;
esac

cat >build/testenv/env.sh.new <<END
# Made by tools/test-env.sh; read with ".".
export QUIRE_ENV='$root/.quire/python'
export QUIRE_TEST_PYTHON='$root/.quire/python/bin/python'
export QUIRE_TEST_PAPERMILL='$env/bin/papermill'
export QUIRE_TEST_KERNELS=python3,ir,deno
export QUIRE_TEST_S3_SERVER='$root/build/tools/versitygw'
export JUPYTER_PATH='$env/share/jupyter'
END
mv -f build/testenv/env.sh.new build/testenv/env.sh
