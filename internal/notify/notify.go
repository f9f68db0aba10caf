// Package notify tells people and programs what became of what runs by itself: by
// e-mail, by webhook, in chat.
//
// A Notice is recorded in the transaction that decides what it tells of, once,
// under an id that follows from that. A Sender takes recorded notices and sends
// them; what cannot be sent is tried again, later and later. A server that dies
// between a receiver's answer and the note of it sends a notice a second time: it
// carries the same id (Message-ID, Quire-Delivery), by which a receiver knows it.
package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/mail"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
)

// An Event is what is told.
type Event string

// The events.
const (
	Failure     Event = "failure"
	Success     Event = "success"
	Late        Event = "late"         // not over when it had to be
	LongRunning Event = "long-running" // it runs longer than is usual
	Recovery    Event = "recovery"     // a success after a failure
)

// Events are all events.
var Events = []Event{Failure, Success, Late, LongRunning, Recovery}

// A Rule says who is told what.
type Rule struct {
	// Channel is the name of a webhook or chat of the server's configuration.
	Channel string   `json:"channel,omitempty"`
	Email   []string `json:"email,omitempty"` // or addresses
	On      []Event  `json:"on"`
	// DigestSeconds collects what comes within such a time into one message; 0
	// tells each at once.
	DigestSeconds int64 `json:"digestSeconds,omitempty"`
}

// Limits of a rule.
const (
	MaxRules     = 20
	MaxAddresses = 50
	MaxDigest    = 7 * 86400 // seconds
)

// Address returns the address of an e-mail address that a person wrote, alone.
func Address(text string) (string, error) {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != strings.TrimSpace(text) || len(a.Address) > 254 || strings.ContainsAny(a.Address, "\r\n") {
		return "", problem.New(problem.Invalid, "%q is no e-mail address", text)
	}
	return a.Address, nil
}

// wants reports whether a rule is about an event.
func (r Rule) wants(e Event) bool {
	for _, one := range r.On {
		if one == e {
			return true
		}
	}
	return false
}

// target is where the messages of a rule go.
func (r Rule) target() string {
	if r.Channel != "" {
		return "channel:" + r.Channel
	}
	return "email:" + strings.Join(r.Email, ",")
}

// A Part is one notebook of what is told.
type Part struct {
	Name       string          `json:"name"`
	State      string          `json:"state"`
	Run        string          `json:"run,omitempty"`
	Cell       int             `json:"cell,omitempty"` // that failed, from 1
	Message    string          `json:"message,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// A Fact is what a notice tells.
type Fact struct {
	Event    Event     `json:"event"`
	Schedule string    `json:"schedule,omitempty"` // name
	Fire     string    `json:"fire,omitempty"`     // id
	Run      string    `json:"run,omitempty"`      // id, when it is of no schedule
	Slot     time.Time `json:"slot,omitzero"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Owner    string    `json:"owner,omitempty"`
	Parts    []Part    `json:"parts,omitempty"`
	Path     string    `json:"path"` // of its page on the server
	At       time.Time `json:"at"`
}

// About is what a fact's notices are found by: the name of its schedule, or its
// run behind "run/".
func (f Fact) About() string {
	if f.Schedule == "" && f.Run != "" {
		return "run/" + f.Run
	}
	return f.Schedule
}

// name is what a message calls it.
func (f Fact) name() string {
	if f.Schedule == "" && len(f.Parts) > 0 {
		return f.Parts[0].Name
	}
	return f.Schedule
}

// ParseRule reads whom to tell: an e-mail address, or the name of a channel.
func ParseRule(text string) (Rule, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "@") {
		address, err := Address(text)
		return Rule{Email: []string{address}}, err
	}
	if text = strings.TrimPrefix(text, "channel:"); text == "" {
		return Rule{}, problem.New(problem.Invalid, "want an e-mail address, or the name of a channel of the server's configuration")
	}
	return Rule{Channel: text}, nil
}

// A State is where a notice is.
type State string

// The states of a notice.
const (
	Pending State = "pending"
	Sent    State = "sent"
	Failed  State = "failed" // it was tried as often as it may be
)

// A Notice is a Fact on its way to somebody.
type Notice struct {
	ID      string    `json:"id"`
	Rule    Rule      `json:"rule"`
	Group   string    `json:"group"` // of notices that may be told together; "" is alone
	Fact    Fact      `json:"fact"`
	State   State     `json:"state"`
	Tries   int       `json:"tries"`
	Error   string    `json:"error,omitempty"` // of the newest try
	Created time.Time `json:"created"`
	Due     time.Time `json:"due"` // it is not sent before
	Sent    time.Time `json:"sent,omitzero"`
}

// maxParameters is how long parameters are told, in bytes of JSON.
const maxParameters = 1000

// Notices are what rules make of a fact, without parameters that are long. key tells facts apart: the same key,
// event and receiver is the same notice.
func Notices(rules []Rule, key string, fact Fact) []Notice {
	var all []Notice
	fact.Parts = slices.Clone(fact.Parts)
	for i := range fact.Parts {
		if p := &fact.Parts[i]; len(p.Parameters) > maxParameters {
			p.Parameters = nil
		}
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if !r.wants(fact.Event) || seen[r.target()] {
			continue
		}
		seen[r.target()] = true
		sum := sha256.Sum256([]byte(key + "\x00" + string(fact.Event) + "\x00" + r.target()))
		n := Notice{ID: hex.EncodeToString(sum[:16]), Rule: r, Fact: fact, State: Pending, Created: fact.At, Due: fact.At}
		if d := time.Duration(r.DigestSeconds) * time.Second; d > 0 {
			n.Group = r.target()
			n.Due = fact.At.Truncate(d).Add(d)
		}
		all = append(all, n)
	}
	return all
}

// A Store keeps notices. It is safe for concurrent use, also by several servers.
type Store interface {
	// TakeNotices returns up to limit pending notices that are due, the oldest
	// first, and makes them due again at until: nobody else takes them before, and
	// they are taken again should who took them die. Notices of one group come
	// together.
	TakeNotices(ctx context.Context, now, until time.Time, limit int) ([]Notice, error)
	// PutNotice replaces a notice.
	PutNotice(ctx context.Context, n Notice) error
	// Notices returns the newest notices about what Fact.About names.
	Notices(ctx context.Context, about string, limit int) ([]Notice, error)
}
