package notebook

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/problem"
)

// nb45 wraps cells into a notebook of version 4.5.
func nb45(cells string) string {
	return `{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[` + cells + `]}`
}

const fineCell = `{"cell_type":"markdown","id":"a","metadata":{},"source":""}`

// code makes a code cell around outputs.
func code(outputs string) string {
	return `{"cell_type":"code","id":"b","metadata":{},"source":"","execution_count":null,"outputs":[` + outputs + `]}`
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
	}{
		{"empty", "", "empty: want a JSON document"},
		{"space", " \n", "empty: want a JSON document"},
		{"not JSON", "import os\n", `line 1, column 1 (byte 0): want a JSON value, found "import os"`},
		{"HTML", "<!DOCTYPE html>", `want a JSON value, found "<!DOCTYPE html>"`},
		{"zeros", "\x00\x00\x00", `want a JSON value, found "\x00\x00\x00"`},
		{"half", nb45(fineCell)[:60], "line 1 (byte 60): the document ends too early: it is cut off"},
		{"half a string", "{\n\"a", "line 2 (byte 4): the document ends too early: it is cut off"},
		{"half a word", `{"a": tr`, "the document ends too early"},
		{"half an escape", `{"a": "\u12`, "the document ends too early"},
		{"half a number", `{"a": -`, "the document ends too early"},
		{"trailing", nb45("") + "\n}", `line 2, column 1 (byte 59): found "}" after the end of the document`},
		{"comma", `{"a": 1,}`, `line 1, column 9 (byte 8): want a key in double quotes, found "}"`},
		{"no colon", `{"a" 1}`, `want a colon after the key, found "1}"`},
		{"no comma", `{"a": [1 2]}`, `want a comma or ']', found "2]}"`},
		{"zero first", `[01]`, `want a comma or ']', found "1]"`},
		{"point", `[1.]`, `bad number, found "1.]"`},
		{"exponent", `[1e]`, `bad number, found "1e]"`},
		{"plus", `[+1]`, "want a JSON value"},
		{"control", "{\"a\tb\": 1}", "column 4 (byte 3): control character 0x09 inside a string"},
		{"escape", `{"\q": 1}`, `bad escape "\\q" in a string`},
		{"hex", `{"\u12g4": 1}`, `bad escape: want four hex digits after \u`},
		{"byte order mark", "\ufeff{}", "byte 0: a UTF-8 byte order mark"},
		{"UTF-16", "\xff\xfe{\x00", "byte 0: the file is UTF-16"},
		{"UTF-8", "{\n\"\xff\": 1}", "line 2, column 2 (byte 3): byte 0xff is not valid UTF-8"},
		{"surrogate bytes", "{\"\xed\xa0\x80\": 1}", "byte 0xed is not valid UTF-8"},
		{"list", `[]`, `not a notebook: want an object, found "[]" (line 1)`},
		{"string", `"nb"`, `not a notebook: want an object`},
		{"other JSON", `{"name": "x"}`, "nbformat is missing: this is JSON, but not a notebook"},
		{"nbformat type", `{"nbformat": "4"}`, `nbformat "4": want a whole number, 4 in today's notebooks (line 1)`},
		{"version 1", `{"nbformat": 1, "cells": []}`, "nbformat 1: too old: convert it with jupyter nbconvert"},
		{"version 5", `{"nbformat": 5, "cells": []}`, "nbformat 5: newer than this program reads: want 2 to 4"},
		{"minor type", `{"nbformat": 4, "nbformat_minor": 5.0, "cells": []}`, "nbformat_minor 5.0: want a whole number"},
		{"metadata type", `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":[]}`, "metadata []: want an object"},
		{"cells missing", `{"nbformat":4,"nbformat_minor":5,"metadata":{}}`, "cells is missing: want a list of cells"},
		{"cells type", `{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":{}}`, "cells {}: want a list of cells"},
		{"kernelspec", `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"kernelspec":"python3"}}`, "metadata: kernelspec is a string: want an object"},
		{"kernel name", `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"kernelspec":{"name":3}}}`, "metadata: kernelspec: name is a number: want a string"},
		{"language", `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"language_info":null}}`, "metadata: language_info is null: want an object"},
		{"cell", nb45("\n" + fineCell + ",\n7"), "cell 2: 7: want an object (line 3)"},
		{"no cell type", nb45(`{"id":"a","metadata":{},"source":""}`), "cell 1: cell_type is missing: want one of code, markdown, raw"},
		{"cell type", nb45(`{"cell_type":"cod","id":"a","metadata":{},"source":""}`), `cell 1: cell_type "cod": want one of code, markdown, raw`},
		{"cell type's type", nb45(`{"cell_type":1,"id":"a","metadata":{},"source":""}`), `cell 1: cell_type 1: want a string`},
		{"source", nb45(`{"cell_type":"raw","id":"a","metadata":{},"source":null}`), "cell 1: source null: want a string or a list of strings"},
		{"source line", nb45(`{"cell_type":"raw","id":"a","metadata":{},"source":["a",2]}`), "cell 1: source[1] 2: want a string"},
		{"cell metadata", nb45(`{"cell_type":"raw","id":"a","metadata":null,"source":""}`), "cell 1: metadata null: want an object"},
		{"id", nb45(`{"cell_type":"raw","id":1,"metadata":{},"source":""}`), "cell 1: id 1: want a string"},
		{"count", nb45(`{"cell_type":"code","id":"a","metadata":{},"source":"","outputs":[],"execution_count":"3"}`), `cell 1: execution_count "3": want a whole number or null`},
		{"outputs", nb45(`{"cell_type":"code","id":"a","metadata":{},"source":"","outputs":null,"execution_count":3}`), `cell 1: outputs null: want a list of outputs`},
		{"tags", nb45(`{"cell_type":"raw","id":"a","metadata":{"tags":"x"},"source":""}`), "cell 1: metadata: tags is a string: want a list of strings"},
		{"tag", nb45(`{"cell_type":"raw","id":"a","metadata":{"tags":["x",1]},"source":""}`), "cell 1: metadata: tags[1] is a number: want a string"},
		{"attachments", nb45(`{"cell_type":"raw","id":"a","metadata":{},"source":"","attachments":[]}`), "cell 1: attachments []: want an object"},
		{"attachment", nb45(`{"cell_type":"raw","id":"a","metadata":{},"source":"","attachments":{"p":{"image/png":1}}}`), `cell 1: attachments: "p": image/png 1: want a string or a list of strings`},
		{"output", nb45(fineCell + "," + code(`"x"`)), `cell 2: outputs[0]: "x": want an object`},
		{"no output type", nb45(code(`{}`)), `cell 1: outputs[0]: output_type is missing`},
		{"output type", nb45(fineCell + "," + code(`{"output_type":"error","ename":"","evalue":"","traceback":[]},{"output_type":"strem"}`)), `cell 2: outputs[1]: output_type "strem": want one of stream, display_data, execute_result, error`},
		{"stream name", nb45(code(`{"output_type":"stream","name":1,"text":""}`)), `cell 1: outputs[0]: name 1: want a string`},
		{"stream text", nb45(code(`{"output_type":"stream","name":"stdout","text":{}}`)), `cell 1: outputs[0]: text {}: want a string or a list`},
		{"data", nb45(code(`{"output_type":"display_data","metadata":{},"data":"x"}`)), `cell 1: outputs[0]: data "x": want an object`},
		{"data text", nb45(code(`{"output_type":"display_data","metadata":{},"data":{"text/plain":1}}`)), `cell 1: outputs[0]: data: text/plain 1: want a string or a list`},
		{"output metadata", nb45(code(`{"output_type":"display_data","metadata":1,"data":{}}`)), `cell 1: outputs[0]: metadata 1: want an object`},
		{"result count", nb45(code(`{"output_type":"execute_result","metadata":{},"data":{},"execution_count":1.5}`)), `cell 1: outputs[0]: execution_count 1.5: want a whole number or null`},
		{"ename", nb45(code(`{"output_type":"error","ename":1,"evalue":"","traceback":[]}`)), `cell 1: outputs[0]: ename 1: want a string`},
		{"traceback", nb45(code(`{"output_type":"error","ename":"","evalue":"","traceback":"x"}`)), `cell 1: outputs[0]: traceback "x": want a list of strings`},
		{"frame", nb45(code(`{"output_type":"error","ename":"","evalue":"","traceback":["x",null]}`)), `cell 1: outputs[0]: traceback[1] null: want a string`},
		{"old cell", `{"nbformat":3,"metadata":{},"worksheets":[{"cells":[{"cell_type":"cod"}]}]}`, `cell 1: cell_type "cod": want one of code, markdown, raw, heading, html`},
		{"old output", `{"nbformat":3,"metadata":{},"worksheets":[{"cells":[{"cell_type":"code","outputs":[{"output_type":"x"}]}]}]}`, `cell 1: outputs[0]: output_type "x": want one of stream, display_data, pyout, pyerr`},
		{"old JSON", `{"nbformat":3,"metadata":{},"worksheets":[{"cells":[{"cell_type":"code","outputs":[{"output_type":"pyout","json":"{"}]}]}]}`, `cell 1: outputs[0]: json holds what is not JSON`},
		{"old level", `{"nbformat":3,"metadata":{},"worksheets":[{"cells":[{"cell_type":"heading","source":"a","level":1000000000}]}]}`, `cell 1: level 1000000000: want a whole number from 1 to 6`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Read(strings.NewReader(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error that says %s", err, tt.want)
			}
			if !problem.Is(err, problem.Invalid) {
				t.Errorf("kind %v, want invalid", problem.KindOf(err))
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestReadMends(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"no id", nb45(`{"cell_type":"raw","metadata":{},"source":""}`), []string{`cell 1: id is missing: it is "00000001" now`}},
		{"empty id", nb45(`{"cell_type":"raw","id":"","metadata":{},"source":""}`), []string{`cell 1: id is missing: it is "00000001" now`}},
		{"same id", nb45(fineCell + "," + fineCell), []string{`cell 2: id "a" occurs twice: it is "00000001" now`}},
		{"bad id", nb45(`{"cell_type":"raw","id":"a b","metadata":{},"source":""}`), []string{`cell 1: id "a b": want 1 to 64 of a-z, A-Z, 0-9, - and _`}},
		{"bare cell", nb45(`{"cell_type":"code","id":"x"}`), []string{
			"cell 1: metadata is missing: taken for empty", "cell 1: source is missing: taken for empty",
			"cell 1: execution_count is missing: taken for null", "cell 1: outputs is missing: taken for empty",
		}},
		{"bare stream", nb45(code(`{"output_type":"stream"}`)), []string{
			"cell 1: outputs[0]: name is missing: taken for stdout", "cell 1: outputs[0]: text is missing: taken for empty",
		}},
		{"bare result", nb45(code(`{"output_type":"execute_result"}`)), []string{
			"cell 1: outputs[0]: data is missing: taken for empty", "cell 1: outputs[0]: metadata is missing: taken for empty",
			"cell 1: outputs[0]: execution_count is missing: taken for null",
		}},
		{"bare error", nb45(code(`{"output_type":"error"}`)), []string{
			"cell 1: outputs[0]: ename is missing: taken for empty", "cell 1: outputs[0]: evalue is missing: taken for empty",
			"cell 1: outputs[0]: traceback is missing: taken for empty",
		}},
		{"tag twice", nb45(`{"cell_type":"raw","id":"a","metadata":{"tags":["x","x","a,b"]},"source":""}`), []string{
			`cell 1: metadata: tags[1] "x": occurs twice`, `cell 1: metadata: tags[2] "a,b": want text without commas`,
		}},
		{"negative count", nb45(`{"cell_type":"code","id":"a","metadata":{},"source":"","outputs":[],"execution_count":-1}`), []string{
			"cell 1: execution_count -1: want 0 or more",
		}},
		{"kernelspec", `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"kernelspec":{"name":"x"}}}`, []string{
			"metadata: kernelspec: display_name is missing",
		}},
		{"minor", `{"nbformat":4,"cells":[],"metadata":{}}`, []string{"nbformat_minor is missing: taken for 0"}},
		{"old data", `{"nbformat":3,"metadata":{},"worksheets":[{"cells":[{"cell_type":"code","input":"","outputs":[{"output_type":"display_data","prompt_number":3}]}]}]}`, []string{
			"cell 1: outputs[0]: prompt_number 3: left out, it is no text",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nb, err := parse([]byte(tt.in), counter())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(nb.Warnings, "\n"), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			b, err := nb.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			sameAgain(t, b)
		})
	}
}

func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	cells := strings.Repeat(`{"cell_type":"raw"},`, 10_000) + fineCell
	nb, err := Parse([]byte(nb45(cells)))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(nb.Warnings); n < maxWarnings || n > maxWarnings+1 {
		t.Errorf("%d warnings, want about %d", n, maxWarnings)
	}
}

func TestReadKeepsUnknownFields(t *testing.T) {
	t.Parallel()
	in := `{"nbformat":4,"nbformat_minor":5,"metadata":{"z":{"b":[1,{"y":1,"x":null}]}},"top":[true],"cells":[` +
		`{"cell_type":"code","id":"a","metadata":{"m":1e3},"source":"","execution_count":1,"zz":"cell","attachments":{"f":{"text/plain":["a\n","b"]}},` +
		`"outputs":[{"output_type":"stream","name":"stdout","text":"","transient":{"a":1}}]},` +
		`{"cell_type":"markdown","id":"b","metadata":{},"source":"x","outputs":[],"execution_count":null}]}`
	nb, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(nb.Warnings) > 0 {
		t.Errorf("warnings %q", nb.Warnings)
	}
	b, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n \"top\": [\n  true\n ]\n", "\n   \"zz\": \"cell\"\n", "\"m\": 1000.0", "\"transient\": {", "\"outputs\": [],", "\"execution_count\": null,",
		"\"text/plain\": [\n      \"a\\n\",\n      \"b\"\n     ]",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
}

func TestReadNewerMinor(t *testing.T) {
	t.Parallel()
	in := `{"nbformat":4,"nbformat_minor":9,"metadata":{},"cells":[{"cell_type":"sql","id":"q","metadata":{},"query":"select 1"},` +
		`{"cell_type":"widget","id":"w","metadata":{},"source":["a\n","b"]},` + code(`{"output_type":"video","src":["a","b"]}`) + `]}`
	nb, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	b, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"nbformat_minor": 9`, `"query": "select 1"`, `"output_type": "video"`, "\"src\": [\n      \"a\","} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if strings.Count(string(b), `"source"`) != 2 {
		t.Errorf("a cell without source got one:\n%s", b)
	}
	sameAgain(t, b)
}

func TestDuplicateKeys(t *testing.T) {
	t.Parallel()
	in := `{"cells":3,"nbformat":9,"metadata":{"a":1,"a":2},"nbformat":4,"nbformat_minor":5,"cells":[{"source":1,"cell_type":"raw","id":"a","metadata":{},"source":"last"}]}`
	nb, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if nb.Cells[0].Source != "last" || nb.Metadata["a"] != Number("2") {
		t.Errorf("source %q, a %v: want the last of each", nb.Cells[0].Source, nb.Metadata["a"])
	}
}

func TestSurrogates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, text, out string }{
		{`"\ud83d\ude42"`, "🙂", `"🙂"`},
		{`["\ud83d","\ude42"]`, "🙂", `"🙂"`},
		{`"\ud800"`, "\xed\xa0\x80", `"\ud800"`},
		{`"a\udc00\ud800b"`, "a\xed\xb0\x80\xed\xa0\x80b", `"a\udc00\ud800b"`},
		{`"\ud800\ud83d\ude42"`, "\xed\xa0\x80🙂", `"\ud800🙂"`},
	} {
		nb, err := Parse([]byte(nb45(`{"cell_type":"raw","id":"a","metadata":{},"source":` + tt.in + `}`)))
		if err != nil {
			t.Fatal(err)
		}
		if got := nb.Cells[0].Source; got != tt.text {
			t.Errorf("%s: read %q, want %q", tt.in, got, tt.text)
		}
		b, err := nb.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), tt.out) {
			t.Errorf("%s: %s is not in\n%s", tt.in, tt.out, b)
		}
		sameAgain(t, b)
	}
}

func TestReadLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	if _, err := Parse([]byte(nested(MaxDepth - 2))); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	for name, in := range map[string]string{
		"depth":         nested(MaxDepth - 1),
		"endless depth": strings.Repeat("[", 1<<20),
		"objects": `{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{` +
			strings.Repeat(`"kernelspec":[`+strings.Repeat("{},", 100_000)+"{}],", 20) + `"a":1}}`,
	} {
		if _, err := Parse([]byte(in)); !problem.Is(err, problem.TooLarge) {
			t.Errorf("%s: got %v, want too large", name, err)
		}
	}
}

// TestBigMetadataStaysRaw: the state of widgets is kept as text.
func TestBigMetadataStaysRaw(t *testing.T) {
	t.Parallel()
	big := `{"b":"` + strings.Repeat("x", bigValue) + `","a":1.50}`
	nb, err := Parse([]byte(`{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":{"widgets":` + big + `,"papermill":` + big + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := nb.Metadata["widgets"].(Raw); !ok {
		t.Errorf("widgets is a %T, want Raw", nb.Metadata["widgets"])
	}
	if nb.Metadata.Object("papermill")["a"] != Number("1.5") {
		t.Errorf("papermill was not decoded")
	}
	b, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n   \"a\": 1.5,\n")); n != 2 {
		t.Errorf("%d of 2 sorted objects in %.300s", n, b)
	}
	sameAgain(t, b)
}

type failing struct{ after int }

func (f *failing) Read(p []byte) (int, error) {
	if f.after <= 0 {
		return 0, errors.New("the disk is gone")
	}
	n := copy(p, strings.Repeat("[", min(f.after, len(p))))
	f.after -= n
	return n, nil
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errors.New("the disk is full")
	}
	return len(p), nil
}

func TestReadAndWriteErrors(t *testing.T) {
	t.Parallel()
	if _, err := Read(&failing{after: 10}); err == nil || err.Error() != "reading the notebook after 10 bytes: the disk is gone" {
		t.Errorf("got %v", err)
	}
	nb := New()
	nb.Cells = append(nb.Cells, NewCode(strings.Repeat("x = 1\n", 1<<16)))
	if err := nb.Write(&failing{after: 100_000}); err == nil || err.Error() != "writing the notebook: the disk is full" {
		t.Errorf("got %v", err)
	}
}

func TestReadFromFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.ipynb")
	in := bigNotebook(bigLines, 3<<20)
	if err := os.WriteFile(path, in, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	nb, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(got, in); d != "" {
		t.Error(d)
	}
	if nb, err = Read(io.MultiReader(bytes.NewReader(in[:1000]), bytes.NewReader(in[1000:]))); err != nil || len(nb.Cells) == 0 {
		t.Errorf("from a reader of unknown size: %v", err)
	}
}

// TestParseKeepsNothing: the caller may use its bytes again.
func TestParseKeepsNothing(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/quire-json.in.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/quire-json.want.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	nb, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	got, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(got, want); d != "" {
		t.Error(d)
	}
}

func TestWriteStrips(t *testing.T) {
	t.Parallel()
	nb := New()
	nb.Cells = []*Cell{NewCode("")}
	nb.Cells[0].Metadata["trusted"] = true
	for _, key := range []string{"orig_nbformat", "orig_nbformat_minor", "signature"} {
		nb.Metadata[key] = 3
	}
	b, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), `"metadata": {}`) != 2 {
		t.Errorf("something was not left out:\n%s", b)
	}
	if len(nb.Metadata) != 3 {
		t.Error("writing changed the notebook")
	}
}
