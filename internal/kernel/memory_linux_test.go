package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// group writes files under root; a name ends where its text begins.
func group(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutOfMemory plays the files of both versions of control groups.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	const v1, v2 = "memory.oom_control", "memory.events"
	for _, tt := range []struct {
		name   string
		cgroup string // /proc/7/cgroup
		file   string // of counters
		before string
		after  string
		limits map[string]string
		want   bool
		limit  int64
	}{
		{
			name: "v2", cgroup: "0::/a/b\n", file: "a/b/" + v2, before: "oom 0\noom_kill 0\n", after: "oom 1\noom_kill 1\n",
			limits: map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "4294967296\n"}, want: true, limit: 4 << 30,
		},
		{
			name: "v2, killed before", cgroup: "0::/a\n", file: "a/" + v2, before: "oom_kill 2\n", after: "oom_kill 2\n",
			limits: map[string]string{"a/memory.max": "1000000\n"}, want: false,
		},
		{
			name: "v2 in a container", cgroup: "0::/kubepods/pod1\n", file: v2, before: "oom_kill 0\n", after: "oom_kill 1\n",
			limits: map[string]string{"memory.max": "1048576\n"}, want: true, limit: 1 << 20,
		},
		{
			name: "v1", cgroup: "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/z\n", file: "memory/x/y/" + v1,
			before: "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", after: "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
			limits: map[string]string{"memory/x/y/memory.limit_in_bytes": "2097152\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"},
			want:   true, limit: 2 << 20,
		},
		{
			name: "hostile path", cgroup: "0::/../../etc\n", file: v2, before: "oom_kill 0\n", after: "oom_kill 0\n", want: false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			proc, cgroups := t.TempDir(), t.TempDir()
			group(t, proc, map[string]string{"7/cgroup": tt.cgroup})
			group(t, cgroups, tt.limits)
			group(t, cgroups, map[string]string{tt.file: tt.before})
			w := watchMemoryAt(proc, cgroups, 7)
			group(t, cgroups, map[string]string{tt.file: tt.after})
			d := newDeath(exit{code: -1, signal: syscall.SIGKILL, peak: 1 << 19}, false, false, w, 0)
			if d.OOM != tt.want || d.MemoryLimit != tt.limit {
				t.Errorf("out of memory %v of %d, want %v of %d", d.OOM, d.MemoryLimit, tt.want, tt.limit)
			}
			if strings.Contains(d.String(), "out of memory") != tt.want {
				t.Errorf("in words: %s", d)
			}
			asked := newDeath(exit{code: -1, signal: syscall.SIGKILL}, true, false, w, 0)
			other := newDeath(exit{code: 1}, false, false, w, 0)
			if asked.OOM || other.OOM {
				t.Error("a death that was asked for, or an exit, is said to be out of memory")
			}
			w.refresh()
			if w.killed(0) {
				t.Error("an old kill counts after a refresh")
			}
		})
	}
}

// TestCannotTell: without counters only a peak at the limit speaks for a lack
// of memory.
func TestCannotTell(t *testing.T) {
	t.Parallel()
	w := &memoryWatch{limit: 1000, host: 1 << 60}
	if w.killed(500) || !w.killed(960) {
		t.Error("want the peak near the limit to decide")
	}
}

func TestUsageOfOurselves(t *testing.T) {
	t.Parallel()
	u := treeUsage(os.Getpid())
	if u.Processes < 1 || u.RSSBytes < 1<<20 || u.PeakBytes < u.RSSBytes/4 {
		t.Errorf("usage %+v", u)
	}
	if u := treeUsage(1 << 30); u != (Usage{}) {
		t.Errorf("usage of no process %+v", u)
	}
}
