#!/bin/sh
# Builds the browser app into web/dist/app, which the program embeds. What is
# built from the same files already stays. Without Node.js the program is built
# without its notebook editor, and this says so. "tools/web.sh check" checks the
# app's types and form and runs its tests.
set -eu
cd "$(dirname "$0")/.."
want=${1:-build}
missing() {
	rm -rf web/dist/app
	echo "web app: $1; bin/quire is built without the notebook editor (JupyterLab still opens notebooks)" >&2
	[ "$want" = build ]
	exit
}

command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || missing "Node.js with npm is not on PATH"
[ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || missing "Node.js $(node --version) is too old, 20 or newer is needed"

packages() {
	cmp -s web/package-lock.json web/node_modules/.quire-lock && return 0
	echo "web app: installing its packages with npm" >&2
	mkdir -p build
	npm ci --prefix web --ignore-scripts --no-audit --no-fund --no-update-notifier >build/web-npm.log 2>&1 || {
		tail -n 8 build/web-npm.log | sed 's/^/    /' >&2
		return 1
	}
	cp web/package-lock.json web/node_modules/.quire-lock
}

if [ "$want" = check ]; then
	packages || exit 1
	cd web
	npx --no-install tsc --noEmit
	npx --no-install eslint --max-warnings 0 .
	exec npx --no-install vitest run --reporter=dot
fi

key=$(find web/src web/package-lock.json web/package.json web/vite.config.ts web/tsconfig.json tools/web.sh -type f | LC_ALL=C sort | xargs cksum | cksum)
[ "$(cat web/dist/app/.key 2>/dev/null)" = "$key" ] && exit 0
packages || missing "its npm packages cannot be installed (a package index is needed)"
mkdir -p build
(cd web && npx --no-install vite build) >build/web.log 2>&1 || {
	cat build/web.log >&2
	rm -rf web/dist/app
	exit 1
}
echo "$key" >web/dist/app/.key
