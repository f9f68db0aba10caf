package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for something that should be there at
// once.
const patience = 3 * time.Minute

// commands are what the scripts may use besides testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"status":     status,
	"await":      await,
	"signal":     signalTo,
	"exitstatus": exitStatus,
	"nowhere":    nowhere,
	"gone":       gone,
	"tty":        tty,
	"there":      there,
	"setenv":     setenv,
}

// status runs a command and fails unless it exits with the status given. Its
// output is for stdout and stderr to look at.
//
//	status 2 quire run
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// await waits until somebody has opened a named pipe for writing and closed it.
//
//	await ready
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await pipe")
	}
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(ts.MkAbs(args[0]))
		done <- err
	}()
	select {
	case err := <-done:
		ts.Check(err)
	case <-time.After(patience):
		ts.Fatalf("nobody wrote to %s", args[0])
	}
}

// signalled holds the process that a script has sent a signal to.
var signalled sync.Map // *testscript.TestScript -> *exec.Cmd

// signalTo sends signals to the one command in the background.
//
//	signal INT TERM
func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill, "HUP": syscall.SIGHUP}
	running := ts.BackgroundCmds()
	if neg || len(running) != 1 {
		ts.Fatalf("signal: want one command in the background, have %d", len(running))
	}
	signalled.Store(ts, running[0])
	for _, name := range args {
		s, ok := signals[name]
		if !ok {
			ts.Fatalf("signal %s is not known", name)
		}
		ts.Check(running[0].Process.Signal(s))
	}
}

// exitStatus fails unless the command that got a signal, and was waited for,
// ended with one of the statuses given; -1 is by a signal.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	value, ok := signalled.Load(ts)
	if neg || len(args) == 0 || !ok {
		ts.Fatalf("usage: exitstatus N ..., after signal and wait")
	}
	cmd, _ := value.(*exec.Cmd)
	if got := fmt.Sprint(cmd.ProcessState.ExitCode()); !slices.Contains(args, got) {
		ts.Fatalf("it exited with %s, want %s", got, strings.Join(args, " or "))
	}
}

// nowhere fails when a file under the work directory, or in memory where the
// engine keeps secrets, holds a text, or is named by it. A server may take
// files away meanwhile.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nowhere text")
	}
	looked := 0
	err := filepath.WalkDir(ts.MkAbs("."), func(path string, d fs.DirEntry, err error) error {
		var data []byte
		if err == nil && d.Type().IsRegular() {
			data, err = os.ReadFile(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		looked++
		if bytes.Contains(data, []byte(args[0])) || strings.Contains(path, args[0]) {
			return fmt.Errorf("%s holds %q", path, args[0])
		}
		return nil
	})
	ts.Check(err)
	if looked == 0 {
		ts.Fatalf("there is no file at all")
	}
}

// gone waits until the process whose id a file holds has ended.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone file")
	}
	pid := strings.TrimSpace(ts.ReadFile(args[0]))
	for end := time.Now().Add(patience); time.Now().Before(end); {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		<-time.After(10 * time.Millisecond) // the kernel tells only parents of a process's end
	}
	ts.Fatalf("process %s still runs", pid)
}

// there waits until a file is there.
//
//	there data/quire/server.json
func there(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: there file")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		<-time.After(10 * time.Millisecond) // a file tells nobody that it was made
	}
	ts.Fatalf("%s was never there", args[0])
}

// setenv makes what a file holds, or what the last command printed, the value
// of an environment variable.
//
//	setenv RUN stdout
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv NAME file")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// condition answers what a script asks about the machine: "tmpfs" is whether a
// small disk can be mounted in a name space of its own.
func condition(name string) (bool, error) {
	if name == "tmpfs" {
		return canMount(), nil
	}
	return false, fmt.Errorf("condition %q is not known", name)
}

var canMount = sync.OnceValue(func() bool {
	return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt").Run() == nil
})
