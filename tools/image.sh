#!/bin/sh
# Makes the prepared image without a registry and without Docker: the root file
# system of images/notebook as a folder for the local driver, and as a tar that
# "docker import" takes. Needs root, mmdebstrap and a Debian mirror.
#
#	tools/image.sh [FOLDER]     default build/.image/notebook
#	docker import --change 'USER 1000:1000' FOLDER.tar quire-notebook
#
# QUIRE_IMAGE_TAR=0 leaves the tar out.
set -eu
cd "$(dirname "$0")/.."
root=${1:-$PWD/build/.image/notebook}
mkdir -p "$(dirname "$root")"
root=$(cd "$(dirname "$root")" && pwd)/$(basename "$root")
[ "$(id -u)" = 0 ] || { echo "tools/image.sh needs root: it makes files of other owners" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "tools/image.sh needs mmdebstrap: apt-get install mmdebstrap" >&2; exit 1; }

work=$root.work
cleanup() {
	for part in proc dev; do umount "$work/$part" 2>/dev/null || true; done
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
cleanup
mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$work"
mkdir -p "$work/opt/quire/build"
cp images/notebook/install.sh images/notebook/packages.txt images/notebook/requirements.lock "$work/opt/quire/build/"
cp python/requirements.lock "$work/opt/quire/build/python.lock"
cp python/requirements-spark.lock "$work/opt/quire/build/spark.lock"
cp /etc/resolv.conf "$work/etc/resolv.conf"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$work/etc/ssl/certs/"
mount -t proc proc "$work/proc"
mount --bind /dev "$work/dev"
# What reaches the package index from here does so from there.
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
	${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} ${https_proxy:+https_proxy="$https_proxy"} \
	chroot "$work" /opt/quire/build/install.sh
umount "$work/proc" "$work/dev"
rm -rf "$work/opt/quire/build" "$work"/tmp/* "$work/etc/resolv.conf"
: >"$work/etc/resolv.conf" # the driver puts its own there
rm -rf --one-file-system "$root"
mv "$work" "$root"
[ "${QUIRE_IMAGE_TAR:-1}" = 0 ] || tar -C "$root" --numeric-owner -cf "$root.tar" .
echo "$root"
