//go:build linux

package local

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// Config is what the driver needs.
type Config struct {
	Dir      string   // where containers are kept; required; no container sees it
	Program  *os.File // what is started beside a container, as with program.Shim; nil is the running binary
	LogBytes int64    // how much of a log is kept; 0 is shim.DefaultLogBytes
	// Images are the folders of unpacked images, by the reference that a spec
	// names them with: "name@sha256:..." or "name:tag".
	Images    map[string]string
	HostPaths []string // shown read-only in every container without an image, where they are: a Python, kernels
}

// containerUser is who the containers' processes are on the host when the
// driver is root: a user that owns nothing and that no system gives out.
const containerUser = 2_000_000_000

// Driver runs containers on this machine.
type Driver struct {
	*shim.Place
	iso *isolation
}

var _ compute.Driver = (*Driver)(nil)

// Open opens the driver. The caller closes it.
func Open(cfg Config) (*Driver, error) {
	iso := &isolation{cfg: cfg, root: os.Geteuid() == 0, groups: findGroups()}
	place, err := shim.Open(shim.Options{
		Name: "local", Dir: cfg.Dir, Program: cfg.Program, LogBytes: cfg.LogBytes,
	}, iso)
	if err != nil {
		return nil, err
	}
	return &Driver{place, iso}, nil
}

// Close lets go of what the driver holds.
func (d *Driver) Close() error {
	d.iso.close()
	return d.Place.Close()
}

// isolation makes what is around a container's processes.
type isolation struct {
	cfg    Config
	root   bool // whether this process may do everything
	groups groups

	mu    sync.Mutex
	idmap *os.File // a user namespace that shows our files as the container user's; nil until needed
}

func (i *isolation) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.idmap != nil {
		i.idmap.Close()
		i.idmap = nil
	}
}

// notes are what is kept with a container.
type notes struct {
	Groups map[string]string `json:"groups,omitempty"` // the folder of its control group, by controller
	Wire   *wire             `json:"wire,omitempty"`   // its network, where it is private
}

// Plan checks what the spec needs of this machine.
func (i *isolation) Plan(spec compute.Spec) (json.RawMessage, error) {
	var found compute.Violations
	if spec.Image != "" && i.cfg.Images[spec.Image] == "" {
		found.Add("image", "there is no image %s here: the configuration names the folders of unpacked ones", spec.Image)
	}
	if spec.Resources.GPUs > 0 {
		found.Add("resources.gpus", "%s", gpuReason)
	}
	n := notes{Groups: i.groups.of(spec.ID)}
	if spec.Network.Mode == compute.NetworkPrivate {
		if reason := i.privateNetwork(); reason != "" {
			found.Add("network.mode", "a private network is not possible here: %s", reason)
		}
		n.Wire = newWire(spec.ID)
	}
	if err := found.Err("planning"); err != nil {
		return nil, err
	}
	return json.Marshal(n)
}

const gpuReason = "the local driver does not give out GPUs"

// Launch makes control groups, mounts and the disk, and says how to start the
// shim.
func (i *isolation) Launch(spec compute.Spec, raw json.RawMessage, dir string) (*shim.Launch, error) {
	var n notes
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	if spec.Image != "" {
		if spec.Root = i.cfg.Images[spec.Image]; spec.Root == "" {
			return nil, problem.New(problem.NotFound, "image %s is not in the configuration any more", spec.Image)
		}
	}
	l := &shim.Launch{Attr: i.attr(spec)}
	l.Config = shim.Config{
		Argv: spec.Argv, Env: environment(spec), Dir: workFolder(spec),
		Limits: shim.Limits{MemoryBytes: spec.Resources.MemoryBytes},
		Confine: &shim.Confine{
			UID: orDefault(spec.UID), GID: orDefault(spec.GID),
			Hostname: "quire-" + spec.ID[:min(len(spec.ID), 40)], Loopback: spec.Network.Mode != compute.NetworkHost,
			ScratchBytes: scratchBytes(spec.Resources),
		},
	}
	add := func(f *os.File) int {
		l.Files = append(l.Files, f)
		return shim.FirstFD + len(l.Files) - 1
	}
	err := i.groups.make(n.Groups, spec.Resources, add, &l.Config)
	if err == nil {
		err = i.system(spec, n.Groups, add, l.Config.Confine)
	}
	if err == nil {
		err = i.mounts(spec, add, l.Config.Confine)
	}
	if err == nil && i.root && spec.Resources.DiskBytes > 0 {
		var disk *os.File
		if disk, err = newDisk(filepath.Join(dir, "disk"), spec.Resources.DiskBytes, containerUser); err == nil && disk != nil {
			l.Config.Confine.ScratchFD = add(disk)
		}
	}
	if err != nil {
		for _, f := range l.Files {
			f.Close()
		}
		return nil, err
	}
	if len(n.Groups) == 0 {
		ownLimits(spec.Resources, &l.Config.Limits)
	}
	if n.Wire != nil {
		if resolver, err := os.ReadFile("/etc/resolv.conf"); err == nil {
			l.Config.Confine.Resolver = string(resolver)
		}
		l.Attached = func(pid int) error { return n.Wire.connect(pid, spec) }
	}
	return l, nil
}

// attr are the namespaces. The container's user is the only one in its user
// namespace; on the host it is containerUser, or we where we are not root.
func (i *isolation) attr(spec compute.Spec) *syscall.SysProcAttr {
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if spec.Network.Mode != compute.NetworkHost {
		flags |= unix.CLONE_NEWNET
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if i.root {
		uid, gid = containerUser, containerUser
	}
	return &syscall.SysProcAttr{
		Cloneflags:                 flags,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: orDefault(spec.UID), HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: orDefault(spec.GID), HostID: gid, Size: 1}},
		GidMappingsEnableSetgroups: i.root,
		Credential:                 &syscall.Credential{Uid: uint32(orDefault(spec.UID)), Gid: uint32(orDefault(spec.GID)), NoSetGroups: !i.root},
		AmbientCaps:                []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP},
		Setsid:                     true,
	}
}

func orDefault(id int) int {
	if id == 0 {
		return compute.DefaultUID
	}
	return id
}

func environment(spec compute.Spec) []string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": shim.Home,
		"USER": "quire", "LOGNAME": "quire", "LANG": "C.UTF-8", "SHELL": "/bin/sh",
	}
	for name, value := range spec.Env {
		env[name] = value
	}
	return shim.EnvList(env)
}

func workFolder(spec compute.Spec) string {
	if spec.Dir != "" {
		return spec.Dir
	}
	for _, m := range spec.Mounts {
		if !m.ReadOnly {
			return m.Target
		}
	}
	return shim.Home
}

// mounts prepares the spec's mounts.
func (i *isolation) mounts(spec compute.Spec, add func(*os.File) int, c *shim.Confine) error {
	for _, m := range spec.Mounts {
		tree, err := i.tree(shim.TreeMount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}, add, true)
		if err != nil {
			return err
		}
		c.Mounts = append(c.Mounts, tree)
	}
	return nil
}

// tree makes a mount here where we are root, and with owned shows our files
// in it as the container's user's; otherwise the shim makes it.
func (i *isolation) tree(m shim.TreeMount, add func(*os.File) int, owned bool) (shim.TreeMount, error) {
	if !i.root {
		return m, nil
	}
	idmap := -1
	if owned {
		ns, err := i.ownerMap()
		if err != nil {
			return m, err
		}
		idmap = int(ns.Fd())
	}
	fd, err := shim.CloneTree(m.Source, m.ReadOnly, unix.RESOLVE_NO_SYMLINKS, idmap)
	switch {
	case errors.Is(err, unix.ELOOP):
		return m, problem.New(problem.Invalid, "mount %s: a part of the path is a symbolic link; give the real path", m.Source)
	case errors.Is(err, unix.ENOENT):
		return m, problem.New(problem.NotFound, "mount %s: it is not there", m.Source)
	case err != nil:
		return m, problem.WrapAs(problem.Unavailable, err, "mount %s with the container's user as its owner (its file system has to allow that; a server of an ordinary user does without)", m.Source)
	}
	m.FD = add(os.NewFile(uintptr(fd), m.Source))
	m.Source = ""
	return m, nil
}

// systemFolders are what of the host a container without an image sees.
var systemFolders = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt"}

// maxImageEntries is how many folders and links the top of an image may hold.
const maxImageEntries = 100

// system prepares the folders of the root: those of the image, or the host's
// and what the configuration shares.
func (i *isolation) system(spec compute.Spec, groups map[string]string, add func(*os.File) int, c *shim.Confine) error {
	top, names, isImage := "/", systemFolders, spec.Root != ""
	if isImage {
		top, names = spec.Root, nil
		entries, err := os.ReadDir(spec.Root)
		if err != nil {
			return problem.WrapAs(problem.NotFound, err, "reading the image")
		}
		for _, e := range entries {
			if !slices.Contains([]string{"proc", "sys", "dev", "tmp", "run"}, e.Name()) {
				names = append(names, e.Name())
			}
		}
		if len(names) > maxImageEntries {
			return problem.New(problem.Invalid, "the image has %d entries at its top, above the maximum of %d", len(names), maxImageEntries)
		}
	}
	c.Links = make(map[string]string)
	add1 := func(source, target string) error {
		tree, err := i.tree(shim.TreeMount{Source: source, Target: target, ReadOnly: true}, add, isImage && strings.HasPrefix(source, spec.Root))
		c.System = append(c.System, tree)
		return err
	}
	for _, name := range names {
		path := filepath.Join(top, name)
		info, err := os.Lstat(path)
		switch {
		case err != nil: // not every system has all of them
		case info.Mode()&os.ModeSymlink != 0:
			if c.Links[name], err = os.Readlink(path); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "reading %s", path)
			}
		case info.IsDir():
			if err := add1(path, "/"+name); err != nil {
				return err
			}
		}
	}
	// Programs size themselves by their control group: the JVM, and ourselves.
	for name, folder := range groups {
		target := "/sys/fs/cgroup"
		if name != "unified" {
			target += "/" + name
		}
		if err := add1(folder, target); err != nil {
			return err
		}
	}
	if isImage {
		return nil
	}
	// They may lie below /tmp, which is made after the system's folders.
	for _, path := range i.cfg.HostPaths {
		tree, err := i.tree(shim.TreeMount{Source: path, Target: path, ReadOnly: true}, add, false)
		if err != nil {
			return err
		}
		c.Mounts = append(c.Mounts, tree)
	}
	return nil
}

// ownerMap returns the user namespace that maps us to the container's user.
func (i *isolation) ownerMap() (*os.File, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.idmap != nil {
		return i.idmap, nil
	}
	ns, err := shim.OwnerMap(i.cfg.Program, containerUser, containerUser)
	i.idmap = ns
	return ns, err
}

// Sizes of the scratch space.
const (
	defaultScratch = 256 * compute.MiB // where no disk was asked for: a tmpfs
)

// scratchBytes is how large /tmp and HOME are while they are a tmpfs. It is
// memory: never more than a quarter of the machine's.
func scratchBytes(r compute.Resources) int64 {
	if r.DiskBytes == 0 {
		return defaultScratch
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return min(r.DiskBytes, defaultScratch)
	}
	return min(r.DiskBytes, int64(info.Totalram)*int64(info.Unit)/4)
}

// ownLimits are those that need no rights: of each process by itself, or of
// the user inside the namespace.
func ownLimits(r compute.Resources, limits *shim.Limits) {
	limits.DataBytes = r.MemoryBytes
	limits.Processes = r.PIDLimit()
	if r.CPUMilli > 0 {
		want := int((r.CPUMilli + 999) / 1000)
		var allowed unix.CPUSet
		if unix.SchedGetaffinity(0, &allowed) != nil || want >= allowed.Count() {
			return
		}
		limits.CPUs = pick(allowed, want)
	}
}

// pick takes some of the processors, others each time.
func pick(allowed unix.CPUSet, want int) []int {
	var all []int
	for n := range 1024 {
		if allowed.IsSet(n) {
			all = append(all, n)
		}
	}
	first := int(nextCPU.Add(int64(want)) % int64(len(all)))
	var chosen []int
	for n := range want {
		chosen = append(chosen, all[(first+n)%len(all)])
	}
	return chosen
}

// Measure reads the control group from the outside: what the shim cannot know
// any more, or cannot see.
func (i *isolation) Measure(spec compute.Spec, raw json.RawMessage, dir string, stats *compute.Stats) {
	var n notes
	if json.Unmarshal(raw, &n) != nil {
		return
	}
	if len(stats.Measured) == 0 {
		for _, folder := range n.Groups {
			for _, name := range shim.FigureFiles() {
				if data, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
					shim.AddFigure(stats, name, data)
				}
			}
		}
	}
	var stat unix.Stat_t
	if spec.Resources.DiskBytes > 0 && unix.Stat(filepath.Join(dir, "disk"), &stat) == nil {
		stats.DiskBytes = stat.Blocks * 512
		stats.Measured = append(stats.Measured, compute.Disk)
	}
	if n.Wire != nil {
		n.Wire.measure(stats)
	}
}

// Release takes away what Launch made outside the container's folder. Mounts
// and namespaces went with the last process.
func (i *isolation) Release(_ compute.Spec, raw json.RawMessage, _ string) error {
	var n notes
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	var err error
	if n.Wire != nil {
		err = n.Wire.disconnect()
	}
	return errors.Join(err, i.groups.remove(n.Groups))
}

// Probe says what this machine and this user can enforce.
func (d *Driver) Probe(context.Context) (compute.Probe, error) {
	i := d.iso
	yes := func(reason string) compute.Support { return compute.Support{Level: compute.Enforced, Reason: reason} }
	some := func(reason string) compute.Support {
		return compute.Support{Level: compute.BestEffort, Reason: reason}
	}
	no := func(reason string) compute.Support {
		return compute.Support{Level: compute.Unsupported, Reason: reason}
	}
	p := compute.Probe{
		Driver: "local", Refuses: []compute.Resource{compute.GPU},
		Summary: "Containers run in namespaces of their own on this machine, with limits by control groups.",
		Support: map[compute.Resource]compute.Support{
			compute.CPU: yes("by a control group"), compute.Memory: yes("by a control group"), compute.PIDs: yes("by a control group"),
			compute.Disk: yes("a file system of that size on a loop device holds /tmp and HOME; workspaces have their own quota"),
			compute.GPU:  no(gpuReason), compute.Network: yes("by a token bucket on both ends of the container's own network link"),
			compute.Filesystem: yes("a file system of its own, a user that owns nothing on the host, and Landlock"),
			compute.Processes:  yes("a process namespace of its own"),
			compute.Egress:     yes("a network of its own with packet filter rules on the host"),
		},
	}
	if !i.groups.usable() {
		p.Support[compute.CPU] = some("no control group may be made here: a container is pinned to that many processors, which others use too")
		p.Support[compute.Memory] = some("no control group may be made here: the limit holds for the data of each process by itself")
		p.Support[compute.PIDs] = yes("by a limit of the user inside its namespace")
		p.Summary = "Containers run in namespaces of their own on this machine; no control group may be made, so that limits hold less than fully."
	}
	if reason := diskReason(i.root); reason != "" {
		p.Support[compute.Disk] = some(reason + ": /tmp and HOME are held in memory, up to that size and a quarter of the machine's memory")
	}
	if reason := i.privateNetwork(); reason != "" {
		p.Support[compute.Network] = no(reason + "; without a network there is no bandwidth to limit")
		p.Support[compute.Egress] = some(reason + ": a container has no network at all, or the host's")
	}
	if !i.root {
		p.Support[compute.Filesystem] = yes("a file system of its own and Landlock; its user is the server's on the host, and what is not mounted is out of reach")
	}
	if err := namespacesAllowed(); err != "" {
		for _, r := range compute.AllResources() {
			p.Support[r] = no(err)
		}
		p.Summary = "Containers cannot be started here: " + err
	}
	return p, nil
}

// namespacesAllowed says why a user namespace cannot be made, or "".
func namespacesAllowed() string {
	data, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil || strings.TrimSpace(string(data)) == "0" {
		return "user namespaces are switched off (user.max_user_namespaces)"
	}
	if data, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && strings.TrimSpace(string(data)) == "0" && os.Geteuid() != 0 {
		return "user namespaces are switched off for ordinary users (kernel.unprivileged_userns_clone)"
	}
	return ""
}
