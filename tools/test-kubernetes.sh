#!/bin/sh
# The kubernetes driver against a real API server. It is built once, half an hour
# on two cores, and kept outside of this folder by what it is built from.
set -eu
cd "$(dirname "$0")/.."
umask 022
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quire
mkdir -p "$cache" build
say() { echo "$*" >&2; }
key=$(cat tools/kubernetes/go.mod tools/kubernetes/go.sum | sha256sum | cut -c1-16)
server=$cache/kube-apiserver-$key
if [ ! -x "$server" ]; then
	say "test-kubernetes: building the API server, about half an hour; it is kept as $server"
	CGO_ENABLED=0 nice go build -C tools/kubernetes -trimpath -ldflags '-s -w' -o "$server.new" k8s.io/kubernetes/cmd/kube-apiserver
	mv "$server.new" "$server"
fi
kwok_version=v0.8.0
kwok=$cache/kwok-$kwok_version
if [ ! -x "$kwok" ]; then
	say "test-kubernetes: building kwok, some minutes"
	GOBIN=$cache/bin CGO_ENABLED=0 nice go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok_version"
	mv "$cache/bin/kwok" "$kwok"
fi
if ! command -v etcd >/dev/null 2>&1; then
	install="apt-get install -y --no-install-recommends etcd-server"
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || {
		say "test-kubernetes: etcd is not installed. An administrator can: $install"
		exit 1
	}
	policy=/usr/sbin/policy-rc.d # it is not to be started
	[ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install; } >build/etcd.log 2>&1 || {
		tail -n 8 build/etcd.log >&2
		[ -z "$policy" ] || rm -f "$policy"
		exit 1
	}
	[ -z "$policy" ] || rm -f "$policy"
fi
QUIRE_TEST_KUBE_APISERVER=$server QUIRE_TEST_KWOK=$kwok QUIRE_TEST_ETCD=$(command -v etcd) \
	go test -count=1 -parallel 12 -timeout 20m -v -run 'TestCluster' ./internal/compute/kubernetes
