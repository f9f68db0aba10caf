package kernel

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"path/filepath"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// connectionInfo is a connection file, as Jupyter has it.
type connectionInfo struct {
	Transport       string `json:"transport"` // "tcp" or "ipc"
	IP              string `json:"ip"`        // for ipc the path before "-PORT"
	ShellPort       int    `json:"shell_port"`
	IOPubPort       int    `json:"iopub_port"`
	StdinPort       int    `json:"stdin_port"`
	ControlPort     int    `json:"control_port"`
	HBPort          int    `json:"hb_port"`
	Key             string `json:"key"`
	SignatureScheme string `json:"signature_scheme"`
	KernelName      string `json:"kernel_name"`
}

func (i connectionInfo) port(ch wire.Channel) int {
	switch ch {
	case wire.Shell:
		return i.ShellPort
	case wire.IOPub:
		return i.IOPubPort
	case wire.Stdin:
		return i.StdinPort
	}
	return i.ControlPort
}

// address returns what to dial for a channel.
func (i connectionInfo) address(ch wire.Channel) (network, addr string) {
	port := itoa(i.port(ch))
	if i.Transport == "ipc" {
		return "unix", i.IP + "-" + port
	}
	return "tcp", net.JoinHostPort(i.IP, port)
}

// newKey returns a fresh signing key.
func newKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// write stores the connection file, readable by its owner alone.
func (i connectionInfo) write(file string) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return problem.Wrap(err, "encoding a connection file")
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return problem.Wrap(err, "writing the connection file")
	}
	return nil
}

// maxSocketPath is the length that a Unix socket's path may have on every
// system that we know.
const maxSocketPath = 100

// endpoints decides the addresses of a new kernel in its directory. hold is
// released when the kernel has ended.
func endpoints(cfg *Config, dir string) (info connectionInfo, hold *portLocks, err error) {
	info = connectionInfo{
		Key: newKey(), SignatureScheme: "hmac-sha256", KernelName: cfg.Spec.Name,
	}
	if sock := filepath.Join(dir, "s"); cfg.Transport == "ipc" ||
		(cfg.Transport == "" && isIPykernel(cfg.Spec) && len(sock) < maxSocketPath) {
		info.Transport, info.IP = "ipc", sock
		info.ShellPort, info.IOPubPort, info.StdinPort, info.ControlPort, info.HBPort = 1, 2, 3, 4, 5
		return info, &portLocks{}, nil
	}
	hold, err = lockPorts(filepath.Join(cfg.RuntimeDir, "ports"), 5)
	if err != nil {
		return connectionInfo{}, nil, err
	}
	info.Transport, info.IP = "tcp", "127.0.0.1"
	p := hold.ports
	info.ShellPort, info.IOPubPort, info.StdinPort, info.ControlPort, info.HBPort = p[0], p[1], p[2], p[3], p[4]
	return info, hold, nil
}
