package shim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/problem"
)

// InnerMain is an inner process from its start to its end; it returns the exit
// status. args are those after InnerCommand.
func InnerMain(args []string) int {
	score := openScore()
	if err := hideMemory(); err != nil {
		return exitTrouble
	}
	debug.SetGCPercent(50)
	switch {
	case len(args) > 2 && args[0] == InnerRun:
		return innerRun(score, args[1], args[2:])
	case len(args) == 1 && args[0] == InnerExec:
		return innerExec(score)
	}
	return exitTrouble
}

// innerRun is process 1 of a container.
func innerRun(score oomScore, dir string, argv []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals) // everything: a signal from inside must not end the container
	adoptOrphans()
	pid, err := innerStart(score, argv, os.Environ(), dir, []uintptr{0, 1, 1})
	if err != nil {
		exit := rejection(err)
		report(os.Stderr, Report{Exit: &exit, Kind: problem.KindOf(err), Error: err.Error()})
		return exit.Code
	}
	report(os.Stderr, Report{Started: true})
	go func() {
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok && passedOn(n) {
				syscall.Kill(pid, n) //nolint:errcheck // it may just have ended
			}
		}
	}()
	exit := exitOf(reapUntil(pid))
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		syscall.Kill(-1, syscall.SIGKILL) //nolint:errcheck // nobody may be left
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); errors.Is(err, syscall.ECHILD) {
			break
		}
		waitForChild(20 * time.Millisecond)
	}
	usage := ownFigures()
	exit.PeakMemoryBytes = usage.PeakBytes
	report(os.Stderr, Report{Exit: &exit, Usage: &usage})
	return exit.Code
}

// rejection is how a container ends whose command could not be executed.
func rejection(err error) compute.Exit {
	code := 126
	if problem.Is(err, problem.NotFound) {
		code = 127
	}
	return compute.Exit{Code: code, Cause: compute.CauseRejected, Reason: err.Error()}
}

// report writes one line in one piece.
func report(w io.Writer, r Report) {
	if data, err := json.Marshal(r); err == nil {
		w.Write(append(data, '\n')) //nolint:errcheck // whoever reads it finds out that it is missing
	}
}

// innerStart executes a command. When memory runs out, it and all that it
// starts go before us: what is left can say so.
func innerStart(score oomScore, argv, env []string, dir string, files []uintptr) (int, error) {
	path, err := lookPath(argv[0], env, dir)
	if err != nil {
		return 0, err
	}
	score.raise()
	defer score.restore()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Dir: dir, Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return 0, problem.WrapAs(kindOfExec(err), err, "executing %s", argv[0])
	}
	return pid, nil
}

// reapUntil reaps whatever ends, and returns when that one has.
func reapUntil(pid int) syscall.WaitStatus {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || got == pid && (ws.Exited() || ws.Signaled()) {
			return ws
		}
	}
}

// ownFigures reads the container's own control group, of either version.
func ownFigures() compute.Stats {
	stats := compute.Stats{At: time.Now()}
	for _, name := range FigureFiles() {
		for _, controller := range []string{"", "memory", "cpuacct", "cpu", "pids"} {
			if data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, name)); err == nil {
				AddFigure(&stats, name, data)
				break
			}
		}
	}
	return stats
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, problem.New(problem.TooLarge, "a frame is over %d bytes", maxFrame)
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return data, err
}

// innerExec executes one more command of a container.
func innerExec(score oomScore) int {
	first, err := readFrame(os.Stdin)
	var order ExecOrder
	if err == nil {
		err = json.Unmarshal(first, &order)
	}
	if err != nil || len(order.Argv) == 0 {
		return exitTrouble
	}
	answer := func(r Report) int {
		os.Stderr.WriteString("\x00" + order.Mark) //nolint:errcheck // as in report
		report(os.Stderr, r)
		return 0
	}
	in, out, err := os.Pipe()
	if err != nil {
		return answer(Report{Kind: problem.Unavailable, Error: err.Error()})
	}
	pid, err := innerStart(score, order.Argv, mergeEnv(os.Environ(), order.Env), order.Dir, []uintptr{in.Fd(), 1, 2})
	in.Close()
	if err != nil {
		return answer(Report{Kind: problem.KindOf(err), Error: err.Error()})
	}
	var ended sync.Mutex // held while the process is known to be there
	alive := true
	go func() {
		feed(out)
		ended.Lock()
		defer ended.Unlock()
		if alive {
			syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
		}
	}()
	var info unix.Siginfo
	for errors.Is(unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil), syscall.EINTR) {
	}
	ended.Lock()
	alive = false
	exit := exitOf(reapUntil(pid))
	ended.Unlock()
	return answer(Report{Exit: &exit})
}

// feed passes the command's input on and returns when there is nobody any more
// who would send some.
func feed(to *os.File) {
	for {
		data, err := readFrame(os.Stdin)
		if err != nil {
			return
		}
		if len(data) == 0 {
			to.Close()
			continue
		}
		to.Write(data) //nolint:errcheck // the command need not read all
	}
}

// oomScore is how early the kernel kills this process when memory runs out
// (proc(5), oom_score_adj). A child has its parent's, so it is raised for as
// long as one is started: a child that is told its own afterwards may have
// started others by then. Where it cannot be set, the kernel goes by size.
type oomScore struct {
	file     *os.File // nil: it cannot be set
	own      int      // -1000 (never) to 1000 (first)
	commands int      // for those that we start, the same
}

// openScore opens it. It has to be done before hideMemory: the file is root's
// afterwards.
func openScore() oomScore {
	f, err := os.OpenFile("/proc/self/oom_score_adj", os.O_RDWR, 0)
	if err != nil {
		return oomScore{}
	}
	text := make([]byte, 16)
	n, _ := f.ReadAt(text, 0) //nolint:errcheck // what is no number is found out below
	own, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		f.Close()
		return oomScore{}
	}
	return oomScore{file: f, own: own, commands: min(own+ahead(), 1000)}
}

// ahead is how much earlier than we a command is killed. The kernel compares
// what processes take, plus their score in thousandths of the limit: where that
// is small, our own size, which is mostly pages of our file, has to be made up
// for. 200 alone is a fifth of the limit.
func ahead() int {
	var limit int64
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} { // version 2, version 1
		if data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", name)); err == nil {
			limit, _ = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64) //nolint:errcheck // "max" is 0: no limit
			break
		}
	}
	info, err := os.Stat("/proc/self/exe")
	if err != nil || limit <= 0 {
		return 200
	}
	const anonymous = 32 << 20 // bytes that we take besides, at most
	return 200 + int(min(1000*(info.Size()+anonymous)/limit, 1000))
}

func (s oomScore) raise()   { s.set(s.commands) }
func (s oomScore) restore() { s.set(s.own) } // back to what it was needs no privilege

func (s oomScore) set(score int) {
	if s.file != nil {
		s.file.WriteAt([]byte(strconv.Itoa(score)), 0) //nolint:errcheck // a wish
	}
}
