//go:build unix && !linux

package shim

import "errors"

// Confine says how a container is isolated; there is none here.
type Confine struct{}

func (*Confine) apply() error { return errors.ErrUnsupported }
