package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"quire/internal/job"
)

var titusTransport = func() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}()

// call opens a call of a method, with a message written as JSON.
func (s *jobSite) call(ctx context.Context, user, method, message, ask string) *http.Response {
	s.t.Helper()
	data, err := titusMessage(message, json.RawMessage(ask))
	if err != nil {
		s.t.Fatal(err)
	}
	var body bytes.Buffer
	_ = writeFrame(&body, data)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.grpc+titusService+method, &body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	if user != "" {
		r.Header.Set("Authorization", "Bearer "+s.token[user])
	}
	answer, err := titusTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/grpc" {
		s.t.Fatalf("%s: %s %v", method, answer.Status, answer.Header)
	}
	return answer
}

// frame reads one message of an answer; false is its end.
func frame(t *testing.T, from io.Reader) ([]byte, bool) {
	t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, false
	}
	data := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(from, data); err != nil {
		t.Fatal(err)
	}
	return data, true
}

// unary returns what a method answered, and its status.
func (s *jobSite) unary(user, method, message, ask, gives string) (map[string]any, string, string) {
	s.t.Helper()
	answer := s.call(s.t.Context(), user, method, message, ask)
	defer answer.Body.Close()
	var out map[string]any
	if data, ok := frame(s.t, answer.Body); ok {
		var err error
		if out, err = readTitus(gives, data); err != nil {
			s.t.Fatal(err)
		}
	}
	_, _ = io.Copy(io.Discard, answer.Body) // the trailers come behind it
	return out, answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
}

const titusSleep = `{"applicationName":"titus","jobGroupInfo":{"stack":"one"},"container":{"resources":{"cpu":1,"memoryMB":4096,"diskMB":10240,"networkMbps":128},"entryPoint":["sleep","60"],"env":{"A":"b=c"}},"service":{"capacity":{"min":0,"desired":1,"max":2}}}`

// TestTitus: a job from its launch to its end over gRPC, watched meanwhile.
func TestTitus(t *testing.T) {
	t.Parallel()
	s := newJobSite(t)
	created, status, text := s.unary("ann", "CreateJob", "JobDescriptor", titusSleep, "JobId")
	if status != "0" || created["id"] == "" {
		t.Fatalf("%v %s %s", created, status, text)
	}
	id := created["id"].(string)
	ask := `{"id":"` + id + `"}`

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := s.call(ctx, "ann", "ObserveJobs", "ObserveJobsQuery", `{"filteringCriteria":{"applicationName":"titus"}}`)
	defer stream.Body.Close()
	next := func() map[string]any {
		t.Helper()
		data, ok := frame(t, stream.Body)
		if !ok {
			t.Fatal("the stream has ended")
		}
		n, err := readTitus("JobChangeNotification", data)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if first := next(); first["jobUpdate"].(map[string]any)["job"].(map[string]any)["id"] != id {
		t.Errorf("the stream begins with %v", first)
	}
	for next()["snapshotEnd"] == nil {
	}
	started := func(n map[string]any) string {
		update, _ := n["taskUpdate"].(map[string]any)
		task, _ := update["task"].(map[string]any)
		if state, _ := task["status"].(map[string]any); state["state"] != "Started" {
			return ""
		}
		return task["id"].(string)
	}
	task := ""
	found, _, _ := s.unary("ann", "FindTasks", "TaskQuery", `{"filteringCriteria":{"jobIds":"`+id+`","taskStates":"Started"}}`, "TaskQueryResult")
	if items, _ := found["items"].([]any); len(items) == 1 {
		task = items[0].(map[string]any)["id"].(string)
	}
	for task == "" {
		task = started(next())
	}

	whole, status, _ := s.unary("ann", "FindJob", "JobId", ask, "Job")
	var rest map[string]any
	s.get("ann", "/api/v3/jobs/"+id, &rest)
	descriptor := whole["jobDescriptor"].(map[string]any)
	if status != "0" || descriptor["applicationName"] != "titus" || whole["status"].(map[string]any)["state"] != "Accepted" ||
		!reflect.DeepEqual(descriptor["container"].(map[string]any)["env"], rest["jobDescriptor"].(map[string]any)["container"].(map[string]any)["env"]) {
		t.Errorf("%s %v", status, whole)
	}
	list, _, _ := s.unary("ann", "FindJobs", "JobQuery", `{"page":{"pageSize":1}}`, "JobQueryResult")
	if items := list["items"].([]any); len(items) != 1 || list["pagination"].(map[string]any)["totalItems"] != uint64(1) {
		t.Errorf("%v", list)
	}

	// Who may not, and what is wrong.
	for _, tt := range []struct{ user, method, message, ask, code, text string }{
		{"", "FindJob", "JobId", ask, "16", "token"},
		{"bob", "FindJob", "JobId", ask, "7", "bob may not"},
		{"bob", "KillJob", "JobId", ask, "7", "bob may not"},
		{"ann", "FindJob", "JobId", `{"id":"no"}`, "5", ""},
		{"ann", "ObserveJob", "JobId", `{"id":"no"}`, "5", ""},
		{"ann", "CreateJob", "JobDescriptor", titusSleep, "6", "titus-one"},
		{"ann", "CreateJob", "JobDescriptor", `{"applicationName":"x","container":{"resources":{"cpu":99,"memoryMB":4096},"entryPoint":["true"]},"batch":{"size":1}}`, "3", "cpu"},
		{"ann", "CreateJob", "JobDescriptor", `{"applicationName":"x","extraContainers":[{}],"container":{"entryPoint":["true"]},"batch":{"size":1}}`, "3", "extraContainers"},
		{"ann", "FindJobs", "JobQuery", `{"filteringCriteria":{"colour":"red"}}`, "3", "colour"},
		{"ann", "MoveTask", "JobId", ask, "12", "MoveTask"},
	} {
		if _, code, text := s.unary(tt.user, tt.method, tt.message, tt.ask, "Empty"); code != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("%s by %q of %s: %s %s, want %s", tt.method, tt.user, tt.ask, code, text, tt.code)
		}
	}

	if _, status, text := s.unary("ann", "KillTask", "TaskKillRequest", `{"taskId":"`+task+`","shrink":true}`, "Empty"); status != "0" {
		t.Errorf("killing a task: %s %s", status, text)
	}
	one := s.call(t.Context(), "ann", "ObserveJob", "JobId", ask)
	defer one.Body.Close()
	if _, status, text := s.unary("ann", "KillJob", "JobId", ask, "Empty"); status != "0" {
		t.Errorf("killing: %s %s", status, text)
	}
	last := map[string]any{}
	for {
		data, ok := frame(t, one.Body)
		if !ok {
			break
		}
		n, err := readTitus("JobChangeNotification", data)
		if err != nil {
			t.Fatal(err)
		}
		if n["jobUpdate"] != nil {
			last = n["jobUpdate"].(map[string]any)["job"].(map[string]any)["status"].(map[string]any)
		}
	}
	if last["state"] != "Finished" || one.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the stream of a job ends with %v, %v", last, one.Trailer)
	}
}

// TestTitusMessages reads a descriptor that protoc has written from Titus's own
// definitions, and writes it as it was.
func TestTitusMessages(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/titus-descriptor.hex")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/titus-descriptor.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := titusJSON("JobDescriptor", data)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("got %s", got)
	}
	back, err := titusMessage("JobDescriptor", json.RawMessage(want))
	if err != nil {
		t.Fatal(err)
	}
	again, err := titusJSON("JobDescriptor", back)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("written and read again: %s, %v", again, err)
	}
	var d job.Descriptor
	if err := job.Parse(got, &d).Err("reading"); err != nil {
		t.Error(err)
	}
	for name, fields := range titusMessages() {
		seen := map[protowire.Number]bool{}
		for _, f := range fields {
			_, message := titusMessages()[f.kind]
			if seen[f.number] || f.number < 1 || !message && titusEnums[f.kind] == nil && !strings.Contains(" string number bool double map refused ", " "+f.kind+" ") {
				t.Errorf("%s.%s is wrong in the table: %+v", name, f.name, f)
			}
			seen[f.number] = true
		}
	}
}

func FuzzTitusJSON(f *testing.F) {
	f.Add([]byte("\x1a\x05titus\x3a\x02\x2a\x00"))
	f.Add([]byte{0x3a, 0x04, 0x0a, 0x02, 0x39, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := titusJSON("JobDescriptor", data)
		if err != nil {
			return
		}
		back, err := titusMessage("JobDescriptor", json.RawMessage(got))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := titusJSON("JobDescriptor", back); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s became %s, %v", got, again, err)
		}
	})
}
