//go:build !unix

package engine

import "os"

// lockFile cannot lock here.
func lockFile(*os.File) bool { return true }

// ownFile cannot be told here.
func ownFile(os.FileInfo) bool { return true }
