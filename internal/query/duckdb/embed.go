package duckdb

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"quire/internal/problem"
)

// program holds quire-duckdb.zst where tools/build.sh has put it; without it
// this program is whole but for DuckDB.
//
//go:embed all:worker
var program embed.FS

const programFile = "worker/quire-duckdb.zst"

// Embedded tells whether this program has DuckDB in it.
func Embedded() bool {
	_, err := fs.Stat(program, programFile)
	return err == nil
}

// extract puts the program into dir, under a name that its content says, and
// returns its path. One that is there is used again.
func extract(dir string) (string, error) {
	packed, err := program.Open(programFile)
	if err != nil {
		return "", problem.New(problem.Unavailable, "this quire was built without DuckDB: make build, on a machine with a C++ compiler, builds it in; connections to other engines work without")
	}
	defer packed.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, packed); err != nil {
		return "", problem.WrapAs(problem.Internal, err, "reading DuckDB in this program")
	}
	path := filepath.Join(dir, "quire-duckdb-"+hex.EncodeToString(hash.Sum(nil))[:16])
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, problem.WrapAs(problem.Unavailable, unpack(dir, path), "putting DuckDB into the data directory")
}

// unpack writes the program beside path and renames it: under that name it is
// always whole.
func unpack(dir, path string) (err error) {
	packed, err := program.Open(programFile)
	if err != nil {
		return err
	}
	defer packed.Close()
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	file, err := os.CreateTemp(dir, ".quire-duckdb-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = io.Copy(file, z)
	if err = errors.Join(err, file.Chmod(0o500), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
