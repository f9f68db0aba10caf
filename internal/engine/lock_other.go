//go:build !unix

package engine

import "os"

// canLock tells whether lockFile excludes others here.
const canLock = false

// lockFile cannot lock here.
func lockFile(*os.File) bool { return true }

// shareLock cannot lock here.
func shareLock(*os.File) bool { return true }

// ownFile cannot be told here.
func ownFile(os.FileInfo) bool { return true }
