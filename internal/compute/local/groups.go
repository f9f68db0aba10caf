//go:build linux

package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// nextCPU spreads pinned containers over the processors.
var nextCPU atomic.Int64

// controllers are the parts of version 1 that are used.
var controllers = []string{"cpu", "cpuacct", "memory", "pids", "devices"}

// limiting are the parts of version 2 that are used.
var limiting = []string{"cpu", "memory", "pids"}

// groups are the control groups that containers can be given here.
type groups struct {
	bases   map[string]string // the folder to make groups in, by controller; "unified" is version 2
	unified bool
}

// findGroups looks at where this process is, and at what it may make there.
func findGroups() groups {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return groups{}
	}
	g := groups{bases: make(map[string]string)}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, name := range strings.Split(parts[1], ",") {
			if slices.Contains(controllers, name) {
				g.bases[name] = ownGroup("/sys/fs/cgroup/"+name, parts[2])
			}
		}
		if parts[1] == "" {
			g.bases["unified"] = filepath.Join(highestGroup("/sys/fs/cgroup", parts[2], mayMakeGroups), "quire")
		}
	}
	if g.bases["memory"] == "" {
		_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
		g.unified = err == nil
	} else {
		delete(g.bases, "unified")
	}
	for name, base := range g.bases {
		may := unix.Access(filepath.Dir(base), unix.W_OK) == nil
		if name == "unified" {
			may = mayMakeGroups(filepath.Dir(base))
		}
		if !may || g.unified != (name == "unified") {
			delete(g.bases, name)
		}
	}
	return g
}

// ownGroup is where containers' groups of version 1 go: below our own, in a
// folder of theirs.
func ownGroup(mount, path string) string {
	own := filepath.Join(mount, path)
	if _, err := os.Stat(own); err != nil {
		own = mount // the path is that of an outer namespace
	}
	return filepath.Join(own, "quire")
}

// highestGroup is the group of version 2 to make containers' groups below: the
// highest of ours, path in the tree at mount, that may has us do so in. The higher
// it is, the less it is in the way of others: no process may be in a group whose
// members are limited, and a service manager that starts the server anew puts it
// where it was, beside containers that go on. It is the group at path itself where
// there is none.
func highestGroup(mount, path string, may func(group string) bool) string {
	own := filepath.Join(mount, path)
	if _, err := os.Stat(own); err != nil {
		own = mount // the path is that of an outer namespace
	}
	group := mount
	for _, name := range append(strings.Split(strings.TrimPrefix(own, mount), "/"), "") {
		if group = filepath.Join(group, name); may(group) {
			return group
		}
	}
	return own
}

// mayMakeGroups tells whether this process may make groups in one of version 2,
// move processes there from below it, and limit them.
func mayMakeGroups(group string) bool {
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Access(filepath.Join(group, file), unix.W_OK) != nil {
			return false
		}
	}
	had, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return false
	}
	for _, name := range limiting {
		if !slices.Contains(strings.Fields(string(had)), name) {
			return false
		}
	}
	return true
}

// usable tells whether processors, memory and processes can be limited.
func (g groups) usable() bool {
	if g.unified {
		return g.bases["unified"] != ""
	}
	return g.bases["cpu"] != "" && g.bases["memory"] != "" && g.bases["pids"] != ""
}

// of returns the folders of one container's groups.
func (g groups) of(id string) map[string]string {
	if !g.usable() {
		return nil
	}
	folders := make(map[string]string)
	for name, base := range g.bases {
		folders[name] = filepath.Join(base, id)
	}
	return folders
}

// make makes the groups, sets their limits and gives the shim what it needs of
// them.
func (g groups) make(folders map[string]string, r compute.Resources, add func(*os.File) int, cfg *shim.Config) error {
	for _, name := range slices.Concat(controllers, []string{"unified"}) {
		folder, ok := folders[name]
		if !ok {
			continue
		}
		err := makeGroup(folder)
		if err == nil && name == "unified" {
			err = delegate(filepath.Dir(filepath.Dir(folder)), filepath.Dir(folder))
		}
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "making a control group")
		}
		for _, s := range limitsOf(name, r) {
			if err := os.WriteFile(filepath.Join(folder, s.file), []byte(s.value), 0); err != nil && (!s.optional || !errors.Is(err, fs.ErrNotExist)) {
				return problem.WrapAs(problem.Unavailable, err, "setting %s to %s", s.file, s.value)
			}
		}
		procs, err := os.OpenFile(filepath.Join(folder, "cgroup.procs"), os.O_WRONLY, 0)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "opening a control group")
		}
		cfg.Join = append(cfg.Join, add(procs))
		for _, file := range shim.FigureFiles() {
			if f, err := os.Open(filepath.Join(folder, file)); err == nil {
				cfg.Figures = append(cfg.Figures, shim.FileOf{Name: file, FD: add(f)})
			}
		}
	}
	return nil
}

// makeGroup makes a group; the folder above it may go while it does.
func makeGroup(folder string) error {
	var err error
	for range 10 {
		if err = os.MkdirAll(folder, 0o755); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// delegate lets groups below base limit what we need; base is in own, and there
// is a group in it, so that no other container's end takes it away. Version 2 has
// no processes in a group with such groups below: we move ourselves aside.
func delegate(own, base string) error {
	enable := func(folder string) error {
		return os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+strings.Join(limiting, " +")), 0)
	}
	err := enable(own)
	if errors.Is(err, unix.EBUSY) {
		if err = moveAside(own); err == nil {
			err = enable(own)
		}
	}
	if err != nil {
		return err
	}
	return enable(base)
}

// moveAside moves the processes of a group into one below it.
func moveAside(own string) error {
	aside := filepath.Join(own, "server")
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(pids)) {
		if err := os.WriteFile(filepath.Join(aside, "cgroup.procs"), []byte(pid), 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

type setting struct {
	file, value string
	optional    bool // not every kernel has it
}

const cpuPeriod = 100_000 // microseconds

// limitsOf returns what to write into one group.
func limitsOf(controller string, r compute.Resources) []setting {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	quota := number(max(1000, r.CPUMilli*cpuPeriod/1000))
	switch controller {
	case "cpu":
		if r.CPUMilli > 0 {
			return []setting{{"cpu.cfs_period_us", number(cpuPeriod), false}, {"cpu.cfs_quota_us", quota, false}}
		}
	case "memory":
		if r.MemoryBytes > 0 {
			return []setting{
				{"memory.limit_in_bytes", number(r.MemoryBytes), false},
				{"memory.memsw.limit_in_bytes", number(r.MemoryBytes), true},
				{"memory.swappiness", "0", true},
			}
		}
	case "pids":
		return []setting{{"pids.max", number(r.PIDLimit()), false}}
	case "devices":
		list := []setting{{"devices.deny", "a", false}}
		for _, device := range []string{"1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*"} {
			list = append(list, setting{"devices.allow", "c " + device + " rwm", false})
		}
		return list
	case "unified":
		list := []setting{{"pids.max", number(r.PIDLimit()), false}}
		if r.CPUMilli > 0 {
			list = append(list, setting{"cpu.max", quota + " " + number(cpuPeriod), false})
		}
		if r.MemoryBytes > 0 {
			list = append(list, setting{"memory.max", number(r.MemoryBytes), false}, setting{"memory.swap.max", "0", true})
		}
		return list
	}
	return nil
}

// remove takes groups away, with what is left in them.
func (g groups) remove(folders map[string]string) error {
	var all error
	for _, folder := range folders {
		if err := removeGroup(folder); err != nil {
			all = errors.Join(all, err)
		}
		unix.Rmdir(filepath.Dir(folder)) //nolint:errcheck // other containers have groups there
	}
	return all
}

func removeGroup(folder string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := unix.Rmdir(folder)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY || time.Now().After(deadline) {
			return &fs.PathError{Op: "removing control group", Path: folder, Err: err}
		}
		pids, _ := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		for _, field := range strings.Fields(string(pids)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may just have ended
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}
