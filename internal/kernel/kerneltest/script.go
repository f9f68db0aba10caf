package kerneltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"quire/internal/kernel/wire"
)

// cell is one execution of the fake.
type cell struct {
	f       *fake
	m       *wire.Message
	silent  bool
	noReply bool
	noIdle  bool
	first   bool // idle before reply
	aborted bool
	after   time.Duration
	late    []string
	payload json.RawMessage
	err     *cellError
}

type cellError struct{ name, value string }

// execute runs the commands of one cell.
func (f *fake) execute(m *wire.Message) {
	var req struct {
		Code         string `json:"code"`
		Silent       bool   `json:"silent"`
		StoreHistory bool   `json:"store_history"`
		AllowStdin   bool   `json:"allow_stdin"`
	}
	_ = m.Decode(&req)
	select { // an interrupt of the past is none
	case <-f.cut:
	default:
	}
	c := &cell{f: f, m: m, silent: req.Silent, payload: json.RawMessage("[]")}
	f.status(m, "busy")
	if !req.Silent {
		if req.StoreHistory {
			f.count++
		}
		f.publish(m, "execute_input", map[string]any{"code": req.Code, "execution_count": f.count})
	}
	for line := range strings.Lines(req.Code) {
		word, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if (word == "input" || word == "password") && !req.AllowStdin {
			c.err = &cellError{"StdinNotImplementedError", "raw_input was called, but this frontend does not support input requests."}
		} else {
			c.command(word, rest)
		}
		if c.err != nil || c.aborted {
			break
		}
	}
	c.finish()
}

// command runs one line.
func (c *cell) command(word, rest string) {
	switch word {
	case "print", "stderr", "write", "orphan", "late", "result", "display", "update", "clear", "iopub", "buffers", "env", "cwd", "flood":
		c.output(word, rest)
	case "noreply":
		c.noReply = true
	case "noidle":
		c.noIdle = true
	case "idlefirst":
		c.first = true
	case "idleafter":
		c.after, _ = time.ParseDuration(rest)
	case "abort":
		c.aborted = true
	case "payload":
		c.payload = json.RawMessage(rest)
	case "error":
		name, value, _ := strings.Cut(rest, " ")
		c.err = &cellError{name, value}
	case "input", "password":
		c.input(rest, word == "password")
	case "sleep", "stubborn":
		c.sleep(rest, word == "sleep")
	case "badsig", "replay", "garbage":
		c.hostile(word)
	case "exit", "signal", "words", "child", "note", "await":
		c.process(word, rest)
	}
}

func (c *cell) stream(name, text string) {
	c.f.publish(c.m, "stream", map[string]string{"name": name, "text": text})
}

func plain(text string) map[string]any { return map[string]any{"text/plain": text} }

// output publishes.
func (c *cell) output(word, rest string) {
	id, text, _ := strings.Cut(rest, " ")
	switch word {
	case "print":
		c.stream("stdout", rest+"\n")
	case "stderr":
		c.stream("stderr", rest+"\n")
	case "write":
		c.stream("stdout", rest)
	case "orphan":
		c.f.publish(nil, "stream", map[string]string{"name": "stdout", "text": rest + "\n"})
	case "late":
		c.late = append(c.late, rest+"\n")
	case "result":
		c.f.publish(c.m, "execute_result", map[string]any{
			"data": plain(rest), "metadata": map[string]any{}, "execution_count": c.f.count,
		})
	case "display", "update":
		transient := map[string]string{}
		if id != "-" {
			transient["display_id"] = id
		}
		msgType := "display_data"
		if word == "update" {
			msgType = "update_display_data"
		}
		c.f.publish(c.m, msgType, map[string]any{"data": plain(text), "metadata": map[string]any{}, "transient": transient})
	case "clear":
		c.f.publish(c.m, "clear_output", map[string]bool{"wait": rest == "wait"})
	case "iopub":
		c.f.publish(c.m, id, json.RawMessage(strings.ReplaceAll(text, "$PARENT", c.m.Header.MsgID)))
	case "buffers":
		c.f.publish(c.m, "comm_msg", map[string]any{"comm_id": "fake", "data": map[string]any{}}, []byte(rest))
	case "env":
		c.stream("stdout", os.Getenv(rest)+"\n")
	case "cwd":
		dir, _ := os.Getwd()
		c.stream("stdout", dir+"\n")
	case "flood":
		n, _ := strconv.Atoi(id)
		size, _ := strconv.Atoi(text)
		pad := strings.Repeat(".", size)
		for i := range n {
			c.stream("stdout", fmt.Sprintf("%d %s\n", i, pad))
		}
	}
}

func (c *cell) input(prompt string, password bool) {
	c.f.reply(c.f.stdin, c.m, "input_request", map[string]any{"prompt": prompt, "password": password})
	select {
	case m := <-c.f.answer:
		var v struct {
			Value string `json:"value"`
		}
		_ = m.Decode(&v)
		c.stream("stdout", v.Value+"\n")
	case <-c.f.cut:
		c.err = &cellError{"KeyboardInterrupt", ""}
	}
}

func (c *cell) sleep(text string, gentle bool) {
	d, _ := time.ParseDuration(text)
	cut := c.f.cut
	if !gentle {
		cut = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-cut:
		c.err = &cellError{"KeyboardInterrupt", ""}
	}
}

// hostile sends what no kernel may send.
func (c *cell) hostile(word string) {
	frames := c.f.message(c.m, [][]byte{[]byte("stream")}, "stream", map[string]string{"name": "stdout", "text": word + "\n"})
	switch word {
	case "badsig":
		frames[2][0] ^= 1
	case "replay":
		c.f.iopub.Send(frames)
	case "garbage":
		frames = [][]byte{[]byte("a"), {0xff, 0xfe}, []byte("<IDS|MSG>"), []byte("x")}
	}
	c.f.iopub.Send(frames)
}

// process does something to the fake's own process.
func (c *cell) process(word, rest string) {
	switch word {
	case "words":
		fmt.Fprintln(os.Stderr, rest)
	case "note":
		c.note(rest)
	case "await": // until somebody writes to a pipe
		_, _ = os.ReadFile(rest)
	case "exit":
		code, _ := strconv.Atoi(rest)
		os.Exit(code)
	case "child":
		cmd := exec.Command("sleep", "60")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err == nil {
			c.stream("stdout", strconv.Itoa(cmd.Process.Pid)+"\n")
		}
	case "signal":
		sig := syscall.SIGKILL
		if rest == "TERM" {
			sig = syscall.SIGTERM
		}
		_ = syscall.Kill(os.Getpid(), sig)
		select {} // until it hits
	}
}

// finish sends what ends a cell.
func (c *cell) finish() {
	if c.err != nil && !c.silent {
		c.f.publish(c.m, "error", map[string]any{
			"ename": c.err.name, "evalue": c.err.value, "traceback": []string{c.err.name + ": " + c.err.value},
		})
	}
	if c.first {
		c.f.status(c.m, "idle")
	}
	if !c.noReply {
		c.f.reply(c.f.shell, c.m, "execute_reply", c.result())
	}
	if c.noIdle || c.first {
		return
	}
	if c.after > 0 {
		go func() {
			time.Sleep(c.after)
			c.f.status(c.m, "idle")
		}()
		return
	}
	c.f.status(c.m, "idle")
	for _, text := range c.late {
		c.stream("stdout", text)
	}
}

func (c *cell) result() map[string]any {
	switch {
	case c.aborted:
		return map[string]any{"status": "aborted", "execution_count": c.f.count}
	case c.err != nil:
		return map[string]any{
			"status": "error", "execution_count": c.f.count, "ename": c.err.name, "evalue": c.err.value,
			"traceback": []string{c.err.name + ": " + c.err.value}, "user_expressions": map[string]any{}, "payload": []any{},
		}
	}
	return map[string]any{
		"status": "ok", "execution_count": c.f.count, "user_expressions": map[string]any{}, "payload": c.payload,
	}
}

// note appends a line to a file in one write, so that what several processes
// note is in the order in which it happened.
func (c *cell) note(rest string) {
	name, text, _ := strings.Cut(rest, " ")
	text = os.Expand(text, func(key string) string {
		switch key {
		case "PID":
			return strconv.Itoa(os.Getpid())
		case "NOW":
			return strconv.FormatInt(time.Now().UnixNano(), 10)
		}
		return os.Getenv(key)
	})
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = file.WriteString(text + "\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		c.err = &cellError{"OSError", err.Error()}
	}
}
