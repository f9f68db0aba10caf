package cli

import (
	"github.com/spf13/pflag"

	"quire/internal/compute"
)

// sizeFlags is the size of a container on the command line. What is 0 is the
// server's default.
type sizeFlags struct {
	cpus, memory, disk float64
	gpus, mbps         uint32
}

func (s *sizeFlags) add(f *pflag.FlagSet) {
	f.Float64Var(&s.cpus, "cpus", 0, "run in a container with this many processors")
	f.Float64Var(&s.memory, "memory", 0, "run in a container with this much memory, in GB")
	f.Float64Var(&s.disk, "disk", 0, "run in a container with this much disk space, in GB")
	f.Uint32Var(&s.gpus, "gpus", 0, "run in a container with this many GPUs")
	f.Uint32Var(&s.mbps, "network", 0, "run in a container with this network bandwidth, in Mbps")
}

// container returns the size, nil where none was asked for.
func (s *sizeFlags) container() *compute.Resources {
	if *s == (sizeFlags{}) {
		return nil
	}
	return &compute.Resources{
		CPUMilli: int64(s.cpus * 1000), MemoryBytes: int64(s.memory * float64(compute.GiB)), DiskBytes: int64(s.disk * float64(compute.GiB)),
		GPUs: int64(s.gpus), NetworkMbps: int64(s.mbps),
	}
}
