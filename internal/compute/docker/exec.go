//go:build unix

package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// Exec executes one more command. The quire binary inside starts it, since
// Docker neither ends a command whose caller is gone nor says whether it was
// there.
func (d *Driver) Exec(ctx context.Context, id string, cmd compute.Command) (compute.Exit, error) {
	s, err := d.Status(ctx, id)
	if err != nil {
		return compute.Exit{}, err
	}
	if s.State != compute.Running {
		return compute.Exit{}, problem.New(problem.Conflict, "container %s does not run: it is %s", id, s.State)
	}
	if len(cmd.Argv) == 0 || strings.ContainsRune(strings.Join(cmd.Argv, ""), 0) {
		return compute.Exit{}, problem.New(problem.Invalid, "executing in container %s: there is nothing to execute, or an argument holds a zero byte", id)
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	made, err := d.docker.ExecCreate(bound, d.native(id), client.ExecCreateOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: []string{innerPath, shim.InnerCommand, shim.InnerExec},
	})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return compute.Exit{}, problem.WrapAs(problem.Conflict, err, "container %s does not run any more", id)
	}
	if err != nil {
		return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
	}
	conn, err := d.docker.ExecAttach(bound, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return compute.Exit{}, d.fault(ctx, err, "executing in container %s", id)
	}
	defer conn.Close()
	stop := context.AfterFunc(bound, conn.Close)
	defer stop()
	f, err := d.find(ctx, id)
	if err != nil {
		return compute.Exit{}, err
	}
	answer, err := converse(conn, order(f.spec, cmd), cmd)
	switch {
	case ctx.Err() != nil:
		return compute.Exit{}, problem.Wrap(ctx.Err(), "executing in container %s", id)
	case d.life.Err() != nil:
		return compute.Exit{}, problem.New(problem.Canceled, "the docker driver is closed")
	case err != nil:
		return compute.Exit{}, problem.WrapAs(problem.Conflict, err, "container %s ended while %s was executed in it", id, cmd.Argv[0])
	case answer.Exit == nil:
		return compute.Exit{}, problem.Wrap(answer.Err(), "executing in container %s", id)
	}
	return *answer.Exit, nil
}

// order is what the quire binary inside is told.
func order(spec compute.Spec, cmd compute.Command) shim.ExecOrder {
	var mark [16]byte
	rand.Read(mark[:]) //nolint:errcheck // it never fails
	o := shim.ExecOrder{Argv: cmd.Argv, Env: shim.EnvList(cmd.Env), Dir: cmd.Dir, Mark: hex.EncodeToString(mark[:])}
	if o.Dir == "" {
		o.Dir = workFolder(spec)
	}
	return o
}

// converse gives the command its input, takes its output and returns the
// report at its end.
func converse(conn client.ExecAttachResult, o shim.ExecOrder, cmd compute.Command) (shim.Report, error) {
	var answer shim.Report
	first, err := json.Marshal(o)
	if err == nil {
		err = shim.WriteFrame(conn.Conn, first)
	}
	if err != nil {
		return answer, err
	}
	go func() { // a reader that never ends is not waited for
		if cmd.Stdin == nil || sendInput(conn.Conn, cmd.Stdin) == nil {
			shim.WriteFrame(conn.Conn, nil) //nolint:errcheck // the command may be gone
		}
	}()
	out, report := cmd.Stdout, &split{to: cmd.Stderr, mark: []byte("\x00" + o.Mark)}
	if out == nil {
		out = io.Discard
	}
	if report.to == nil {
		report.to = io.Discard
	}
	// A writer of the caller that fails is left alone: the command goes on.
	_, err = stdcopy.StdCopy(&deaf{to: out}, report, conn.Reader)
	if line, whole := report.rest(); whole {
		return answer, json.Unmarshal(line, &answer)
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}

func sendInput(conn net.Conn, in io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := in.Read(buffer)
		if n > 0 {
			if err := shim.WriteFrame(conn, buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// deaf hears of no failure of the writer below it.
type deaf struct {
	to     io.Writer
	failed bool
}

func (d *deaf) Write(data []byte) (int, error) {
	if !d.failed {
		_, err := d.to.Write(data)
		d.failed = err != nil
	}
	return len(data), nil
}

// split passes on what stands before the mark and keeps what comes after it.
type split struct {
	to     io.Writer
	mark   []byte
	held   []byte // not passed on: it may be the beginning of the mark, or comes after it
	marked bool
	failed bool
}

func (s *split) Write(data []byte) (int, error) {
	s.held = append(s.held, data...)
	if s.marked {
		return len(data), nil
	}
	pass := len(s.held)
	if i := bytes.Index(s.held, s.mark); i >= 0 {
		s.marked, pass = true, i
	} else if i := bytes.LastIndexByte(s.held, 0); i >= 0 && bytes.HasPrefix(s.mark, s.held[i:]) {
		pass = i
	}
	s.pass(s.held[:pass])
	s.held = append([]byte(nil), s.held[pass:]...)
	if s.marked {
		s.held = s.held[len(s.mark):]
	}
	return len(data), nil
}

func (s *split) pass(data []byte) {
	if len(data) > 0 && !s.failed {
		_, err := s.to.Write(data)
		s.failed = err != nil
	}
}

// rest returns the line after the mark, and whether there is one.
func (s *split) rest() (line []byte, whole bool) {
	if !s.marked {
		s.pass(s.held)
		return nil, false
	}
	line, _, whole = bytes.Cut(s.held, []byte{'\n'})
	return line, whole
}
