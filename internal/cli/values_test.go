package cli

import (
	"testing"
	"time"
)

func TestParseSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want time.Duration
		bad  bool
	}{
		{"60", time.Minute, false},
		{" 5 ", 5 * time.Second, false},
		{"0", 0, false},
		{"-1", -time.Second, false},
		{"0.25", 250 * time.Millisecond, false},
		{"90s", 90 * time.Second, false},
		{"1h30m", 90 * time.Minute, false},
		{"", 0, true},
		{"soon", 0, true},
		{"nan", 0, true},
		{"1e300", 0, true},
		{"inf", 0, true},
	} {
		got, err := parseSeconds(tt.in)
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("parseSeconds(%q) = %v, %v; want %v, error %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want int64
		bad  bool
	}{
		{"500", 500, false},
		{"64MiB", 64 << 20, false},
		{"64 mib", 64 << 20, false},
		{"1.5k", 1536, false},
		{"1GB", 1e9, false},
		{"2G", 2 << 30, false},
		{"", 0, true},
		{"MiB", 0, true},
		{"-1", 0, true},
		{"5x", 0, true},
		{"9999999999G", 0, true},
	} {
		got, err := parseSize(tt.in)
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("parseSize(%q) = %v, %v; want %v, error %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

func TestPathRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		rules pathRules
		args  []string
		want  runPaths
		usage bool
	}{
		{"both", pathRules{}, []string{"a", "b"}, runPaths{"a", "b"}, false},
		{"both, piped", pathRules{stdinPiped: true}, []string{"a", "b"}, runPaths{"a", "b"}, false},
		{"one, output not a terminal", pathRules{}, []string{"a"}, runPaths{"a", "-"}, false},
		{"one, output a terminal", pathRules{stdoutTTY: true}, []string{"a"}, runPaths{}, true},
		{"one, piped: it is the output", pathRules{stdinPiped: true, stdoutTTY: true}, []string{"a"}, runPaths{"-", "a"}, false},
		{"none, piped", pathRules{stdinPiped: true, stdoutTTY: true}, nil, runPaths{"-", "-"}, false},
		{"none, not piped", pathRules{}, nil, runPaths{}, true},
		{"help, one", pathRules{help: true, stdoutTTY: true}, []string{"a"}, runPaths{"a", ""}, false},
		{"help, one, piped: it is the input", pathRules{help: true, stdinPiped: true}, []string{"a"}, runPaths{"a", ""}, false},
		{"help, none, piped", pathRules{help: true, stdinPiped: true}, nil, runPaths{"-", ""}, false},
		{"dashes", pathRules{stdoutTTY: true}, []string{"-", "-"}, runPaths{"-", "-"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.rules.resolve(tt.args)
			if (err != nil) != tt.usage {
				t.Fatalf("error is %v, want one: %v", err, tt.usage)
			}
			if err == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestPublicPath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"a/b.ipynb", "a/b.ipynb"},
		{"-", "-"},
		{"s3://bucket/a@b.ipynb", "s3://bucket/a@b.ipynb"},
		{"http://me:pw@host/a.ipynb", "http://host/a.ipynb"},
		{"http://me:p@w@host", "http://host"},
		{"https://h/a?X-Amz-Signature=abc&x=1&sig=def", "https://h/a?X-Amz-Signature=********&x=1&sig=********"},
		{"abs://c.blob.example/a?sas=abc", "abs://c.blob.example/a?sas=********"},
	} {
		if got := publicPath(tt.in); got != tt.want {
			t.Errorf("publicPath(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
