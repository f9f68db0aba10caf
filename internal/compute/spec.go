package compute

import (
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Spec is one container: what it executes and within what. A driver keeps it
// until Remove; it holds no secrets, since drivers write it down. A secret is
// a file of a mount.
type Spec struct {
	// ID names the container for good: 1 to 63 of a-z, 0-9 and "-", with no
	// "-" at either end. It is unique within a driver. Generated, never a
	// person's words.
	ID string `json:"id"`

	// Image is where the root file system comes from: "" is the driver's own
	// (the host's, read-only, for the local driver). For docker and kubernetes
	// it is a reference with a digest.
	Image string `json:"image,omitempty"`
	// Root is the folder of an unpacked image on the host, for the local
	// driver; Image must be "" then.
	Root string `json:"root,omitempty"`

	Argv []string          `json:"argv"`          // Argv[0] is looked up in the container's PATH; at least one
	Env  map[string]string `json:"env,omitempty"` // besides the driver's PATH, HOME and the like, which it replaces
	Dir  string            `json:"dir,omitempty"` // an absolute, clean path inside; "" is the first writable mount, or HOME

	Mounts    []Mount       `json:"mounts,omitempty"`
	Resources Resources     `json:"resources"`
	Network   NetworkPolicy `json:"network"`

	Labels map[string]string `json:"labels,omitempty"` // for List; given to nobody inside

	// UID and GID are who the container's processes are, as they see it
	// themselves. 0 is DefaultUID: there is no root inside.
	UID int `json:"uid,omitempty"`
	GID int `json:"gid,omitempty"`

	// Grace is how long the container may take to end when nobody says
	// otherwise in Stop; 0 is DefaultGrace.
	Grace time.Duration `json:"grace,omitempty"`
}

// Defaults and bounds of a Spec.
const (
	DefaultUID   = 1000
	DefaultGrace = 10 * time.Second
	MaxGrace     = time.Hour

	maxID     = 63
	maxArgv   = 128 << 10 // bytes of all arguments
	maxMounts = 64
	maxLabels = 64
	maxPath   = 4096
)

// Mount is a folder or a file of the host inside the container.
type Mount struct {
	Source   string `json:"source"` // an absolute, clean path on the host that exists; for kubernetes see its driver
	Target   string `json:"target"` // an absolute, clean path inside, not below /proc, /sys or /dev
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// NetworkMode is what a container's network is.
type NetworkMode string

// The network modes. The zero value is NetworkNone.
const (
	NetworkNone    NetworkMode = ""        // a loopback of its own and nothing else
	NetworkPrivate NetworkMode = "private" // a network of its own, from which it reaches what Allow names
	NetworkHost    NetworkMode = "host"    // the host's: nothing is isolated and no bandwidth is limited
)

// NetworkPolicy is what a container reaches. Link-local addresses, where
// clouds keep their metadata, are never reached with NetworkPrivate, whatever
// Allow says; nor are the host's own addresses, unless Allow names one of
// them with its full length.
type NetworkPolicy struct {
	Mode  NetworkMode    `json:"mode,omitempty"`
	Allow []netip.Prefix `json:"allow,omitempty"` // only with NetworkPrivate; empty reaches nothing
}

// Validate returns every violation, by field; none is nil. It looks at the
// words only: whether mounts exist is seen by Create.
func (s Spec) Validate() Violations {
	var found Violations
	if !isID(s.ID) {
		found.Add("id", "%s is not an id: want 1 to %d of a-z, 0-9 and -, with no - at either end", quoted(short(s.ID)), maxID)
	}
	if s.Image != "" && s.Root != "" {
		found.Add("root", "image and root exclude each other")
	}
	if s.Root != "" && !isCleanPath(s.Root) {
		found.Add("root", "%s is not an absolute, clean path", quoted(short(s.Root)))
	}
	found = append(found, s.processFaults()...)
	found = append(found, s.mountFaults()...)
	found = append(found, s.Resources.Validate(EngineLimits()).Under("resources")...)
	found = append(found, s.networkFaults()...)
	if len(s.Labels) > maxLabels {
		found.Add("labels", "%d labels are above the maximum of %d", len(s.Labels), maxLabels)
	}
	if s.Grace < 0 || s.Grace > MaxGrace {
		found.Add("grace", "%v is not within 0 and %v", s.Grace, MaxGrace)
	}
	return found
}

// GraceOrDefault returns Grace, or DefaultGrace where it is 0.
func (s Spec) GraceOrDefault() time.Duration {
	if s.Grace == 0 {
		return DefaultGrace
	}
	return s.Grace
}

func (s Spec) processFaults() Violations {
	var found Violations
	size := 0
	for _, arg := range s.Argv {
		size += len(arg) + 1
		if strings.ContainsRune(arg, 0) {
			found.Add("argv", "an argument holds a zero byte")
		}
	}
	switch {
	case len(s.Argv) == 0 || s.Argv[0] == "":
		found.Add("argv", "there is nothing to execute")
	case size > maxArgv:
		found.Add("argv", "all arguments together are %d bytes, above the maximum of %d", size, maxArgv)
	case below(s.Argv[0], "/proc"):
		found.Add("argv", "%s is below /proc", quoted(short(s.Argv[0])))
	}
	for name, value := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			found.Add("env", "%s is not a name, or its value holds a zero byte", quoted(short(name)))
		}
	}
	if s.Dir != "" && (!isCleanPath(s.Dir) || below(s.Dir, "/proc")) {
		found.Add("dir", "%s is not an absolute, clean path outside /proc", quoted(short(s.Dir)))
	}
	const most = 1<<31 - 1
	if s.UID < 0 || s.UID > most {
		found.Add("uid", "%d is not within 0 and %d", s.UID, most)
	}
	if s.GID < 0 || s.GID > most {
		found.Add("gid", "%d is not within 0 and %d", s.GID, most)
	}
	return found
}

func (s Spec) mountFaults() Violations {
	var found Violations
	if len(s.Mounts) > maxMounts {
		found.Add("mounts", "%d mounts are above the maximum of %d", len(s.Mounts), maxMounts)
		return found
	}
	targets := make(map[string]bool)
	for i, m := range s.Mounts {
		field := "mounts[" + strconv.Itoa(i) + "]"
		if !isCleanPath(m.Source) {
			found.Add(field+".source", "%s is not an absolute, clean path", quoted(short(m.Source)))
		}
		switch {
		case !isCleanPath(m.Target) || m.Target == "/":
			found.Add(field+".target", "%s is not an absolute, clean path below /", quoted(short(m.Target)))
		case below(m.Target, "/proc") || below(m.Target, "/sys") || below(m.Target, "/dev"):
			found.Add(field+".target", "%s is below /proc, /sys or /dev", quoted(short(m.Target)))
		case targets[m.Target]:
			found.Add(field+".target", "%s is mounted twice", quoted(short(m.Target)))
		}
		targets[m.Target] = true
	}
	return found
}

func (s Spec) networkFaults() Violations {
	var found Violations
	switch s.Network.Mode {
	case NetworkNone, NetworkPrivate, NetworkHost:
	default:
		found.Add("network.mode", "%s is not a mode: want private, host or nothing", quoted(short(string(s.Network.Mode))))
	}
	if len(s.Network.Allow) > 0 && s.Network.Mode != NetworkPrivate {
		found.Add("network.allow", "only a private network has a list of what it reaches")
	}
	for _, prefix := range s.Network.Allow {
		if !prefix.IsValid() || prefix != prefix.Masked() {
			found.Add("network.allow", "%v is not a network", prefix)
		}
	}
	return found
}

func isID(id string) bool {
	if id == "" || len(id) > maxID || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

func isCleanPath(p string) bool {
	return len(p) <= maxPath && path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

// below tells whether a path is top or under it.
func below(p, top string) bool {
	p = path.Clean(p)
	return p == top || strings.HasPrefix(p, top+"/")
}

func quoted(s string) string { return strconv.QuoteToGraphic(s) }

// short cuts what somebody sent for a message.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	for most := most; ; most-- {
		if utf8.RuneStart(s[most]) {
			return s[:most] + "…"
		}
	}
}
