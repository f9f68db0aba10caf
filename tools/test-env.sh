#!/bin/sh
# Makes what the tests compare with and run on, and writes build/testenv/env.sh,
# which names it all. Everything is below build/ and .quire/, but for programs of
# the distribution, which are installed as root when they are missing.
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

# environment WHAT FOLDER LOCK: a Python environment of what a lock file names.
environment() {
	what=$1 folder=$2 lock=$root/python/$3
	key=$({ cat "$lock" tools/python-lib.sh; echo "$root"; } | digest)
	[ "$(cat "$folder/.complete" 2>/dev/null)" = "$key" ] && "$folder/bin/python" -c pass 2>/dev/null && return 0
	interpreter=$(find_python 3 10) || fail "no Python 3.10 or newer on PATH (set QUIRE_PYTHON)"
	say "test environment: installing $what"
	for try in 1 2 3; do # an index that did not answer just then is asked again
		rm -rf "$folder"
		mkdir -p "$folder"
		install_locked "$interpreter" "$folder" "$lock" "$folder.log" && break
		[ "$try" -lt 3 ] && ! grep -q 'DO NOT MATCH THE HASHES' "$folder.log" ||
			fail "the packages of python/$3 cannot be installed (a package index is needed):" "$folder.log"
	done
	rm -rf "$folder/share/jupyter/kernels/python3" # the python3 kernel is that of .quire/python
	echo "$key" >"$folder/.complete"
}

# distribution NAME PACKAGES CHECK...: as root, the distribution's packages, unless
# the command CHECK says that they are there. No service of theirs is started: the
# tests start their own.
distribution() {
	name=$1 install="apt-get install -y --no-install-recommends $2" log="build/${2%% *}.log"
	shift 2
	"$@" >/dev/null 2>&1 && return 0
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 ||
		fail "$name is not installed. An administrator can: $install"
	say "test environment: installing $name from the distribution"
	policy=/usr/sbin/policy-rc.d
	[ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
	: >"$log"
	# A fresh machine may be bringing itself up to date: its lock is waited for.
	patient="-o DPkg::Lock::Timeout=600 -o Acquire::Retries=5"
	[ -n "${updated:-}" ] || apt-get $patient update -qq >>"$log" 2>&1 && updated=yes
	DEBIAN_FRONTEND=noninteractive $install $patient >>"$log" 2>&1 && installed=yes || installed=
	[ -z "$policy" ] || rm -f "$policy"
	[ -n "$installed" ] || fail "$name cannot be installed ($install):" "$log"
	"$@" >/dev/null 2>&1 || fail "$name is installed, and yet it is not there: $*"
}
on_path() { PATH=$PATH:/usr/sbin command -v "$1"; }
has_ir() { Rscript -e 'library(IRkernel)'; }

# A file system that ignores case, which root can mount where there is FUSE.
caseless() {
	[ "$(id -u)" = 0 ] && [ -c /dev/fuse ]
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

# from_go NAME PACKAGE: builds a server of tools/go.mod into build/tools/NAME.
from_go() {
	[ "build/tools/$1" -nt tools/go.mod ] && return 0
	say "test environment: building $1, some minutes the first time"
	CGO_ENABLED=0 go build -C tools -o "$root/build/tools/$1" "$2" >"build/$1.log" 2>&1 ||
		fail "$1 does not build:" "build/$1.log"
	touch "build/tools/$1" # go build leaves a program alone that is already right
}

# The lanes wait for different things, the network most, and go side by side.
lane_packages() {
	distribution "Java 17" openjdk-17-jre-headless on_path java
	distribution "R's kernel" "r-base-core r-cran-irkernel" has_ir
	distribution Chromium chromium on_path chromium
	if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
	fi
	distribution "PostgreSQL's server" postgresql tools/postgres.sh have
	distribution Docker docker.io on_path dockerd
	if caseless; then
		distribution "a FAT file system" dosfstools on_path mkfs.vfat
		distribution "FAT in FUSE" fusefat on_path fusefat
		distribution FUSE fuse3 on_path fusermount3
	fi
	tools/python-env.sh spark || fail "Spark cannot be installed into .quire/python" # it needs Java
}
# The environment that is prepared for people's notebooks.
lane_prepared() {
	tools/python-env.sh
	[ -d .quire/python/share/jupyter/lab ] ||
		fail "JupyterLab of python/requirements-lab.lock is not in .quire/python (a package index is needed): rm -r .quire/python* and try again"
}
# What Quire is compared with: Papermill and its kin, and a JupyterHub, whose
# single-user server the notebook server is.
lane_peers() {
	environment "Papermill and its kin, about half a minute" "$env" requirements-test.lock
	environment JupyterHub "$root/build/hub" requirements-hub.lock
}
lane_node() {
	for name in browser azurite ydoc jupyterlab-services hub deno; do from_npm "$name"; done
}
lane_go() {
	from_go versitygw github.com/versity/versitygw/cmd/versitygw
	from_go fake-gcs-server github.com/fsouza/fake-gcs-server
	from_go oidc-provider github.com/zitadel/oidc/v3/example/server
}

# What only the benchmarks compare with: Debian's jupyter-server and nbconvert.
# Without them their columns stay empty.
has_jupyter() { command -v jupyter-server && /usr/bin/python3 -c 'import nbconvert'; }

case ${1:-all} in
all)
	lanes=
	for lane in packages prepared peers node go; do
		"lane_$lane" &
		lanes="$lanes $!"
	done
	failed=
	for lane in $lanes; do wait "$lane" || failed=yes; done
	[ -z "$failed" ] || exit 1
	kernelspec ir R R "$(command -v R)" --slave -e 'IRkernel::main()' --args '{connection_file}'
	kernelspec deno typescript Deno "$root/build/tools/deno/node_modules/@deno/linux-x64-glibc/deno" \
		jupyter --kernel --conn '{connection_file}'
	;;
bench)
	environment "Papermill and its kin, about half a minute" "$env" requirements-test.lock
	from_go versitygw github.com/versity/versitygw/cmd/versitygw
	(distribution "jupyter-server and nbconvert, to compare with," "jupyter-server python3-nbconvert" has_jupyter) || :
	;;
*) fail "usage: tools/test-env.sh [all|bench]" ;;
esac
kernelspec bash bash Bash "$env/bin/python" -m bash_kernel -f '{connection_file}'

cat >build/testenv/env.sh.new <<END
# Made by tools/test-env.sh; read with ".".
export QUIRE_ENV='$root/.quire/python'
export QUIRE_TEST_PYTHON='$root/.quire/python/bin/python'
export QUIRE_TEST_PAPERMILL='$env/bin/papermill'
export QUIRE_TEST_PYLSP='$env/bin/pylsp'
export QUIRE_TEST_KERNELS=python3,ir,deno
export QUIRE_TEST_CHROMIUM='$(command -v chromium)'
export QUIRE_TEST_BROWSER='$root/build/tools/browser'
export QUIRE_TEST_S3_SERVER='$root/build/tools/versitygw'
export QUIRE_TEST_OIDC_SERVER='$root/build/tools/oidc-provider'
export QUIRE_TEST_GCS_SERVER='$root/build/tools/fake-gcs-server'
export QUIRE_TEST_AZURE_SERVER='$root/build/tools/azurite/node_modules/.bin/azurite-blob'
export QUIRE_TEST_JUPYTERLAB='$root/build/tools/jupyterlab-services/node_modules'
export QUIRE_TEST_LAB='$root/.quire/python/share/jupyter'
export QUIRE_TEST_DOCKERD='$(PATH=$PATH:/usr/sbin command -v dockerd)'
export QUIRE_TEST_JUPYTERHUB='$root/build/hub/bin/jupyterhub'
export QUIRE_TEST_HUB_PROXY='$root/build/tools/hub/node_modules/.bin/configurable-http-proxy'
export QUIRE_TEST_FAT='$(! caseless || echo 1)'
export QUIRE_TEST_YDOC='$root/build/tools/ydoc'
export QUIRE_TEST_SPARK='$root/.quire/python/bin/python'
export QUIRE_TEST_PYYAML='$root/.quire/python/bin/python'
export JUPYTER_PATH='$env/share/jupyter:$root/.quire/python/share/jupyter'
END
mv -f build/testenv/env.sh.new build/testenv/env.sh
