// Package cli is the command line of Quire: one file per command, its flags,
// what it prints and its exit status.
//
// Results go to standard output and everything else (progress, log lines,
// errors) to standard error. An error is printed once, by Main. Exit statuses
// are decided in exit.go and nowhere else.
package cli
