package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"quire": main})
}

// TestScript runs every script of testdata/script: one for each command and
// for each failure that needs no kernel.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params("testdata/script"))
}

// params are what the scripts may use besides testscript's own commands:
//
//	status N [!]     the exit status of the command before, run by "exec"
//	pipe FILE CMD... runs CMD with a pipe from FILE on its standard input
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// Nothing of the person's own is seen, and no kernel of this machine.
			for _, kv := range []string{
				"JUPYTER_PATH=" + env.WorkDir + "/jupyter", "JUPYTER_DATA_DIR=" + env.WorkDir + "/jupyter-data",
				"TERM=xterm", "LANG=C.UTF-8",
			} {
				name, value, _ := strings.Cut(kv, "=")
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status,
			"hasnot": hasnot,
		},
	}
}

// status runs a command and fails unless it exits with the status given:
//
//	status 2 quire run
//
// Its standard output and error are for stdout and stderr to look at.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// hasnot fails when a file under the work directory, or a file named, holds a
// text:
//
//	hasnot TEXT FILE...
func hasnot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: hasnot text file...")
	}
	for _, name := range args[1:] {
		data, err := os.ReadFile(ts.MkAbs(name))
		if err != nil {
			ts.Fatalf("%v", err)
		}
		if strings.Contains(string(data), args[0]) {
			ts.Fatalf("%s holds %q", name, args[0])
		}
	}
}
