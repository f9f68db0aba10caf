package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// tty runs a command whose standard error is a terminal of 80 columns, and
// fails unless it exits with the status given. What the terminal got is for
// stderr to look at.
//
//	tty 0 quire run in.ipynb out.ipynb
func tty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tty N command...")
	}
	master, slave, err := openPTY()
	ts.Check(err)
	defer master.Close()
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = ts.Stdout(), slave
	cmd.Env = os.Environ()
	for _, name := range []string{"JUPYTER_PATH", "JUPYTER_DATA_DIR", "QUIRE_ENV", "TERM", "LANG", "NO_COLOR", "HOME"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	err = cmd.Start()
	_ = slave.Close()
	ts.Check(err)
	shown := make(chan error, 1)
	go func() {
		_, _ = io.Copy(ts.Stderr(), master) // ends with EIO once nobody holds the terminal
		shown <- nil
	}()
	_ = cmd.Wait() // its status is looked at below
	<-shown
	if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("%v exited with %s, want %s", args[1:], got, args[0])
	}
}

// openPTY returns both ends of a new terminal of 80 columns.
func openPTY() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return master, slave, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
}
