package sqlite

import (
	"encoding/base64"
	"errors"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"

	"quire/internal/query/frame"
)

// The limits of a statement.
const (
	maxValue  = 256 << 20 // bytes of one text or blob
	busyLimit = 2000      // ms to wait for somebody who writes
)

// startLibrary gives SQLite the most memory that it may take. It comes before
// everything else.
func startLibrary(memory int64) error {
	tls := libc.NewTLS()
	defer tls.Close()
	list := libc.NewVaList(int32(1))
	defer libc.Xfree(tls, list)
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, list); rc != lib.SQLITE_OK {
		return errors.New("SQLite does not count its memory")
	}
	if rc := lib.Xsqlite3_initialize(tls); rc != lib.SQLITE_OK {
		return errors.New("SQLite does not start")
	}
	lib.Xsqlite3_hard_heap_limit64(tls, memory)
	return nil
}

// A database is an open file. One goroutine uses it; interrupt may be called from
// others.
type database struct {
	tls *libc.TLS
	db  uintptr
}

// function is a Go function as the library takes one: it must not be a closure.
func function[T any](f T) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f T }{f})) }

// out returns a place that the library writes a pointer to.
func out(pin *runtime.Pinner) *uintptr {
	p := new(uintptr)
	pin.Pin(p)
	return p
}

// openDatabase opens a file to be read.
func openDatabase(file string) (*database, error) {
	if _, err := os.Lstat(file); err != nil {
		return nil, frame.Faultf("unavailable", -1, "the file of this connection is not there: ask who keeps it")
	}
	d, err := openAs(file, "mode=ro")
	if _, there := os.Lstat(file + "-wal"); err != nil && errors.Is(there, os.ErrNotExist) {
		// A file that was written with a log, and has none now, is read without the
		// lock for which there would have to be one.
		d, err = openAs(file, "mode=ro&immutable=1")
	}
	return d, err
}

func openAs(file, how string) (*database, error) {
	d := &database{tls: libc.NewTLS()}
	name, err := libc.CString((&url.URL{Scheme: "file", Path: file, RawQuery: how}).String())
	if err != nil {
		d.tls.Close()
		return nil, err
	}
	defer libc.Xfree(d.tls, name)
	var pin runtime.Pinner
	defer pin.Unpin()
	db := out(&pin)
	rc := lib.Xsqlite3_open_v2(d.tls, name, uintptr(unsafe.Pointer(db)), lib.SQLITE_OPEN_READONLY|lib.SQLITE_OPEN_URI|lib.SQLITE_OPEN_NOFOLLOW, 0)
	d.db = *db
	if rc == lib.SQLITE_OK {
		err = d.harden()
	} else {
		err = d.failure(rc, "")
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// harden closes what a statement, or a file made by somebody hostile, could get
// out by.
func (d *database) harden() error {
	for _, one := range []struct{ option, on int32 }{
		{lib.SQLITE_DBCONFIG_DEFENSIVE, 1},
		{lib.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
		{lib.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
		{lib.SQLITE_DBCONFIG_DQS_DML, 0}, // "a" is a name, and not a text when there is none
	} {
		list := libc.NewVaList(one.on, uintptr(0))
		rc := lib.Xsqlite3_db_config(d.tls, d.db, one.option, list)
		libc.Xfree(d.tls, list)
		if rc != lib.SQLITE_OK {
			return d.failure(rc, "")
		}
	}
	for limit, most := range map[int32]int32{
		lib.SQLITE_LIMIT_ATTACHED: 0, lib.SQLITE_LIMIT_LENGTH: maxValue, lib.SQLITE_LIMIT_WORKER_THREADS: 0, lib.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
	} {
		lib.Xsqlite3_limit(d.tls, d.db, limit, most)
	}
	lib.Xsqlite3_busy_timeout(d.tls, d.db, busyLimit)
	for _, text := range []string{"PRAGMA query_only = ON", "PRAGMA cell_size_check = ON", "SELECT count(*) FROM sqlite_schema"} {
		st, err := d.compile(text)
		if err == nil {
			_, err = st.step()
			st.finalize()
		}
		if err != nil {
			return err
		}
	}
	if rc := lib.Xsqlite3_set_authorizer(d.tls, d.db, function(authorize), 0); rc != lib.SQLITE_OK {
		return d.failure(rc, "")
	}
	return nil
}

// readable are the pragmas that only tell something of the tables.
var readable = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}

// forbidden are functions that reach out of SQL.
var forbidden = []string{"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}

// authorize says whether a statement may have a part of a kind.
func authorize(_ *libc.TLS, _ uintptr, action int32, first, second, _, _ uintptr) int32 {
	switch action {
	case lib.SQLITE_SELECT, lib.SQLITE_READ, lib.SQLITE_RECURSIVE:
		return lib.SQLITE_OK
	case lib.SQLITE_FUNCTION:
		if !slices.Contains(forbidden, strings.ToLower(libc.GoString(second))) {
			return lib.SQLITE_OK
		}
	case lib.SQLITE_PRAGMA:
		if slices.Contains(readable, strings.ToLower(libc.GoString(first))) {
			return lib.SQLITE_OK
		}
	}
	return lib.SQLITE_DENY
}

// interrupt stops what the database does.
func (d *database) interrupt() {
	tls := libc.NewTLS() // the other one is in use
	defer tls.Close()
	lib.Xsqlite3_interrupt(tls, d.db)
}

func (d *database) close() {
	lib.Xsqlite3_close_v2(d.tls, d.db)
	d.tls.Close()
}

// A compiled is a statement that can be executed.
type compiled struct {
	db *database
	st uintptr
}

// prepare compiles the one statement of a text.
func (d *database) prepare(text string) (*compiled, error) {
	st, err := d.compile(text)
	if err != nil {
		return nil, err
	}
	if lib.Xsqlite3_stmt_readonly(d.tls, st.st) == 0 {
		st.finalize()
		return nil, frame.Faultf("denied", -1, "connections to SQLite only read: the statement would change something")
	}
	return st, nil
}

func (d *database) compile(text string) (*compiled, error) {
	c, err := libc.CString(text)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(d.tls, c)
	var pin runtime.Pinner
	defer pin.Unpin()
	for from := c; ; {
		st, tail := out(&pin), out(&pin)
		rc := lib.Xsqlite3_prepare_v2(d.tls, d.db, from, -1, uintptr(unsafe.Pointer(st)), uintptr(unsafe.Pointer(tail)))
		if rc != lib.SQLITE_OK {
			fault := d.failure(rc, text[from-c:])
			if fault.Offset >= 0 {
				fault.Offset += int(from - c)
			}
			return nil, fault
		}
		if *st == 0 && int(*tail-c) >= len(text) {
			return nil, frame.Faultf("invalid", -1, "there is no statement in this text")
		}
		if from = *tail; *st == 0 { // a comment, or nothing before a semicolon
			continue
		}
		if more := strings.TrimLeft(text[from-c:], "; \t\r\n"); more != "" && !d.empty(more) {
			lib.Xsqlite3_finalize(d.tls, *st)
			return nil, frame.Faultf("invalid", len(text)-len(more), "send one statement at a time on this connection: there are several in this text")
		}
		return &compiled{d, *st}, nil
	}
}

// empty tells whether a text is comments only.
func (d *database) empty(text string) bool {
	c, err := libc.CString(text)
	if err != nil {
		return false
	}
	defer libc.Xfree(d.tls, c)
	var pin runtime.Pinner
	defer pin.Unpin()
	st := out(&pin)
	rc := lib.Xsqlite3_prepare_v2(d.tls, d.db, c, -1, uintptr(unsafe.Pointer(st)), 0)
	lib.Xsqlite3_finalize(d.tls, *st) // nothing, for none
	return rc == lib.SQLITE_OK && *st == 0
}

func (c *compiled) finalize() { lib.Xsqlite3_finalize(c.db.tls, c.st) }

// step goes on to the next row; false is that there is none.
func (c *compiled) step() (bool, error) {
	switch rc := lib.Xsqlite3_step(c.db.tls, c.st); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, c.db.failure(rc, "")
	}
}

// bind gives the parameters their values.
func (c *compiled) bind(values []frame.Value) error {
	if n := int(lib.Xsqlite3_bind_parameter_count(c.db.tls, c.st)); n != len(values) {
		return frame.Faultf("invalid", -1, "a parameter has no value: write :name and give it one")
	}
	for i, v := range values {
		if rc, err := c.bindOne(int32(i+1), v); err != nil {
			return err
		} else if rc != lib.SQLITE_OK {
			return c.db.failure(rc, "")
		}
	}
	return nil
}

// transient tells the library to keep a copy.
const transient = ^uintptr(0)

func (c *compiled) bindOne(i int32, v frame.Value) (rc int32, err error) {
	tls := c.db.tls
	switch v.Type {
	case "null":
		return lib.Xsqlite3_bind_null(tls, c.st, i), nil
	case "bool":
		return lib.Xsqlite3_bind_int64(tls, c.st, i, map[bool]int64{true: 1}[v.Text == "true"]), nil
	case "int":
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return lib.Xsqlite3_bind_int64(tls, c.st, i, n), nil
		}
		fallthrough // too large for a whole number of SQLite
	case "float", "decimal":
		n, err := strconv.ParseFloat(v.Text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, frame.Faultf("invalid", -1, "a value is no number")
		}
		return lib.Xsqlite3_bind_double(tls, c.st, i, n), nil
	case "timestamp": // as SQLite's own functions write one
		v.Text = strings.Replace(v.Text, "T", " ", 1)
	case "bytes":
		data, err := base64.StdEncoding.DecodeString(v.Text)
		if err != nil {
			return 0, frame.Faultf("invalid", -1, "a value of bytes is not base64")
		}
		return c.bindText(i, string(data), true)
	}
	return c.bindText(i, v.Text, false)
}

func (c *compiled) bindText(i int32, text string, blob bool) (rc int32, err error) {
	p, err := libc.CString(text)
	if err != nil {
		return 0, frame.Faultf("memory", -1, "there is no room for a value")
	}
	defer libc.Xfree(c.db.tls, p)
	if blob {
		return lib.Xsqlite3_bind_blob(c.db.tls, c.st, i, p, int32(len(text)), transient), nil
	}
	return lib.Xsqlite3_bind_text(c.db.tls, c.st, i, p, int32(len(text)), transient), nil
}

// goString is a text of the library; none is "".
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	return strings.ToValidUTF8(libc.GoString(p), "\ufffd")
}

// bytes are those of a column, as a text or a blob.
func (c *compiled) bytes(i int32, blob bool) []byte {
	tls := c.db.tls
	var p uintptr
	if blob {
		p = lib.Xsqlite3_column_blob(tls, c.st, i)
	} else {
		p = lib.Xsqlite3_column_text(tls, c.st, i)
	}
	n := int(lib.Xsqlite3_column_bytes(tls, c.st, i))
	buf := make([]byte, n)
	if n > 0 && p != 0 {
		libc.Xmemcpy(tls, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), p, types.Size_t(n))
	}
	return buf
}

// failure is what the library says as an error; text is the statement, where
// that is what is wrong.
func (d *database) failure(rc int32, text string) *frame.Fault {
	message := libc.GoString(lib.Xsqlite3_errmsg(d.tls, d.db))
	f := &frame.Fault{Kind: "invalid", Message: message, Offset: -1}
	if text != "" {
		f.Offset = int(lib.Xsqlite3_error_offset(d.tls, d.db))
	}
	switch rc & 0xff {
	case lib.SQLITE_ERROR:
		for _, what := range []string{"no such table: ", "no such column: ", "no such function: "} {
			name, ok := strings.CutPrefix(message, what)
			if !ok {
				continue
			}
			if what == "no such table: " {
				f.Kind = "not found"
			}
			if f.Offset < 0 {
				f.Offset = wordAt(text, strings.TrimPrefix(name, "main."))
			}
		}
	case lib.SQLITE_INTERRUPT:
		f.Kind = "canceled"
	case lib.SQLITE_NOMEM:
		f.Kind = "memory"
	case lib.SQLITE_TOOBIG:
		f.Kind, f.Message = "too large", "a text or blob of the statement is larger than 256 MiB"
	case lib.SQLITE_AUTH, lib.SQLITE_READONLY:
		f.Kind, f.Message = "denied", "connections to SQLite only read, and reach no other file: "+message
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		f.Kind, f.Message = "unavailable", "somebody writes the file: try again"
	case lib.SQLITE_CANTOPEN:
		f.Kind, f.Message = "unavailable", "the file of this connection cannot be opened: it is none, is a link, or somebody writes it with a log in a folder that is read-only here"
	case lib.SQLITE_NOTADB, lib.SQLITE_CORRUPT:
		f.Kind, f.Message = "unavailable", "the file of this connection is not one of SQLite, or is damaged: "+message
	case lib.SQLITE_IOERR, lib.SQLITE_FULL:
		f.Kind, f.Message = "unavailable", "the file could not be read, or there is no room for what the statement sorts: "+message
	}
	return f
}

// wordAt is where a word stands in a text by itself; -1 is nowhere.
func wordAt(text, word string) int {
	inWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	for from := 0; word != "" && from < len(text); {
		i := strings.Index(strings.ToLower(text[from:]), strings.ToLower(word))
		if i < 0 {
			break
		}
		i += from
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[min(i+len(word), len(text)):])
		if !inWord(before) && !inWord(after) {
			return i
		}
		from = i + len(word)
	}
	return -1
}
