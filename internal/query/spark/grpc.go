package spark

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// maxMessage is the longest message that is read: Spark cuts what it sends at 128 MiB.
const maxMessage = 128 << 20

// A client speaks gRPC to one server: messages with five bytes before them in
// the bodies of an HTTP/2 request, and a status in the trailers.
type client struct {
	http  *http.Client
	base  string // scheme://host:port
	token string
}

// An address is that of a Spark Connect server: sc://host:port/;name=value;...
type address struct {
	host   string
	secure bool
	token  string
	user   string
}

// parseAddress reads the address. No error repeats it: it may hold a token.
func parseAddress(text string) (a address, err error) {
	wrong := problem.New(problem.Invalid, "the DSN is not one of Spark Connect: want sc://host:15002 or sc://host:15002/;use_ssl=true;token=...")
	rest, ok := strings.CutPrefix(text, "sc://")
	if !ok {
		return a, wrong
	}
	host, settings, _ := strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "15002")
	}
	if u, err := url.Parse("http://" + host); err != nil || u.Hostname() == "" || u.User != nil {
		return a, wrong
	}
	a.host = host
	plain := false
	for part := range strings.SplitSeq(settings, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if value, err = url.PathUnescape(value); err != nil {
			return a, wrong
		}
		switch name {
		case "":
		case "use_ssl":
			a.secure, plain = value == "true", value != "true"
		case "token":
			a.token = value
		case "user_id":
			a.user = value
		default:
			return a, problem.New(problem.Invalid, "the DSN of Spark Connect has a setting that is not known here: want use_ssl, token or user_id")
		}
	}
	// A token is shown to nobody on the way.
	if a.token != "" && !a.secure && !a.near() {
		if plain {
			return a, problem.New(problem.Invalid, "the DSN of Spark Connect has a token and use_ssl=false: a token is sent encrypted only")
		}
		a.secure = true
	}
	return a, nil
}

// near tells whether the server is on this machine.
func (a address) near() bool {
	host, _, _ := net.SplitHostPort(a.host)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newClient(a address) *client {
	transport := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 5 * time.Minute,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		// A server that is gone without a word is seen within half a minute.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second, MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 4 << 20},
	}
	transport.Protocols = new(http.Protocols)
	c := &client{http: &http.Client{Transport: transport}, base: "http://" + a.host, token: a.token}
	if a.secure {
		transport.Protocols.SetHTTP2(true)
		c.base = "https://" + a.host
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	return c
}

func (c *client) close() { c.http.CloseIdleConnections() }

// A status is how a call ended, where it did not end well.
type status struct {
	code    int
	message string
	details []byte // google.rpc.Status
}

func (s *status) Error() string { return fmt.Sprintf("status %d: %s", s.code, s.message) }

// The codes of gRPC that mean something here.
const (
	codeCanceled        = 1
	codeNotFound        = 5
	codeDenied          = 7
	codeExhausted       = 8
	codeUnimplemented   = 12
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// call sends one message to a method of the service and calls each with every
// message of the answer. The message is each's until it returns.
func (c *client) call(ctx context.Context, method string, request []byte, each func(message []byte) error) error {
	body := make([]byte, 5, 5+len(request))
	binary.BigEndian.PutUint32(body[1:], uint32(len(request))) //nolint:gosec // a statement and a batch are far below
	body = append(body, request...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/spark.connect.SparkConnectService/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"quire"}}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // what is unread is told to stop
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc") {
		return &status{code: codeOfHTTP(answer.StatusCode), message: "it answers with HTTP " + strconv.Itoa(answer.StatusCode) + " and not as a Spark Connect server"}
	}
	if err := messages(answer.Body, each); err != nil {
		return err
	}
	trailer := answer.Trailer
	if answer.Header.Get("Grpc-Status") != "" {
		trailer = answer.Header
	}
	return statusOf(trailer)
}

func codeOfHTTP(code int) int {
	switch code {
	case http.StatusUnauthorized:
		return codeUnauthenticated
	case http.StatusForbidden:
		return codeDenied
	}
	return codeUnavailable
}

func messages(body io.Reader, each func([]byte) error) error {
	var head [5]byte
	var buffer []byte
	for {
		if _, err := io.ReadFull(body, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := binary.BigEndian.Uint32(head[1:])
		if head[0] != 0 || size > maxMessage {
			return &status{code: codeUnavailable, message: fmt.Sprintf("it sent a message of %d bytes in a form that was not asked for", size)}
		}
		if int(size) > cap(buffer) {
			buffer = make([]byte, size)
		}
		buffer = buffer[:size]
		if _, err := io.ReadFull(body, buffer); err != nil {
			return err
		}
		if err := each(buffer); err != nil {
			return err
		}
	}
}

func statusOf(trailer http.Header) error {
	code, err := strconv.Atoi(trailer.Get("Grpc-Status"))
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if code == 0 {
		return nil
	}
	s := &status{code: code, message: trailer.Get("Grpc-Message")}
	if text, err := url.PathUnescape(s.message); err == nil {
		s.message = text
	}
	s.details, _ = base64.RawStdEncoding.DecodeString(strings.TrimRight(trailer.Get("Grpc-Status-Details-Bin"), "="))
	return s
}
