//go:build unix

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Launch is how a shim is started.
type Launch struct {
	Attr   *syscall.SysProcAttr
	Config Config
	Files  []*os.File // given to the shim from number FirstFD on; Start closes them
	// Attached is called once the shim's process is there and before it is told
	// its Config; nil does nothing.
	Attached func(pid int) error
}

// FirstFD is the number of the first of a Launch's Files in the shim.
const FirstFD = fdFirst

// startTimeout bounds how long a shim may take to isolate itself and to
// execute the command.
const startTimeout = 30 * time.Second

// Start starts a container's shim.
func (p *Place) Start(ctx context.Context, id string) error {
	defer p.lock(id)()
	r, err := p.read(id)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return problem.Wrap(err, "starting container %s", id)
	}
	s, _, err := p.status(r)
	if err != nil || (s.State != compute.Created && s.State != compute.Starting) {
		return err
	}
	defer p.announce()
	err = p.start(ctx, r)
	return problem.Wrap(err, "starting container %s", id)
}

// errStarted tells that there is nothing to start.
var errStarted = errors.New("the container was started already")

// start does it, and on failure leaves a container that can be started again,
// unless its command was refused.
func (p *Place) start(ctx context.Context, r record) (err error) {
	id := r.Spec.ID
	dir := filepath.Join(p.dir, id)
	files, control, err := p.shimFiles(ctx, id)
	defer closeAll(files)
	if control != nil {
		defer control.Close()
	}
	if errors.Is(err, errStarted) {
		return nil
	}
	if err != nil {
		return err
	}
	launch, err := p.isolation.Launch(r.Spec, r.Notes, dir)
	if err != nil {
		return errors.Join(err, p.isolation.Release(r.Spec, r.Notes, dir))
	}
	defer closeAll(launch.Files)
	cmd := command(p.program, slices.Concat(files, launch.Files))
	cmd.Env = []string{"GOMAXPROCS=2", "GODEBUG=madvdontneed=1", "GOGC=off"} // the shim collects once it has begun
	cmd.Dir = "/"
	cmd.SysProcAttr = launch.Attr
	pid, wait, err := startReaped(cmd)
	if err != nil {
		return errors.Join(problem.WrapAs(problem.Unavailable, err, "starting the shim"), p.isolation.Release(r.Spec, r.Notes, dir))
	}
	closeAll(files)
	p.shims.Go(wait)
	defer func() {
		if err == nil || problem.Is(err, problem.NotFound) || problem.Is(err, problem.Invalid) {
			return // it runs, or its result is written
		}
		control.Close()
		killExactly(pid, processStart(pid))
		p.await(id)
		err = errors.Join(err, p.root.RemoveAll(filepath.Join(id, "proc.json")), p.root.RemoveAll(filepath.Join(id, "lock")), p.isolation.Release(r.Spec, r.Notes, dir))
	}()
	data, err := json.Marshal(shimRecord{PID: pid, Start: processStart(pid), Boot: bootID(), StartedAt: time.Now()})
	if err == nil {
		err = p.replace(id, "proc.json", data)
	}
	if err == nil && launch.Attached != nil {
		err = launch.Attached(pid)
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "attaching the shim")
	}
	launch.Config.LogMax = p.logMax
	return p.tell(ctx, control, launch.Config)
}

// command is a shim that is to be started with files, from fdControl on. program
// comes after them, where nothing takes its number before it is executed.
func command(program *os.File, files []*os.File) *exec.Cmd {
	path := ownExecutable()
	if program != nil {
		path = "/proc/self/fd/" + strconv.Itoa(fdControl+len(files))
		files = append(slices.Clip(files), program)
	}
	cmd := exec.Command(path, Command)
	cmd.Args[0] = "quire"
	cmd.ExtraFiles = files
	return cmd
}

// tell gives the shim its orders and waits for its answer.
func (p *Place) tell(ctx context.Context, control *net.UnixConn, cfg Config) error {
	control.SetDeadline(time.Now().Add(startTimeout)) //nolint:errcheck // a socket takes deadlines
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := send(control, cfg); err != nil {
		return problem.WrapAs(problem.Unavailable, errors.Join(ctx.Err(), err), "telling the shim what to do")
	}
	var answer reply
	if _, err := receive(control, &answer); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return problem.WrapAs(problem.Unavailable, err, "the shim ended before the command was executed")
	}
	return answer.err()
}

// shimFiles opens what every shim is started with, in the order of the fd
// constants, and the starter's end of the control connection. The lock comes
// first: whoever has it is alone with the container's files.
func (p *Place) shimFiles(ctx context.Context, id string) (files []*os.File, control *net.UnixConn, err error) {
	var kept []*os.File // log, result, lock
	for _, name := range []string{"log", "exit.json", "lock"} {
		flag := os.O_RDWR | os.O_CREATE
		if name == "log" {
			flag |= os.O_APPEND
		}
		f, err := p.root.OpenFile(filepath.Join(id, name), flag, 0o600)
		if err != nil {
			return kept, nil, problem.WrapAs(problem.Unavailable, err, "opening the container's files")
		}
		kept = append(kept, f)
	}
	if err := p.takeLock(ctx, id, kept[2]); err != nil {
		return kept, nil, err
	}
	listener, err := p.listen(id)
	if err != nil {
		return kept, nil, problem.WrapAs(problem.Unavailable, err, "making the shim's socket")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		listener.Close()
		return kept, nil, problem.WrapAs(problem.Unavailable, err, "opening a control connection")
	}
	syscall.CloseOnExec(pair[0])
	syscall.CloseOnExec(pair[1])
	mine := os.NewFile(uintptr(pair[0]), "control")
	defer mine.Close()
	files = append([]*os.File{os.NewFile(uintptr(pair[1]), "control"), listener}, kept...)
	conn, err := net.FileConn(mine)
	if err != nil {
		return files, nil, problem.WrapAs(problem.Unavailable, err, "opening a control connection")
	}
	return files, conn.(*net.UnixConn), nil
}

// takeLock takes a container's lock for its next shim. Who looks whether we live
// holds it for a moment; a starter that is gone holds it with the process that was
// to be the shim, until that finds out.
func (p *Place) takeLock(ctx context.Context, id string, lock *os.File) error {
	wait := time.NewTicker(5 * time.Millisecond)
	defer wait.Stop()
	for end := time.Now().Add(startTimeout); ; {
		free := tryLock(lock, true)
		if p.told(id) {
			return errStarted // perhaps by the shim of a starter that is gone
		}
		if free {
			return p.names(id, lock)
		}
		if time.Now().After(end) {
			return problem.New(problem.Conflict, "another process starts container %s", id)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// names tells whether a container's lock is that at its place: where a start failed
// meanwhile it was taken away.
func (p *Place) names(id string, lock *os.File) error {
	mine, err := lock.Stat()
	there, errThere := p.root.Stat(filepath.Join(id, "lock"))
	if err != nil || errThere != nil || !os.SameFile(mine, there) {
		return problem.New(problem.Conflict, "another process has just failed to start container %s", id)
	}
	return nil
}

// listen makes the shim's socket. Its folder is reached through a descriptor,
// since a socket's path may only be about a hundred bytes long.
func (p *Place) listen(id string) (*os.File, error) {
	path, done, err := p.socketPath(id)
	if err != nil {
		return nil, err
	}
	defer done()
	p.root.Remove(filepath.Join(id, "sock")) //nolint:errcheck // it is usually not there
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	return listener.File()
}

// dial connects to a container's shim.
func (p *Place) dial(id string) (*net.UnixConn, error) {
	path, done, err := p.socketPath(id)
	if err != nil {
		return nil, err
	}
	defer done()
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// Wait waits on a connection that the shim keeps open as long as it lives.
func (p *Place) Wait(ctx context.Context, id string) (compute.Exit, error) {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		s, err := p.Status(ctx, id)
		if err != nil {
			return compute.Exit{}, problem.Wrap(err, "waiting for container %s", id)
		}
		switch s.State {
		case compute.Exited:
			return *s.Exit, nil
		case compute.Running, compute.Starting:
			p.hold(ctx, id, request{Op: "wait"})
		default:
			select { // another process may start it: look once a second
			case <-ctx.Done():
			case <-p.closed:
			case <-changed:
			case <-time.After(time.Second):
			}
		}
	}
}

// hold sends a request and returns when the shim has ended, or ctx has.
func (p *Place) hold(ctx context.Context, id string, req request) {
	conn, err := p.dial(id)
	if err != nil {
		select { // it has just ended, or is about to listen
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	closed := make(chan struct{})
	defer close(closed)
	go func() {
		select {
		case <-p.closed:
			conn.Close()
		case <-closed:
		}
	}()
	if send(conn, req) != nil {
		return
	}
	conn.Read(make([]byte, 1)) //nolint:errcheck // nothing comes but the end
	if ctx.Err() == nil {
		p.await(id)
	}
}

// await waits until a shim that is ending has let go of its lock.
func (p *Place) await(id string) {
	for range 2500 {
		if !p.alive(id) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Stop asks the shim to end its container, and kills the shim, with all of
// it, when it does not.
func (p *Place) Stop(ctx context.Context, id string, grace time.Duration) error {
	r, err := p.read(id)
	if err != nil {
		return err
	}
	if grace < 0 {
		grace = r.Spec.GraceOrDefault()
	}
	s, err := p.endCreated(r)
	if err != nil || s.State == compute.Exited {
		return err
	}
	if data, err := json.Marshal(stopRecord{At: time.Now()}); err == nil {
		p.replace(id, "stop.json", data) //nolint:errcheck // it only makes a reason better
	}
	const margin = 5 * time.Second // for the shim to kill and to write
	bounded, cancel := context.WithTimeout(ctx, grace+margin)
	defer cancel()
	for bounded.Err() == nil {
		p.hold(bounded, id, request{Op: "stop", Grace: grace})
		if s, err := p.Status(ctx, id); err != nil || s.State == compute.Exited {
			return problem.Wrap(err, "stopping container %s", id)
		}
	}
	if err := ctx.Err(); err != nil {
		return problem.Wrap(err, "stopping container %s", id)
	}
	var shim shimRecord
	if err := p.readJSON(id, "proc.json", &shim); err == nil && shim.Boot == bootID() && p.alive(id) {
		killExactly(shim.PID, shim.Start)
		p.await(id)
	}
	_, err = p.Status(ctx, id)
	return err
}

// endCreated makes a container that was never started an exited one.
func (p *Place) endCreated(r record) (compute.Status, error) {
	defer p.lock(r.Spec.ID)()
	s, _, err := p.status(r)
	if err != nil || s.State != compute.Created {
		return s, err
	}
	res := result{FinishedAt: time.Now()}
	res.Exit = compute.Exit{Code: 143, Signal: "SIGTERM", Cause: compute.CauseStopped, Reason: "stopped before it was started"}
	data, err := json.Marshal(res)
	if err == nil {
		err = p.replace(r.Spec.ID, "exit.json", data)
	}
	p.announce()
	s.State = compute.Exited
	return s, problem.Wrap(err, "stopping container %s", r.Spec.ID)
}

// Exec has the shim execute one more command.
func (p *Place) Exec(ctx context.Context, id string, cmd compute.Command) (compute.Exit, error) {
	s, err := p.Status(ctx, id)
	if err != nil {
		return compute.Exit{}, err
	}
	if s.State != compute.Running {
		return compute.Exit{}, problem.New(problem.Conflict, "container %s does not run: it is %s", id, s.State)
	}
	if len(cmd.Argv) == 0 || strings.ContainsRune(strings.Join(cmd.Argv, ""), 0) {
		return compute.Exit{}, problem.New(problem.Invalid, "executing in container %s: there is nothing to execute, or an argument holds a zero byte", id)
	}
	conn, err := p.dial(id)
	if err != nil {
		return compute.Exit{}, problem.WrapAs(problem.Conflict, err, "container %s does not run any more", id)
	}
	defer conn.Close()
	streams, err := newStreams(cmd)
	if err != nil {
		return compute.Exit{}, problem.WrapAs(problem.Unavailable, err, "executing in container %s", id)
	}
	err = send(conn, request{Op: "exec", Argv: cmd.Argv, Env: EnvList(cmd.Env), Dir: cmd.Dir}, streams.theirs[:]...)
	closeAll(streams.theirs[:])
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var answer reply
	if err == nil {
		_, err = receive(conn, &answer)
	}
	streams.finish()
	switch {
	case ctx.Err() != nil:
		return compute.Exit{}, problem.Wrap(ctx.Err(), "executing in container %s", id)
	case err != nil:
		return compute.Exit{}, problem.New(problem.Conflict, "container %s ended while %s was executed in it", id, cmd.Argv[0])
	case answer.Exit == nil:
		return compute.Exit{}, problem.Wrap(answer.err(), "executing in container %s", id)
	}
	return *answer.Exit, nil
}

// streams are the pipes of an executed command.
type streams struct {
	theirs [3]*os.File
	stdin  *os.File
	copies []*copying
}

func newStreams(cmd compute.Command) (*streams, error) {
	s := &streams{}
	for i, to := range []io.Writer{nil, cmd.Stdout, cmd.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(s.theirs[:i])
			s.close()
			return nil, err
		}
		if i == 0 {
			s.theirs[0], s.stdin = r, w
			go func() { // a reader that never ends is not waited for
				defer w.Close()
				if cmd.Stdin != nil {
					io.Copy(w, cmd.Stdin) //nolint:errcheck // the command need not read all
				}
			}()
			continue
		}
		s.theirs[i] = w
		s.copies = append(s.copies, newCopying(r, func(data []byte) error {
			if to == nil || len(data) == 0 {
				return nil
			}
			_, err := to.Write(data) // the caller's writer fails: the command goes on without
			return err
		}))
	}
	return s, nil
}

// finish waits until all output is there, but not for what the command left behind
// and keeps it open.
func (s *streams) finish() {
	for _, c := range s.copies {
		c.settle()
	}
	s.close()
	for _, c := range s.copies {
		<-c.done
	}
}

func (s *streams) close() {
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, c := range s.copies {
		c.from.Close()
	}
}

// Stats asks the shim and the isolation.
func (p *Place) Stats(ctx context.Context, id string) (compute.Stats, error) {
	r, err := p.read(id)
	if err != nil {
		return compute.Stats{}, err
	}
	s, res, err := p.status(r)
	if err != nil || s.State == compute.Created {
		return compute.Stats{At: time.Now()}, err
	}
	stats := res.Usage
	if s.State == compute.Running {
		conn, err := p.dial(id)
		if err != nil {
			return compute.Stats{}, problem.WrapAs(problem.Unavailable, err, "measuring container %s", id)
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		var answer reply
		err = send(conn, request{Op: "stats"})
		if err == nil {
			_, err = receive(conn, &answer)
		}
		if err != nil || answer.Usage == nil {
			return compute.Stats{}, problem.WrapAs(problem.Unavailable, errors.Join(ctx.Err(), err), "measuring container %s", id)
		}
		stats = *answer.Usage
	}
	p.isolation.Measure(r.Spec, r.Notes, filepath.Join(p.dir, id), &stats)
	return stats, nil
}

// EnvList writes variables as processes get them, in the order of their names.
func EnvList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	sortStrings(list)
	return list
}
