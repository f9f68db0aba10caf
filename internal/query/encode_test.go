package query

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// TestDecimalsKeepTheirPlaces reads decimals, which are what their type says
// although some end in zeros.
func TestDecimalsKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	kind := &arrow.Decimal128Type{Precision: 9, Scale: 2}
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: kind, Nullable: true}}, nil)
	builder := array.NewDecimal128Builder(memory.DefaultAllocator, kind)
	for _, n := range []int64{242720, -5, 0} {
		builder.Append(decimal128.FromI64(n))
	}
	builder.AppendNull()
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	if err := w.Write(array.NewRecordBatch(schema, []arrow.Array{builder.NewArray()}, 4)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	page, err := ReadPage(bytes.NewReader(stream.Bytes()), 0, 10)
	if err != nil || len(page.Columns) != 1 || !page.Columns[0].Numeric() {
		t.Fatalf("%+v, %v", page, err)
	}
	var got []string
	for _, row := range page.Rows {
		got = append(got, string(row[0]))
	}
	if want := `"2427.20" "-0.05" "0.00" null`; strings.Join(got, " ") != want {
		t.Errorf("the page has %v, want %s", got, want)
	}
	var out bytes.Buffer
	if err := WriteCSV(&out, &stream); err != nil || out.String() != "n\n2427.20\n-0.05\n0.00\n\n" {
		t.Errorf("the file is %q, %v", out.String(), err)
	}
}

func TestNumeric(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"int64": true, "BIGINT": true, "INTEGER": true, "numeric(10,2)": true, "DOUBLE": true, "UINTEGER": true, "decimal128": true,
		"interval": false, "INTERVAL": false, "VARCHAR": false, "timestamp": false, "": false,
	} {
		if got := (Column{Type: name}).Numeric(); got != want {
			t.Errorf("%q is a number: %v", name, got)
		}
	}
}
