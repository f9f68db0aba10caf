// Package docker is the compute driver that runs containers on a Docker host,
// through the Docker Engine API.
//
// What Docker knows is asked of Docker each time: containers carry labels with
// the place they belong to, their id and their spec, so that whoever opens the
// driver later finds them. What Docker cannot keep lies in a small folder of
// the driver: that somebody wanted a container to end, and, for a server of
// root, the mounts that show its files as the container's user's.
//
// The first process of every container is the quire binary, mounted read-only:
// it executes the command and reports on its standard error, which Docker's
// log keeps beside the command's own output, how that went. With that a
// command that is not there, "killed" and "exit 137" are told apart, which
// Docker's exit status does not do.
package docker
