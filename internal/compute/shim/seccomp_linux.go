package shim

import (
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// deniedCalls are system calls that change the machine, its mounts and
// namespaces, or open parts of the kernel with a long list of faults. What is
// denied is answered with "operation not permitted".
var deniedCalls = []uint32{
	unix.SYS_ACCT, unix.SYS_ADD_KEY, unix.SYS_ADJTIMEX, unix.SYS_BPF, unix.SYS_CHROOT, unix.SYS_CLOCK_ADJTIME,
	unix.SYS_CLOCK_SETTIME, unix.SYS_DELETE_MODULE, unix.SYS_FANOTIFY_INIT, unix.SYS_FINIT_MODULE, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_INIT_MODULE, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_IO_URING_SETUP, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_KEXEC_LOAD, unix.SYS_KEYCTL,
	unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_NFSSERVCTL,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN_TREE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PIVOT_ROOT, unix.SYS_QUOTACTL,
	unix.SYS_QUOTACTL_FD, unix.SYS_REBOOT, unix.SYS_REQUEST_KEY, unix.SYS_SETDOMAINNAME, unix.SYS_SETHOSTNAME,
	unix.SYS_SETNS, unix.SYS_SETTIMEOFDAY, unix.SYS_SWAPOFF, unix.SYS_SWAPON, unix.SYS_SYSLOG, unix.SYS_UMOUNT2,
	unix.SYS_USERFAULTFD, unix.SYS_VHANGUP, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_MOVE_PAGES, unix.SYS_MIGRATE_PAGES,
}

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	lastCall = unix.SYS_MSEAL // newer ones do not exist, as far as the container can tell

	seccompAllow = 0x7fff0000
	seccompErrno = 0x00050000
	seccompKill  = 0x80000000

	// Offsets in what a filter looks at.
	offCall = 0
	offArch = 4
)

func offArg(n uint32) uint32 { return 16 + 8*n } // its lower half; all machines here are little-endian

// callFilter returns the filter program.
func callFilter() []bpf.Instruction {
	refuse := func(errno uint32) bpf.Instruction { return bpf.RetConstant{Val: seccompErrno | errno} }
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: seccompKill},
		bpf.LoadAbsolute{Off: offCall, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: lastCall, SkipTrue: 1},
		refuse(uint32(unix.ENOSYS)), // also the x32 calls, whose numbers are large
		// What clone3 is asked for cannot be seen: callers fall back to clone.
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1},
		refuse(uint32(unix.ENOSYS)),
	}
	for _, call := range append(deniedCalls, deniedHere...) {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, refuse(uint32(unix.EPERM)))
	}
	for _, c := range []struct {
		call, arg uint32
		cond      bpf.JumpTest
		values    []uint32
		errno     unix.Errno
		allow     bool // whether a match is allowed and the rest refused
	}{
		{unix.SYS_CLONE, 0, bpf.JumpBitsSet, []uint32{newNamespaces}, unix.EPERM, false},
		{unix.SYS_UNSHARE, 0, bpf.JumpBitsSet, []uint32{newNamespaces | unix.CLONE_NEWTIME}, unix.EPERM, false},
		{unix.SYS_IOCTL, 1, bpf.JumpEqual, []uint32{unix.TIOCSTI, unix.TIOCLINUX}, unix.EPERM, false},
		{unix.SYS_SOCKET, 0, bpf.JumpEqual, []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}, unix.EAFNOSUPPORT, true},
		{unix.SYS_SOCKETPAIR, 0, bpf.JumpEqual, []uint32{unix.AF_UNIX}, unix.EAFNOSUPPORT, true},
	} {
		match, rest := refuse(uint32(c.errno)), bpf.Instruction(bpf.RetConstant{Val: seccompAllow})
		if c.allow {
			match, rest = rest, match
		}
		body := []bpf.Instruction{bpf.LoadAbsolute{Off: offArg(c.arg), Size: 4}}
		for _, value := range c.values {
			body = append(body, bpf.JumpIf{Cond: c.cond, Val: value, SkipFalse: 1}, match)
		}
		body = append(body, rest)
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.call, SkipTrue: uint8(len(body))})
		program = append(program, body...)
	}
	return append(program, bpf.RetConstant{Val: seccompAllow})
}

// filterCalls installs the filter for this thread and what it starts.
func filterCalls() error {
	if auditArch == 0 {
		return problem.New(problem.Unavailable, "there is no system call filter for this kind of processor")
	}
	raw, err := bpf.Assemble(callFilter())
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
