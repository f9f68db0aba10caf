package compute

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quire/internal/problem"
)

func TestLaunchProfileNamesEveryViolation(t *testing.T) {
	t.Parallel()
	p := LaunchProfile()
	found := p.Validate(Launch{
		Name:      strings.Repeat("é", 76),
		Resources: Resources{CPUMilli: 500, MemoryBytes: 3 * GiB, DiskBytes: 129 * GiB, GPUs: 9, NetworkMbps: 100},
		Env:       "A=1\nno pair\n1X=2\r\nA=3\n",
	})
	want := Violations{
		{"name", "76 characters are above the maximum of 75"},
		{"resources.cpuMilli", "0.5 CPUs is below the minimum of 1 CPU"},
		{"resources.memoryBytes", "3 GiB is below the minimum of 4 GiB"},
		{"resources.diskBytes", "129 GiB is above the maximum of 128 GiB"},
		{"resources.gpus", "9 GPUs is above the maximum of 8 GPUs"},
		{"resources.networkMbps", "100 Mbps is below the minimum of 128 Mbps"},
		{"env", `line 2: there is no "="; write NAME=value`},
		{"env", `line 3: the name "1X" may hold only A-Z, 0-9 and _, and not start with a digit`},
		{"env", "line 4: A is set already in line 1"},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	err := found.Err("launching")
	var all Violations
	if !problem.Is(err, problem.Invalid) || !errors.As(err, &all) || len(all) != len(want) {
		t.Errorf("error %v: kind %v, %d violations", err, problem.KindOf(err), len(all))
	}
}

func TestLaunchProfileEdges(t *testing.T) {
	t.Parallel()
	p := LaunchProfile()
	fits := func(r Resources) bool { return len(p.Validate(Launch{Name: "n", Resources: r})) == 0 }
	if !fits(p.Defaults) {
		t.Error("the defaults do not fit the limits")
	}
	for _, preset := range p.Presets {
		if got, ok := p.Preset(preset.Name); !fits(preset.Resources) || !ok || got != preset {
			t.Errorf("preset %s does not fit, or is not found by its name", preset.Name)
		}
	}
	low := Resources{CPUMilli: 1000, MemoryBytes: 4 * GiB, DiskBytes: 10 * GiB, NetworkMbps: 128}
	high := Resources{CPUMilli: 8000, MemoryBytes: 256 * GiB, DiskBytes: 128 * GiB, GPUs: 8, NetworkMbps: 2000}
	if !fits(low) || !fits(high) {
		t.Error("both ends of a range belong to it")
	}
	if fits(Resources{}) {
		t.Error("a launch without sizes fits: a profile has no unlimited")
	}
	if v := (Resources{}).Validate(EngineLimits()); v != nil {
		t.Errorf("the engine refuses no limits: %v", v)
	}
	low.CPUMilli = -1
	if fits(low) || len(low.Validate(EngineLimits())) != 1 {
		t.Error("-1 CPUs fit")
	}
	for _, name := range []string{"", " ", "a\nb", "\xff"} {
		if len(p.Validate(Launch{Name: name, Resources: p.Defaults})) != 1 {
			t.Errorf("the name %q fits", name)
		}
	}
}

func TestParseEnv(t *testing.T) {
	t.Parallel()
	env, wrong := ParseEnv("\n A=1\nB= \"x\"=y \r\n\n_C=\n")
	if want := (Violations{{"env", `line 2: the name " A" may hold only A-Z, 0-9 and _, and not start with a digit`}}); !cmp.Equal(want, wrong) {
		t.Error(cmp.Diff(want, wrong))
	}
	if want := map[string]string{"B": ` "x"=y `, "_C": ""}; !maps.Equal(env, want) {
		t.Errorf("got %q, want %q", env, want)
	}
	_, wrong = ParseEnv("A=" + strings.Repeat("x", MaxEnvBytes-3))
	if wrong != nil {
		t.Errorf("the largest environment is refused: %v", wrong)
	}
	_, wrong = ParseEnv("A=" + strings.Repeat("x", MaxEnvBytes-2))
	if len(wrong) != 1 || strings.Contains(wrong.Error(), "xxx") {
		t.Errorf("one byte more: %.200v", wrong)
	}
	_, wrong = ParseEnv("PASSWORD=a\x00b")
	if len(wrong) != 1 || strings.Contains(wrong.Error(), "a\x00b") {
		t.Errorf("a zero byte: %q; a value is never shown", wrong)
	}
}

func TestSpecValidate(t *testing.T) {
	t.Parallel()
	good := func() Spec {
		return Spec{ID: "job-1", Argv: []string{"true"}, Mounts: []Mount{{Source: "/a", Target: "/workspace"}}}
	}
	if v := good().Validate(); v != nil {
		t.Fatalf("a good spec: %v", v)
	}
	for _, tt := range []struct {
		field  string
		change func(*Spec)
	}{
		{"id", func(s *Spec) { s.ID = "Job" }},
		{"id", func(s *Spec) { s.ID = "-a" }},
		{"id", func(s *Spec) { s.ID = strings.Repeat("a", 64) }},
		{"root", func(s *Spec) { s.Image, s.Root = "x", "/x" }},
		{"argv", func(s *Spec) { s.Argv = nil }},
		{"argv", func(s *Spec) { s.Argv = []string{"/proc/self/exe"} }},
		{"argv", func(s *Spec) { s.Argv = []string{"a", "\x00"} }},
		{"env", func(s *Spec) { s.Env = map[string]string{"A=B": ""} }},
		{"dir", func(s *Spec) { s.Dir = "/proc/self/fd/8" }},
		{"dir", func(s *Spec) { s.Dir = "/a/../b" }},
		{"uid", func(s *Spec) { s.UID = 4294967296 }},
		{"gid", func(s *Spec) { s.GID = -1 }},
		{"mounts[0].source", func(s *Spec) { s.Mounts[0].Source = "rel" }},
		{"mounts[0].target", func(s *Spec) { s.Mounts[0].Target = "/proc/sys" }},
		{"mounts[0].target", func(s *Spec) { s.Mounts[0].Target = "/dev" }},
		{"mounts[0].target", func(s *Spec) { s.Mounts[0].Target = "/" }},
		{"mounts[1].target", func(s *Spec) { s.Mounts = append(s.Mounts, s.Mounts[0]) }},
		{"resources.memoryBytes", func(s *Spec) { s.Resources.MemoryBytes = 1 }},
		{"network.mode", func(s *Spec) { s.Network.Mode = "bridge" }},
		{"network.allow", func(s *Spec) { s.Network.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }},
		{"grace", func(s *Spec) { s.Grace = -time.Second }},
	} {
		s := good()
		tt.change(&s)
		if v := s.Validate(); len(v) != 1 || v[0].Field != tt.field {
			t.Errorf("%s: found %v", tt.field, v)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 4 * GiB: "4 GiB", 1536 * MiB: "1.5 GiB", 64 * MiB: "64 MiB", 1 << 50: "1024 TiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	p := Probe{Support: map[Resource]Support{}}
	for _, r := range AllResources() {
		p.Support[r] = Support{Enforced, "by the kernel"}
	}
	p.Support[CPU] = Support{Unsupported, "no cgroup is delegated"}
	p.Support[Filesystem] = Support{BestEffort, "same user"}
	if got := p.Warnings(Resources{}); !cmp.Equal(got, []string{"file isolation: best effort here: same user"}) {
		t.Errorf("nothing asked: %q", got)
	}
	if got := p.Warnings(Resources{CPUMilli: 1}); len(got) != 2 || got[0] != "CPU limit: not enforced here: no cgroup is delegated" {
		t.Errorf("CPU asked: %q", got)
	}
}
