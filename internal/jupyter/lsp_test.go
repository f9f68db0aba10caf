package jupyter

import (
	"bufio"
	"strings"
	"testing"

	"quire/internal/problem"
)

func TestLanguageServersAreFew(t *testing.T) {
	t.Parallel()
	var u languageUse
	var done []func()
	for range maxLanguageServers {
		end, err := u.take("pylsp")
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, end)
	}
	if _, err := u.take("basedpyright"); !problem.Is(err, problem.Unavailable) {
		t.Errorf("one more than there may be: %v", err)
	}
	for _, end := range done {
		end()
	}
	end, err := u.take("basedpyright")
	if err != nil {
		t.Fatal(err)
	}
	end()
	u.close()
	if _, err := u.take("pylsp"); err == nil {
		t.Error("one was begun after the end")
	}
}

func TestLanguageMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		fails          bool
	}{
		{"one", "Content-Length: 2\r\n\r\n{}", "{}", false},
		{"another header", "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length:2\r\n\r\n{}", "{}", false},
		{"what is printed before", "warming up\nContent-Length: 2\r\n\r\n{}", "{}", false},
		{"too long", "Content-Length: 99999999999\r\n\r\n{}", "", true},
		{"negative", "Content-Length: -1\r\n\r\n{}", "", true},
		{"no number", "Content-Length: x\r\n\r\n{}", "", true},
		{"a line without an end", strings.Repeat("x", maxLanguageHeader+1), "", true},
		{"lines without an end", strings.Repeat("x\n", maxLanguageHeader), "", true},
		{"cut", "Content-Length: 9\r\n\r\n{}", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := readLanguageMessage(bufio.NewReaderSize(strings.NewReader(tt.in), maxLanguageHeader))
			if (err != nil) != tt.fails || (!tt.fails && string(got) != tt.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
