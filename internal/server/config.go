package server

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Config is all that can be chosen about a server. The zero value of each
// field is its default; Validate fills them in.
type Config struct {
	// Listen is the address to answer on, HOST:PORT; port 0 picks a free one.
	// Default 127.0.0.1:8888, or a free port when that one is taken.
	Listen  string `yaml:"listen"`
	anyPort bool   // Listen is the default
	// Data is the directory that holds everything the server keeps. Default
	// quire in the user's data directory.
	Data string `yaml:"data"`
	// Token is the access token of the local user. Default: made at the first
	// start and kept in Data. From QUIRE_TOKEN or a file, never from the command
	// line, which others can read.
	Token string `yaml:"-"`
	// User is the name of the local user. Default: the name of the operating
	// system's user, as far as it can be one here.
	User string `yaml:"user"`
	// Hosts are further values of the Host header to answer, HOST:PORT, for a
	// server behind a proxy.
	Hosts []string `yaml:"hosts"`
	// BasePath is the path that everything is served under, as "/quire", for a
	// server that shares its host with others. Default: none.
	BasePath string `yaml:"basePath"`
	// InsecureBehindProxy allows an address other than loopback without TLS: a
	// proxy in front is trusted to add it.
	InsecureBehindProxy bool `yaml:"insecureBehindProxy"`
	// Traces is the address of an OpenTelemetry collector that takes OTLP over
	// HTTP, as http://127.0.0.1:4318. Default: what OTEL_EXPORTER_OTLP_ENDPOINT
	// says, else nothing is traced.
	Traces string `yaml:"traces"`
	// Permits is how many runs are executed at once. Default 4.
	Permits int `yaml:"permits"`
	// WarmRuns is how many processes with a started Python kernel wait for runs,
	// so that a first cell runs at once: 1 to 16, some 60 MB each; -1 is none.
	// Default 1.
	WarmRuns int `yaml:"warmRuns"`
	// NotebookIdle is how long a person's notebook server goes on when nobody is
	// connected and no kernel or terminal does anything; -1s is for ever. A kernel
	// that is busy is never ended. Default 1h.
	NotebookIdle time.Duration `yaml:"notebookIdle"`
	// KeepRuns is how long ended runs are kept; 0 is for ever.
	KeepRuns time.Duration `yaml:"keepRuns"`
	// QuotaBytes is how much a workspace may hold; 0 is no limit.
	QuotaBytes int64 `yaml:"quotaBytes"`
	// Objects is where run sources, outputs and versions are kept: a directory
	// or a URL such as s3://bucket/prefix. Default objects in Data.
	Objects string `yaml:"objects"`
	// Mounts are directories or URLs shown read-only under mounts/<name>/.
	Mounts map[string]string `yaml:"mounts"`
	// Compute is where containers run: local, in namespaces of their own on this
	// machine; process, as plain processes, where nothing is isolated; none; or
	// auto, which is local where that works, and else process. Default auto.
	Compute string `yaml:"compute"`
	// Groups are the capacity groups, by name. Jobs that name none are in
	// DEFAULT, which is without limit unless it is here.
	Groups map[string]GroupConfig `yaml:"groups"`
	// Sample puts the sample workspaces on the volume when it is empty.
	Sample bool `yaml:"sample"`
}

// Validate fills in defaults and returns every error at once.
func (c *Config) Validate() error {
	var wrong []string
	add := func(err error) {
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	add(c.validateListen())
	add(c.validateData())
	if c.User == "" {
		c.User = localUser()
	}
	if c.Token != "" && len(c.Token) < 16 {
		wrong = append(wrong, "QUIRE_TOKEN: at least 16 characters, so that it cannot be guessed")
	}
	if c.Permits == 0 {
		c.Permits = 4
	}
	if c.Permits < 0 || c.Permits > 1000 {
		wrong = append(wrong, "permits: must be between 1 and 1000")
	}
	if c.BasePath = strings.TrimSuffix(c.BasePath, "/"); c.BasePath != "" && !basePattern.MatchString(c.BasePath) {
		wrong = append(wrong, "basePath: want a path as /quire or /team/quire, of letters, digits, - and _")
	}
	if c.Traces != "" {
		if err := checkTraces(c.Traces); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if c.WarmRuns == 0 {
		c.WarmRuns = 1
	}
	if c.WarmRuns < -1 || c.WarmRuns > 16 {
		wrong = append(wrong, "warmRuns: must be between 1 and 16, or -1 for none")
	}
	if c.NotebookIdle == 0 {
		c.NotebookIdle = time.Hour
	}
	if c.KeepRuns < 0 {
		wrong = append(wrong, "keepRuns: must be 0 or more")
	}
	if c.QuotaBytes < 0 {
		wrong = append(wrong, "quotaBytes: must be 0 or more")
	}
	wrong = append(wrong, c.validateCompute()...)
	for name := range c.Mounts {
		if name == "" || strings.ContainsAny(name, "/\\. ") {
			wrong = append(wrong, "mounts: "+name+": want a name without slashes, dots and spaces")
		}
	}
	if len(wrong) > 0 {
		return problem.New(problem.Invalid, "the configuration has %d errors:\n  %s", len(wrong), strings.Join(wrong, "\n  "))
	}
	return nil
}

var basePattern = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9_-]{0,63}){1,8}$`)

func (c *Config) validateListen() error {
	if c.Listen == "" {
		c.Listen, c.anyPort = "127.0.0.1:8888", true
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return problem.New(problem.Invalid, "listen: %q: want HOST:PORT", c.Listen)
	}
	if !loopback(host) && !c.InsecureBehindProxy {
		return problem.New(problem.Invalid, "listen: %s is reachable from other machines, and this server does not speak TLS: put a proxy that does in front and set insecureBehindProxy", c.Listen)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (c *Config) validateData() error {
	if c.Data == "" {
		base := os.Getenv("XDG_DATA_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return problem.New(problem.Invalid, "data: there is no home directory to put it in: say where")
			}
			base = filepath.Join(home, ".local", "share")
		}
		c.Data = filepath.Join(base, "quire")
	}
	full, err := filepath.Abs(c.Data)
	c.Data = full
	return problem.WrapAs(problem.Invalid, err, "data")
}

// localUser is the operating system's user name, made fit.
func localUser() string {
	name := strings.ToLower(os.Getenv("USER"))
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, name)
	name = strings.TrimLeft(name, "-_")
	if name == "" || len(name) > 63 {
		return "me"
	}
	return name
}
