package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const hubServiceToken = "a-token-of-the-tests-service-only"

// A realHub is a JupyterHub whose users' servers are `quire notebook`.
type realHub struct {
	t    *testing.T
	url  string // without a slash at the end
	home string
}

// startHub starts QUIRE_TEST_JUPYTERHUB with the proxy QUIRE_TEST_HUB_PROXY.
func startHub(t *testing.T, command string) *realHub {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &realHub{t: t, home: filepath.Join(dir, "homes"), url: "http://" + freeAddress(t)}
	config := filepath.Join(dir, "config.py")
	text := fmt.Sprintf(`
c.JupyterHub.bind_url = %q
c.JupyterHub.hub_bind_url = %q
c.ConfigurableHTTPProxy.api_url = %q
c.ConfigurableHTTPProxy.command = ["node", %q]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = %q
c.Spawner.cmd = [%q, "notebook", "--data", %q, "--warm", "-1"]
c.Spawner.env_keep = ["PATH", "JUPYTER_PATH"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 240
c.JupyterHub.services = [{"name": "tests", "api_token": %q}]
c.JupyterHub.load_roles = [{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "tokens"]}]
c.JupyterHub.db_url = "sqlite:///" + %q
c.JupyterHub.cookie_secret_file = %q
`, h.url, "http://"+freeAddress(t), "http://"+freeAddress(t), os.Getenv("QUIRE_TEST_HUB_PROXY"), filepath.Join(h.home, "{username}"), program,
		filepath.Join(dir, "data"), hubServiceToken, filepath.Join(dir, "hub.sqlite"), filepath.Join(dir, "secret"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "hub.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command, "--config", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM) // it ends the servers and the proxy
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			t.Error("the JupyterHub does not end")
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the JupyterHub's log ends with:\n%s", text[max(0, len(text)-6000):])
		}
	})
	h.until("the JupyterHub to answer", func() bool {
		status, _ := h.api("GET", "/", nil)
		return status == 200
	})
	return h
}

func (h *realHub) until(what string, holds func() bool) {
	h.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(4 * time.Minute); !holds(); <-tick.C {
		if time.Now().After(end) {
			h.t.Fatalf("waited for %s", what)
		}
	}
}

// api asks the Hub's API as the tests' service.
func (h *realHub) api(method, path string, out any) (int, string) {
	return h.ask(http.DefaultClient, method, "/hub/api"+path, hubServiceToken, out)
}

func (h *realHub) ask(c *http.Client, method, path, token string, out any) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "token "+token)
	} else if method != "GET" {
		req.Header.Set("Origin", h.url)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && out != nil && res.StatusCode < 300 {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return res.StatusCode, err.Error()
	}
	return res.StatusCode, string(data)
}

// browser signs a person in at the Hub.
func (h *realHub) browser(name string) *http.Client {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	_, page := h.ask(c, "GET", "/hub/login", "", nil)
	found := regexp.MustCompile(`name="_xsrf" value="([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		h.t.Fatalf("the sign-in page has no form:\n%.2000s", page)
	}
	res, err := c.PostForm(h.url+"/hub/login?next=%2Fhub%2Ftoken", url.Values{"username": {name}, "password": {"x"}, "_xsrf": {found[1]}})
	if err != nil {
		h.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 200 {
		h.t.Fatalf("signing %s in is answered with %d", name, res.StatusCode)
	}
	return c
}

func (h *realHub) token(name string) string {
	h.t.Helper()
	var made struct{ Token string }
	if status, text := h.api("POST", "/users/"+name+"/tokens", &made); status != 201 || made.Token == "" {
		h.t.Fatalf("making a token of %s: %d %s", name, status, text)
	}
	return made.Token
}

// TestJupyterHub is JupyterHub's contract with a single-user server, with a real
// Hub: people come in through it, with its cookies and tokens, and nobody else.
func TestJupyterHub(t *testing.T) {
	t.Parallel()
	command := os.Getenv("QUIRE_TEST_JUPYTERHUB")
	if command == "" {
		t.Log("QUIRE_TEST_JUPYTERHUB is not set: there is no Hub to test with")
		return
	}
	h := startHub(t, command)
	ann, bob := h.browser("ann"), h.browser("bob")
	if status, text := h.api("POST", "/users/ann/server", nil); status != 201 && status != 202 {
		t.Fatalf("starting ann's server: %d %s", status, text)
	}
	type server struct {
		Ready        bool
		LastActivity string `json:"last_activity"`
	}
	var user struct{ Servers map[string]server }
	h.until("ann's server", func() bool {
		status, _ := h.api("GET", "/users/ann", &user)
		return status == 200 && user.Servers[""].Ready
	})
	if status, _ := h.ask(http.DefaultClient, "GET", "/user/ann/api/contents", "", nil); status != 403 {
		t.Errorf("nobody reads ann's files: %d", status)
	}
	// A browser that is signed in at the Hub is let in without a word.
	if status, page := h.ask(ann, "GET", "/user/ann/login?next=%2Fuser%2Fann%2Fapi%2Fstatus", "", nil); status != 200 || !strings.Contains(page, "last_activity") {
		t.Errorf("ann opens her server: %d %.500s", status, page)
	}
	if status, text := h.ask(bob, "GET", "/user/ann/login", "", nil); status != 403 {
		t.Errorf("bob opens ann's server: %d %.300s", status, text)
	}
	if status, _ := h.ask(bob, "GET", "/user/ann/api/contents", "", nil); status != 403 {
		t.Errorf("bob reads ann's files: %d", status)
	}
	anns, bobs := h.token("ann"), h.token("bob")
	for token, want := range map[string]int{anns: 200, bobs: 403, "nonsense": 403} {
		if status, text := h.ask(http.DefaultClient, "GET", "/user/ann/api/contents", token, nil); status != want {
			t.Errorf("a token: %d, want %d: %.200s", status, want, text)
		}
	}
	h.checkKernel(ann)
	h.until("activity to be reported", func() bool {
		_, _ = h.api("GET", "/users/ann", &user)
		return user.Servers[""].LastActivity != ""
	})
	// What the Hub takes back is not good for longer than its answer is.
	if status, text := h.api("DELETE", "/users/ann/server", nil); status != 204 && status != 202 {
		t.Errorf("ending ann's server: %d %s", status, text)
	}
	h.until("ann's server to end", func() bool {
		clear(user.Servers)
		status, _ := h.api("GET", "/users/ann", &user)
		return status == 200 && len(user.Servers) == 0
	})
}

// checkKernel starts a kernel with a browser's cookie and opens its channels.
func (h *realHub) checkKernel(c *http.Client) {
	h.t.Helper()
	var kernel struct{ ID string }
	if status, text := h.ask(c, "POST", "/user/ann/api/kernels", "", &kernel); status != 201 {
		h.t.Errorf("starting a kernel with a cookie: %d %s", status, text)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, h.url+"/user/ann/api/kernels/"+kernel.ID+"/channels?session_id=s",
		&websocket.DialOptions{HTTPClient: c, HTTPHeader: http.Header{"Origin": {h.url}}})
	if err != nil {
		h.t.Errorf("opening the channels of a kernel: %v", err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	ask := `{"channel":"shell","header":{"msg_id":"m","msg_type":"execute_request","session":"s","username":"","version":"5.3","date":""},"parent_header":{},"metadata":{},` +
		`"content":{"code":"import os\nprint(6*7, sorted(k for k in os.environ if 'API_TOKEN' in k or k == 'QUIRE_TOKEN'))","silent":false,"store_history":true,"allow_stdin":false,"stop_on_error":true,"user_expressions":{}}}`
	if err := conn.Write(ctx, websocket.MessageText, []byte(ask)); err != nil {
		h.t.Error(err)
	}
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			h.t.Errorf("the kernel says nothing: %v", err)
			return
		}
		if strings.Contains(string(data), `42 []`) {
			return
		}
		if strings.Contains(string(data), `"42 [`) {
			h.t.Errorf("a kernel finds a secret in its environment: %s", data)
			return
		}
	}
}
