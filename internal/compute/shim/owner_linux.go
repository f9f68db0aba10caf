package shim

import (
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// OwnerMap returns a user namespace for CloneTree that shows our files as those
// of another user. program is as in Options. A process is needed to make the
// namespace, and not to keep it.
func OwnerMap(program *os.File, uid, gid int) (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making a user namespace")
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "idmap"), os.NewFile(uintptr(pair[1]), "idmap")
	defer theirs.Close()
	cmd := command(program, []*os.File{theirs}) // it waits for orders until we close our end
	cmd.Env = []string{"GOMAXPROCS=1"}
	one := func(own, other int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: own, HostID: other, Size: 1}}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: one(os.Geteuid(), uid), GidMappings: one(os.Getegid(), gid),
		GidMappingsEnableSetgroups: true, Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	if err := startMapped(cmd); err != nil {
		mine.Close()
		return nil, problem.WrapAs(problem.Unavailable, err, "making a user namespace")
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
	mine.Close()
	cmd.Wait() //nolint:errcheck // it ends because nobody told it what to do
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making a user namespace")
	}
	return ns, nil
}
