package storagetest

import "syscall"

// childAttr lets a server not outlive a test that was killed.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
