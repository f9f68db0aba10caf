package server

import (
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
)

// A NotifyConfig says how people and programs are told what became of schedules.
type NotifyConfig struct {
	// URL is the address of this server as people reach it, for links. Default:
	// the one that it listens on.
	URL string `yaml:"url"`
	// SMTP is the server that takes e-mail.
	SMTP SMTPConfig `yaml:"smtp"`
	// Channels are webhooks and chats, by name.
	Channels map[string]ChannelConfig `yaml:"channels"`
}

// An SMTPConfig is a server that takes e-mail.
type SMTPConfig struct {
	// Address is HOST:PORT. Without it no e-mail is sent.
	Address string `yaml:"address"`
	// From is the address that messages come from.
	From string `yaml:"from"`
	// User and Password sign in, when User is set. Password is a reference: env:NAME
	// or file:/path.
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	// Plain sends without TLS where the server offers none.
	Plain bool `yaml:"plain"`
}

// A ChannelConfig is a webhook or a chat.
type ChannelConfig struct {
	// Kind is webhook, which is sent JSON, or slack, and what takes its messages.
	Kind string `yaml:"kind"`
	// URL is its address, or better a reference to it: env:NAME, or file:/path.
	URL string `yaml:"url"`
	// Key, a reference too, signs what a webhook is sent.
	Key string `yaml:"key"`
}

func (c *NotifyConfig) validate() (wrong []string) {
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
			wrong = append(wrong, "notify.url: want an address such as https://quire.example.org")
		}
	}
	if c.SMTP.Address != "" {
		if _, _, err := net.SplitHostPort(c.SMTP.Address); err != nil {
			wrong = append(wrong, "notify.smtp.address: want HOST:PORT")
		}
		if _, err := notify.Address(c.SMTP.From); err != nil {
			wrong = append(wrong, "notify.smtp.from: want an e-mail address")
		}
		if c.SMTP.User != "" && !isReference(c.SMTP.Password) {
			wrong = append(wrong, "notify.smtp.password: want a reference, env:NAME or file:/path")
		}
	}
	for name, ch := range c.Channels {
		switch {
		case !connectionName.MatchString(name):
			wrong = append(wrong, "notify.channels: "+name+": want a name of lower-case letters, digits, - and _")
		case !slices.Contains([]string{notify.Webhook, notify.Slack}, ch.Kind):
			wrong = append(wrong, "notify.channels."+name+".kind: want webhook or slack")
		case ch.URL == "":
			wrong = append(wrong, "notify.channels."+name+".url: want an address, or a reference: env:NAME or file:/path")
		case ch.Key != "" && !isReference(ch.Key):
			wrong = append(wrong, "notify.channels."+name+".key: want a reference, env:NAME or file:/path")
		}
	}
	return wrong
}

func isReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}

// maxReference is how long what a reference names may be, in bytes.
const maxReference = 64 << 10

// secretOf reads what a reference names when it is needed; what is none is the
// value itself.
func secretOf(text string) func() (string, error) {
	return func() (string, error) {
		name, ok := strings.CutPrefix(text, "env:")
		if ok {
			value := os.Getenv(name)
			if value == "" {
				return "", problem.New(problem.Unavailable, "the variable %s is not set", name)
			}
			return value, nil
		}
		if name, ok = strings.CutPrefix(text, "file:"); !ok {
			return text, nil
		}
		data, err := os.ReadFile(name)
		if err != nil || len(data) > maxReference {
			return "", problem.New(problem.Unavailable, "the file %s is not read", name)
		}
		return strings.TrimSpace(string(data)), nil
	}
}

// publicURL is the address of this server as people reach it, without a slash at
// its end.
func (s *Server) publicURL() string {
	if s.cfg.Notify.URL != "" {
		return strings.TrimSuffix(s.cfg.Notify.URL, "/")
	}
	return strings.TrimSuffix(s.URL(), "/")
}

// newNotices returns what sends notices.
func (s *Server) newNotices() (*notify.Carriers, *notify.Sender) {
	cfg := s.cfg.Notify
	carriers := &notify.Carriers{
		Base: s.publicURL,
		Mail: notify.Mail{
			Address: cfg.SMTP.Address, From: cfg.SMTP.From, User: cfg.SMTP.User, Password: secretOf(cfg.SMTP.Password), Plain: cfg.SMTP.Plain,
		},
		Channels: map[string]notify.Channel{}, Now: time.Now,
	}
	for name, ch := range cfg.Channels {
		one := notify.Channel{Kind: ch.Kind, URL: secretOf(ch.URL)}
		if ch.Key != "" {
			one.Key = secretOf(ch.Key)
		}
		carriers.Channels[name] = one
	}
	return carriers, notify.New(notify.Config{Store: s.db, Carrier: carriers, Log: s.log})
}
