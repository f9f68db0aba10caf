package server

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"quire/internal/contents"
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
	// Database is where the records are: empty for an SQLite file in Data, or the
	// address of a PostgreSQL database, postgres://user@host:5432/name, which
	// several servers may use at once, each with a Data of its own, and all with
	// the same Shared and Objects. QUIRE_DATABASE when it is not set here. A
	// password is better kept in PGPASSWORD or the file that PGPASSFILE names.
	Database string `yaml:"database"`
	// Shared is the directory of the workspaces, of runs while they are executed,
	// and of Objects when that is not set: on a volume that all servers of one
	// Database have, with locks that hold between them (NFS 4, EFS). Default Data.
	Shared string `yaml:"shared"`
	// Token is the access token of the local user. Default: made at the first
	// start and kept in Data. From QUIRE_TOKEN or a file, never from the command
	// line, which others can read.
	Token string `yaml:"-"`
	// User is the name of the local user. Default: the name of the operating
	// system's user, as far as it can be one here.
	User string `yaml:"user"`
	// OIDC is where people sign in besides with a token. Default: nowhere.
	OIDC *OIDCConfig `yaml:"oidc"`
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
	// KeepFailed is how long the container and the kernel of a run that failed are
	// kept after their last use, for its owner to go on in; -1s keeps none. Default
	// 15m, and never above a day.
	KeepFailed time.Duration `yaml:"keepFailed"`
	// KeptFailed is how many are kept at once: the oldest goes first. Default 8.
	KeptFailed int `yaml:"keptFailed"`
	// KeepRuns is how long ended runs are kept; 0 is for ever.
	KeepRuns time.Duration `yaml:"keepRuns"`
	// FreeAfter is how long the bytes of versions that nothing names any more are
	// kept: their files went for good, or a save was cut off. At least 1s, and
	// longer than any save takes. Default 24h.
	FreeAfter time.Duration `yaml:"freeAfter"`
	// QuotaBytes is how much a workspace may hold; 0 is no limit.
	QuotaBytes int64 `yaml:"quotaBytes"`
	// Objects is where run sources, outputs and versions are kept: a directory
	// or a URL such as s3://bucket/prefix. Default objects in Data.
	Objects string `yaml:"objects"`
	// Mounts are directories or URLs shown read-only under mounts/<name>/.
	Mounts map[string]string `yaml:"mounts"`
	// Compute is where containers run: local, in namespaces of their own on this
	// machine; process, as plain processes, where nothing is isolated; docker, on
	// a Docker host; kubernetes, as Pods of a cluster; none; or auto, which is
	// local where that works, and else process. Default auto.
	Compute string `yaml:"compute"`
	// Docker is the Docker host of compute: docker.
	Docker DockerConfig `yaml:"docker"`
	// Kubernetes is the cluster of compute: kubernetes.
	Kubernetes KubernetesConfig `yaml:"kubernetes"`
	// Network is what containers reach: none; internet, which is all but this
	// machine, private networks and link-local addresses; addresses and networks
	// by name; host, which is this machine's own network, where nothing is kept
	// apart; or auto, which is internet where that can be enforced, and host for
	// an ordinary user, who can have no other. Default auto.
	Network []string `yaml:"network"`
	// GRPC is where Titus's own clients are answered. Default: nowhere.
	GRPC GRPCConfig `yaml:"grpc"`
	// Images are the folders of unpacked images for compute: local, by what jobs
	// name them with: "name@sha256:..." or "name:tag".
	Images map[string]string `yaml:"images"`
	// UserGroups are groups of people, by name: profiles and connections say what
	// they may.
	UserGroups map[string]UserGroupConfig `yaml:"userGroups"`
	// Groups are the capacity groups, by name. Jobs that name none are in
	// DEFAULT, which is without limit unless it is here.
	Groups map[string]GroupConfig `yaml:"groups"`
	// Profiles are the launch forms of groups of people, by name: what they may ask
	// for. Who is in none has the form of everybody.
	Profiles map[string]ProfileConfig `yaml:"profiles"`
	// Connections are query engines, by name. Besides these there is local, the
	// DuckDB of each person.
	Connections map[string]ConnectionConfig `yaml:"connections"`
	// CredentialKey encrypts the credentials that the server keeps for connections
	// (dsn: stored): 32 bytes as base64, as env:NAME or file:/path; with several,
	// NEW,OLD, the first one encrypts. Default: credentials.key beside the files,
	// made when it is missing.
	CredentialKey string `yaml:"credentialKey"`
	// Notify is how people and programs are told what became of schedules.
	Notify NotifyConfig `yaml:"notify"`
	// Lineage is where what runs wrote and read is exported to.
	Lineage LineageConfig `yaml:"lineage"`
	// Hooks are webhooks that schedules may wait for, by name.
	Hooks map[string]HookConfig `yaml:"hooks"`
	// Identities are what schedules may run as instead of as a person, by name: what
	// each may do, and who may use it.
	Identities map[string]IdentityConfig `yaml:"identities"`
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
	add(c.validateGRPC())
	add(c.validateData())
	add(c.validateDatabase())
	add(c.OIDC.validate())
	if c.User == "" {
		c.User = LocalUser()
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
	if c.KeepFailed == 0 {
		c.KeepFailed = 15 * time.Minute
	}
	if c.KeepFailed > 24*time.Hour {
		wrong = append(wrong, "keepFailed: must be at most 24h")
	}
	if c.KeptFailed == 0 {
		c.KeptFailed = 8
	}
	if c.KeptFailed < 0 || c.KeptFailed > 1000 {
		wrong = append(wrong, "keptFailed: must be between 1 and 1000")
	}
	if c.KeepRuns < 0 {
		wrong = append(wrong, "keepRuns: must be 0 or more")
	}
	if c.FreeAfter == 0 {
		c.FreeAfter = contents.DefaultFreeAfter
	}
	if c.FreeAfter < time.Second {
		wrong = append(wrong, "freeAfter: must be 1s or more")
	}
	if c.QuotaBytes < 0 {
		wrong = append(wrong, "quotaBytes: must be 0 or more")
	}
	wrong = append(wrong, c.validateCompute()...)
	wrong = append(wrong, c.validateUserGroups()...)
	wrong = append(wrong, c.validateConnections()...)
	if c.CredentialKey != "" && !strings.HasPrefix(c.CredentialKey, "env:") && !strings.HasPrefix(c.CredentialKey, "file:") {
		wrong = append(wrong, "credentialKey: want env:NAME or file:/path: a key does not stand in the configuration")
	}
	wrong = append(wrong, c.Notify.validate()...)
	wrong = append(wrong, c.Lineage.validate()...)
	wrong = append(wrong, validateHooks(c.Hooks)...)
	wrong = append(wrong, c.validateIdentities()...)
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

func (c *Config) validateDatabase() error {
	if c.Database == "" {
		c.Database = os.Getenv("QUIRE_DATABASE")
	}
	if c.Shared == "" {
		c.Shared = c.Data
	}
	full, err := filepath.Abs(c.Shared)
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "shared")
	}
	c.Shared = full
	switch {
	case c.Database == "" && c.Shared != c.Data:
		return problem.New(problem.Invalid, "shared: several servers need a database that they can share: set database to the address of a PostgreSQL database")
	case c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://"):
		return problem.New(problem.Invalid, "database: want postgres://user@host:5432/name, or nothing for a file of its own")
	}
	return nil
}

// LocalUser is the operating system's user name, made fit.
func LocalUser() string {
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
