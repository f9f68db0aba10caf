//go:build cgo && duckdb_arrow

package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/cdata"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	duck "github.com/duckdb/duckdb-go-bindings"
)

// arriving is the name under which what is loaded can be selected from.
const arriving = "quire_arriving"

// load makes a table of the Arrow stream that arrives, in one transaction.
func (o *order) load() error {
	defer o.out.Tell(o.report)()
	table, err := qualified(o.ask.Name)
	if err != nil {
		return err
	}
	end, err := o.scan()
	if err != nil {
		return err
	}
	defer end()
	into := map[string]string{
		"create": "CREATE TABLE " + table + " AS FROM " + arriving, "replace": "CREATE OR REPLACE TABLE " + table + " AS FROM " + arriving,
		"append": "INSERT INTO " + table + " BY NAME FROM " + arriving,
	}[o.ask.Mode]
	if into == "" {
		return invalid("mode %q: want create, replace or append", o.ask.Mode)
	}
	var res duck.Result
	defer duck.DestroyResult(&res)
	if duck.Query(o.conn, into, &res) == duck.StateError {
		f := faultOf(duck.ResultError(&res), 0)
		f.Offset = -1 // it is in our text
		return f
	}
	n := int64(duck.RowsChanged(&res))
	if n == 0 && o.ask.Mode != "append" {
		n = duck.ValueInt64(&res, 0, 0)
	}
	o.rows, o.affected = n, &n
	return nil
}

// parquet makes a Parquet file of the Arrow stream that arrives, and sends it.
func (o *order) parquet() (err error) {
	end, err := o.scan()
	if err != nil {
		return err
	}
	defer end()
	file, err := os.CreateTemp(o.engine.cfg.Temp, "result-*.parquet")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	var res duck.Result
	defer duck.DestroyResult(&res)
	if duck.Query(o.conn, "COPY (FROM "+arriving+") TO "+literal(file.Name())+" (FORMAT parquet, COMPRESSION zstd)", &res) == duck.StateError {
		f := faultOf(duck.ResultError(&res), 0)
		f.Offset = -1
		return f
	}
	made, err := os.Open(file.Name()) // DuckDB may have put another in its place
	if err != nil {
		return err
	}
	defer made.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{o.out}, struct{ io.Reader }{made}, make([]byte, 1<<20))
	return err
}

// scan makes the stream that arrives a view of this connection. The function
// that it returns ends that.
func (o *order) scan() (end func(), err error) {
	reader, err := ipc.NewReader(o.in)
	if err != nil {
		return nil, invalid("what is loaded is no Arrow stream: %v", err)
	}
	stream := C.calloc(1, C.size_t(unsafe.Sizeof(cdata.CArrowArrayStream{})))
	c := (*cdata.CArrowArrayStream)(stream)
	cdata.ExportRecordReader(reader, c)
	reader.Release()
	end = func() {
		cdata.ReleaseCArrowArrayStream(c)
		C.free(stream)
	}
	if duck.ArrowScan(o.conn, arriving, duck.ArrowStream{Ptr: stream}) == duck.StateError {
		end()
		return nil, invalid("DuckDB does not take this Arrow stream")
	}
	return end, nil
}

// references returns the tables that a statement names.
func (o *order) references() (json.RawMessage, error) {
	list := duck.GetTableNames(o.conn, o.ask.SQL, true)
	defer duck.DestroyValue(&list)
	names := []string{}
	for i := range duck.GetListSize(list) {
		child := duck.GetListChild(list, i)
		names = append(names, duck.GetVarchar(child))
		duck.DestroyValue(&child)
	}
	return json.Marshal(names)
}

// qualified is a name of up to three parts as SQL, each quoted.
func qualified(name string) (string, error) {
	parts, err := splitName(name)
	if err != nil {
		return "", err
	}
	for i, part := range parts {
		parts[i] = quote(part)
	}
	return strings.Join(parts, "."), nil
}

// splitName cuts a name at its dots; parts in double quotes may hold them.
func splitName(name string) ([]string, error) {
	var parts []string
	var part strings.Builder
	inside := false
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '"' && inside && i+1 < len(name) && name[i+1] == '"':
			part.WriteByte('"')
			i++
		case c == '"':
			inside = !inside
		case c == '.' && !inside:
			parts = append(parts, part.String())
			part.Reset()
		case c == 0:
			return nil, invalid("the name of a table holds a zero byte")
		default:
			part.WriteByte(c)
		}
	}
	parts = append(parts, part.String())
	for _, one := range parts {
		if one == "" || inside || len(parts) > 3 {
			return nil, invalid("%s is no name of a table: want name, schema.name or catalog.schema.name", fmt.Sprintf("%q", name))
		}
	}
	return parts, nil
}
