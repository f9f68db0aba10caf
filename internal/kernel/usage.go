package kernel

import "time"

// Usage is what a kernel and the processes that it started use. Zero where the
// system does not say.
type Usage struct {
	CPU       time.Duration // user and system time of those that live
	RSSBytes  int64         // memory now
	PeakBytes int64         // memory at most, as far as it was seen
	Processes int           // the kernel's own included
}
