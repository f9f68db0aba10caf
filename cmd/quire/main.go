// Command quire is a notebook data platform in one binary.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"quire/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup stays in force
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A reader that goes away, or a file over its limit, is an error of the write
	// and not the end of a run.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGXFSZ)
	return cli.Main(cli.Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals,
	})
}
