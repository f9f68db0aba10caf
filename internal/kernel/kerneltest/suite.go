package kerneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
)

// Language is what the suite needs to say in a kernel's language. An empty
// piece of code leaves its case out: not every kernel can.
type Language struct {
	Print     func(text string) string // code that prints the text and a newline
	Value     string                   // an expression whose value prints as 42
	Error     string                   // code that fails
	ErrorName string                   // what its ename must hold; empty for anything
	Sleep     string                   // code that prints "sleeping" at once and then sleeps for 30 s or more
	Input     string                   // code that asks "name? " and prints the answer
	Lines     string                   // code that prints the lines 0 to 9999, each its number
	Die       string                   // code that prints "dying" and exits with code 3 without ado
	DieCode   int                      // the exit code that Die leaves; zero is 3
	Set, Get  string                   // code that sets a variable, code that prints it as "set"
	Late      bool                     // the kernel is known to print after its idle
}

// Fake is the language of the fake kernel.
var Fake = Language{
	Print: func(s string) string { return "print " + s },
	Value: "result 42",
	Error: "error FakeError boom", ErrorName: "FakeError",
	Sleep: "print sleeping\nsleep 60s",
	Input: "input name? ",
	Lines: "flood 10000 0",
	Die:   "print dying\nexit 3",
}

// Python is the language of ipykernel.
var Python = Language{
	Print: func(s string) string { return "print(" + strconv.QuoteToASCII(s) + ")" },
	Value: "6 * 7",
	Error: "1 / 0", ErrorName: "ZeroDivisionError",
	Sleep: "import time\nprint('sleeping', flush=True)\ntime.sleep(60)",
	Input: "print(input('name? '))",
	Lines: "for i in range(10000): print(i)",
	Die:   "import os, sys, time\nprint('dying')\nsys.stdout.flush()\ntime.sleep(0.5)\nos._exit(3)",
	Set:   "v = 'set'", Get: "print(v)",
}

// R is the language of IRkernel.
var R = Language{
	Print: func(s string) string { return "cat(" + strconv.Quote(s) + ", '\\n', sep='')" },
	Value: "6 * 7",
	Error: "stop('boom')",
	Sleep: "cat('sleeping\\n'); flush.console(); for (i in 1:600) Sys.sleep(0.1)",
	Input: "cat(readline('name? '), '\\n', sep='')",
	Lines: "for (i in 0:9999) cat(i, '\\n', sep='')",
	Die:   "cat('dying\\n'); flush.console(); Sys.sleep(0.5); .Internal(quit('no', 3L, FALSE))",
	Set:   "v <- 'set'", Get: "cat(v, '\\n', sep='')",
}

// Deno is the language of Deno's kernel.
var Deno = Language{
	Print: func(s string) string { return "console.log(" + strconv.Quote(s) + ")" },
	Value: "6 * 7",
	Error: "throw new TypeError('boom')", ErrorName: "TypeError",
	Lines: "for (let i = 0; i < 10000; i++) console.log(i)",
	Die:   "console.log('dying'); await new Promise(r => setTimeout(r, 500)); Deno.exit(3)",
	Set:   "var v = 'set'", Get: "console.log(v)",
	Late: true,
}

// Bash is the language of bash_kernel.
var Bash = Language{
	Print: func(s string) string { return "echo '" + s + "'" },
	Error: "false",
	Sleep: "echo sleeping; sleep 60",
	Lines: "seq 0 9999",
	Set:   "v=set", Get: "echo $v",
}

// Run runs the suite. start returns a fresh kernel; the suite closes it.
func Run(t *testing.T, lang Language, start func(t *testing.T) *kernel.Kernel) {
	for _, tt := range []struct {
		name string
		do   func(*testing.T, context.Context, *kernel.Kernel, Language)
		can  bool
	}{
		{"info", testInfo, true},
		{"order of messages", testOrder, true},
		{"value", testValue, lang.Value != ""},
		{"unicode", testUnicode, true},
		{"error", testError, lang.Error != ""},
		{"many executions", testMany, true},
		{"slow reader", testSlowReader, lang.Lines != ""},
		{"input", testInput, lang.Input != ""},
		{"interrupt", testInterrupt, lang.Sleep != ""},
		{"request", testRequest, true},
		{"death by its own", testDie, lang.Die != ""},
		{"death by a signal", testKilled, lang.Sleep != ""},
		{"restart", testRestart, true},
		{"shutdown", testShutdown, true},
		{"shutdown while busy", testShutdownBusy, lang.Sleep != ""},
	} {
		if !tt.can {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			k := start(t)
			defer k.Close()
			tt.do(t, ctx, k, lang)
		})
	}
}

// Collect executes code and returns its messages until the execution is over.
// Any error but io.EOF ends the test.
func Collect(t testing.TB, ctx context.Context, k *kernel.Kernel, code string) []*wire.Message {
	t.Helper()
	msgs, err := TryCollect(ctx, k, kernel.ExecuteRequest{Code: code, StoreHistory: true})
	if err != nil {
		t.Fatalf("executing %q: %v", code, err)
	}
	return msgs
}

// TryCollect is Collect with any request and the error as a result.
func TryCollect(ctx context.Context, k *kernel.Kernel, req kernel.ExecuteRequest) ([]*wire.Message, error) {
	e, err := k.Execute(ctx, req)
	if err != nil {
		return nil, err
	}
	var msgs []*wire.Message
	for {
		m, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			return msgs, nil
		}
		if err != nil {
			return msgs, err
		}
		msgs = append(msgs, m)
	}
}

// Text joins the stream messages of a name, "" for all.
func Text(msgs []*wire.Message, name string) string {
	var b strings.Builder
	for _, m := range msgs {
		var s struct{ Name, Text string }
		if m.Type() == "stream" && m.Decode(&s) == nil && (name == "" || s.Name == name) {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// Find returns the first message of a type, or nil.
func Find(msgs []*wire.Message, msgType string) *wire.Message {
	for _, m := range msgs {
		if m.Type() == msgType {
			return m
		}
	}
	return nil
}

func testInfo(t *testing.T, _ context.Context, k *kernel.Kernel, _ Language) {
	info := k.Info()
	if info.Implementation == "" || info.LanguageInfo["name"] == nil || !strings.HasPrefix(info.ProtocolVersion, "5.") {
		t.Errorf("info %+v: want an implementation, a language name and protocol 5", info)
	}
	if !json.Valid(info.RawLanguageInfo) || !json.Valid(info.Raw) {
		t.Error("the raw JSON of the info is not valid")
	}
	st, err := os.Stat(k.ConnectionFile())
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the connection file has mode %v, want 0600", st.Mode().Perm())
	}
	if k.PID() <= 0 || k.ID() == "" || k.Death() != nil {
		t.Errorf("pid %d, id %q, death %v of a living kernel", k.PID(), k.ID(), k.Death())
	}
}

func testOrder(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Print("hello"), StoreHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for {
		m, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.ParentHeader.MsgID != e.ID() || m.Channel != wire.IOPub {
			continue
		}
		name := m.Type()
		var s struct {
			State string `json:"execution_state"`
		}
		if name == "status" && m.Decode(&s) == nil {
			name = s.State
		}
		if len(seen) == 0 || seen[len(seen)-1] != name {
			seen = append(seen, name)
		}
	}
	want := "busy execute_input stream idle"
	if lang.Late {
		want = "busy execute_input idle" // with the stream anywhere after the input
		seen = slices.DeleteFunc(seen, func(s string) bool { return s == "stream" })
	}
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("iopub messages %q, want %q", got, want)
	}
	if e.IdleMissing() {
		t.Error("idle is said to be missing")
	}
}

func testValue(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	m := Find(Collect(t, ctx, k, lang.Value), "execute_result")
	if m == nil {
		m = Find(Collect(t, ctx, k, lang.Value), "display_data") // IRkernel's way
	}
	if m == nil || !bytes.Contains(m.Content, []byte("42")) {
		t.Errorf("no result that holds 42: %v", m)
	}
}

func testUnicode(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	const text = "Grüße, 世界, \U0001f600"
	if got := printed(t, ctx, k, lang, lang.Print(text)); got != text {
		t.Errorf("printed %q, want %q", got, text)
	}
}

func testError(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	msgs := Collect(t, ctx, k, lang.Error)
	reply := Find(msgs, "execute_reply")
	var r struct{ Status, Ename string }
	if err := reply.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Status != "error" || !strings.Contains(r.Ename, lang.ErrorName) {
		t.Errorf("reply %s, want an error with ename %s", reply.Content, lang.ErrorName)
	}
	if got := printed(t, ctx, k, lang, lang.Print("after")); got != "after" {
		t.Errorf("after an error the kernel printed %q", got)
	}
}

func testMany(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	for i := range 20 {
		want := "line " + strconv.Itoa(i)
		if got := printed(t, ctx, k, lang, lang.Print(want)); got != want {
			t.Fatalf("execution %d printed %q", i, got)
		}
	}
}

// lateMessages returns what comes after the idle of a kernel that is known to
// publish then.
func lateMessages(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) []*wire.Message {
	t.Helper()
	var msgs []*wire.Message
	if !lang.Late {
		return nil
	}
	err := k.Drain(ctx, time.Second, func(m *wire.Message) error {
		msgs = append(msgs, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return msgs
}

// printed executes code and returns what it prints, without spaces around it.
func printed(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language, code string) string {
	t.Helper()
	msgs := Collect(t, ctx, k, code)
	return strings.TrimSpace(Text(append(msgs, lateMessages(t, ctx, k, lang)...), "stdout"))
}

// testSlowReader does not read while the kernel prints: everything must be
// there all the same, in order, with the idle.
func testSlowReader(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Lines})
	if err != nil {
		t.Fatal(err)
	}
	// A second request's reply shows that the first one is over, unread.
	if _, err := k.Request(ctx, wire.Shell, "kernel_info_request", nil); err != nil {
		t.Fatal(err)
	}
	var msgs []*wire.Message
	for {
		m, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	if e.IdleMissing() {
		t.Error("the idle is missing")
	}
	msgs = append(msgs, lateMessages(t, ctx, k, lang)...)
	lines := strings.Fields(Text(msgs, "stdout"))
	if len(lines) != 10000 {
		t.Fatalf("%d lines came, want 10000", len(lines))
	}
	for i, line := range lines {
		if line != strconv.Itoa(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

func testInput(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Input, AllowStdin: true})
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*wire.Message
	for {
		m, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Type() == "input_request" {
			if !bytes.Contains(m.Content, []byte("name?")) {
				t.Errorf("prompt %s", m.Content)
			}
			if err := k.Input(ctx, "Ada"); err != nil {
				t.Fatal(err)
			}
		}
		msgs = append(msgs, m)
	}
	if got := Text(msgs, "stdout"); !strings.Contains(got, "Ada") {
		t.Errorf("printed %q, want Ada", got)
	}
	if err := k.Input(ctx, "again"); err == nil {
		t.Error("input without a request is taken")
	}
}

// startSleeping executes lang.Sleep and returns once the cell sleeps.
func startSleeping(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) *kernel.Execution {
	t.Helper()
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := e.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(Text([]*wire.Message{m}, "stdout"), "sleeping") {
			return e
		}
	}
}

func testInterrupt(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	e := startSleeping(t, ctx, k, lang)
	t0 := time.Now()
	if err := k.Interrupt(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(t0); d > 25*time.Second { // the cell sleeps for longer
		t.Errorf("the interrupt took %v", d)
	}
	if got := printed(t, ctx, k, lang, lang.Print("alive")); got != "alive" {
		t.Errorf("after an interrupt the kernel printed %q", got)
	}
}

func testRequest(t *testing.T, ctx context.Context, k *kernel.Kernel, _ Language) {
	m, err := k.Request(ctx, wire.Shell, "complete_request", map[string]any{"code": "pri", "cursor_pos": 3})
	if err != nil {
		t.Fatal(err)
	}
	if m.Type() != "complete_reply" {
		t.Errorf("the answer is a %s", m.Type())
	}
}

// awaitDeath reads to the death and returns the messages before it.
func awaitDeath(t *testing.T, ctx context.Context, e *kernel.Execution) ([]*wire.Message, *kernel.Death) {
	t.Helper()
	var msgs []*wire.Message
	for {
		m, err := e.Next(ctx)
		var dead *kernel.DeathError
		if errors.As(err, &dead) {
			return msgs, dead.Death
		}
		if err != nil {
			t.Fatalf("want a DeathError, got %v", err)
		}
		msgs = append(msgs, m)
	}
}

func testDie(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	file := k.ConnectionFile()
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Die})
	if err != nil {
		t.Fatal(err)
	}
	msgs, death := awaitDeath(t, ctx, e)
	want := max(lang.DieCode, 3)
	if death.ExitCode != want || death.Signal != "" || death.Asked || death.OOM {
		t.Errorf("death %+v, want exit code %d", death, want)
	}
	if d := time.Since(death.At); d > 20*time.Second {
		t.Errorf("the death was reported %v late", d)
	}
	if got := Text(msgs, "stdout"); !strings.Contains(got, "dying") {
		t.Errorf("before its death it printed %q, want dying", got)
	}
	if _, err := k.Execute(ctx, kernel.ExecuteRequest{Code: lang.Print("x")}); err == nil {
		t.Error("a dead kernel executes")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the connection file is still there: %v", err)
	}
}

func testKilled(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	e := startSleeping(t, ctx, k, lang)
	p, err := os.FindProcess(k.PID())
	if err != nil {
		t.Fatal(err)
	}
	t0 := time.Now()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	_, death := awaitDeath(t, ctx, e)
	if d := time.Since(t0); d > 20*time.Second { // the cell sleeps for longer
		t.Errorf("the death was seen after %v", d)
	}
	if death.Signal != "SIGKILL" || death.ExitCode != -1 || death.Asked || death.OOM {
		t.Errorf("death %+v, want SIGKILL", death)
	}
	if got := death.String(); got != "the kernel was killed by signal 9 (SIGKILL)" {
		t.Errorf("in words: %q", got)
	}
}

func testRestart(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	pid, id := k.PID(), k.ID()
	if lang.Set != "" {
		Collect(t, ctx, k, lang.Set)
		if got := printed(t, ctx, k, lang, lang.Get); got != "set" {
			t.Fatalf("the variable prints as %q", got)
		}
	}
	if err := k.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if k.PID() == pid || k.ID() != id || k.Death() != nil {
		t.Errorf("after a restart: pid %d (was %d), id %s (was %s), death %v", k.PID(), pid, k.ID(), id, k.Death())
	}
	if lang.Set != "" {
		if got := printed(t, ctx, k, lang, lang.Get); got == "set" {
			t.Error("the variable outlived the restart")
		}
	}
	if got := printed(t, ctx, k, lang, lang.Print("new")); got != "new" {
		t.Errorf("after a restart it printed %q", got)
	}
}

func testShutdown(t *testing.T, ctx context.Context, k *kernel.Kernel, _ Language) {
	shutdown(t, ctx, k, 5*time.Second)
}

func testShutdownBusy(t *testing.T, ctx context.Context, k *kernel.Kernel, lang Language) {
	startSleeping(t, ctx, k, lang)
	shutdown(t, ctx, k, time.Second)
}

func shutdown(t *testing.T, ctx context.Context, k *kernel.Kernel, grace time.Duration) {
	t.Helper()
	file := k.ConnectionFile()
	for range 2 { // twice is fine
		if err := k.Shutdown(ctx, grace); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-k.Done():
	default:
		t.Error("the process is not gone after Shutdown")
	}
	if d := k.Death(); d == nil || !d.Asked || d.String() != "the kernel was asked to stop" {
		t.Errorf("death %+v, want one that was asked for", d)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the connection file is still there: %v", err)
	}
}
