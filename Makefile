# The two commands to know: make up, make test. The work is in tools/*.sh.
# Needed: Go, Python 3.10 or newer; Node with npm for the editor, a C++ compiler
# for DuckDB. What is built is written here and in Go's own caches; make up keeps
# the platform's data in ~/.local/share/quire.

export CGO_ENABLED ?= 0
export QUIRE_ENV := $(CURDIR)/.quire/python

.PHONY: help up spark build test race test-kubernetes test-spark test-trino test-docker-many measure-compute check bench fuzz torture simulate clean

help:
	@echo "make up      set everything up, run a notebook, then the platform: its address is printed"
	@echo "make spark   adds Spark to the prepared Python environment (400 MB; needs Java 17)"
	@echo "make test    all tests, with real kernels, a real S3 server and Papermill beside us"
	@echo "make race    the same with Go's race detector, nearly twice as long; needs a C compiler"
	@echo "make test-kubernetes   the kubernetes driver against a real API server and on a real node, built once (half an hour)"
	@echo "make test-spark   the query gateway against a real Spark Connect server (make spark first)"
	@echo "make test-trino   the query gateway against a real Trino (Maven, Java 25; 300 MB)"
	@echo "make test-docker-many  two hundred containers of a Docker host at once, with a server that is killed meanwhile"
	@echo "make measure-compute   what containers cost and what CPU 1 gives, on a quiet machine, as root"
	@echo "make build   bin/quire"
	@echo "make check   the quick loop: format, vet, short tests; needs no network"
	@echo "make bench   Quire, Papermill and the raw floor, side by side"
	@echo "make fuzz    every fuzz test for a while (FUZZTIME=30s)"
	@echo "make torture loss of power, failing system calls, planted faults: root, half an hour"
	@echo "make simulate  a day of 10,000 schedules with servers killed at random, half an hour"
	@echo "make screenshots  a picture of every page, in build/screenshots"
	@echo "make clean   removes what make made (bin, build); .quire stays: rm -r .quire"

up: build
	@tools/python-env.sh
	@tools/up.sh

spark: build
	@tools/python-env.sh spark

build:
	@tools/build.sh

test:
	@tools/test.sh

race:
	@RACE=1 tools/test.sh

test-kubernetes:
	@tools/test-kubernetes.sh

test-spark:
	@tools/spark.sh test

test-trino:
	@tools/trino.sh test

test-docker-many:
	@QUIRE_TEST_DOCKER_MANY=1 QUIRE_TEST_DOCKERD="$$(command -v dockerd)" go test -count=1 -v -timeout 30m -run TestDockerMany ./cmd/quire

measure-compute: build
	@QUIRE_MEASURE=1 go test -count=1 -v -run TestMeasure ./internal/compute/local

check:
	@tools/check.sh

bench: build
	@tools/bench.sh

fuzz:
	@tools/fuzz.sh

torture:
	@tools/torture.sh

simulate:
	@tools/simulate.sh

screenshots:
	@tools/screenshots.sh

clean:
	rm -rf bin build
