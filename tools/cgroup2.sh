#!/bin/sh
# Runs the local driver's tests on control groups of version 2, in a machine of
# its own: a Debian kernel in QEMU, by software where /dev/kvm is not there.
# Needs root, qemu-system-x86_64, mmdebstrap and cpio, and a Debian mirror; takes
# some minutes. The system is kept in build/.cgroup2 for the next time. The tests
# run as root in the group of a service, and then as a user whose group a service
# manager has handed over, as systemd does.
#
#	tools/cgroup2.sh ['TestMemoryLimit|TestCPULimit']
set -eu
cd "$(dirname "$0")/.."
tests=${1:-'TestProbe|TestMemoryLimit|TestChildOutOfMemory|TestCPULimit|TestForkBomb|TestDiskLimit|TestInodeBomb|TestDriver|TestManyAtOnce|TestOutOfReach|TestOthersFolders|TestNetworkPolicy|TestBandwidth'}
for tool in qemu-system-x86_64 mmdebstrap cpio; do
	command -v "$tool" >/dev/null || {
		echo "cgroup2: $tool is needed (Debian: apt install qemu-system-x86 mmdebstrap cpio)" >&2
		exit 1
	}
done
build=$PWD/build/.cgroup2
mkdir -p "$build"

if [ ! -e "$build/root.tar" ]; then
	mmdebstrap --quiet --format=tar --variant=minbase --include=linux-image-cloud-amd64,e2fsprogs,iproute2,procps,kmod \
		--aptopt='Apt::Install-Recommends "false"' bookworm "$build/root.tar.tmp"
	mv "$build/root.tar.tmp" "$build/root.tar"
fi
work=$(mktemp -d "$build/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
tar -C "$work/root" --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./usr/share/man \
	--exclude=./var/cache --exclude='./boot/initrd*' --exclude=./dev -xf "$build/root.tar"
cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
rm -rf "$work"/root/boot/*
mkdir "$work/root/dev"
CGO_ENABLED=0 go test -trimpath -c -o "$work/root/local.test" ./internal/compute/local
cp -r internal/compute/local/testdata "$work/root/" 2>/dev/null || true

# The root of an initramfs cannot be left by pivot_root: it moves into a tmpfs.
cat >"$work/root/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /new
mount -t tmpfs -o size=80% tmpfs /new
for d in bin etc lib lib64 opt root run sbin srv usr var tmp home mnt local.test stage2; do
	[ -e /$d ] && cp -a /$d /new/
done
mkdir -p /new/proc /new/sys /new/dev /new/tmp
mount --move /proc /new/proc
mount --move /sys /new/sys
mount --move /dev /new/dev
exec switch_root /new /stage2
INIT
cat >"$work/root/stage2" <<STAGE
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe loop; modprobe ext4
# Owners cannot be mapped in a tmpfs before Linux 6.3.
truncate -s 1G /disk && mkfs.ext4 -q /disk && mount -o loop /disk /tmp
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
for m in loop ext4 veth nf_tables nft_masq nft_ct sch_tbf; do modprobe \$m 2>/dev/null; done
ip link set lo up
hostname cgroup2
echo 'nameserver 192.0.2.1' >/etc/resolv.conf
uname -r
cat /sys/fs/cgroup/cgroup.controllers
export QUIRE_TEST_EMULATED=yes
groups=/sys/fs/cgroup
all="+cpu +memory +pids"
echo "\$all" >\$groups/cgroup.subtree_control
mkdir -p \$groups/system.slice/quire.service
echo \$\$ >\$groups/system.slice/quire.service/cgroup.procs
cp /local.test /tmp/local.test && cd /tmp
/tmp/local.test -test.v -test.parallel 1 -test.timeout 15m -test.run '^($tests)\$' && as_root=well
user=\$groups/user.slice/user.service
mkdir -p \$groups/user.slice && echo "\$all" >\$groups/user.slice/cgroup.subtree_control
mkdir -p \$user && echo "\$all" >\$user/cgroup.subtree_control
mkdir -p \$user/shell /tmp/user
chown 54321:54321 \$user \$user/cgroup.procs \$user/cgroup.subtree_control \$user/shell \$user/shell/cgroup.procs /tmp/user
echo \$\$ >\$user/shell/cgroup.procs
cd /tmp/user
QUIRE_TEST_DELEGATED=yes HOME=/tmp/user TMPDIR=/tmp/user setpriv --reuid 54321 --regid 54321 --clear-groups \
	/tmp/local.test -test.v -test.parallel 1 -test.timeout 15m -test.run '^(TestDriver|TestUserLimits)\$' && as_user=well
echo "local.test ended \$as_root as root, \$as_user as a user"
cd /
sync
echo o >/proc/sysrq-trigger
sleep 60
STAGE
chmod +x "$work/root/init" "$work/root/stage2"
(cd "$work/root" && find . | cpio -o -H newc --quiet >"$work/initrd")
rm -rf "$work/root"
accel=${QUIRE_QEMU:-'-accel tcg,thread=multi -cpu max'} # "-accel kvm -cpu host" where that works
# shellcheck disable=SC2086 # two options, on purpose
timeout 1500 qemu-system-x86_64 $accel -smp 2 -m 3072 -nographic -no-reboot -nic none \
	-kernel "$work/vmlinuz" -initrd "$work/initrd" \
	-append "console=ttyS0 earlyprintk=ttyS0 rdinit=/init cgroup_no_v1=all loglevel=4 panic=-1" </dev/null | tee "$build/log"
grep -q "local.test ended well as root, well as a user" "$build/log"
