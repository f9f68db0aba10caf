//go:build linux && !amd64

package shim

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// auditArch is 0 where nobody has made a filter for the processor.
var auditArch = map[string]uint32{"arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64}[runtime.GOARCH]

var deniedHere []uint32
