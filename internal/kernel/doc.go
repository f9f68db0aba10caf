// Package kernel runs Jupyter kernels and speaks with them: it finds the
// installed kernels (Finder), starts one as a process of its own (Start),
// executes code on it (Kernel.Execute), and says in words how it ended (Death).
//
// What it promises:
//   - Every message that a kernel publishes is delivered, in the order of its
//     arrival, however slowly it is read: what waits is kept in memory up to a
//     bound and then in an unlinked temporary file.
//   - A kernel's end is seen when it happens, because the process is waited
//     for, and is reported after everything that the kernel said.
//   - A kernel does not outlive the program that started it, and leaves no
//     connection file, socket or lock behind.
package kernel
