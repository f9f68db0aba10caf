package kernel

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// maxZygoteMessage bounds what a fork server may send.
const maxZygoteMessage = 1 << 20

// zygote is the fork server's process and our end of its socket.
type zygote struct {
	dir  *kernelDir
	proc *execProcess
	sock *net.UnixConn
	over chan struct{} // the reader has ended: no more news

	ready chan zygoteNews // capacity 1

	wmu sync.Mutex // one request at a time on the socket

	mu      sync.Mutex
	next    int
	asked   map[int]*forkedProcess
	kernels map[int]*forkedProcess
	closed  bool
}

// zygoteNews is any message of the fork server.
type zygoteNews struct {
	Ready  bool    `json:"ready"`
	Failed string  `json:"failed"`
	ID     int     `json:"id"`
	PID    int     `json:"pid"`
	Error  string  `json:"error"`
	Ended  int     `json:"ended"`
	Exit   int     `json:"exit"`
	Status int     `json:"status"`
	MaxRSS int64   `json:"maxrss"` // KiB
	CPU    float64 `json:"cpu"`    // seconds
}

// zygoteRequest asks for a kernel.
type zygoteRequest struct {
	ID         int               `json:"id"`
	Connection string            `json:"connection"`
	Dir        string            `json:"dir"`
	Env        map[string]string `json:"env"`
}

// startZygote starts a fork server and waits until it has imported everything.
func startZygote(ctx context.Context, cfg *Config) (*zygote, error) {
	ctx, cancel := context.WithTimeout(ctx, zygoteStart)
	defer cancel()
	z := &zygote{
		over: make(chan struct{}), ready: make(chan zygoteNews, 1),
		asked: make(map[int]*forkedProcess), kernels: make(map[int]*forkedProcess),
	}
	var err error
	if z.dir, err = newKernelDir(cfg.RuntimeDir); err != nil {
		return nil, err
	}
	if err := z.launch(cfg); err != nil {
		z.dir.remove()
		return nil, err
	}
	go z.read()
	select {
	case news := <-z.ready:
		if news.Ready {
			return z, nil
		}
		err = problem.New(problem.Unavailable, "the fork server gave up: %s", news.Failed)
	case <-z.over:
		err = problem.New(problem.Unavailable, "the fork server ended: %s", lastLine(z.tail()))
	case <-ctx.Done():
		err = contextWrap(ctx.Err())
	}
	z.close()
	return nil, err
}

// launch starts the process with its end of a socket pair as descriptor 3.
func (z *zygote) launch(cfg *Config) error {
	script, err := writeScript(z.dir.path)
	if err != nil {
		return problem.Wrap(err, "writing the fork server's program")
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return problem.Wrap(err, "making the fork server's socket")
	}
	defer theirs.Close()
	z.sock = ours
	z.proc, err = startProcess(launch{
		argv: zygoteCommand(cfg, script), dir: cfg.Dir, env: environment(cfg), extra: []*os.File{theirs},
	})
	if err != nil {
		_ = ours.Close()
	}
	return err
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	theirs := os.NewFile(uintptr(fds[1]), "zygote")
	file := os.NewFile(uintptr(fds[0]), "zygote-control")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	ours, ok := conn.(*net.UnixConn)
	if !ok {
		_ = theirs.Close()
		_ = conn.Close()
		return nil, nil, problem.New(problem.Internal, "a socket pair is not a Unix socket")
	}
	return ours, theirs, nil
}

// tail returns what the process wrote, once it has ended.
func (z *zygote) tail() string {
	select {
	case <-z.proc.ended():
		return z.proc.exit().tail
	case <-time.After(time.Second):
		return ""
	}
}

func (z *zygote) alive() bool {
	select {
	case <-z.over:
		return false
	default:
		return true
	}
}

// close ends the process, and with it its kernels.
func (z *zygote) close() {
	z.mu.Lock()
	again := z.closed
	z.closed = true
	z.mu.Unlock()
	if again {
		<-z.over
		return
	}
	_ = z.sock.Close()
	_ = z.proc.signal(syscall.SIGKILL)
	<-z.proc.ended()
	<-z.over
	z.dir.remove()
}

// send writes one message, with a descriptor when file is not nil.
func (z *zygote) send(v any, file *os.File) error {
	body, err := json.Marshal(v)
	if err != nil {
		return problem.Wrap(err, "encoding a request to the fork server")
	}
	data := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	data = append(data, body...)
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	z.wmu.Lock()
	defer z.wmu.Unlock()
	_ = z.sock.SetWriteDeadline(time.Now().Add(10 * time.Second))
	n, _, err := z.sock.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) {
		_, err = z.sock.Write(data[n:])
	}
	return problem.WrapAs(problem.Unavailable, err, "asking the fork server")
}

// fork asks for a kernel. It does not mind a context: the answer takes
// milliseconds, and a kernel that nobody waits for would have no owner.
func (z *zygote) fork(cfg *Config, connection string) (*forkedProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, problem.Wrap(err, "making a pipe for the kernel's output")
	}
	defer w.Close()
	p := &forkedProcess{z: z, answer: make(chan zygoteNews, 1), last: make(chan zygoteNews, 1), done: make(chan struct{})}
	z.mu.Lock()
	z.next++
	id := z.next
	z.asked[id] = p
	z.mu.Unlock()
	err = z.send(zygoteRequest{ID: id, Connection: connection, Dir: cfg.Dir, Env: environmentMap(cfg)}, w)
	if err == nil {
		err = p.await()
	}
	if err != nil {
		z.mu.Lock()
		delete(z.asked, id)
		z.mu.Unlock()
		_ = r.Close()
		return nil, err
	}
	go p.wait(collect(r, cfg.Output))
	return p, nil
}

// read takes the fork server's messages until it ends.
func (z *zygote) read() {
	defer close(z.over)
	for {
		var head [4]byte
		if _, err := io.ReadFull(z.sock, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > maxZygoteMessage {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(z.sock, body); err != nil {
			return
		}
		var news zygoteNews
		if err := json.Unmarshal(body, &news); err != nil {
			return
		}
		z.take(news)
	}
}

// take passes one message on.
func (z *zygote) take(news zygoteNews) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case news.Ready || news.Failed != "":
		z.ready <- news
	case news.ID != 0:
		if p := z.asked[news.ID]; p != nil {
			delete(z.asked, news.ID)
			if p.number = news.PID; news.Error == "" {
				z.kernels[news.PID] = p
			}
			p.answer <- news
		}
	case news.Ended != 0:
		if p := z.kernels[news.Ended]; p != nil {
			p.buryGroup()
			// Not from here: a full socket must not keep us from reading.
			go func() { _ = z.send(map[string]int{"reap": news.Ended}, nil) }()
		}
	case news.Exit != 0:
		if p := z.kernels[news.Exit]; p != nil {
			delete(z.kernels, news.Exit)
			p.last <- news
		}
	}
}

// forkedProcess is a kernel that the fork server started.
type forkedProcess struct {
	z      *zygote
	number int
	answer chan zygoteNews // capacity 1
	last   chan zygoteNews // how it ended, capacity 1
	done   chan struct{}
	res    exit

	mu   sync.Mutex
	gone bool
}

// await waits for the answer to the request for this process.
func (p *forkedProcess) await() error {
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case news := <-p.answer:
		if news.Error != "" {
			return problem.New(problem.Unavailable, "the fork server: %s", news.Error)
		}
		return nil
	case <-p.z.over:
		return problem.New(problem.Unavailable, "the fork server has ended")
	case <-timer.C:
		go p.z.close() // it is stuck; its kernels, this one included, end with it
		return problem.New(problem.Timeout, "the fork server did not answer within 10 s")
	}
}

// wait follows the process to its end.
func (p *forkedProcess) wait(t *tail) {
	p.res = exit{code: -1}
	select {
	case news := <-p.last:
		p.res = exitOfNews(news)
	case <-p.z.over: // the kernel was killed with its fork server
		select {
		case news := <-p.last:
			p.res = exitOfNews(news)
		default:
			p.res.signal = syscall.SIGKILL
		}
	}
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.res.tail = t.finish()
	close(p.done)
}

func exitOfNews(news zygoteNews) exit {
	e := exit{code: -1, peak: news.MaxRSS << 10, cpu: time.Duration(news.CPU * float64(time.Second))}
	ws := syscall.WaitStatus(news.Status)
	if ws.Signaled() {
		e.signal = ws.Signal()
	} else {
		e.code = ws.ExitStatus()
	}
	return e
}

// buryGroup kills what is left of the group. The process is a zombie still:
// its number is its own.
func (p *forkedProcess) buryGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.number, syscall.SIGKILL)
	p.gone = true
}

func (p *forkedProcess) pid() int               { return p.number }
func (p *forkedProcess) ended() <-chan struct{} { return p.done }
func (p *forkedProcess) exit() exit             { return p.res }

func (p *forkedProcess) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil
	}
	return signalGroup(p.number, sig)
}
