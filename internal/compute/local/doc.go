// Package local is the compute driver for this machine, without a daemon: a
// container is a process tree in namespaces of its own, whose process 1 is the
// shim.
//
// What holds for every container, also of an ordinary user: mount, process,
// ipc, host name, user and network namespaces; a root made of the host's
// system folders, or of an unpacked image, read-only; /proc, /dev and /tmp of
// its own; no capabilities, no new privileges, a system call filter, and
// Landlock against writing anywhere but its mounts and its scratch space.
//
// As root the container's user is one of its own that owns nothing on the
// host (the mounts are shown to it as its own), and control groups limit
// processors, memory, processes and devices, a loop device limits the disk and
// a token bucket the network. As an ordinary user the container's user is the
// server's on the host, and what the kernel does not let that user limit is
// said by Probe.
//
// No goroutine, mount, control group or network device outlives Remove.
package local
