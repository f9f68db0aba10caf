#!/bin/sh
# The kubernetes driver against a real API server with played nodes, and on a real
# node: this machine. The server, the scheduler and the kubelet are built once, half
# an hour on two cores, and kept outside of this folder by what they are built from.
set -eu
cd "$(dirname "$0")/.."
umask 022
cache=${XDG_CACHE_HOME:-$HOME/.cache}/quire
mkdir -p "$cache" build
say() { echo "$*" >&2; }
key=$(cat tools/kubernetes/go.mod tools/kubernetes/go.sum | sha256sum | cut -c1-16)
programs=$cache/kubernetes-$key
if [ ! -d "$programs" ]; then
	say "test-kubernetes: building the API server, the scheduler and the kubelet, about half an hour; they are kept in $programs"
	rm -rf "$programs.new"
	CGO_ENABLED=0 nice go build -C tools/kubernetes -trimpath -ldflags '-s -w' -o "$programs.new/" \
		k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kubelet
	mv "$programs.new" "$programs"
fi
kwok_version=v0.8.0
kwok=$cache/kwok-$kwok_version
if [ ! -x "$kwok" ]; then
	say "test-kubernetes: building kwok, some minutes"
	GOBIN=$cache/bin CGO_ENABLED=0 nice go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok_version"
	mv "$cache/bin/kwok" "$kwok"
fi
missing=
for one in etcd:etcd-server containerd:containerd runc:runc busybox:busybox-static; do
	command -v "${one%%:*}" >/dev/null 2>&1 || missing="$missing ${one#*:}"
done
[ -x /usr/lib/cni/ptp ] || missing="$missing containernetworking-plugins"
if [ -n "$missing" ]; then
	install="apt-get install -y --no-install-recommends$missing"
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || {
		say "test-kubernetes:$missing: not installed. An administrator can: $install"
		exit 1
	}
	policy=/usr/sbin/policy-rc.d # nothing is to be started
	[ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install; } >build/kubernetes-debs.log 2>&1 || {
		tail -n 8 build/kubernetes-debs.log >&2
		[ -z "$policy" ] || rm -f "$policy"
		exit 1
	}
	[ -z "$policy" ] || rm -f "$policy"
fi
export QUIRE_TEST_KUBE_APISERVER="$programs/kube-apiserver" QUIRE_TEST_KWOK="$kwok" QUIRE_TEST_ETCD=$(command -v etcd)
go test -count=1 -parallel 12 -timeout 20m -v -run 'TestCluster' ./internal/compute/kubernetes
if [ "$(id -u)" != 0 ]; then
	say "test-kubernetes: a node needs root: TestNode was not run"
	exit 1
fi
QUIRE_TEST_KUBELET=$programs/kubelet QUIRE_TEST_KUBE_SCHEDULER=$programs/kube-scheduler \
	QUIRE_TEST_CONTAINERD=$(command -v containerd) QUIRE_TEST_BUSYBOX=$(command -v busybox) \
	go test -count=1 -parallel 8 -timeout 20m -v -run 'TestNode' ./internal/compute/kubernetes
