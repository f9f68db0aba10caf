// Package shim is the process that stays with one container: cmd/quire-shim, or
// where that is not built in `quire container-init`. It is the container's
// process 1 where there is a process namespace, and otherwise the parent of its
// processes. It executes the container's command, reaps what is orphaned, keeps
// the log within its bound, executes further commands, asks and then kills when
// the container is to stop, and writes the result down before it ends itself.
//
// The shim is not the server's child for longer than its start: the server may
// stop, be killed or be replaced. Whoever comes later finds the container in
// its folder:
//
//	spec.json   what was asked for, and the driver's own notes
//	proc.json   the shim: process id, its start time and the boot it belongs to
//	lock        locked as long as the shim lives; this, not the id, is the truth
//	sock        where the shim listens: one request per connection
//	log         standard output and error; of a long log only the end
//	exit.json   how it ended; written once, in one piece
//
// Place is that folder of folders from the outside, and is most of a driver;
// what a driver adds is its Isolation.
package shim
