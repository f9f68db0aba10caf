package spark_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/querytest"
	"quire/internal/query/spark"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ dsn, want string }{
		{"sc://spark.example.com", ""},
		{"sc://spark.example.com:15002/;token=s3cr3t", ""},
		{"sc://[::1]:15002/;use_ssl=false;token=s3cr3t", ""},
		{"sc://spark.example.com:15002/;use_ssl=false;token=s3cr3t", "encrypted"},
		{"spark://s3cr3t@spark.example.com", "want sc://"},
		{"sc://ann:s3cr3t@spark.example.com", "want sc://"},
		{"sc://spark.example.com/;pass=s3cr3t", "not known"},
		{"sc:///", "want sc://"},
	} {
		s, err := spark.New(spark.Config{DSN: tt.dsn})
		querytest.DSN(t, tt.dsn, tt.want, s, err)
	}
}

// fake is a server of which each method is a function of the test.
func fake(t *testing.T, methods map[string]http.HandlerFunc) *spark.Source {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		w.Header().Set("Content-Type", "application/grpc")
		if f := methods[method]; f != nil {
			_, _ = io.Copy(io.Discard, r.Body)
			f(w, r)
			return
		}
		end(w, 0, "", nil)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	s, err := spark.New(spark.Config{DSN: "sc://" + server.Listener.Addr().String() + "/;token=s3cr3t"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func send(w http.ResponseWriter, message []byte) {
	head := make([]byte, 5)
	binary.BigEndian.PutUint32(head[1:], uint32(len(message)))
	_, _ = w.Write(append(head, message...))
	w.(http.Flusher).Flush()
}

func end(w http.ResponseWriter, code int, text string, details []byte) {
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	w.Header().Set(http.TrailerPrefix+"Grpc-Message", text)
	if details != nil {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

func field(id protowire.Number, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, id, protowire.BytesType), all)
}

func ask(t *testing.T, ctx context.Context, s *spark.Source, text string, readOnly bool) error {
	t.Helper()
	parsed, err := query.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(ctx, query.Statement{User: "ann", Text: parsed, ReadOnly: readOnly}, &querytest.Collected{})
	return err
}

// TestCancelReachesSpark is of a statement that Spark has not begun to answer.
func TestCancelReachesSpark(t *testing.T) {
	t.Parallel()
	begun, interrupted := make(chan struct{}), make(chan struct{}, 100)
	s := fake(t, map[string]http.HandlerFunc{
		"ExecutePlan": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			close(begun)
			<-interrupted // the first one comes before Spark knows of the operation, say
			<-interrupted
			end(w, 13, "[OPERATION_CANCELED]", nil)
		},
		"Interrupt": func(w http.ResponseWriter, _ *http.Request) {
			interrupted <- struct{}{}
			end(w, 0, "", nil)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if err := ask(t, ctx, s, "SELECT 1", false); !problem.Is(err, problem.Canceled) && ctx.Err() == nil {
		t.Errorf("%v, want it cancelled", err)
	}
}

// TestBrokenStream is of a connection that ends in the middle of an answer.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	s := fake(t, map[string]http.HandlerFunc{
		"ExecutePlan": func(w http.ResponseWriter, _ *http.Request) {
			send(w, field(18))
			_, _ = w.Write([]byte{0, 0, 0, 1, 0, 'x'})
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	})
	err := ask(t, t.Context(), s, "SELECT 1", false)
	if !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v, want that Spark does not answer, without its address", err)
	}
}

func TestNothingListens(t *testing.T) {
	t.Parallel()
	s, err := spark.New(spark.Config{DSN: "sc://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := ask(t, t.Context(), s, "SELECT 1", false); !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("%v, want that Spark does not answer", err)
	}
}

// TestErrors reads an error whose whole text is asked for.
func TestErrors(t *testing.T) {
	t.Parallel()
	entry := func(name, value string) []byte { return field(3, field(1, []byte(name)), field(2, []byte(value))) }
	details := field(3, field(1, []byte("type.googleapis.com/google.rpc.ErrorInfo")), field(2, entry("errorId", "e1"), entry("errorClass", "X"), entry("sqlState", "42000")))
	s := fake(t, map[string]http.HandlerFunc{
		"ExecutePlan": func(w http.ResponseWriter, _ *http.Request) { end(w, 13, "the beginning", details) },
		"FetchErrorDetails": func(w http.ResponseWriter, _ *http.Request) {
			text := "[TABLE_OR_VIEW_NOT_FOUND] The table `x` cannot be found. SQLSTATE: 42P01; line 2 pos 5;\n'Project [*]"
			throwable := field(5, field(1, []byte("TABLE_OR_VIEW_NOT_FOUND")), field(4, []byte("42P01")))
			send(w, field(2, field(2, []byte(text)), throwable))
			end(w, 0, "", nil)
		},
	})
	err := ask(t, t.Context(), s, "SELECT *\nFROM x", false)
	at, ok := query.PositionOf(err)
	if !problem.Is(err, problem.NotFound) || err.Error() != "The table `x` cannot be found." || !ok || at != (query.Position{Line: 2, Column: 6}) {
		t.Errorf("%v at %v", err, at)
	}
	if err := ask(t, t.Context(), s, "INSERT INTO x VALUES (1)", true); !problem.Is(err, problem.Denied) {
		t.Errorf("%v, want it denied", err)
	}
}

func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	s := fake(t, map[string]http.HandlerFunc{
		"ExecutePlan": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer s3cr3t" {
				t.Error("the token was not sent")
			}
			end(w, 16, "s3cr3t is wrong", nil)
		},
	})
	if err := ask(t, t.Context(), s, "SELECT 1", false); !problem.Is(err, problem.Denied) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v, want that the credentials are not taken", err)
	}
}
