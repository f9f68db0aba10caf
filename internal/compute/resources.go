package compute

import (
	"fmt"
	"math"
	"strconv"
)

// Sizes in bytes. A "GB" in a form is a GiB.
const (
	MiB int64 = 1 << 20
	GiB int64 = 1 << 30
)

// Resources is how much a container may use. The zero value asks for no GPU
// and sets no limit of Quire's own on anything else.
type Resources struct {
	CPUMilli    int64 `json:"cpuMilli,omitempty"`    // thousandths of one processor; 0 is no limit
	MemoryBytes int64 `json:"memoryBytes,omitempty"` // with the pages of files and tmpfs; 0 is no limit
	DiskBytes   int64 `json:"diskBytes,omitempty"`   // the container's own scratch space, not its mounts; 0 leaves it to the driver
	GPUs        int64 `json:"gpus,omitempty"`        // whole devices; 0 is none
	NetworkMbps int64 `json:"networkMbps,omitempty"` // 10^6 bits a second, each direction; 0 is no limit
	PIDs        int64 `json:"pids,omitempty"`        // processes and threads; 0 is DefaultPIDs
}

// DefaultPIDs is how many processes and threads a container may have when its
// Resources do not say.
const DefaultPIDs = 4096

// Resource names one of the things that Resources limits, and those that a
// driver isolates. The names are those of the JSON fields.
type Resource string

// The resources, and what else a driver answers for in Probe.
const (
	CPU        Resource = "cpuMilli"
	Memory     Resource = "memoryBytes"
	Disk       Resource = "diskBytes"
	GPU        Resource = "gpus"
	Network    Resource = "networkMbps"
	PIDs       Resource = "pids"
	Filesystem Resource = "filesystem" // the host's and other users' files are out of reach
	Processes  Resource = "processes"  // the host's and other users' processes are out of reach
	Egress     Resource = "egress"     // the container reaches only what its NetworkPolicy names
)

// AllResources lists every Resource in the order in which people read them.
func AllResources() []Resource {
	return []Resource{CPU, Memory, Disk, GPU, Network, PIDs, Filesystem, Processes, Egress}
}

// Title returns the resource in words: "CPU limit".
func (r Resource) Title() string {
	switch r {
	case CPU:
		return "CPU limit"
	case Memory:
		return "memory limit"
	case Disk:
		return "disk limit"
	case GPU:
		return "GPUs"
	case Network:
		return "bandwidth limit"
	case PIDs:
		return "process limit"
	case Filesystem:
		return "file isolation"
	case Processes:
		return "process isolation"
	case Egress:
		return "network policy"
	}
	return string(r)
}

// Range is what a value may be, both ends included. The zero Range allows
// nothing but 0.
type Range struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// Limits are the ranges of Resources. A value of 0 is let through where Min is
// not above 0, and where Optional says so.
type Limits struct {
	CPUMilli    Range `json:"cpuMilli"`
	MemoryBytes Range `json:"memoryBytes"`
	DiskBytes   Range `json:"diskBytes"`
	GPUs        Range `json:"gpus"`
	NetworkMbps Range `json:"networkMbps"`
	PIDs        Range `json:"pids"`
	Optional    bool  `json:"optional,omitempty"` // whether 0, which sets no limit, is allowed everywhere
}

// The engine's own limits. They are the floor under every profile: what a
// driver can carry out at all.
const (
	EngineMinCPUMilli    = 10 // a hundredth of a processor
	EngineMaxCPUMilli    = 96_000
	EngineMinMemoryBytes = 4 * MiB
	EngineMaxMemoryBytes = 1_152_000 * MiB
	EngineMinDiskBytes   = 1 * MiB
	EngineMaxDiskBytes   = 1_550_000 * MiB
	EngineMaxGPUs        = 16
	EngineMinNetworkMbps = 1
	EngineMaxNetworkMbps = 400_000
	EngineMinPIDs        = 1
	EngineMaxPIDs        = 1 << 20
)

// EngineLimits returns what every driver accepts.
func EngineLimits() Limits {
	return Limits{
		CPUMilli:    Range{EngineMinCPUMilli, EngineMaxCPUMilli},
		MemoryBytes: Range{EngineMinMemoryBytes, EngineMaxMemoryBytes},
		DiskBytes:   Range{EngineMinDiskBytes, EngineMaxDiskBytes},
		GPUs:        Range{0, EngineMaxGPUs},
		NetworkMbps: Range{EngineMinNetworkMbps, EngineMaxNetworkMbps},
		PIDs:        Range{EngineMinPIDs, EngineMaxPIDs},
		Optional:    true,
	}
}

// Validate returns every violation of the limits, by field, in the order of
// AllResources; none is nil.
func (r Resources) Validate(limits Limits) Violations {
	var found Violations
	for _, c := range []struct {
		resource Resource
		value    int64
		allowed  Range
		text     func(int64) string
	}{
		{CPU, r.CPUMilli, limits.CPUMilli, FormatCPU},
		{Memory, r.MemoryBytes, limits.MemoryBytes, FormatBytes},
		{Disk, r.DiskBytes, limits.DiskBytes, FormatBytes},
		{GPU, r.GPUs, limits.GPUs, plural("GPU")},
		{Network, r.NetworkMbps, limits.NetworkMbps, func(n int64) string { return strconv.FormatInt(n, 10) + " Mbps" }},
		{PIDs, r.PIDs, limits.PIDs, plural("process")},
	} {
		if c.value == 0 && (limits.Optional || c.resource == PIDs) {
			continue
		}
		switch {
		case c.value < c.allowed.Min:
			found.Add(string(c.resource), "%s is below the minimum of %s", c.text(c.value), c.text(c.allowed.Min))
		case c.value > c.allowed.Max:
			found.Add(string(c.resource), "%s is above the maximum of %s", c.text(c.value), c.text(c.allowed.Max))
		}
	}
	return found
}

// PIDLimit returns PIDs, or DefaultPIDs where it is 0.
func (r Resources) PIDLimit() int64 {
	if r.PIDs == 0 {
		return DefaultPIDs
	}
	return r.PIDs
}

func plural(noun string) func(int64) string {
	return func(n int64) string {
		switch {
		case n == 1:
			return "1 " + noun
		case noun == "process":
			return strconv.FormatInt(n, 10) + " processes"
		}
		return strconv.FormatInt(n, 10) + " " + noun + "s"
	}
}

// FormatCPU returns thousandths of a processor for a person: "1 CPU", "2.5 CPUs".
func FormatCPU(milli int64) string {
	if milli == 1000 {
		return "1 CPU"
	}
	return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64) + " CPUs"
}

// FormatMeasured writes a size that was measured; "-" where it was not, which is
// no size of zero.
func FormatMeasured(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return FormatBytes(bytes)
}

// FormatBytes returns a size for a person, in the largest binary unit that
// leaves at least 1 before it, with at most two decimals: "4 GiB", "1.46 GiB".
func FormatBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for math.Abs(value) >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%s %s", strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64), units[unit])
}
