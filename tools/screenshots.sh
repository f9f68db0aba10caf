#!/bin/sh
# Pictures of every page in build/screenshots, to be looked at; make test brings
# what it needs.
set -eu
cd "$(dirname "$0")/.."
tools/python-env.sh
tools/test-env.sh
. build/testenv/env.sh
tools/build.sh
QUIRE_TEST_BINARY="$PWD/bin/quire" node tools/browser/screenshots.mjs build/screenshots
echo "build/screenshots has $(ls build/screenshots/*.png | wc -l) pictures"
