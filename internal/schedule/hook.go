package schedule

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
)

// hookAge is how old, or how far ahead, a signed call may be.
const hookAge = 5 * time.Minute

// maxHookValues bounds the values of a call.
const maxHookValues = 100

// Call takes a call of a webhook: a body, and its signature as notify.Sign makes
// it. It tells the schedules that wait for the webhook, and says how many there
// are. The same call again is none. Whether the name or the signature is wrong is
// not told.
func (s *Schedules) Call(ctx context.Context, name, signature string, body []byte) (waiting int, err error) {
	refused := problem.New(problem.Denied, "the webhook is not known, or the call is not signed with its key: want the header %s: t=UNIX,v1=HEX, the HMAC-SHA256 of \"UNIX.BODY\", at most %s old", notify.SignatureHeader, hookAge)
	keyOf, known := s.cfg.Hooks[name]
	stamp, _, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",")
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if !known || err != nil {
		return 0, refused
	}
	at := time.Unix(unix, 0).UTC()
	key, err := keyOf()
	if err != nil {
		return 0, problem.WrapAs(problem.Unavailable, err, "the key of the webhook")
	}
	if !hmac.Equal([]byte(notify.Sign(key, at, body)), []byte(signature)) || s.now().Sub(at).Abs() > hookAge {
		return 0, refused
	}
	values := map[string]json.RawMessage{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &values); err != nil {
			return 0, problem.New(problem.Invalid, "the body: want a JSON object: its members are the values of the event")
		}
	}
	if len(values) > maxHookValues {
		return 0, problem.New(problem.Invalid, "the body: at most %d members", maxHookValues)
	}
	waiting, err = s.cfg.Store.Signal(ctx, Signal{ID: signature, Source: Wait{Webhook: name}.source(), At: s.now(), Values: values})
	if err == nil && waiting > 0 {
		s.poke()
	}
	return waiting, err
}
