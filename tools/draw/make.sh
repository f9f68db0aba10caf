#!/bin/sh
# Makes the drawing libraries in internal/viewer/draw from the packages that
# package-lock.json names. Run by hand after a change of a version; what it makes
# is committed, so that the program builds with Go alone.
set -eu
cd "$(dirname "$0")"
out=../../internal/viewer/draw
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json vega.js "$work/"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund
"$work"/node_modules/@esbuild/*/bin/esbuild "$work/vega.js" --bundle --minify --format=iife --target=es2022 --legal-comments=none --outfile="$work/vega.min.js"
gzip -9nc "$work/vega.min.js" >"$out/vega.min.js.gz"
gzip -9nc "$work/node_modules/plotly.js-basic-dist-min/plotly-basic.min.js" >"$out/plotly.min.js.gz"
for name in plotly.js-basic-dist-min vega vega-lite vega-interpreter; do
	printf '%s\n\n' "$name"
	cat "$work/node_modules/$name/LICENSE"
	printf '\n'
done >"$out/LICENSES.txt"
