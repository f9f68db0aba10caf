package api

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/job"
	"quire/internal/problem"
)

// titusService is the path of Titus's service.
const titusService = "/com.netflix.titus.JobManagementService/"

// maxGRPCMessage is the largest message that is taken.
const maxGRPCMessage = 1 << 20

// RegisterTitus adds the part of Titus's JobManagementService that clients need to
// launch, find, watch and kill. It is gRPC: a router of its own, on a listener that
// speaks HTTP/2, with GRPCErrors for its errors. A message becomes the JSON of
// RegisterJobs and goes the same way.
func RegisterTitus(rt *Router, jobs *job.Jobs) {
	h := titusRoutes{jobRoutes{jobs}, rt}
	on := func(method, takes, gives string, f func(r *http.Request, ask []byte) (any, error)) {
		rt.Handle("POST "+titusService+method, Policy{Access: SignedIn, Page: true}, func(w http.ResponseWriter, r *http.Request) error {
			ask, err := readGRPC(r, takes)
			if err != nil {
				return err
			}
			answer, err := f(r, ask)
			if err != nil {
				return err
			}
			message, err := titusMessage(gives, answer)
			if err != nil {
				return err
			}
			beginGRPC(w)
			if writeFrame(w, message) == nil { // or nobody hears how it ended
				endGRPC(w, 0, "")
			}
			return nil
		})
	}
	on("CreateJob", "JobDescriptor", "JobId", h.createJob)
	on("FindJobs", "JobQuery", "JobQueryResult", h.find(h.jobRoutes.findJobs))
	on("FindTasks", "TaskQuery", "TaskQueryResult", h.find(h.jobRoutes.findTasks))
	on("FindJob", "JobId", "Job", h.findJob)
	on("FindTask", "TaskId", "Task", h.findTask)
	on("KillJob", "JobId", "Empty", h.killJob)
	on("KillTask", "TaskKillRequest", "Empty", h.killTask)
	stream := Policy{Access: SignedIn, Page: true}
	rt.Handle("POST "+titusService+"ObserveJob", stream, h.observeJob)
	rt.Handle("POST "+titusService+"ObserveJobs", stream, h.observeJobs)
	rt.Handle("POST "+titusService+"{method}", stream, func(_ http.ResponseWriter, r *http.Request) error {
		return &grpcStatus{grpcUnimplemented, "this server has no " + clip(r.PathValue("method"), 60)}
	})
}

type titusRoutes struct {
	jobRoutes
	rt *Router
}

// The status codes of gRPC that are used.
const (
	grpcCanceled        = 1
	grpcInvalid         = 3
	grpcTimeout         = 4
	grpcNotFound        = 5
	grpcExists          = 6
	grpcDenied          = 7
	grpcTooLarge        = 8
	grpcConflict        = 9
	grpcUnimplemented   = 12
	grpcInternal        = 13
	grpcUnavailable     = 14
	grpcUnauthenticated = 16
)

// A grpcStatus is an error with a status of its own.
type grpcStatus struct {
	code int
	text string
}

func (s *grpcStatus) Error() string { return s.text }

var grpcCodes = map[problem.Kind]int{
	problem.Internal: grpcInternal, problem.Invalid: grpcInvalid, problem.NotFound: grpcNotFound, problem.Exists: grpcExists,
	problem.Denied: grpcDenied, problem.Conflict: grpcConflict, problem.TooLarge: grpcTooLarge, problem.Timeout: grpcTimeout,
	problem.Canceled: grpcCanceled, problem.Unavailable: grpcUnavailable,
}

// GRPCErrors is the ErrorPage of a router with RegisterTitus.
func GRPCErrors(w http.ResponseWriter, r *http.Request, _ int, err error) {
	code, text := grpcCodes[problem.KindOf(err)], ErrorText(err)
	if own, ok := err.(*grpcStatus); ok { //nolint:errorlint // it is returned as it is
		code, text = own.code, own.text
	}
	if code == grpcDenied && user(r).Name == "" {
		code = grpcUnauthenticated
	}
	beginGRPC(w)
	endGRPC(w, code, text)
}

func beginGRPC(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/grpc")
	w.WriteHeader(http.StatusOK)
}

// endGRPC ends an answer: its status is in the trailers.
func endGRPC(w http.ResponseWriter, code int, text string) {
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	if text != "" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", percent(text))
	}
}

// percent writes a status's text as gRPC has it: all but printable ASCII escaped.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// readGRPC reads the one message of a request, as JSON.
func readGRPC(r *http.Request, message string) ([]byte, error) {
	if kind := r.Header.Get("Content-Type"); kind != "application/grpc" && kind != "application/grpc+proto" {
		return nil, problem.New(problem.Invalid, "the request is not gRPC")
	}
	var head [5]byte
	if _, err := io.ReadFull(r.Body, head[:]); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading the message")
	}
	if head[0] != 0 {
		return nil, &grpcStatus{grpcUnimplemented, "compressed messages are not taken"}
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxGRPCMessage {
		return nil, problem.New(problem.TooLarge, "the message has %d bytes, %d are allowed", size, maxGRPCMessage)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r.Body, data); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading the message")
	}
	return titusJSON(message, data)
}

func writeFrame(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)) //nolint:gosec // it was in memory
	return err
}

func (h titusRoutes) createJob(r *http.Request, ask []byte) (any, error) {
	var o job.Order
	if err := job.Parse(ask, &o.Descriptor).Err("reading the request"); err != nil {
		return nil, err
	}
	created, err := h.jobs.Create(r.Context(), user(r), o)
	return jobID{created.ID}, err
}

// titusQuery is what a client looks for.
type titusQuery struct {
	Page struct {
		PageNumber int    `json:"pageNumber"`
		PageSize   int    `json:"pageSize"`
		Cursor     string `json:"cursor"`
	} `json:"page"`
	FilteringCriteria map[string]string `json:"filteringCriteria"`
	Fields            []string          `json:"fields"`
}

// jobQuery is the same as the REST API has it.
func (q titusQuery) jobQuery() (jobQuery, error) {
	values := url.Values{}
	for name, value := range q.FilteringCriteria {
		values.Set(name, value)
	}
	for name, n := range map[string]int{"pageSize": q.Page.PageSize, "page": q.Page.PageNumber} {
		if n != 0 {
			values.Set(name, strconv.Itoa(n))
		}
	}
	if q.Page.Cursor != "" {
		values.Set("cursor", q.Page.Cursor)
	}
	if len(q.Fields) > 0 {
		values.Set("fields", strings.Join(q.Fields, ","))
	}
	return readJobQuery(values)
}

func (h titusRoutes) find(look func(*http.Request, jobQuery) (jobList, error)) func(*http.Request, []byte) (any, error) {
	return func(r *http.Request, ask []byte) (any, error) {
		var q titusQuery
		if err := json.Unmarshal(ask, &q); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "reading the query")
		}
		query, err := q.jobQuery()
		if err != nil {
			return nil, err
		}
		return look(r, query)
	}
}

// idOf is the id in a message of one; field is its name.
func idOf(ask []byte, field string) string {
	var all map[string]any
	_ = json.Unmarshal(ask, &all) // we wrote it
	id, _ := all[field].(string)
	return id
}

func (h titusRoutes) findJob(r *http.Request, ask []byte) (any, error) {
	found, err := h.jobs.Job(r.Context(), user(r), idOf(ask, "id"))
	return found.Job.Message(), err
}

func (h titusRoutes) findTask(r *http.Request, ask []byte) (any, error) {
	t, _, err := h.jobs.Task(r.Context(), user(r), idOf(ask, "id"))
	return t.Message(), err
}

func (h titusRoutes) killJob(r *http.Request, ask []byte) (any, error) {
	_, err := h.jobs.Kill(r.Context(), user(r), idOf(ask, "id"))
	return struct{}{}, err
}

func (h titusRoutes) killTask(r *http.Request, ask []byte) (any, error) {
	var q struct {
		Shrink               bool `json:"shrink"`
		PreventMinSizeUpdate bool `json:"preventMinSizeUpdate"`
	}
	_ = json.Unmarshal(ask, &q) // we wrote it
	return struct{}{}, h.jobs.KillTask(r.Context(), user(r), idOf(ask, "taskId"), q.Shrink, q.PreventMinSizeUpdate)
}

// A grpcStream sends notifications as messages.
type grpcStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newGRPCStream(w http.ResponseWriter) *grpcStream {
	beginGRPC(w)
	s := &grpcStream{w, http.NewResponseController(w)}
	_ = s.rc.Flush()
	return s
}

// Send sends a notification, which comes as JSON.
func (s *grpcStream) Send(_, _ string, data []byte) error {
	message, err := titusMessage("JobChangeNotification", json.RawMessage(data))
	if err != nil {
		return err
	}
	// A client that reads nothing for this long is gone.
	_ = s.rc.SetWriteDeadline(time.Now().Add(2 * pingEvery))
	if err := writeFrame(s.w, message); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (h titusRoutes) observeJob(w http.ResponseWriter, r *http.Request) error {
	ask, err := readGRPC(r, "JobId")
	if err != nil {
		return err
	}
	id := idOf(ask, "id")
	if _, err := h.jobs.Job(r.Context(), user(r), id); err != nil {
		return err
	}
	return h.observe(w, r, id, jobQuery{})
}

func (h titusRoutes) observeJobs(w http.ResponseWriter, r *http.Request) error {
	ask, err := readGRPC(r, "ObserveJobsQuery")
	if err != nil {
		return err
	}
	var q titusQuery
	if err := json.Unmarshal(ask, &q); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the query")
	}
	query, err := q.jobQuery()
	if err != nil {
		return err
	}
	return h.observe(w, r, "", query)
}

func (h titusRoutes) observe(w http.ResponseWriter, r *http.Request, only string, q jobQuery) error {
	ctx, cancel := h.rt.Streaming(r.Context())
	defer cancel()
	begun := false
	err := h.watch(r.WithContext(ctx), only, q, func() eventSender {
		begun = true
		return newGRPCStream(w)
	})
	if err != nil && !begun {
		return err
	}
	switch {
	case err != nil:
		endGRPC(w, grpcUnavailable, ErrorText(err))
	case r.Context().Err() == nil && ctx.Err() != nil:
		endGRPC(w, grpcUnavailable, "the server ends: ask again")
	default:
		endGRPC(w, 0, "")
	}
	return nil
}
