package shim

import (
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// order is one process to start.
type order struct {
	path, dir string
	argv, env []string
	files     [3]uintptr
	done      chan started
}

type started struct {
	pid   int
	ended *syscall.WaitStatus // not nil when it is gone already
	err   error
}

// spawner starts processes from one thread. The thread has given up all that
// the container may not do, and what it starts inherits that; the other
// threads of the shim keep what they need.
type spawner struct {
	orders chan order
	join   []int
	limits Limits
}

func newSpawner(cfg Config) *spawner {
	s := &spawner{orders: make(chan order), join: cfg.Join, limits: cfg.Limits}
	go s.loop(cfg.Confine)
	return s
}

// start starts one process. The caller keeps anybody else from waiting for
// children until it returns.
func (s *spawner) start(o order) (int, *syscall.WaitStatus, error) {
	o.done = make(chan started, 1)
	s.orders <- o
	r := <-o.done
	return r.pid, r.ended, r.err
}

// loop lives as long as the shim. Its thread is never given back.
func (s *spawner) loop(confine *Confine) {
	runtime.LockOSThread()
	var broken error
	if confine != nil {
		broken = confine.restrictThread()
	}
	for o := range s.orders {
		r := started{err: broken}
		if broken == nil {
			r.pid, r.ended, r.err = s.one(o)
		}
		o.done <- r
	}
}

// one starts a process that stops before its first instruction, gives it its
// limits and lets it go: there is no moment at which it runs without them.
func (s *spawner) one(o order) (int, *syscall.WaitStatus, error) {
	pid, err := syscall.ForkExec(o.path, o.argv, &syscall.ProcAttr{
		Dir: o.dir, Env: o.env, Files: o.files[:],
		Sys: &syscall.SysProcAttr{Setsid: true, Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, nil, err
	}
	var ws syscall.WaitStatus
	for {
		_, err = syscall.Wait4(pid, &ws, 0, nil)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil || ws.Exited() || ws.Signaled() {
		return pid, &ws, err
	}
	if err := s.limit(pid); err != nil {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it is stopped and ours
		syscall.Wait4(pid, nil, 0, nil)    //nolint:errcheck // the same
		return 0, nil, err
	}
	return pid, nil, syscall.PtraceDetach(pid)
}

func (s *spawner) limit(pid int) error {
	for _, fd := range s.join {
		if _, err := unix.Pwrite(fd, []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	for resource, n := range map[int]int64{unix.RLIMIT_DATA: s.limits.DataBytes, unix.RLIMIT_NPROC: s.limits.Processes} {
		if n > 0 {
			if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}, nil); err != nil {
				return err
			}
		}
	}
	if len(s.limits.CPUs) > 0 {
		var set unix.CPUSet
		for _, n := range s.limits.CPUs {
			set.Set(n)
		}
		return unix.SchedSetaffinity(pid, &set)
	}
	return nil
}
