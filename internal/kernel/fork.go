package kernel

import (
	"context"
	_ "embed"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// zygoteScript is the fork server's program.
//
//go:embed zygote.py
var zygoteScript []byte

// zygoteStart is how long a fork server may take to import what it needs.
const zygoteStart = 60 * time.Second

// Forkserver starts ipykernel's kernels by forking a process that has imported
// ipykernel already, which takes a fraction of the time. Each kernel is a
// process of its own, with a session, a connection and a death of its own. All
// share the fork server's seed of Python's string hashes; random numbers and
// UUIDs are not shared.
//
// For kernels that are not ipykernel's, whose environment differs in what an
// interpreter reads only when it starts, or when the fork server is gone, Start
// starts a kernel in the usual way. It is safe for concurrent use.
type Forkserver struct {
	log    *slog.Logger
	spec   Spec
	env    map[string]string
	zygote *zygote // nil when there is none
}

// NewForkserver starts a fork server for cfg.Spec, and imports cfg.Preload in
// it. When that cannot be, the reason is logged, and Start works without it:
// the only errors are those of cfg and of ctx.
func NewForkserver(ctx context.Context, cfg Config) (*Forkserver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	f := &Forkserver{log: cfg.Log, spec: cfg.Spec, env: environmentMap(&cfg)}
	if !isIPykernel(cfg.Spec) {
		return f, nil
	}
	z, err := startZygote(ctx, &cfg)
	if ctx.Err() != nil {
		if z != nil {
			z.close()
		}
		return nil, contextWrap(ctx.Err())
	}
	if err != nil {
		cfg.Log.LogAttrs(ctx, slog.LevelWarn, "kernels are started without a fork server",
			slog.String("kernel", cfg.Spec.Name), slog.String("err", err.Error()))
		return f, nil
	}
	f.zygote = z
	return f, nil
}

// Forks reports whether the fork server runs.
func (f *Forkserver) Forks() bool { return f.zygote != nil && f.zygote.alive() }

// Start starts a kernel like the package's Start, by a fork where it can.
func (f *Forkserver) Start(ctx context.Context, cfg Config) (*Kernel, error) {
	if !f.Forks() || !f.fits(&cfg) {
		return Start(ctx, cfg)
	}
	k, err := startWith(ctx, cfg, forkLauncher{f})
	if err == nil || ctx.Err() != nil {
		return k, err
	}
	f.log.LogAttrs(ctx, slog.LevelWarn, "forked kernel did not start, trying without the fork server",
		slog.String("kernel", cfg.Spec.Name), slog.String("err", err.Error()))
	return Start(ctx, cfg)
}

// Close ends the fork server and the kernels that it started. Twice is fine.
func (f *Forkserver) Close() error {
	if f.zygote != nil {
		f.zygote.close()
	}
	return nil
}

// fits reports whether a fork can be what cfg asks for.
func (f *Forkserver) fits(cfg *Config) bool {
	if !isIPykernel(cfg.Spec) || strings.Join(cfg.Spec.Argv, "\x00") != strings.Join(f.spec.Argv, "\x00") ||
		cfg.Spec.Dir != f.spec.Dir {
		return false
	}
	env := environmentMap(cfg)
	for name, value := range env {
		if (readOnce(name) && f.env[name] != value) || !utf8.ValidString(value) {
			return false
		}
	}
	for name := range f.env {
		if _, ok := env[name]; !ok && readOnce(name) {
			return false
		}
	}
	return true
}

// readOnce reports whether an interpreter or its libraries read the variable
// only when they start. PYTHONPATH is not one of them: what it leads to is put
// into sys.path afterwards just as well.
func readOnce(name string) bool {
	if name == "PYTHONPATH" {
		return false
	}
	for _, prefix := range []string{"PYTHON", "LD_", "LC_", "MALLOC_", "PYDEVD_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "LANG" || name == "LANGUAGE" || name == "GLIBC_TUNABLES"
}

// environmentMap is environment by name, without the variables that differ
// from kernel to kernel.
func environmentMap(cfg *Config) map[string]string {
	env := make(map[string]string)
	for _, entry := range environment(cfg) {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	delete(env, "JPY_PARENT_PID")
	return env
}

// forkLauncher forks where it can, and execs where it cannot.
type forkLauncher struct{ f *Forkserver }

func (l forkLauncher) start(ctx context.Context, cfg *Config, connection string) (process, error) {
	if l.f.Forks() {
		p, err := l.f.zygote.fork(cfg, connection)
		if err == nil {
			return p, nil
		}
		l.f.log.LogAttrs(ctx, slog.LevelWarn, "fork server could not fork", slog.String("err", err.Error()))
	}
	return execLauncher{}.start(ctx, cfg, connection)
}

// isIPykernel reports whether the spec runs ipykernel's launcher and nothing
// else: PYTHON [FLAGS] -m ipykernel_launcher -f {connection_file}.
func isIPykernel(spec Spec) bool { return launcherAt(spec.Argv) > 0 }

// launcherAt returns the index of "-m" in such a command, 0 for another one.
func launcherAt(argv []string) int {
	for i, a := range argv {
		if i > 0 && a == "-m" {
			rest := argv[i+1:]
			if len(rest) == 3 && (rest[0] == "ipykernel_launcher" || rest[0] == "ipykernel") &&
				rest[1] == "-f" && rest[2] == "{connection_file}" && strings.HasPrefix(filepath.Base(argv[0]), "python") {
				return i
			}
			return 0
		}
	}
	return 0
}

// zygoteCommand is the spec's interpreter with its flags on our script.
func zygoteCommand(cfg *Config, script string) []string {
	argv := command(cfg.Spec, "{connection_file}")
	at := launcherAt(argv)
	return append(append(slices.Clone(argv[:at]), script, argv[at+1]), cfg.Preload...)
}

// writeScript stores the fork server's program in its folder.
func writeScript(dir string) (string, error) {
	file := filepath.Join(dir, "quire_zygote.py")
	return file, os.WriteFile(file, zygoteScript, 0o600)
}
