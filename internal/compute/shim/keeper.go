//go:build unix

package shim

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/problem"
)

// The files that a shim is started with, besides 0, 1 and 2.
const (
	fdControl = 3 + iota // the starter: Config in, one reply out
	fdListen             // the socket that it listens on
	fdLog
	fdExit
	fdLock
	fdFirst // the first of those that Config names
)

// told is what a shim writes into its lock file once it has its orders. A shim
// that ended without has started nothing.
const told = "told\n"

// exitTrouble is the shim's own status when it could not start a container.
const exitTrouble = 125

// keeper is one shim.
type keeper struct {
	cfg     Config
	control *net.UnixConn
	log     *logFile
	exit    *os.File
	spawner *spawner

	mu       sync.Mutex // held while a process is started, and while one is reaped
	children map[int]chan<- syscall.WaitStatus

	stop  chan time.Duration // the grace of every Stop
	ended chan struct{}      // closed when the main process is gone
}

// Main is a shim from its start to its end; it returns the exit status.
func Main() int {
	for fd := fdControl; fd <= highestFD(); fd++ {
		unix.CloseOnExec(fd)
	}
	if err := hideMemory(); err != nil {
		return exitTrouble
	}
	debug.SetGCPercent(50)
	k := &keeper{
		exit:     os.NewFile(fdExit, "exit"),
		children: make(map[int]chan<- syscall.WaitStatus),
		stop:     make(chan time.Duration),
		ended:    make(chan struct{}),
	}
	control, err := net.FileConn(os.NewFile(fdControl, "control"))
	if err != nil {
		return exitTrouble
	}
	k.control = control.(*net.UnixConn)
	if _, err := receive(k.control, &k.cfg); err != nil {
		return exitTrouble // the starter is gone: nothing was started
	}
	// From here on the container has begun, whoever is there to see it.
	if _, err := unix.Pwrite(fdLock, []byte(told), 0); err != nil {
		return exitTrouble
	}
	k.log = &logFile{file: os.NewFile(fdLog, "log"), max: k.cfg.LogMax}
	return k.run()
}

// run starts the main process, keeps it and writes down how it ended.
func (k *keeper) run() int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals) // everything: a signal from inside must not end the shim
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD) // in a channel of its own: however many others come, there is room for one
	if k.cfg.Confine != nil {
		if err := k.cfg.Confine.apply(); err != nil {
			send(k.control, failure(problem.Wrap(err, "isolating the container"))) //nolint:errcheck // the starter may be gone
			return exitTrouble
		}
	}
	adoptOrphans()
	k.spawner = newSpawner(k.cfg)
	out, log, err := k.pump()
	if err != nil {
		return exitTrouble
	}
	main, status, err := k.spawn(k.cfg.Argv, k.cfg.Env, k.cfg.Dir, [3]*os.File{nil, out, out})
	out.Close()
	if err != nil {
		code := 126
		if problem.Is(err, problem.NotFound) {
			code = 127
		}
		k.write(compute.Exit{Code: code, Cause: compute.CauseRejected, Reason: err.Error()})
		send(k.control, failure(err)) //nolint:errcheck // the starter may be gone; the result is written
		return 0
	}
	listener, err := net.FileListener(os.NewFile(fdListen, "listen"))
	if err == nil {
		go k.serve(listener)
	}
	send(k.control, reply{Started: true}) //nolint:errcheck // the starter may be gone
	k.control.Close()

	exit := k.attend(main, status, ended, signals)
	close(k.ended)
	k.killRest()
	log.settle()
	k.write(exit)
	return 0
}

// attend passes signals on, reaps, and stops the main process when it is asked
// to. It returns how the main process ended.
func (k *keeper) attend(main int, status <-chan syscall.WaitStatus, ended, signals <-chan os.Signal) compute.Exit {
	var kill <-chan time.Time
	stopped, grace := false, time.Duration(0)
	for {
		select {
		case ws := <-status:
			return k.describe(ws, stopped, grace, kill == nil && stopped)
		case <-ended:
			k.reap()
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok && passedOn(n) {
				syscall.Kill(main, n) //nolint:errcheck // it may just have ended
			}
		case g := <-k.stop:
			if stopped && g >= grace {
				continue // the sooner end holds
			}
			stopped, grace = true, g
			if g > 0 {
				syscall.Kill(main, syscall.SIGTERM) //nolint:errcheck // it may just have ended
			}
			kill = time.After(g)
		case <-kill:
			kill = nil
			syscall.Kill(main, syscall.SIGKILL) //nolint:errcheck // it may just have ended
		}
	}
}

// passedOn tells the signals that are meant for the container.
func passedOn(s syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	}, s)
}

// reap takes the status of every process that has ended.
func (k *keeper) reap() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if !ws.Exited() && !ws.Signaled() {
			continue
		}
		if ch, ours := k.children[pid]; ours {
			delete(k.children, pid)
			ch <- ws // has room for it
		}
	}
}

// spawn starts a process; its status comes on the channel. A nil file is
// /dev/null.
func (k *keeper) spawn(argv, env []string, dir string, files [3]*os.File) (int, <-chan syscall.WaitStatus, error) {
	path, err := lookPath(argv[0], env, dir)
	if err != nil {
		return 0, nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, nil, problem.WrapAs(problem.Unavailable, err, "starting %s", argv[0])
	}
	defer null.Close()
	order := order{path: path, argv: argv, env: env, dir: dir}
	for i, f := range files {
		if f == nil {
			f = null
		}
		order.files[i] = f.Fd()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	pid, ended, err := k.spawner.start(order)
	if err != nil {
		return 0, nil, problem.WrapAs(kindOfExec(err), err, "executing %s", argv[0])
	}
	status := make(chan syscall.WaitStatus, 1)
	if ended != nil {
		status <- *ended
	} else {
		k.children[pid] = status
	}
	return pid, status, nil
}

// kindOfExec tells a command that cannot be executed from a machine that
// cannot execute.
func kindOfExec(err error) problem.Kind {
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return problem.NotFound
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		return problem.Unavailable
	}
	return problem.Invalid
}

// lookPath finds the file to execute as a shell would.
func lookPath(name string, env []string, dir string) (string, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", problem.New(problem.NotFound, "the working directory %s is not a folder of the container", dir)
	}
	candidates := []string{name}
	switch {
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		candidates[0] = filepath.Join(dir, name)
	default:
		candidates = nil
		for _, folder := range filepath.SplitList(lookupEnv(env, "PATH")) {
			if filepath.IsAbs(folder) {
				candidates = append(candidates, filepath.Join(folder, name))
			}
		}
	}
	found := false
	for _, path := range candidates {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		found = true
		if !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	if found {
		return "", problem.New(problem.Invalid, "%s cannot be executed: it is a folder, or its mode does not allow it", name)
	}
	return "", problem.New(problem.NotFound, "%s is not in the container", name)
}

func lookupEnv(env []string, name string) string {
	for _, one := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(one, name+"="); ok {
			return value
		}
	}
	return ""
}

// pump copies what the container writes into the log.
func (k *keeper) pump() (*os.File, *copying, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	c := newCopying(r, func(data []byte) error {
		k.log.write(data)
		return nil
	})
	return w, c, nil
}

// describe says in words and numbers how the main process ended.
func (k *keeper) describe(ws syscall.WaitStatus, stopped bool, grace time.Duration, killed bool) compute.Exit {
	exit := exitOf(ws)
	figures := readFigures(k.cfg.Figures)
	exit.PeakMemoryBytes = figures.PeakBytes
	switch {
	case figures.OOMKills > 0 && !stopped && exit.Code != 0:
		exit = OutOfMemory(exit, k.cfg.Limits.MemoryBytes)
	case stopped && killed:
		exit.Cause, exit.Reason = compute.CauseStopped, fmt.Sprintf("stopped; killed, since it had not ended after %v", grace)
		if grace == 0 {
			exit.Reason = "killed"
		}
	case stopped:
		exit.Cause, exit.Reason = compute.CauseStopped, "stopped"
	}
	return exit
}

// OutOfMemory makes an exit one that the memory limit caused.
func OutOfMemory(exit compute.Exit, limit int64) compute.Exit {
	exit.OOMKilled, exit.Cause = true, compute.CauseOOM
	exit.Reason = "out of memory: limit " + compute.FormatBytes(limit)
	if exit.PeakMemoryBytes > 0 {
		exit.Reason += ", peak " + compute.FormatBytes(exit.PeakMemoryBytes)
	}
	return exit
}

// exitOf reads a status that wait returned.
func exitOf(ws syscall.WaitStatus) compute.Exit {
	if ws.Signaled() {
		name := unix.SignalName(ws.Signal())
		return compute.Exit{
			Code: 128 + int(ws.Signal()), Signal: name,
			Cause: compute.CauseExited, Reason: "ended by signal " + name,
		}
	}
	exit := compute.Exit{Code: ws.ExitStatus(), Cause: compute.CauseExited, Reason: "exited with code 0"}
	if exit.Code != 0 {
		exit.Reason = fmt.Sprintf("exited with code %d", exit.Code)
	}
	return exit
}

// result is what exit.json holds.
type result struct {
	compute.Exit
	FinishedAt time.Time     `json:"finishedAt"`
	Usage      compute.Stats `json:"usage"`
}

// write writes the result in one piece; a reader takes it when it ends in a
// newline.
func (k *keeper) write(exit compute.Exit) {
	res := result{Exit: exit, FinishedAt: time.Now(), Usage: readFigures(k.cfg.Figures)}
	data, err := json.Marshal(res)
	if err != nil {
		return
	}
	if _, err := k.exit.Write(append(data, '\n')); err == nil {
		k.exit.Sync() //nolint:errcheck // a lost result is found by the reader: the lock is free and nothing is written
	}
}

// killRest kills everything that is left of the container and reaps it.
func (k *keeper) killRest() {
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		left := k.killAll()
		k.reap()
		if !left {
			return
		}
		waitForChild(20 * time.Millisecond)
	}
}

// serve answers connections until the shim ends.
func (k *keeper) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			k.answer(conn.(*net.UnixConn))
		}()
	}
}

func (k *keeper) answer(conn *net.UnixConn) {
	var req request
	files, err := receive(conn, &req)
	defer closeAll(files)
	if err != nil {
		return
	}
	switch req.Op {
	case "wait":
		conn.Read(make([]byte, 1)) //nolint:errcheck // until the caller goes, or the shim ends
	case "stop":
		select {
		case k.stop <- req.Grace:
		case <-k.ended:
		}
		conn.Read(make([]byte, 1)) //nolint:errcheck // the same
	case "stats":
		usage := k.usage()
		send(conn, reply{Usage: &usage}) //nolint:errcheck // the caller may be gone
	case "exec":
		k.exec(conn, req, files)
	}
}

// exec runs one more command; when its caller goes away it is killed.
func (k *keeper) exec(conn *net.UnixConn, req request, files []*os.File) {
	if len(files) != 3 || len(req.Argv) == 0 {
		return
	}
	if req.Dir == "" {
		req.Dir = k.cfg.Dir
	}
	pid, status, err := k.spawn(req.Argv, mergeEnv(k.cfg.Env, req.Env), req.Dir, [3]*os.File(files))
	closeAll(files)
	if err != nil {
		send(conn, failure(err)) //nolint:errcheck // the caller may be gone
		return
	}
	gone := make(chan struct{})
	go func() {
		conn.Read(make([]byte, 1)) //nolint:errcheck // nothing comes: it ends when the caller goes
		close(gone)
	}()
	for {
		select {
		case ws := <-status:
			exit := exitOf(ws)
			send(conn, reply{Exit: &exit}) //nolint:errcheck // the caller may be gone
			return
		case <-gone:
			syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
			gone = nil
		case <-k.ended:
			return
		}
	}
}

// mergeEnv returns base with the variables of more in the place of theirs.
func mergeEnv(base, more []string) []string {
	names := make(map[string]bool)
	for _, one := range more {
		name, _, _ := strings.Cut(one, "=")
		names[name] = true
	}
	out := slices.DeleteFunc(slices.Clone(base), func(one string) bool {
		name, _, _ := strings.Cut(one, "=")
		return names[name]
	})
	return append(out, more...)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
