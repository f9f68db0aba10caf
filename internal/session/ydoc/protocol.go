package ydoc

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"quire/internal/problem"
)

// MessageKind is the kind of a message between a client and a room.
type MessageKind int

// The kinds of messages.
const (
	Step1           MessageKind = iota // Data is a state vector: send me what I miss
	Step2                              // Data is an update that answers a Step1
	Update                             // Data is an update
	Presence                           // Data is an awareness update
	Custom                             // Data is text, of Jupyter's own
	QueryAwareness                     // send me everybody's presence
	UnknownMessage                     // of a later version; to be ignored
	messageSync     = 0
	messagePresence = 1
	messageCustom   = 2
	messageQuery    = 3
)

// A Message is one message of y-protocols, which is one WebSocket frame.
type Message struct {
	Kind MessageKind
	Data []byte // part of the frame
	ID   uint64 // of Custom: the number behind the text, 0 when there is none
}

// ReadMessage reads a frame.
func ReadMessage(frame []byte) (Message, error) {
	r := &reader{b: frame}
	var m Message
	switch kind := r.uint(); kind {
	case messageSync:
		step := r.uint()
		if step > 2 {
			r.fail("there is no step %d of a sync", step)
		}
		m = Message{Kind: Step1 + MessageKind(step), Data: r.bytes()}
	case messagePresence:
		m = Message{Kind: Presence, Data: r.bytes()}
	case messageCustom:
		m = Message{Kind: Custom, Data: r.string()}
		if r.err == nil && r.at < len(r.b) {
			m.ID = r.uint()
		}
	case messageQuery:
		m = Message{Kind: QueryAwareness}
	default:
		m = Message{Kind: UnknownMessage}
	}
	return m, problem.WrapAs(problem.Invalid, r.err, "reading a message of %d bytes", len(frame))
}

// Frame encodes a message; the ID of Custom is not written.
func (m Message) Frame() []byte {
	w := &writer{b: make([]byte, 0, len(m.Data)+12)}
	switch m.Kind {
	case Step1, Step2, Update:
		w.byte(messageSync)
		w.uint(uint64(m.Kind - Step1))
	case Presence:
		w.byte(messagePresence)
	case Custom:
		w.byte(messageCustom)
	default:
		w.byte(messageQuery)
		return w.b
	}
	w.uint(uint64(len(m.Data)))
	w.raw(m.Data)
	return w.b
}

// Limits of presence.
const (
	// MaxPresences is how many clients may be present in one document.
	MaxPresences = 4096
	// MaxPresenceBytes is how large what one of them tells may be, as JSON.
	MaxPresenceBytes = 64 << 10
	// PresenceLife is how long a client counts as present without a sign.
	PresenceLife = 30 * time.Second
	// maxForgotten is how many clients that left are remembered, so that an old
	// message does not bring them back.
	maxForgotten = 4096
)

// An Awareness is who is present in a document, and what they tell of themselves:
// name, colour, cursor. It is not safe for concurrent use.
type Awareness struct {
	clients map[uint64]presence
}

type presence struct {
	clock uint64
	state []byte // JSON; nil when the client left
	seen  time.Time
}

// Apply takes in an awareness update and returns the clients whose state it
// changed or renewed, and those of them that are present now. It is refused whole
// when it cannot be read or is over a limit.
func (a *Awareness) Apply(update []byte, now time.Time) (changed, present []uint64, err error) {
	type entry struct {
		client, clock uint64
		state         []byte
	}
	r := &reader{b: update}
	var entries []entry
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		e := entry{client: r.id53(), clock: r.id53()}
		if e.state = r.string(); r.err != nil {
			break
		}
		switch {
		case len(e.state) > MaxPresenceBytes:
			return nil, nil, tooLarge("the presence of client %d has %d bytes; the limit is %d", e.client, len(e.state), MaxPresenceBytes)
		case !json.Valid(e.state):
			r.fail("the presence of client %d is not JSON", e.client)
		case string(e.state) == "null":
			e.state = nil
		}
		entries = append(entries, e)
	}
	if err := r.end("awareness update"); err != nil {
		return nil, nil, err
	}
	if a.clients == nil {
		a.clients = map[uint64]presence{}
	}
	for _, e := range entries {
		old, known := a.clients[e.client]
		newer := !known || e.clock > old.clock || (e.clock == old.clock && e.state == nil && old.state != nil)
		if !newer || (!known && e.state == nil) {
			continue
		}
		if !known && len(a.clients) >= MaxPresences+maxForgotten {
			a.forget()
			if len(a.clients) >= MaxPresences+maxForgotten {
				return changed, present, tooLarge("%d clients are present, which is the limit", MaxPresences)
			}
		}
		a.clients[e.client] = presence{clock: e.clock, state: slices.Clone(e.state), seen: now}
		changed = append(changed, e.client)
		if e.state != nil {
			present = append(present, e.client)
		}
	}
	return changed, present, nil
}

// forget drops the memory of clients that left.
func (a *Awareness) forget() {
	maps.DeleteFunc(a.clients, func(_ uint64, p presence) bool { return p.state == nil })
}

// Remove notes that clients left and returns those of them that were present.
func (a *Awareness) Remove(clients []uint64) (left []uint64) {
	for _, client := range clients {
		if p := a.clients[client]; p.state != nil {
			p.state = nil
			p.clock++
			a.clients[client] = p
			left = append(left, client)
		}
	}
	return left
}

// Expire removes the clients that gave no sign for PresenceLife.
func (a *Awareness) Expire(now time.Time) (left []uint64) {
	for client, p := range a.clients {
		if p.state != nil && now.Sub(p.seen) >= PresenceLife {
			left = append(left, client)
		}
	}
	slices.Sort(left)
	return a.Remove(left)
}

// Clients returns the sorted ids of those who are present.
func (a *Awareness) Clients() []uint64 {
	var present []uint64
	for client, p := range a.clients {
		if p.state != nil {
			present = append(present, client)
		}
	}
	slices.Sort(present)
	return present
}

// State returns what a present client tells of itself, as JSON; nil for others.
func (a *Awareness) State(client uint64) []byte { return a.clients[client].state }

// Encode returns an awareness update with the state of clients.
func (a *Awareness) Encode(clients []uint64) []byte {
	w := &writer{}
	w.uint(uint64(len(clients)))
	for _, client := range clients {
		p := a.clients[client]
		w.uint(client)
		w.uint(p.clock)
		if p.state == nil {
			w.string("null")
		} else {
			w.string(string(p.state))
		}
	}
	return w.b
}
