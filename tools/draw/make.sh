#!/bin/sh
# Makes the drawing libraries in internal/viewer/draw from the packages that
# package-lock.json names. Run by hand after a change of a version; what it makes
# is committed, so that the program builds with Go alone.
set -eu
cd "$(dirname "$0")"
out=../../internal/viewer/draw
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json vega.js widgets.js "$work/"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund
"$work"/node_modules/@esbuild/*/bin/esbuild "$work/vega.js" --bundle --minify --format=iife --target=es2022 --legal-comments=none --outfile="$work/vega.min.js"
gzip -9nc "$work/vega.min.js" >"$out/vega.min.js.gz"
# Of the fonts of icons only one form is taken; the sheet goes into the script.
(cd "$work" && node_modules/@esbuild/*/bin/esbuild widgets.js --bundle --minify --format=iife --target=es2022 --legal-comments=none \
	--loader:.woff2=dataurl --loader:.woff=empty --loader:.ttf=empty --loader:.eot=empty --loader:.svg=empty \
	--define:global=window --metafile=widgets.json --outfile=widgets.min.js)
{
	printf '(()=>{const s=document.createElement("style");s.textContent='
	node -e 'process.stdout.write(JSON.stringify(require("fs").readFileSync(process.argv[1], "utf8")))' "$work/widgets.min.css"
	printf ';document.head.append(s)})();\n'
	cat "$work/widgets.min.js"
} | gzip -9nc >"$out/widgets.min.js.gz"
gzip -9nc "$work/node_modules/plotly.js-basic-dist-min/plotly-basic.min.js" >"$out/plotly.min.js.gz"
for part in bokeh bokeh-widgets bokeh-tables; do
	grep -v '^//# sourceMappingURL' "$work/node_modules/@bokeh/bokehjs/build/js/$part.min.js"
	printf '\n'
done | gzip -9nc >"$out/bokeh.min.js.gz"
for name in plotly.js-basic-dist-min @bokeh/bokehjs vega vega-lite vega-interpreter; do
	printf '%s\n\n' "$name"
	cat "$work/node_modules/$name/LICENSE"
	printf '\n'
done >"$out/LICENSES.txt"
printf 'widgets: ipywidgets and what it is made of\n\n' >>"$out/LICENSES.txt"
node licences.mjs "$work/widgets.json" "$work" >>"$out/LICENSES.txt"
