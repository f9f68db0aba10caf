# Parts shared by python-env.sh and test-env.sh; read with ".", never run.

say() { printf '%s\n' "$*" >&2; }

# digest prints the first 12 hexadecimal digits of the SHA-256 of its input.
digest() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi | cut -c1-12
}

# hold_lock FILE MESSAGE: waits until this shell alone holds FILE, until it ends.
hold_lock() {
	command -v flock >/dev/null 2>&1 || return 0
	exec 9>"$1"
	flock -n 9 || {
		say "$2"
		flock 9
	}
}

# find_python MAJOR MINOR: prints an interpreter at least that new which can
# make virtual environments, python3 first.
find_python() {
	for candidate in ${QUIRE_PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3}; do
		path=$(command -v "$candidate" 2>/dev/null) || continue
		"$path" -c "import sys, venv; sys.exit(sys.version_info < ($1, $2))" 2>/dev/null || continue
		printf '%s\n' "$path"
		return 0
	done
	return 1
}

# has_modules PYTHON NAME...: are all of them there?
has_modules() { [ -z "$(missing_modules "$@")" ]; }

# missing_modules PYTHON NAME...: prints " a b" for those that are not there.
# They are really imported: a module whose library is missing is not there. Why
# it is not goes to the file $import_log, where that is set.
missing_modules() {
	interpreter_=$1
	shift
	for module in "$@"; do
		"$interpreter_" -c "import $module" >/dev/null 2>>"${import_log:-/dev/null}" || printf ' %s' "$module"
	done
}

# install_locked PYTHON DIR LOCK LOG: a virtual environment with what LOCK names.
# Not every Python can bring pip along (bare Debian has no ensurepip), so pip is
# taken from wherever there is one.
install_locked() {
	"$1" -m venv --without-pip "$2" >>"$4" 2>&1 || return 1
	options="--disable-pip-version-check --no-input --progress-bar off --retries 1 --timeout 30 --no-compile --require-hashes --only-binary :all:"
	if "$1" -c 'import ensurepip' 2>/dev/null && "$2/bin/python" -m ensurepip --default-pip >>"$4" 2>&1; then
		"$2/bin/python" -m pip install $options -r "$3" >>"$4" 2>&1
	elif "$1" -m pip --version >>"$4" 2>&1; then
		"$1" -m pip --python "$2/bin/python" install $options -r "$3" >>"$4" 2>&1
	elif command -v uv >/dev/null 2>&1; then
		uv pip install --python "$2/bin/python" --require-hashes --only-binary :all: -r "$3" >>"$4" 2>&1
	elif wheel=$(debian_pip "$2/.pip" "$4"); then
		PYTHONPATH=$wheel "$2/bin/python" -m pip install $options -r "$3" >>"$4" 2>&1 &&
			PYTHONPATH=$wheel "$2/bin/python" -m pip install --no-index --no-deps "$wheel" >>"$4" 2>&1 &&
			rm -rf "$2/.pip"
	else
		echo "$1 has neither ensurepip nor pip: apt-get install -y python3-venv" >>"$4"
		return 1
	fi
}

# pip_into ENV OPTION...: installs into an environment that exists, hashes checked.
pip_into() {
	env_=$1
	shift
	if "$env_/bin/python" -m pip --version >/dev/null 2>&1; then
		"$env_/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off --require-hashes "$@"
	elif command -v uv >/dev/null 2>&1; then
		uv pip install --python "$env_/bin/python" --require-hashes "$@"
	else
		echo "$env_ has no pip, and there is no uv"
		return 1
	fi
}

# debian_pip DIR LOG: prints the pip wheel of Debian's python3-pip-whl, fetched into DIR.
debian_pip() {
	fetch_debs "$1" python3-pip-whl >>"$2" 2>&1 || return 1
	for wheel in "$1"/usr/share/python-wheels/pip-*.whl; do
		[ -f "$wheel" ] && printf '%s\n' "$wheel" && return 0
	done
	return 1
}

# fetch_debs DIR PACKAGE...: unpacks the packages, and what they need that is not
# installed, below DIR. Apt's own state and cache are left alone: it is given
# others, which an ordinary user may write.
fetch_debs() {
	command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1 || {
		echo "apt-get and dpkg are not here"
		return 1
	}
	dir=$1
	shift
	apt=$dir/.apt
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	set_apt="-qq -o Dir::State=$apt/state -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=$apt/cache
		-o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Retries=1 -o Acquire::http::Timeout=30"
	apt-get $set_apt -o APT::Update::Error-Mode=any update || return 1
	# Apt says what is missing. Compilers, debuggers and header files are not for us.
	needed=$(apt-get $set_apt -y --no-install-recommends --print-uris install "$@" |
		sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" |
		grep -vE -e '-dev$|^(gcc|g[+][+]|cpp|binutils|gdb|libgprofng|libasan|libtsan|liblsan|libubsan|libpython3.11$|python3-(pythran|sympy|ufolib2|mpmath))') || true
	[ -n "$needed" ] || { # what is installed is not listed
		dpkg-query -W "$@" || return 1
		needed=$*
	}
	(cd "$apt/cache/archives" && apt-get $set_apt download $needed) || return 1
	for deb in "$apt"/cache/archives/*.deb; do
		[ -f "$deb" ] || return 1
		dpkg -x "$deb" "$dir" || return 1
		rm -f "$deb"
	done
	rm -rf "$apt" "$dir/usr/bin" "$dir/usr/include" "$dir/usr/share/doc" "$dir/usr/share/man"
	# A link to a file that lies below DIR now must lead there.
	find "$dir" -type l -lname '/*' | while read -r link; do
		to=$(readlink "$link")
		[ -e "$dir$to" ] && ln -sfn "$dir$to" "$link"
	done
	return 0
}

# unpack_debian DIR PACKAGE...: fetch_debs into DIR, once.
unpack_debian() {
	target=$1
	shift
	wanted="$*"
	[ "$(cat "$target/.complete" 2>/dev/null)" = "$wanted" ] && return 0
	say "python environment: fetching $wanted, unpacked below .quire/debian (nothing is installed)"
	rm -rf "$target"
	mkdir -p "$target"
	fetch_debs "$target" "$@" >>"$root/.quire/python-env.log" 2>&1 || {
		rm -rf "$target"
		return 1
	}
	echo "$wanted" >"$target/.complete"
}

# venv_over PYTHON DIR: a virtual environment that sees PYTHON's own packages.
venv_over() { "$1" -m venv --without-pip --system-site-packages "$2"; }

# use_unpacked ENV DIR: lets ENV see the packages below DIR. Its interpreter
# becomes a script that also names the shared libraries below DIR.
use_unpacked() {
	site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	packages=$2/usr/lib/python3/dist-packages
	echo "$packages" >"$site/quire-debian.pth"
	# Debian's Matplotlib looks for its own data below /usr/share and /etc.
	data=$2/usr/share/matplotlib/mpl-data
	[ -e "$data/matplotlibrc" ] || cp "$2/etc/matplotlibrc" "$data/matplotlibrc"
	sed -i "s|'/usr/share/matplotlib|'$2/usr/share/matplotlib|; s|'/etc/matplotlibrc|'$2/etc/matplotlibrc|" "$packages/matplotlib/__init__.py"
	libraries=$(find "$2/usr/lib" "$2/lib" -name '*.so*' ! -path '*/python3*' -exec dirname {} + 2>/dev/null |
		sort -u | tr '\n' ':')
	for name in python python3; do
		real=$(readlink -f "$1/bin/$name")
		rm -f "$1/bin/$name"
		[ -e "$1/bin/interpreter" ] || ln -s "$real" "$1/bin/interpreter"
		cat >"$1/bin/$name" <<-END
			#!/bin/sh
			LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:-}" exec "$1/bin/interpreter" "\$@"
		END
		chmod 755 "$1/bin/$name"
	done
}

# write_kernelspec ENV: the python3 kernel of ENV, by absolute path. Matplotlib
# keeps its settings and its font cache in ENV too, not in the home directory;
# the cache is made now, and what every notebook imports is compiled.
write_kernelspec() {
	mkdir -p "$1/etc/matplotlib"
	MPLCONFIGDIR=$1/etc/matplotlib "$1/bin/python" -c \
		'import debugpy, ipykernel.kernelapp, ipykernel.ipkernel, matplotlib.pyplot, pandas, pyarrow.parquet' >/dev/null 2>&1 || true
	kernel=$1/share/jupyter/kernels/python3
	mkdir -p "$kernel"
	"$1/bin/python" - "$1" >"$kernel/kernel.json.new" <<-'END'
		import json, sys
		env = sys.argv[1]
		print(json.dumps({
		    "argv": [env + "/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
		    "display_name": "Python 3 (Quire)",
		    "language": "python",
		    "metadata": {"debugger": True},
		    "env": {"MPLCONFIGDIR": env + "/etc/matplotlib", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
		}, indent=1))
	END
	mv -f "$kernel/kernel.json.new" "$kernel/kernel.json"
}
