#!/bin/sh
# The main job of make up: a real notebook, with parameters, on a real kernel,
# and then the platform, in the foreground until Ctrl-C.
set -eu
cd "$(dirname "$0")/.."
out=build/playback-FR.ipynb
mkdir -p build
bin/quire run examples/playback.ipynb "$out" -p country FR -p days 28
echo
echo "The output notebook: $out"
echo "Now the platform. Open this address; Ctrl-C ends it, and what runs goes on:"
exec bin/quire up
