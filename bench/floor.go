package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-zeromq/zmq4"
)

// The floor is the least that any program must do to run cells: start a
// kernel, send each cell when the one before is done, read what comes back,
// stop the kernel. It parses no output, keeps nothing and writes nothing.
type floor struct {
	shell, iopub, control zmq4.Socket
	key                   []byte
	session               string
	serial                int
}

// runFloor executes sources one after another on a new kernel of the Python
// interpreter python.
func runFloor(ctx context.Context, python string, sources []string) error {
	dir, err := os.MkdirTemp("", "quire-floor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := &floor{session: "floor", key: make([]byte, 16)}
	_, _ = rand.Read(f.key)
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "connection.json")
	if err := f.writeConnection(file, ports); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, python, "-m", "ipykernel_launcher", "-f", file)
	cmd.Env = append(os.Environ(), fmt.Sprintf("JPY_PARENT_PID=%d", os.Getpid()))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the floor's kernel: %w", err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if err := f.dial(ctx, ports); err != nil {
		return err
	}
	if err := f.ready(); err != nil {
		return err
	}
	for _, source := range sources {
		if err := f.execute(source); err != nil {
			return err
		}
	}
	if _, err := f.send(f.control, "shutdown_request", map[string]any{"restart": false}); err != nil {
		return err
	}
	return cmd.Wait()
}

func (f *floor) writeConnection(file string, ports []int) error {
	data, err := json.Marshal(map[string]any{
		"transport": "tcp", "ip": "127.0.0.1", "key": string(hex.EncodeToString(f.key)),
		"signature_scheme": "hmac-sha256", "kernel_name": "python3",
		"shell_port": ports[0], "iopub_port": ports[1], "stdin_port": ports[2],
		"control_port": ports[3], "hb_port": ports[4],
	})
	if err != nil {
		return err
	}
	f.key = []byte(hex.EncodeToString(f.key))
	return os.WriteFile(file, data, 0o600)
}

func (f *floor) dial(ctx context.Context, ports []int) error {
	opts := []zmq4.Option{
		zmq4.WithDialerRetry(10 * time.Millisecond), zmq4.WithDialerMaxRetries(-1),
		zmq4.WithID(zmq4.SocketIdentity(f.session)),
	}
	f.shell = zmq4.NewDealer(ctx, opts...)
	f.iopub = zmq4.NewSub(ctx, opts...)
	f.control = zmq4.NewDealer(ctx, opts...)
	for i, s := range []zmq4.Socket{f.shell, f.iopub, 3: f.control} {
		if s == nil {
			continue
		}
		if err := s.Dial(fmt.Sprintf("tcp://127.0.0.1:%d", ports[i])); err != nil {
			return fmt.Errorf("connecting the floor to its kernel: %w", err)
		}
	}
	return f.iopub.SetOption(zmq4.OptionSubscribe, "")
}

// ready asks for kernel_info until the kernel's reply and a status on iopub
// have come, so that no later message is missed.
func (f *floor) ready() error {
	heard := make(chan error, 1)
	go func() {
		_, err := f.iopub.Recv()
		heard <- err
	}()
	for {
		if _, err := f.send(f.shell, "kernel_info_request", map[string]any{}); err != nil {
			return err
		}
		if _, err := f.shell.Recv(); err != nil {
			return err
		}
		select {
		case err := <-heard:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *floor) execute(source string) error {
	id, err := f.send(f.shell, "execute_request", map[string]any{
		"code": source, "silent": false, "store_history": true,
		"user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true,
	})
	if err != nil {
		return err
	}
	for {
		msg, err := f.iopub.Recv()
		if err != nil {
			return err
		}
		if idle, err := isIdle(msg.Frames, id); err != nil || idle {
			if err != nil {
				return err
			}
			break
		}
	}
	for {
		msg, err := f.shell.Recv()
		if err != nil {
			return err
		}
		if parentID(msg.Frames) == id {
			return nil
		}
	}
}

func (f *floor) send(s zmq4.Socket, msgType string, content any) (string, error) {
	f.serial++
	id := fmt.Sprintf("%s-%d", f.session, f.serial)
	header, err := json.Marshal(map[string]any{
		"msg_id": id, "session": f.session, "username": "floor", "msg_type": msgType,
		"version": "5.3", "date": time.Now().UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	empty := []byte("{}")
	mac := hmac.New(sha256.New, f.key)
	for _, part := range [][]byte{header, empty, empty, body} {
		mac.Write(part)
	}
	signature := []byte(hex.EncodeToString(mac.Sum(nil)))
	return id, s.Send(zmq4.NewMsgFrom([]byte("<IDS|MSG>"), signature, header, empty, empty, body))
}

// isIdle reports whether a message says that the request id has ended.
func isIdle(frames [][]byte, id string) (bool, error) {
	parts := payload(frames)
	if parts == nil {
		return false, fmt.Errorf("a message of %d frames has no delimiter", len(frames))
	}
	var header struct {
		Type string `json:"msg_type"`
	}
	if err := json.Unmarshal(parts[0], &header); err != nil || header.Type != "status" {
		return false, err
	}
	var content struct {
		State string `json:"execution_state"`
	}
	if err := json.Unmarshal(parts[3], &content); err != nil {
		return false, err
	}
	return content.State == "idle" && parentID(frames) == id, nil
}

func parentID(frames [][]byte) string {
	parts := payload(frames)
	if parts == nil {
		return ""
	}
	var parent struct {
		ID string `json:"msg_id"`
	}
	_ = json.Unmarshal(parts[1], &parent)
	return parent.ID
}

// payload returns header, parent header, metadata and content.
func payload(frames [][]byte) [][]byte {
	for i, frame := range frames {
		if string(frame) == "<IDS|MSG>" && len(frames) >= i+6 {
			return frames[i+2:]
		}
	}
	return nil
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
