package compute

import (
	"context"
	"io"
	"time"
)

// Driver runs containers in one place. All methods may be called at the same
// time, also for the same container, and by several processes on the same
// place. Containers are not children of the caller: they go on when it ends,
// and a Driver made later on the same place finds them with List, Status and
// Wait.
//
// Every method that names a container fails with NotFound when there is none
// of that id, with Unavailable when the place does not answer (worth asking
// again; the container may well go on), and with the context's own kind when
// ctx ends first, which changes nothing about the container.
type Driver interface {
	// Probe says what is enforced here and what is not. It changes nothing and
	// answers the same until the machine or the driver's configuration changes.
	Probe(ctx context.Context) (Probe, error)

	// Create makes a container that does not run yet, with all that can fail
	// before a process starts: names, mounts, the image. Again with the same
	// id and an equal spec it returns the handle of the first; with another
	// spec it fails with Exists. A spec that breaks a rule, or asks for what
	// Probe says is unsupported, is Invalid with Violations; a mount or image
	// that is not there is NotFound. What a failed Create made is gone again.
	Create(ctx context.Context, spec Spec) (Handle, error)

	// Start executes the container's command. It returns once the command was
	// executed, or why it was not: an Argv[0] that is not there is NotFound,
	// one that cannot be executed is Invalid, and the container is then exited
	// with code 127 or 126. On a container that runs or has exited it does
	// nothing. When ctx ends first the container may or may not run: ask Status.
	Start(ctx context.Context, id string) error

	// Status says where the container is. It does not wait.
	Status(ctx context.Context, id string) (Status, error)

	// Wait returns how the container ended, at once when it has. On a created
	// container it waits for its start too. Any number may wait.
	Wait(ctx context.Context, id string) (Exit, error)

	// Exec runs one more command inside a running container, within its limits,
	// and returns how that ended. The caller keeps its streams; the driver has
	// stopped using them when Exec returns. When ctx ends the command is killed.
	// On a container that does not run it fails with Conflict.
	Exec(ctx context.Context, id string, cmd Command) (Exit, error)

	// Logs returns what the container wrote on standard output and standard
	// error, in one stream. The caller closes it. Of a long log only the end is
	// kept: reading starts at the first byte that still is.
	Logs(ctx context.Context, id string, opt LogOptions) (io.ReadCloser, error)

	// Stats measures the container now. On one that has exited it returns the
	// last figures, as far as they are kept; on a created one all is zero.
	Stats(ctx context.Context, id string) (Stats, error)

	// Stop asks the container to end, kills it when grace has passed, and
	// returns once it has ended. A grace of 0 kills it at once; below 0 is the
	// spec's own. When ctx ends first the rest goes on without the caller. On
	// a container that has exited it does nothing; a created one becomes exited.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Remove takes the container and all that the driver made for it away: its
	// scratch space and its log, never a mount's source. A running one is
	// killed first. Of an unknown id there is nothing to remove: no error.
	Remove(ctx context.Context, id string) error

	// List returns all containers of this place that carry every given label
	// with its value, in the order of their ids. With nil it returns all.
	List(ctx context.Context, labels map[string]string) ([]Status, error)

	// Close lets go of what the driver itself holds and waits for its
	// goroutines. It ends no container. Calls after it fail with Canceled.
	Close() error
}

// Handle names a container beyond its driver.
type Handle struct {
	ID     string `json:"id"`
	Driver string `json:"driver"`           // "local", "process", "docker", "kubernetes"
	Native string `json:"native,omitempty"` // what the place itself calls it: a container id, a pod's name
	Node   string `json:"node,omitempty"`   // the machine, where it is known
}

// State is where a container is in its life.
type State string

// The states, in order. A container never goes back.
const (
	Created  State = "created"
	Starting State = "starting" // asked to start; Stage says what is being waited for
	Running  State = "running"
	Exited   State = "exited"
)

// Status is what is known of a container.
type Status struct {
	Handle
	State      State             `json:"state"`
	Stage      Stage             `json:"stage,omitzero"` // while Starting
	Labels     map[string]string `json:"labels,omitempty"`
	Resources  Resources         `json:"resources"`
	CreatedAt  time.Time         `json:"createdAt"`
	StartedAt  time.Time         `json:"startedAt,omitzero"`
	FinishedAt time.Time         `json:"finishedAt,omitzero"`
	Exit       *Exit             `json:"exit,omitempty"` // nil until Exited
}

// StageName is a part of a container's start.
type StageName string

// The parts of a start that a driver tells apart, in order.
const (
	StageScheduling StageName = "scheduling" // a machine is looked for
	StagePulling    StageName = "pulling"    // its image is brought
	StageCreating   StageName = "creating"   // what is around its processes is made
	StageStarting   StageName = "starting"   // its command is about to be executed
)

// Stage is what a container that starts is waiting for. DoneBytes and TotalBytes
// are of what is transferred, where that is known: TotalBytes is 0 where it is
// not, and grows while more of it becomes known.
type Stage struct {
	Name       StageName `json:"name,omitempty"`
	Text       string    `json:"text,omitempty"` // for a person: "pulling the image: 4 MiB of 10 MiB, 40 %"
	DoneBytes  int64     `json:"doneBytes,omitempty"`
	TotalBytes int64     `json:"totalBytes,omitempty"`
}

// Exit is how a container, or a command in it, ended.
type Exit struct {
	// Code is the exit status, 0 to 255; where a signal ended the process it is
	// 128 and the signal, as shells count.
	Code int `json:"code"`
	// Signal is the name of the signal that ended the process: "SIGKILL"; else "".
	Signal string `json:"signal,omitempty"`
	// OOMKilled tells that the kernel killed something in the container because
	// memory ran out, and that the container did not end well.
	OOMKilled bool `json:"oomKilled,omitempty"`
	// PeakMemoryBytes is the most that was in use at once; 0 is not known.
	PeakMemoryBytes int64 `json:"peakMemoryBytes,omitempty"`
	// Cause is who ended it.
	Cause Cause `json:"cause"`
	// Reason is one line for a person: "out of memory: limit 4 GiB, peak 4 GiB".
	Reason string `json:"reason"`
}

// Cause is who or what ended a container; it tells a user's fault from ours.
type Cause string

// The causes.
const (
	CauseExited   Cause = "exited"   // by itself, well or badly
	CauseStopped  Cause = "stopped"  // Stop or Remove
	CauseOOM      Cause = "oom"      // its memory limit
	CauseRejected Cause = "rejected" // its command could not be executed
	CauseSystem   Cause = "system"   // the place: the machine went down, the container was evicted or lost
)

// Command is one command to execute in a running container.
type Command struct {
	Argv   []string
	Env    map[string]string // besides the container's own, which it replaces
	Dir    string            // "" is the container's own
	Stdin  io.Reader         // nil is empty
	Stdout io.Writer         // nil throws away
	Stderr io.Writer
}

// LogOptions chooses a part of a log. The zero value is all of it, up to now.
type LogOptions struct {
	Follow    bool  // go on until the container has ended or ctx does
	TailBytes int64 // only the last so many bytes; 0 is all
}

// Stats is what a container uses. A figure that the place cannot measure is
// absent from Measured and 0.
type Stats struct {
	At          time.Time     `json:"at"`
	CPU         time.Duration `json:"cpuNanos"`       // processor time since the start
	Throttled   time.Duration `json:"throttled"`      // time that the CPU limit made it wait
	MemoryBytes int64         `json:"memoryBytes"`    // in use now, without what the kernel can take back at once
	PeakBytes   int64         `json:"peakBytes"`      // most in use since the start
	DiskBytes   int64         `json:"diskBytes"`      // of the scratch space
	RxBytes     int64         `json:"rxBytes"`        // received since the start
	TxBytes     int64         `json:"txBytes"`        // sent since the start
	Processes   int64         `json:"processes"`      // processes and threads
	OOMKills    int64         `json:"oomKills"`       // processes that the kernel killed for memory
	GPUs        []GPUStats    `json:"gpus,omitempty"` // one for each device
	Measured    []Resource    `json:"measured"`       // CPU, Memory, Disk, Network, PIDs, GPU
}

// GPUStats is what a container uses of one device.
type GPUStats struct {
	Name        string `json:"name"`
	Percent     int    `json:"percent"` // 0 to 100
	MemoryBytes int64  `json:"memoryBytes"`
}

// Level is how far a limit is kept.
type Level string

// The levels.
const (
	Enforced    Level = "enforced"
	BestEffort  Level = "best effort" // kept for the well-behaved, or with a price that Reason names
	Unsupported Level = "unsupported" // not kept at all
)

// Support is what a driver does about one resource.
type Support struct {
	Level  Level  `json:"level"`
	Reason string `json:"reason"` // how, or why not, in words for a person: never ""
}

// Probe is what a driver does about every resource on this machine.
type Probe struct {
	Driver  string               `json:"driver"`
	Summary string               `json:"summary"`           // one sentence for a person
	Support map[Resource]Support `json:"support"`           // has every one of AllResources
	Refuses []Resource           `json:"refuses,omitempty"` // a spec that asks for one of these is refused
}

// Warnings returns, for a spec of these resources, a line for every limit that
// it asks for and that is not enforced: "CPU limit: not enforced here: ...".
func (p Probe) Warnings(r Resources) []string {
	var lines []string
	for _, one := range AllResources() {
		support := p.Support[one]
		if support.Level == Enforced || !r.asks(one) {
			continue
		}
		word := "not enforced here"
		if support.Level == BestEffort {
			word = "best effort here"
		}
		lines = append(lines, one.Title()+": "+word+": "+support.Reason)
	}
	return lines
}

// asks tells whether the resources set a limit on one, or whether one is what
// everybody is owed.
func (r Resources) asks(one Resource) bool {
	switch one {
	case CPU:
		return r.CPUMilli > 0
	case Memory:
		return r.MemoryBytes > 0
	case Disk:
		return r.DiskBytes > 0
	case GPU:
		return r.GPUs > 0
	case Network:
		return r.NetworkMbps > 0
	}
	return true
}
