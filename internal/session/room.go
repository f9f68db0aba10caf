package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// A Room is one live document and everybody connected to it. One goroutine owns
// the document: it takes what comes in from a queue, and what that changed is in
// the log on the disk before anybody is told.
type Room struct {
	cfg   *Config
	name  string // as clients ask for it: "json:notebook:<file id>"
	id    string // the file's
	epoch string
	quiet bool // only presence: no document, no file

	mail   chan func()
	closed chan struct{}  // closed when the goroutine takes nothing more
	done   chan struct{}  // closed when it has ended
	disk   sync.WaitGroup // the task at the disk

	// The rest belongs to the goroutine.
	doc       *ydoc.Doc
	log       *updateLog
	out       []change
	peers     map[*Peer]struct{}
	awareness ydoc.Awareness
	after     []func() // what is due when all that changed is on the disk

	queues       map[string]*queue  // of cells to run, by kernel
	mark         []byte             // goes into the log with the next change
	marks        map[string]logMark // read from the log, by kernel
	displays     map[string][]*ydoc.Map
	widgets      map[string]*outputWidget // Output widgets of its kernels, by comm id
	order        int                      // cells that ended here
	requests     map[string]bool          // ids of requests to run that were accepted
	requestOrder []string                 // the same, oldest first
	expected     []expectation

	path       string
	paper      paper // what file and document were when they were equal
	version    int64 // its number among the file's versions
	hash       string
	dirty      bool // the document has what the file has not
	firstDirty time.Time
	lastDirty  time.Time
	retryAt    time.Time // the next save after one that failed
	atDisk     bool      // a task is under way
	look       bool      // the file may have changed outside
	lookedAt   time.Time
	missing    time.Time             // since when the file is not found where it should be; zero: it is there
	waiting    []func(status string) // who asked for a save that has not begun
	asked      []func(status string) // who asked for the one that is under way
	heldUntil  time.Time             // somebody else writes the file until then
	from       string                // hash of what their file was made from; "" is not known
	emptySince time.Time
	err        error // why the room ended by itself
}

// A change is one update that others are to get.
type change struct {
	update []byte
	from   *Peer // who made it, nil for the room
}

func newRoom(cfg *Config, name, id, path string) *Room {
	return &Room{
		cfg: cfg, name: name, id: id, path: path,
		mail: make(chan func(), 256), closed: make(chan struct{}), done: make(chan struct{}),
		peers: map[*Peer]struct{}{}, queues: map[string]*queue{},
	}
}

// newClientID returns an id for edits of our own: yjs's are 32 bits, too. 0 is
// kept for what is built from a file.
func newClientID() uint64 { return uint64(rand.Uint32N(1<<32-1)) + 1 }

// watch makes the room hear of changes in its document.
func (r *Room) watch() {
	r.doc.Updated = func(update []byte, origin any) {
		from, _ := origin.(*Peer)
		if r.log != nil {
			r.putUpdate(update)
		}
		r.out = append(r.out, change{update, from})
	}
	r.doc.Changed = func(e ydoc.Event) {
		for _, c := range e.Changes() {
			if path := c.Path(); path[0] != rootState {
				r.touch()
				return
			}
		}
	}
}

// touch notes that the document is to be saved.
func (r *Room) touch() {
	now := r.cfg.Now()
	if !r.dirty {
		r.firstDirty = now
	}
	r.dirty, r.lastDirty = true, now
}

// run is the room's goroutine.
func (r *Room) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(r.cfg.tick())
	defer tick.Stop()
	for r.err == nil {
		select {
		case do := <-r.mail:
			r.guard(func() { do(); r.drain() })
		case <-tick.C:
			r.guard(r.turn)
		case <-ctx.Done():
			r.err = &Refusal{Code: codeGoingAway, Reason: "the server is stopping"}
		}
		r.flush()
	}
	r.finish()
}

// guard ends this room, and not the server, when a document that nobody foresaw
// makes the program fail. What was acknowledged is in the log.
func (r *Room) guard(do func()) {
	defer func() {
		if fault := recover(); fault != nil {
			r.out, r.after = nil, nil
			r.fail(problem.New(problem.Internal, "%v\n%s", fault, debug.Stack()))
		}
	}()
	do()
}

// drain takes what has come meanwhile, so that one write to the disk serves many.
func (r *Room) drain() {
	for range cap(r.mail) {
		select {
		case do := <-r.mail:
			do()
		default:
			return
		}
	}
}

// flush brings what changed to the disk and then to everybody.
func (r *Room) flush() {
	if r.log != nil {
		if err := r.log.flush(); err != nil {
			r.fail(err)
			return
		}
	}
	for _, c := range r.out {
		frame := ydoc.Message{Kind: ydoc.Update, Data: c.update}.Frame()
		for p := range r.peers {
			if p != c.from {
				p.push(frame)
			}
		}
	}
	r.out = r.out[:0]
	r.committed()
}

// fail ends the room. What was acknowledged is in the log; a client that comes
// back opens it anew.
func (r *Room) fail(err error) {
	if r.err == nil {
		r.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "a live document cannot go on",
			slog.String("path", r.path), slog.String("err", err.Error()))
		r.err = &Refusal{Code: codeInternal, Reason: "the document cannot be kept on the server's disk", Err: err}
	}
}

// finish ends everything that belongs to the room.
func (r *Room) finish() {
	close(r.closed)
	r.disk.Wait()
	for _, q := range r.queues {
		q.end()
	}
	if r.log != nil {
		r.saveLast()
		if err := r.log.flush(); err != nil {
			r.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "the log of a live document was not written", slog.String("err", err.Error()))
		}
		if err := r.log.close(); err != nil {
			r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "the log of a live document was not closed", slog.String("err", err.Error()))
		}
	}
	for p := range r.peers {
		p.finish(r.err)
	}
}

// saveLast writes the file before the room ends. What it cannot write stays in
// the log.
func (r *Room) saveLast() {
	refusal, ok := r.err.(*Refusal) //nolint:errorlint // made here
	if !r.dirty || (ok && refusal.Code == codeInternal) || (ok && refusal.Code == codeNotFound) {
		return
	}
	r.asked, r.waiting = append(r.asked, r.waiting...), nil
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res := saveFile(ctx, r.cfg, r.path, r.version, r.hash, r.paper.snapshot(r.doc))
	if res.err == nil && !res.changed {
		r.saved(res)
	}
}

// post gives the goroutine something to do. It waits while there is much to do.
func (r *Room) post(ctx context.Context, do func()) error {
	select {
	case r.mail <- do:
		return nil
	case <-r.closed:
		return &Refusal{Code: codeGoingAway, Reason: "the document was closed"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// postAlways is post for what must be done as long as the room lives.
func (r *Room) postAlways(do func()) {
	select {
	case r.mail <- do:
	case <-r.closed:
	}
}

// do is post, and waits until it was done.
func (r *Room) do(ctx context.Context, do func() error) error {
	answer := make(chan error, 1)
	if err := r.post(ctx, func() { answer <- do() }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-r.closed:
		return &Refusal{Code: codeGoingAway, Reason: "the document was closed"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join adds a client: it is asked for what it has, and told who is there.
func (r *Room) join() *Peer {
	p := newPeer(r)
	r.peers[p] = struct{}{}
	r.emptySince = time.Time{}
	p.push(ydoc.Message{Kind: ydoc.Step1, Data: r.doc.StateVector()}.Frame())
	if present := r.awareness.Clients(); len(present) > 0 {
		p.push(ydoc.Message{Kind: ydoc.Presence, Data: r.awareness.Encode(present)}.Frame())
	}
	return p
}

// left removes a client and its presence.
func (r *Room) left(p *Peer) {
	if _, here := r.peers[p]; !here {
		return
	}
	delete(r.peers, p)
	var gone []uint64
	for client := range p.clients {
		gone = append(gone, client)
	}
	r.tellPresence(r.awareness.Remove(gone), nil)
	if len(r.peers) == 0 {
		r.emptySince = r.cfg.Now()
	}
}

func (r *Room) tellPresence(clients []uint64, except *Peer) {
	if len(clients) == 0 {
		return
	}
	frame := ydoc.Message{Kind: ydoc.Presence, Data: r.awareness.Encode(clients)}.Frame()
	for p := range r.peers {
		if p != except {
			p.push(frame)
		}
	}
}

// handle takes in one message of a client.
func (r *Room) handle(p *Peer, m ydoc.Message) {
	if _, here := r.peers[p]; !here {
		return
	}
	switch m.Kind {
	case ydoc.Step1:
		update, err := r.doc.Update(m.Data)
		if err != nil {
			r.refuse(p, err)
			return
		}
		p.push(ydoc.Message{Kind: ydoc.Step2, Data: update}.Frame())
	case ydoc.Step2, ydoc.Update:
		r.apply(p, m.Data)
	case ydoc.Presence:
		r.presence(p, m.Data)
	case ydoc.QueryAwareness:
		p.push(ydoc.Message{Kind: ydoc.Presence, Data: r.awareness.Encode(r.awareness.Clients())}.Frame())
	case ydoc.Custom:
		if string(m.Data) == "save" {
			r.saveNow(func(status string) {
				p.push(custom(map[string]any{"type": "save", "responseTo": m.ID, "status": status}))
			})
		}
	}
}

func custom(v map[string]any) []byte {
	return ydoc.Message{Kind: ydoc.Custom, Data: mustJSON(v)}.Frame()
}

// refuse ends a connection for what it sent.
func (r *Room) refuse(p *Peer, err error) {
	r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "a client of a live document was refused",
		slog.String("path", r.path), slog.String("err", err.Error()))
	p.finish(&Refusal{Code: codeInvalid, Reason: "what was sent cannot be taken", Err: err})
	r.left(p)
}

func (r *Room) apply(p *Peer, update []byte) {
	if r.quiet {
		return
	}
	if err := r.doc.Apply(update, p); err != nil {
		r.refuse(p, err)
		return
	}
	if r.doc.Pending() {
		// The server has all that it ever sent and took: the client builds on
		// something of another history.
		r.doc.DropPending()
		p.push(custom(map[string]any{"type": "conflict"}))
	}
}

func (r *Room) presence(p *Peer, update []byte) {
	changed, present, err := r.awareness.Apply(update, r.cfg.Now())
	if err != nil {
		r.refuse(p, err)
		return
	}
	for _, client := range present {
		p.clients[client] = true
	}
	r.tellPresence(changed, p)
}

// turn does what is due from time to time.
func (r *Room) turn() {
	now := r.cfg.Now()
	r.tellPresence(r.awareness.Expire(now), nil)
	if r.quiet {
		if len(r.peers) == 0 {
			r.idle(now)
		}
		return
	}
	if now.Sub(r.lookedAt) >= r.cfg.PollEvery {
		r.look = true
	}
	r.atTheDisk(now)
	r.idle(now)
}

// idle ends a room that nobody needs any more.
func (r *Room) idle(now time.Time) {
	if len(r.peers) > 0 || r.emptySince.IsZero() || now.Sub(r.emptySince) < r.cfg.IdleAfter ||
		r.dirty || r.atDisk || r.running() || (r.cfg.Busy != nil && !r.quiet && r.cfg.Busy(r.path)) {
		return
	}
	if r.log != nil {
		r.shorten()
	}
	r.err = &Refusal{Code: codeGoingAway, Reason: "nobody was here"}
}

// shorten rewrites the log when it says in many records what fits in few.
func (r *Room) shorten() {
	state, err := r.doc.Update(nil)
	if err == nil && r.log.size > 2*int64(len(state))+4096 && len(r.log.wrap) == 0 {
		err = r.log.rewrite(logHead{r.epoch}, state, logSaved{r.version}, r.liveMarks())
	}
	if err != nil {
		r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "the log of a live document was not shortened",
			slog.String("path", r.path), slog.String("err", err.Error()))
	}
}

// atTheDisk begins what is to be done with the file, one task at a time.
func (r *Room) atTheDisk(now time.Time) {
	switch {
	case r.atDisk || r.quiet || now.Before(r.heldUntil):
	case r.look:
		r.look, r.lookedAt = false, now
		r.check()
	case len(r.waiting) > 0, r.dirty && r.dueToSave(now):
		r.save()
	case !r.dirty && r.log.size > 8<<20 && now.Sub(r.lastDirty) > 5*time.Second:
		r.shorten()
	}
}

func (r *Room) dueToSave(now time.Time) bool {
	if now.Before(r.retryAt) || !r.autosave() {
		return false
	}
	return now.Sub(r.lastDirty) >= r.cfg.SaveDelay || now.Sub(r.firstDirty) >= 10*r.cfg.SaveDelay
}

// autosave is off when every client says so.
func (r *Room) autosave() bool {
	clients := r.awareness.Clients()
	for _, client := range clients {
		var state struct {
			Autosave *bool `json:"autosave"`
		}
		if json.Unmarshal(r.awareness.State(client), &state) != nil || state.Autosave == nil || *state.Autosave {
			return true
		}
	}
	return len(clients) == 0
}

// saveNow saves as soon as it can be; then is called with how it went.
func (r *Room) saveNow(then func(status string)) {
	r.waiting = append(r.waiting, then)
	r.atTheDisk(r.cfg.Now())
}

// answerSaves tells who asked for the save that has ended. Who asked since waits
// for another: that one did not have all of the document.
func (r *Room) answerSaves(status string) {
	asked := r.asked
	r.asked = nil
	for _, then := range asked {
		then(status)
	}
}

// A saveResult is how a save went.
type saveResult struct {
	paper   paper
	version int64
	hash    string
	skipped bool // the file has these bytes already
	changed bool // somebody else changed the file meanwhile
	err     error
}

// save writes the file as the document is now.
func (r *Room) save() {
	r.atDisk, r.dirty = true, false
	r.asked, r.waiting = append(r.asked, r.waiting...), nil
	snapshot, path, version, hash, cfg := r.paper.snapshot(r.doc), r.path, r.version, r.hash, r.cfg
	r.disk.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		res := saveFile(ctx, cfg, path, version, hash, snapshot)
		r.postAlways(func() {
			r.atDisk = false
			switch {
			case res.changed:
				r.touch()
				r.look = true
				r.asked, r.waiting = nil, append(r.asked, r.waiting...)
				r.atTheDisk(r.cfg.Now())
			case res.err != nil:
				r.touch()
				r.retryAt = r.cfg.Now().Add(5 * time.Second)
				r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "a live document was not saved",
					slog.String("path", path), slog.String("err", res.err.Error()))
				r.answerSaves("failed")
			default:
				r.saved(res)
				r.atTheDisk(r.cfg.Now())
			}
		})
	})
}

// saved notes that the file is what the document was.
func (r *Room) saved(res saveResult) {
	r.paper, r.version, r.hash = res.paper, res.version, res.hash
	r.retryAt = time.Time{}
	r.log.put(recordSaved, mustJSON(logSaved{r.version}))
	state := r.doc.Map(rootState)
	if v, ok := state.Get("dirty"); !r.dirty && (!ok || v != false) {
		state.Set("dirty", false)
	}
	if res.skipped {
		r.answerSaves("skipped")
	} else {
		r.answerSaves("success")
	}
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// refusalOf makes a refusal of an error in opening a room.
func refusalOf(err error) *Refusal {
	reason := string(mustJSON(map[string]any{"reason": "initialization_error", "reloadable": false}))
	switch problem.KindOf(err) {
	case problem.NotFound:
		return &Refusal{Code: codeNotFound, Reason: "the file does not exist", Err: err}
	case problem.Invalid, problem.TooLarge, problem.Denied:
		return &Refusal{Code: codeBadRequest, Reason: reason, Err: err}
	default:
		return &Refusal{Code: codeInternal, Reason: reason, Err: err}
	}
}
