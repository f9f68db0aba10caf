package engine

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"

	"quire/internal/kernel"
	"quire/internal/notebook"
)

// The bounds of what is read for the environment.
const (
	maxPackages  = 5000
	maxSmallFile = 1 << 20
)

// An environment is what a run ran in: read from disk beside the kernel's
// start, so that it takes no time of the run.
type environment struct {
	wg     sync.WaitGroup
	fields notebook.Object // owned by the goroutine until wg is done
	info   notebook.Object // owned by the run
}

// startEnvironment reads in the background.
func startEnvironment(r *run) *environment {
	e := &environment{fields: notebook.Object{}, info: notebook.Object{}}
	spec, dir := r.spec, filepath.Dir(r.req.InputPath)
	e.wg.Go(func() {
		host, _ := os.Hostname()
		e.fields["host"] = host
		e.fields["os"], e.fields["architecture"] = runtime.GOOS, runtime.GOARCH
		e.fields["cpus"] = runtime.NumCPU()
		if n := totalMemory(); n > 0 {
			e.fields["memoryBytes"] = n
		}
		if c := containerLimits(); len(c) > 0 {
			e.fields["container"] = c
		}
		if commit := gitCommit(dir); commit != "" {
			e.fields["gitCommit"] = commit
		}
		if p := pythonPackages(spec); len(p) > 0 {
			e.fields["packages"], e.fields["lock"] = p, lockHash(p)
		}
	})
	return e
}

// kernel notes what the kernel says of itself.
func (e *environment) kernel(spec kernel.Spec, info kernel.Info) {
	e.info["kernel"] = notebook.Object{
		"name": spec.Name, "implementation": info.Implementation, "implementationVersion": info.ImplementationVersion,
		"protocolVersion": info.ProtocolVersion,
	}
}

// object returns all that is known, after waiting for the reading.
func (e *environment) object() notebook.Object {
	e.wg.Wait()
	for k, v := range e.info {
		e.fields[k] = v
	}
	return e.fields
}

// totalMemory is the machine's memory in bytes, 0 when it does not say.
func totalMemory() int64 {
	for line := range strings.Lines(smallFile("/proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// containerLimits are what a control group allows us, version 2 or 1.
func containerLimits() notebook.Object {
	limits := notebook.Object{}
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n, err := strconv.ParseInt(strings.TrimSpace(smallFile(f)), 10, 64); err == nil && n > 0 && n < 1<<60 {
			limits["memoryBytes"] = n
			break
		}
	}
	if fields := strings.Fields(smallFile("/sys/fs/cgroup/cpu.max")); len(fields) == 2 {
		addCPULimit(limits, fields[0], fields[1])
	} else {
		addCPULimit(limits, strings.TrimSpace(smallFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")),
			strings.TrimSpace(smallFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us")))
	}
	return limits
}

func addCPULimit(limits notebook.Object, quota, period string) {
	q, err := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err == nil && err2 == nil && q > 0 && p > 0 {
		limits["cpuMilli"] = int64(q / p * 1000)
	}
}

// gitCommit is the commit that is checked out in the folder of the notebook, ""
// when it lies in no repository. It reads the repository's files and runs
// nothing.
func gitCommit(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for range 64 {
		if git := gitDir(filepath.Join(dir, ".git")); git != "" {
			return headCommit(git)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
	return ""
}

// gitDir follows the file that stands for .git in a worktree.
func gitDir(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if st.IsDir() {
		return path
	}
	link, ok := strings.CutPrefix(smallFile(path), "gitdir: ")
	if !ok {
		return ""
	}
	link = strings.TrimSpace(link)
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(path), link)
	}
	return link
}

func headCommit(git string) string {
	head := strings.TrimSpace(smallFile(filepath.Join(git, "HEAD")))
	ref, ok := strings.CutPrefix(head, "ref: ")
	if !ok {
		return commitID(head)
	}
	common := git
	if c := strings.TrimSpace(smallFile(filepath.Join(git, "commondir"))); c != "" {
		common = filepath.Join(git, c)
	}
	if !filepath.IsLocal(ref) {
		return ""
	}
	for _, dir := range []string{git, common} {
		if id := commitID(strings.TrimSpace(smallFile(filepath.Join(dir, ref)))); id != "" {
			return id
		}
	}
	for line := range strings.Lines(smallFile(filepath.Join(common, "packed-refs"))) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return commitID(id)
		}
	}
	return ""
}

func commitID(s string) string {
	if len(s) != 40 && len(s) != 64 {
		return ""
	}
	if strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

// pythonPackages lists what is installed for a Python kernel, name to version,
// from the names of the *.dist-info folders: reading them needs no Python.
func pythonPackages(spec kernel.Spec) notebook.Object {
	if !strings.EqualFold(spec.Language, "python") || len(spec.Argv) == 0 || !filepath.IsAbs(spec.Argv[0]) {
		return nil
	}
	prefix := filepath.Dir(filepath.Dir(spec.Argv[0]))
	var dirs []string
	for _, pattern := range []string{"lib/python3*/site-packages", "lib/python3*/dist-packages", "lib/python3/dist-packages"} {
		found, _ := filepath.Glob(filepath.Join(prefix, pattern))
		dirs = append(dirs, found...)
	}
	packages := notebook.Object{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name, version, ok := packageOf(e.Name())
			if ok && len(packages) < maxPackages {
				packages[name] = version
			}
		}
	}
	return packages
}

// lockHash is the same for environments with the same packages in the same
// versions: the SHA-256 of lines "name==version" in their order.
func lockHash(packages notebook.Object) string {
	lines := make([]string, 0, len(packages))
	for name, version := range packages {
		lines = append(lines, fmt.Sprintf("%s==%v\n", name, version))
	}
	sort.Strings(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

func packageOf(entry string) (name, version string, ok bool) {
	base, ok := strings.CutSuffix(entry, ".dist-info")
	if !ok {
		if base, ok = strings.CutSuffix(entry, ".egg-info"); !ok {
			return "", "", false
		}
	}
	parts := strings.SplitN(base, "-", 3)
	if len(parts) < 2 {
		return "", "", false
	}
	return strings.ReplaceAll(strings.ToLower(parts[0]), "_", "-"), parts[1], true
}

// smallFile is the text of a file of at most 1 MiB, "" when it cannot be read.
func smallFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	var b strings.Builder
	br := bufio.NewReader(f)
	for b.Len() < maxSmallFile {
		c, err := br.ReadByte()
		if err != nil {
			break
		}
		b.WriteByte(c)
	}
	return b.String()
}

// sortedKeys returns the keys of an object in order.
func sortedKeys(o map[string]string) []string {
	keys := make([]string, 0, len(o))
	for k := range o {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
