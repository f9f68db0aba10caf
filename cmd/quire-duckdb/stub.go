//go:build !(cgo && duckdb_arrow)

// Command quire-duckdb is the process that has DuckDB in it. It is built with
// cgo and the tag duckdb_arrow by tools/build.sh, which puts it into quire.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "quire-duckdb was built without DuckDB: tools/build.sh builds it with it")
	os.Exit(1)
}
