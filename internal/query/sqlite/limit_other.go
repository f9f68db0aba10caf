//go:build !linux

package sqlite

// limitFiles is done on Linux only: elsewhere the disk is the limit.
func limitFiles(int64) {}
