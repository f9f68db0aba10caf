package problem

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"message", New(NotFound, "kernel %q is not installed", "rust"), `kernel "rust" is not installed`},
		{"wrapped", Wrap(New(Invalid, "not JSON"), "reading %s", "a.ipynb"), "reading a.ipynb: not JSON"},
		{"empty", &Error{Kind: Timeout}, "timeout"},
		{"cause only", &Error{Err: errors.New("disk full")}, "disk full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKindSurvivesWrapping(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want Kind
	}{
		{"wrapped twice", fmt.Errorf("x: %w", Wrap(New(TooLarge, "big"), "reading")), TooLarge},
		{"kind changed", WrapAs(Unavailable, New(Internal, "boom"), "saving"), Unavailable},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), Timeout},
		{"canceled", context.Canceled, Canceled},
		{"foreign", errors.New("x"), Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := KindOf(tt.err); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if Wrap(nil, "x") != nil || WrapAs(Invalid, nil, "x") != nil {
		t.Error("wrapping nil must stay nil")
	}
	if Is(nil, Internal) {
		t.Error("nil is of no kind")
	}
}
