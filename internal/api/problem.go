package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
	"quire/internal/query"
)

// statuses gives each kind of problem its HTTP status; nothing else does.
var statuses = map[problem.Kind]int{
	problem.Internal:    http.StatusInternalServerError,
	problem.Invalid:     http.StatusBadRequest,
	problem.NotFound:    http.StatusNotFound,
	problem.Exists:      http.StatusConflict,
	problem.Denied:      http.StatusForbidden,
	problem.Conflict:    http.StatusConflict,
	problem.TooLarge:    http.StatusRequestEntityTooLarge,
	problem.Timeout:     http.StatusGatewayTimeout,
	problem.Canceled:    499, // the caller went away; nobody reads it
	problem.Unavailable: http.StatusServiceUnavailable,
}

// Status returns the HTTP status for err.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	var stale *staleError
	var state *job.StateError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &stale), errors.As(err, &state):
		return http.StatusPreconditionFailed
	}
	return statuses[problem.KindOf(err)]
}

// details is an RFC 9457 problem, with Jupyter's two fields beside it, which
// its clients show.
type details struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"requestId,omitempty"`
	Message   string `json:"message"`
	Reason    string `json:"reason"`
	// ErrorContext is Titus's: what is wrong with each field.
	ErrorContext *errorContext `json:"errorContext,omitempty"`
	// Position is where in a statement it is.
	Position *query.Position `json:"position,omitempty"`
}

type errorContext struct {
	ConstraintViolations map[string]string `json:"constraintViolations"`
}

// violationsOf returns what is wrong with each field, where err says so.
func violationsOf(err error) *errorContext {
	var all compute.Violations
	if !errors.As(err, &all) {
		return nil
	}
	c := &errorContext{map[string]string{}}
	for _, v := range all {
		if before := c.ConstraintViolations[v.Field]; before != "" {
			v.Message = before + "; " + v.Message
		}
		c.ConstraintViolations[v.Field] = v.Message
	}
	return c
}

// A reasoned error has the short reason that Jupyter's clients look for.
type reasoned struct {
	error
	reason string
}

func (r *reasoned) Unwrap() error { return r.error }

func because(reason string, err error) error { return &reasoned{err, reason} }

// ErrorText returns what a person may see of err. What is our own fault, or
// comes from a service behind us, stays in the log.
func ErrorText(err error) string {
	switch problem.KindOf(err) {
	case problem.Internal:
		return "something went wrong here; the server's log says what, under this request's id"
	case problem.Unavailable:
		return unavailable(err)
	default:
		return clip(err.Error(), 2000)
	}
}

// unavailable returns what Quire itself says of something that does not answer:
// what was being done, and why. The texts of the causes from outside, which name
// paths of the disk, addresses and ports, are for the log.
func unavailable(err error) string {
	var said []string
	for err != nil {
		var known *problem.Error
		if !errors.As(err, &known) {
			break
		}
		for _, text := range []string{known.Op, known.Msg} {
			if text != "" && !namesPlace(text) {
				said = append(said, text)
			}
		}
		err = known.Err
	}
	if len(said) == 0 {
		return "something that is needed does not answer now; try again later: the server's log says what, under this request's id"
	}
	return clip(strings.Join(said, ": "), 2000)
}

// placePattern finds an absolute path, a URL or an address with a port.
var placePattern = regexp.MustCompile(`(^|[\s"'(=:\[])/[^\s/]|://|[A-Za-z]:\\|[\w.\]]:\d{2,5}\b`)

func namesPlace(text string) bool { return placePattern.MatchString(text) }

func writeProblem(w http.ResponseWriter, r *http.Request, status int, err error) {
	reason := problem.KindOf(err).String()
	var known *reasoned
	if errors.As(err, &known) {
		reason = known.reason
	}
	body := details{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: ErrorText(err), RequestID: RequestID(r.Context()),
		Message: ErrorText(err), Reason: reason, ErrorContext: violationsOf(err),
	}
	if at, ok := query.PositionOf(err); ok {
		body.Position = &at
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(data, '\n'))
	return err
}

// ReadJSON decodes a request's body, which must be one JSON object without
// unknown fields, into v. Its errors are of kind Invalid or TooLarge.
func ReadJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return problem.New(problem.TooLarge, "the request has over %d bytes", tooLarge.Limit)
	case err != nil:
		return problem.WrapAs(problem.Invalid, err, "reading the request's JSON")
	case dec.More():
		return problem.New(problem.Invalid, "the request has more after its JSON")
	}
	return nil
}
