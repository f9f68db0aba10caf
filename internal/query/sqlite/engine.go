package sqlite

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"quire/internal/query/frame"
	"quire/internal/socket"
)

// Main is the process that has SQLite in it: it answers orders about one file
// until nothing was asked for a while. argument is what the server starts it
// with. It returns the exit status.
func Main(argument string, stderr io.Writer) int {
	if err := serve(argument); err != nil {
		fmt.Fprintln(stderr, "sqlite:", err)
		return 1
	}
	return 0
}

func serve(argument string) error {
	var set settings
	if err := json.Unmarshal([]byte(argument), &set); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	limitFiles(set.Disk)
	if err := startLibrary(set.Memory); err != nil {
		return err
	}
	listener, err := socket.Listen(set.Socket)
	if err != nil {
		return err
	}
	s := &frame.Server{Listener: listener, Idle: time.Duration(set.IdleSeconds) * time.Second, Answer: func(conn net.Conn) { answer(set, conn) }}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		s.Stop()
	}()
	return s.Serve()
}

// answer does one order. A cancel, or the end of the connection, interrupts it.
func answer(set settings, conn net.Conn) {
	reader := frame.NewReader(conn)
	kind, payload, err := reader.Read()
	if err != nil || kind != frame.Order {
		return
	}
	o := &order{set: set, out: frame.NewSender(conn)}
	if err := json.Unmarshal(payload, &o.ask); err != nil {
		_ = o.out.SendJSON(frame.End, frame.Done{Fault: &frame.Fault{Kind: "internal", Message: err.Error(), Offset: -1}})
		return
	}
	over := make(chan struct{})
	go frame.Interrupt(reader, over, o.interrupt)
	done := o.do()
	close(over)
	_ = o.out.SendJSON(frame.End, done)
}

// An order is one statement that is asked for.
type order struct {
	set settings
	ask frame.Ask
	out *frame.Sender

	mu      sync.Mutex
	db      *database
	stopped bool
	rows    int64
	cut     bool // there were more rows than wanted
}

// do does the order and says how it ended.
func (o *order) do() frame.Done {
	err := o.query()
	return frame.Done{Rows: o.count(), Truncated: o.cut, Fault: frame.FaultOf(err, o.isStopped())}
}

func (o *order) query() error {
	if o.ask.What != "query" {
		return frame.Faultf("invalid", -1, "SQLite does not know how to do %q", o.ask.What)
	}
	db, err := openDatabase(o.set.File)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.db = db
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.db = nil
		db.close()
	}()
	st, err := db.prepare(o.ask.SQL)
	if err != nil {
		return err
	}
	defer st.finalize()
	if err := st.bind(o.ask.Values); err != nil {
		return err
	}
	defer o.out.Tell(func() frame.Report { return frame.Report{Rows: o.count()} })()
	return o.send(st)
}

// interrupt ends what is going on; SQLite looks for it every few instructions.
func (o *order) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	if o.db != nil {
		o.db.interrupt()
	}
}

func (o *order) isStopped() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped
}

func (o *order) count() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rows
}
