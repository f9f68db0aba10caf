package shim

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// Confine says how a container is isolated. The shim is started in new
// namespaces already, with all rights inside them; apply builds the
// container's file system there, and restrictThread gives the rights up.
type Confine struct {
	UID          int               `json:"uid"` // as seen inside
	GID          int               `json:"gid"`
	System       []TreeMount       `json:"system,omitempty"`    // the folders of the root
	Links        map[string]string `json:"links,omitempty"`     // the links in the root, by name
	Mounts       []TreeMount       `json:"mounts,omitempty"`    // in this order, over the rest
	ScratchFD    int               `json:"scratchFD,omitempty"` // a mount to hold /tmp and HOME; 0 is a tmpfs
	ScratchBytes int64             `json:"scratchBytes"`        // the size of that tmpfs
	Hostname     string            `json:"hostname"`
	Resolver     string            `json:"resolver,omitempty"` // the text of /etc/resolv.conf; "" leaves it
	Loopback     bool              `json:"loopback"`           // bring the network's own lo up
}

// TreeMount is one folder or file shown in the container.
type TreeMount struct {
	Source   string `json:"source,omitempty"`
	FD       int    `json:"fd,omitempty"` // a mount made by the starter, in place of Source
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// newRoot is where the root is built before it becomes "/": any folder that
// every system has.
const newRoot = "/tmp"

// piece is a tree to attach.
type piece struct {
	fd     int
	target string
}

// builder builds a root file system.
type builder struct {
	*Confine
	root int // newRoot
}

// apply makes the container's file system and name, and enters it.
func (c *Confine) apply() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return unavailable(err, "making mounts private")
	}
	b := &builder{Confine: c}
	// Trees are taken before newRoot is covered.
	system, err := take(c.System)
	if err != nil {
		return err
	}
	mounts, err := take(c.Mounts)
	if err != nil {
		return err
	}
	devices := b.takeDevices()
	if err := b.cover(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"the system folders", func() error { return b.attachAll(system) }},
		{"/proc", b.proc},
		{"/dev", func() error { return b.dev(devices) }},
		{"/tmp and home", b.scratch},
		{"/etc", b.etc},
		{"the mounts", func() error { return b.attachAll(mounts) }},
		{"the root", b.enter},
		{"the host name", func() error { return unix.Sethostname([]byte(c.Hostname)) }},
		{"the loopback network", b.loopback},
	} {
		if err := step.do(); err != nil {
			return unavailable(err, "making "+step.name)
		}
	}
	return nil
}

func unavailable(err error, doing string) error {
	if problem.KindOf(err) != problem.Internal {
		return problem.Wrap(err, "%s", doing)
	}
	return problem.WrapAs(problem.Unavailable, err, "%s", doing)
}

// take makes the mounts that the starter has not made.
func take(trees []TreeMount) ([]piece, error) {
	var mounts []piece
	for _, m := range trees {
		fd := m.FD
		if fd == 0 {
			var err error
			if fd, err = CloneTree(m.Source, m.ReadOnly, unix.RESOLVE_NO_SYMLINKS, -1); err != nil {
				return nil, mountError(err, m.Source)
			}
		}
		mounts = append(mounts, piece{fd, m.Target})
	}
	return mounts, nil
}

func mountError(err error, source string) error {
	if err == unix.ELOOP {
		return problem.New(problem.Invalid, "mount %s: a part of the path is a symbolic link; give the real path", source)
	}
	return problem.WrapAs(problem.Unavailable, err, "mount %s", source)
}

// CloneTree returns a mount of a folder or file that is attached nowhere,
// without setuid and devices. With a user namespace in idmap, files of the
// namespace's first user become files of the user it stands for.
func CloneTree(source string, readOnly bool, resolve uint64, idmap int) (int, error) {
	at, err := unix.Openat2(unix.AT_FDCWD, source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	tree, err := unix.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return -1, err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if idmap >= 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(idmap)
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

var deviceNames = []string{"null", "zero", "full", "random", "urandom", "tty"}

func (b *builder) takeDevices() []piece {
	var devices []piece
	for _, name := range deviceNames {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err == nil { // what is missing is missing for programs inside, too
			devices = append(devices, piece{fd, "/dev/" + name})
		}
	}
	return devices
}

// cover mounts the tmpfs that becomes the root.
func (b *builder) cover() error {
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m"); err != nil {
		return unavailable(err, "making a root")
	}
	var err error
	b.root, err = unix.Open(newRoot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return unavailable(err, "making a root")
	}
	for name, to := range b.Links {
		if err := unix.Symlinkat(to, b.root, name); err != nil {
			return unavailable(err, "making a root")
		}
	}
	for _, name := range []string{"run", "mnt", "srv", "sys", "proc", "dev", "tmp"} {
		if err := unix.Mkdirat(b.root, name, 0o755); err != nil && err != unix.EEXIST {
			return unavailable(err, "making a root")
		}
	}
	return nil
}

// resolve opens a path of the container; links in it lead nowhere outside.
func (b *builder) resolve(path string) (int, error) {
	return unix.Openat2(b.root, strings.TrimPrefix(path, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT,
	})
}

// place makes a folder, or an empty file, and what is above it.
func (b *builder) place(path string, dir bool) (int, error) {
	if path == "/" {
		return unix.Dup(b.root)
	}
	if fd, err := b.resolve(path); err != unix.ENOENT {
		return fd, err
	}
	parent, err := b.place(filepath.Dir(path), true)
	if err != nil {
		return -1, err
	}
	err = placeAt(parent, filepath.Base(path), dir)
	if err == unix.EROFS { // the image has the folder, and not what is to be in it
		err = b.widen(parent, func(wide int) error { return placeAt(wide, filepath.Base(path), dir) })
	}
	unix.Close(parent)
	if err != nil {
		return -1, fmt.Errorf("%s is not in the image and cannot be made: %w", path, err)
	}
	return b.resolve(path)
}

func placeAt(parent int, name string, dir bool) error {
	if dir {
		return unix.Mkdirat(parent, name, 0o755)
	}
	return unix.Mknodat(parent, name, unix.S_IFREG|0o644, 0)
}

// maxWide is how many entries a folder of an image may have that is made again
// for what is to be in it besides.
const maxWide = 256

// widen covers a read-only folder with one that has the same entries and those
// that add makes.
func (b *builder) widen(folder int, add func(wide int) error) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"mode", "0755"}, {"size", "1m"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	wide, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return err
	}
	defer unix.Close(wide)
	readable, err := unix.Openat(folder, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(readable), "a folder of the image")
	defer dir.Close()
	entries, err := dir.ReadDir(maxWide + 1)
	if err != nil && err != io.EOF {
		return err
	}
	if len(entries) > maxWide {
		return fmt.Errorf("the folder that it is to be in has more than %d entries", maxWide)
	}
	// What lies in it is attached once it is: before, a mount has no place.
	held := map[string]int{}
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			to, err := readlinkAt(readable, e.Name())
			if err == nil {
				err = unix.Symlinkat(to, wide, e.Name())
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := placeAt(wide, e.Name(), e.IsDir()); err != nil {
			return err
		}
		if held[e.Name()], err = unix.OpenTree(readable, e.Name(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW|unix.AT_RECURSIVE); err != nil {
			return err
		}
	}
	if err := add(wide); err != nil {
		return err
	}
	if err := unix.MoveMount(wide, "", folder, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return err
	}
	for name, fd := range held {
		if err := unix.MoveMount(fd, "", wide, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
	}
	return unix.MountSetattr(wide, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

func readlinkAt(dir int, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buffer)
	return string(buffer[:max(n, 0)]), err
}

func (b *builder) attach(p piece) error {
	var stat unix.Stat_t
	if err := unix.Fstat(p.fd, &stat); err != nil {
		return err
	}
	at, err := b.place(p.target, stat.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	defer unix.Close(p.fd)
	if err := unix.MoveMount(p.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("attaching %s: %w", p.target, err)
	}
	return nil
}

func (b *builder) attachAll(pieces []piece) error {
	for _, p := range pieces {
		if err := b.attach(p); err != nil {
			return err
		}
	}
	return nil
}

// The parts of /proc that tell of the machine or change it.
var (
	procHidden   = []string{"kcore", "keys", "key-users", "timer_list", "sched_debug", "sysrq-trigger", "kallsyms", "kmsg", "vmallocinfo", "slabinfo"}
	procReadOnly = []string{"sys", "irq", "bus", "fs"}
)

func (b *builder) proc() error {
	if err := unix.Mount("proc", newRoot+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting it (a container around us may forbid it): %w", err)
	}
	for _, name := range procReadOnly {
		fd, err := CloneTree(newRoot+"/proc/"+name, true, 0, -1)
		if err == unix.ENOENT {
			continue
		}
		if err == nil {
			err = b.attach(piece{fd, "/proc/" + name})
		}
		if err != nil {
			return err
		}
	}
	for _, name := range procHidden {
		if _, err := os.Lstat(newRoot + "/proc/" + name); err != nil {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/null", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err == nil {
			err = b.attach(piece{fd, "/proc/" + name})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) dev(devices []piece) error {
	if err := b.attachAll(devices); err != nil {
		return err
	}
	dev := newRoot + "/dev"
	for _, name := range []string{"shm", "pts"} {
		if err := os.Mkdir(dev+"/"+name, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("mode=1777,size=%d", b.ScratchBytes)); err != nil {
		return err
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, dev+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// scratch makes /tmp, /var/tmp and HOME: parts of one file system with one
// size.
func (b *builder) scratch() error {
	at := newRoot + "/mnt"
	var err error
	if b.ScratchFD > 0 {
		err = unix.MoveMount(b.ScratchFD, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
		unix.Close(b.ScratchFD)
	} else {
		err = unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", b.ScratchBytes, max(1024, b.ScratchBytes>>12)))
	}
	if err != nil {
		return err
	}
	for name, target := range map[string]string{"tmp": "/tmp", "home": Home, "var-tmp": "/var/tmp"} {
		folder := at + "/" + name
		if err := os.Mkdir(folder, 0o700); err != nil && !os.IsExist(err) {
			return err
		}
		if name != "home" {
			if err := os.Chmod(folder, 0o777|os.ModeSticky); err != nil {
				return err
			}
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err == nil {
			err = b.attach(piece{fd, target})
		}
		if err != nil {
			return err
		}
	}
	return unix.Unmount(at, unix.MNT_DETACH)
}

// etc puts the container's own user and name in the place of the host's.
func (b *builder) etc() error {
	files := map[string]string{
		"passwd":   fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\nquire:x:%d:%d:quire:%s:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", b.UID, b.GID, Home),
		"group":    fmt.Sprintf("root:x:0:\nquire:x:%d:\nnogroup:x:65534:\n", b.GID),
		"hosts":    "127.0.0.1 localhost " + b.Hostname + "\n::1 localhost\n",
		"hostname": b.Hostname + "\n",
	}
	if b.Resolver != "" {
		files["resolv.conf"] = b.Resolver
	}
	if err := os.Mkdir(newRoot+"/.etc", 0o755); err != nil {
		return err
	}
	for name, text := range files {
		own := newRoot + "/.etc/" + name
		if err := os.WriteFile(own, []byte(text), 0o444); err != nil {
			return err
		}
		at, missing := b.resolve("/etc/" + name)
		if missing == nil {
			unix.Close(at)
		}
		fd, err := CloneTree(own, true, 0, -1)
		if err == nil {
			err = b.attach(piece{fd, "/etc/" + name})
		}
		if err != nil && missing == nil { // an image whose /etc is no folder, say, goes without
			return err
		}
	}
	return nil
}

// enter makes newRoot the root, read-only, and lets go of the host's.
func (b *builder) enter() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	unix.Close(b.root)
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
}

func (b *builder) loopback() error {
	if !b.Loopback {
		return nil
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// Writable are the paths that processes inside may write below, besides the
// mounts that are not read-only.
func (c *Confine) writable() []string {
	paths := []string{"/tmp", "/var/tmp", Home, "/dev/shm", "/dev/pts"}
	for _, m := range c.Mounts {
		if !m.ReadOnly {
			paths = append(paths, m.Target)
		}
	}
	return paths
}

// restrictThread gives up, for this thread and all that it starts, every
// capability, the way to new ones, writing elsewhere and the system calls that
// a notebook does not need.
func (c *Confine) restrictThread() error {
	for n := uintptr(0); n <= 63; n++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err == unix.EINVAL {
			break // past the last one that this kernel has
		} else if err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := landlock(c.writable()); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return filterCalls()
}
