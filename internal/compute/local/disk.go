//go:build linux

package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// diskReason says why a disk cannot be limited with a file system of its own,
// or "".
func diskReason(root bool) string {
	if !root {
		return "only root can mount a file system from a file"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "this machine has no loop devices"
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return "mkfs.ext4 is not installed"
	}
	return ""
}

// newDisk makes an ext4 file system of a size in a sparse file and returns its
// mount, which is attached nowhere. Everything of it goes with the last who
// holds the mount, and the file. Where that is not possible it returns nil.
func newDisk(path string, size int64, owner int) (*os.File, error) {
	if diskReason(true) != "" {
		return nil, nil
	}
	doing := "making a disk of " + strconv.FormatInt(size, 10) + " bytes"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "%s", doing)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "%s", doing)
	}
	var trouble bytes.Buffer
	mkfs := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal,^resize_inode",
		"-E", fmt.Sprintf("lazy_itable_init=1,nodiscard,root_owner=%d:%d", owner, owner), path)
	mkfs.Env, mkfs.Stderr = []string{"PATH=" + os.Getenv("PATH")}, &trouble
	if err := mkfs.Run(); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "%s: %s", doing, bytes.TrimSpace(trouble.Bytes()))
	}
	fd, err := mountLoop(f)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "%s", doing)
	}
	return os.NewFile(uintptr(fd), "disk"), nil
}

// loops serialises finding a free loop device and taking it.
var loops sync.Mutex

func mountLoop(f *os.File) (int, error) {
	device, path, err := attachLoop(f)
	if err != nil {
		return -1, err
	}
	defer device.Close() // the mount holds the device; it detaches itself with that
	context, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(context)
	if err := unix.FsconfigSetString(context, "source", path); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

func attachLoop(f *os.File) (*os.File, string, error) {
	loops.Lock()
	defer loops.Unlock()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, "", err
	}
	defer control.Close()
	for range 64 { // another process may take the free one first
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, "", err
		}
		path := "/dev/loop" + strconv.Itoa(n)
		device, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, "", err
		}
		cfg := unix.LoopConfig{Fd: uint32(f.Fd()), Size: 4096}
		cfg.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(device.Fd()), &cfg)
		if err == nil {
			return device, path, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, "", err
		}
	}
	return nil, "", unix.EBUSY
}
