package cli

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// The exit statuses of every command. They are a contract with scripts, and
// papermill's where papermill has one.
const (
	exitDone        = 0   // it did what was asked
	exitFailed      = 1   // a cell failed, or it could not be done
	exitUsage       = 2   // the command line is wrong; nothing was started
	exitHangup      = 129 // ended by SIGHUP
	exitInterrupted = 130 // ended by SIGINT
	exitKernelDied  = 138 // the kernel's process ended while a cell ran
	exitTerminated  = 143 // ended by SIGTERM
)

// exitHelp is the part of a command's help that lists its exit statuses.
const exitHelp = `Exit status:
  0    done
  1    it could not be done
  2    the command line is wrong
  130  interrupted (143 when ended by SIGTERM, 129 by SIGHUP)`

// runExitHelp is exitHelp for quire run.
const runExitHelp = `Exit status:
  0    done: every cell ran, or the notebook ended itself early (sys.exit(0), quire.stop())
  1    a cell or a check failed, or the run could not be done
  2    the command line is wrong; nothing was started
  130  interrupted by SIGINT (143 by SIGTERM, 129 by SIGHUP); the output notebook says so
  138  the kernel died; the output notebook says why`

// A usageError is a wrong command line. Its text is a whole sentence about
// what is wrong, without the usage line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// A statusError ends a command with a status of its own. What it says has been
// printed already when silent is true.
type statusError struct {
	status int
	silent bool
	err    error // may be nil when silent
}

func (e statusError) Error() string {
	if e.err == nil {
		return "ended"
	}
	return e.err.Error()
}
func (e statusError) Unwrap() error { return e.err }

// A signalCause is the cause of a context that a signal has ended.
type signalCause struct{ signal os.Signal }

func (c signalCause) Error() string { return "ended by " + signalName(c.signal) }

// signalName returns the name that people know a signal by.
func signalName(s os.Signal) string {
	switch s {
	case os.Interrupt:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return s.String()
}

// signalStatus returns the exit status of a command that s has ended.
func signalStatus(s os.Signal) int {
	switch s {
	case syscall.SIGTERM:
		return exitTerminated
	case syscall.SIGHUP:
		return exitHangup
	}
	return exitInterrupted
}

// exitStatus returns the status for what a command returned. A command that
// ends with an error after a signal was ended by that signal.
func exitStatus(ctx context.Context, err error) int {
	var usage usageError
	var status statusError
	var signal signalCause
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &status):
		return status.status
	case errors.As(context.Cause(ctx), &signal):
		return signalStatus(signal.signal)
	}
	return exitFailed
}
