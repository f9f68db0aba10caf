//go:build cgo && duckdb_arrow

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// pack compresses a program for quire to embed.
func pack(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(from), ".pack-")
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return errors.Join(err, out.Close(), os.Remove(out.Name()))
	}
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Chmod(0o644), out.Close()); err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), to)
}
