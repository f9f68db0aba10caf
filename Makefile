# The two commands to know: make up, make test. The work is in tools/*.sh.
# Needed: Go, Python 3.10 or newer, and for the tests Node with npm. Nothing
# outside this folder and Go's own caches is written.

export CGO_ENABLED ?= 0
export QUIRE_ENV := $(CURDIR)/.quire/python

.PHONY: help up build test check bench fuzz torture clean

help:
	@echo "make up      set everything up, run a notebook, then the platform: its address is printed"
	@echo "make test    all tests, with real kernels, a real S3 server and Papermill beside us"
	@echo "make build   bin/quire"
	@echo "make check   the quick loop: format, vet, short tests; needs no network"
	@echo "make bench   Quire, Papermill and the raw floor, side by side"
	@echo "make fuzz    every fuzz test for a while (FUZZTIME=30s)"
	@echo "make torture loss of power, failing system calls, planted faults: root, half an hour"
	@echo "make clean   removes what make made (bin, build); .quire stays: rm -r .quire"

up: build
	@tools/python-env.sh
	@tools/up.sh

build:
	@tools/build.sh

test:
	@tools/test.sh

check:
	@tools/check.sh

bench: build
	@tools/bench.sh

fuzz:
	@tools/fuzz.sh

torture:
	@tools/torture.sh

clean:
	rm -rf bin build
