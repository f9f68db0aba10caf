package run

import (
	"context"
	"os"
	"os/exec"
	"syscall"

	"quire/internal/problem"
)

// A Launcher starts the process of an attempt. The process does not end with
// the server.
type Launcher interface {
	// Launch starts RunAttempt for the spool dir in a process of its own and
	// returns when that process is on its way; it does not wait for its end.
	Launch(ctx context.Context, dir string) error
}

// Processes launches attempts as processes of this machine: Command with the
// spool as its last argument, in a session of its own.
type Processes struct {
	Command []string // this binary and its hidden subcommand
	Env     []string // added to the server's environment
}

var _ Launcher = (*Processes)(nil)

// Launch implements Launcher.
func (p *Processes) Launch(_ context.Context, dir string) error {
	log, err := os.OpenFile(spool(dir).path(logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "opening the log of the attempt in %s", dir)
	}
	defer log.Close()
	argv := append(append([]string{}, p.Command[1:]...), dir)
	// No context: the process is to outlive the server.
	cmd := exec.Command(p.Command[0], argv...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "starting the attempt in %s", dir)
	}
	go func() { _ = cmd.Wait() }() // only to reap it: the spool says how it ended
	return nil
}
