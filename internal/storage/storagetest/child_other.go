//go:build !linux

package storagetest

import "syscall"

func childAttr() *syscall.SysProcAttr { return nil }
