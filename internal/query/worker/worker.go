package worker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/frame"
	"quire/internal/socket"
)

// A worker is the process of one owner, from its start to its end.
type worker struct {
	pool  *Pool
	owner string
	id    string
	place Place

	ready chan struct{} // closed when it answers, or when it is known that it will not
	ended chan struct{} // closed when its container is removed
	stops context.CancelFunc

	mu    sync.Mutex
	err   error         // why it did not start
	exit  *compute.Exit // how it ended
	alive bool
}

// errGone is of a process that ended before it took the order.
var errGone = errors.New("the engine's process ended before it took the order")

// How long things may take.
const (
	startLimit  = 30 * time.Second
	cancelLimit = 5 * time.Second // to answer a cancel, before the process is killed
	stopLimit   = 10 * time.Second
)

func newWorker(p *Pool, owner string) *worker {
	return &worker{
		pool: p, owner: owner, id: strings.ToLower(p.cfg.Engine) + "-" + strings.ToLower(rand.Text()),
		ready: make(chan struct{}), ended: make(chan struct{}), alive: true, stops: func() {},
	}
}

func (w *worker) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.alive
}

func (w *worker) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// start starts the process, waits for its end and removes it.
func (w *worker) start() {
	defer close(w.ended)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.mu.Lock()
	w.stops = cancel
	w.mu.Unlock()
	began := time.Now()
	err := w.launch(ctx)
	w.mu.Lock()
	w.err = problem.Wrap(err, "starting %s", w.pool.cfg.Engine)
	if err != nil {
		w.alive = false
	}
	w.mu.Unlock()
	close(w.ready)
	log, engine, owner := w.pool.cfg.Log, slog.String("engine", w.pool.cfg.Engine), slog.String("owner", w.owner)
	if err == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "engine started", engine, owner, slog.Int64("dur_ms", time.Since(began).Milliseconds()))
		exit, waiting := w.pool.cfg.Driver.Wait(ctx, w.id)
		w.mu.Lock()
		w.alive = false
		if waiting == nil {
			w.exit = &exit
		}
		w.mu.Unlock()
	}
	end, release := context.WithTimeout(context.Background(), stopLimit)
	defer release()
	if err := w.pool.cfg.Driver.Remove(end, w.id); err != nil {
		log.LogAttrs(ctx, slog.LevelError, "the process of an engine is not removed", engine, owner, slog.String("error", err.Error()))
	}
	if w.place.Socket != "" {
		_ = os.RemoveAll(filepath.Dir(w.place.Socket)) // of nobody else
	}
}

// launch makes the container and returns when the process answers.
func (w *worker) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, problem.New(problem.Timeout, "it did not answer within %s", startLimit))
	defer cancel()
	if err := w.pool.sweep(ctx); err != nil {
		return err
	}
	var err error
	if w.place, err = w.pool.cfg.Place(ctx, w.owner, w.id); err != nil {
		return err
	}
	spec := w.place.Spec
	spec.ID, spec.Labels, spec.Grace = w.id, map[string]string{label: w.pool.cfg.Label}, time.Second
	spec.Resources.MemoryBytes = w.pool.cfg.MemoryBytes
	if _, err := w.pool.cfg.Driver.Create(ctx, spec); err != nil {
		return err
	}
	if err := w.pool.cfg.Driver.Start(ctx, w.id); err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := socket.Dial(ctx, w.place.Socket)
		if err == nil {
			return conn.Close()
		}
		status, err := w.pool.cfg.Driver.Status(ctx, w.id)
		if err == nil && status.State == compute.Exited {
			return problem.New(problem.Unavailable, "%s", w.lastWords(ctx))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lastWords is what the process wrote before it ended.
func (w *worker) lastWords(ctx context.Context) string {
	log, err := w.pool.cfg.Driver.Logs(ctx, w.id, compute.LogOptions{TailBytes: 2000})
	if err != nil {
		return "it ended at once"
	}
	defer log.Close()
	data, _ := io.ReadAll(io.LimitReader(log, 4000)) // as much as there is
	text := strings.TrimSpace(string(data))
	w.pool.cfg.Log.LogAttrs(ctx, slog.LevelError, "an engine did not start", slog.String("engine", w.pool.cfg.Engine), slog.String("owner", w.owner), slog.String("log", text))
	if w.pool.cfg.Explain != nil {
		if reason := w.pool.cfg.Explain(text); reason != "" {
			return reason
		}
	}
	return "it ended at once: the server's log says why"
}

// stop ends the process, if it is there.
func (w *worker) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	err := w.pool.cfg.Driver.Stop(ctx, w.id, time.Second)
	w.mu.Lock()
	w.stops()
	w.mu.Unlock()
	<-w.ended
	if problem.Is(err, problem.NotFound) {
		return nil // it has ended, or never began
	}
	return err
}

// do sends one order and follows it. in is what is loaded.
func (w *worker) do(ctx context.Context, ask frame.Ask, in io.Reader, out query.Output) (frame.Done, error) {
	conn, err := socket.Dial(ctx, w.place.Socket)
	if err != nil {
		if err := w.awaitEnd(ctx); err != nil {
			return frame.Done{}, err
		}
		return frame.Done{}, errGone
	}
	defer conn.Close()
	if err := frame.WriteJSON(conn, frame.Order, ask); err != nil {
		return frame.Done{}, w.death(ctx, ask, false)
	}
	following, over := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer func() {
		over()
		_ = conn.Close()
		sending.Wait()
	}()
	sent := make(chan error, 1)
	if in != nil {
		sending.Go(func() { sent <- sendArrow(conn, in) })
	}
	sending.Go(func() { w.cancelWhenDone(ctx, following, conn) })
	done, begun, err := follow(conn, out)
	switch {
	case err == nil && done.Fault != nil && in != nil:
		select { // what could not be read is the reason
		case err := <-sent:
			if err != nil && !errors.Is(err, net.ErrClosed) && problem.KindOf(err) != problem.Internal {
				return frame.Done{}, err
			}
		default:
		}
	case errors.Is(err, errConnection):
		return frame.Done{}, w.death(ctx, ask, begun)
	}
	return done, err
}

// errConnection is of a connection that broke.
var errConnection = errors.New("the connection to the engine broke")

// follow reads the answer up to its end. begun is true when there was some.
func follow(conn net.Conn, out query.Output) (done frame.Done, begun bool, err error) {
	reader := frame.NewReader(conn)
	for {
		kind, payload, err := reader.Read()
		if err != nil {
			return done, begun, errConnection
		}
		begun = true
		switch kind {
		case frame.Arrow:
			if out != nil {
				if _, err := out.Write(payload); err != nil {
					return done, begun, err // closing the connection cancels it
				}
			}
		case frame.Status:
			var r frame.Report
			if json.Unmarshal(payload, &r) == nil && out != nil {
				tell(out, r)
			}
		case frame.End:
			err := json.Unmarshal(payload, &done)
			return done, begun, problem.WrapAs(problem.Unavailable, err, "reading what the engine said")
		}
	}
}

func tell(out query.Output, r frame.Report) {
	if len(r.Columns) == 0 {
		out.Progress(query.Progress{Fraction: r.Fraction, Rows: r.Rows})
		return
	}
	columns := make([]query.Column, len(r.Columns))
	for i, c := range r.Columns {
		columns[i] = query.Column{Name: c.Name, Type: c.Type}
	}
	out.Columns(columns)
}

// cancelWhenDone tells the process to stop when ctx ends; one that does not
// within a moment is killed, with whatever else it does for its person.
func (w *worker) cancelWhenDone(ctx, following context.Context, conn net.Conn) {
	<-following.Done()
	if ctx.Err() == nil {
		return // it is over
	}
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	if frame.Write(conn, frame.Cancel, nil) != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(cancelLimit))
}

// sendArrow sends what is loaded, and its end.
func sendArrow(conn net.Conn, in io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{frame.Writer{W: conn}}, struct{ io.Reader }{in}, make([]byte, 256<<10))
	if err != nil {
		_ = conn.Close() // half of it is not loaded
		return err
	}
	return frame.Write(conn, frame.End, nil)
}

// awaitEnd waits for the process to be seen as ended, as long as ctx lasts: a
// connection that was not made in its time may say so before ctx does.
func (w *worker) awaitEnd(ctx context.Context) error {
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-w.ended:
	case <-limit.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// death says why the connection broke.
func (w *worker) death(ctx context.Context, ask frame.Ask, begun bool) error {
	if err := w.awaitEnd(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	exit := w.exit
	w.mu.Unlock()
	engine, limit := w.pool.cfg.Engine, compute.FormatBytes(w.pool.cfg.MemoryBytes)
	switch {
	case exit == nil:
		return problem.New(problem.Unavailable, "%s was stopped while it did this: run the statement again", engine)
	case exit.OOMKilled || exit.Cause == compute.CauseOOM:
		return problem.New(problem.TooLarge, "%s ran out of memory and was ended (its limit is %s): select less, aggregate earlier, or use a larger connection", engine, limit)
	case exit.Code == 0 && !begun && ask.What == "query":
		return errGone
	}
	return problem.New(problem.Unavailable, "%s crashed while it did this (%s): run the statement again; its data are as they were before", engine, exit.Reason)
}
