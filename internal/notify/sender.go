package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Carrier sends one message about notices that go to one receiver.
type Carrier interface {
	// Send returns when the receiver has taken the message. id is the same for the
	// same message, however often it is sent.
	Send(ctx context.Context, id string, to Rule, notices []Notice) error
}

// A Config is what a Sender needs.
type Config struct {
	Store Store
	// Carrier sends what a rule says: by e-mail, or over a channel.
	Carrier Carrier
	Now     func() time.Time // time.Now when nil
	Log     *slog.Logger     // may be nil
	Every   time.Duration    // how often the records are looked at; 0 is 2 s
}

// Bounds of sending.
const (
	MaxTries  = 20
	sendLimit = 30 * time.Second // of one message
	lease     = 2 * time.Minute
	firstWait = 15 * time.Second
	maxWait   = time.Hour
	atOnce    = 100 // notices between two looks
)

// A Sender sends recorded notices. It is safe for concurrent use; several
// servers may have one over the same store.
type Sender struct {
	cfg  Config
	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a Sender that sends nothing before Start.
func New(cfg Config) *Sender {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Every == 0 {
		cfg.Every = 2 * time.Second
	}
	return &Sender{cfg: cfg}
}

// Start sends what is due until Stop.
func (s *Sender) Start(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done.Go(func() {
		tick := time.NewTicker(s.cfg.Every)
		defer tick.Stop()
		for {
			if err := s.Round(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking for notices to send", slog.String("error", err.Error()))
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return nil
}

// Stop ends the sending. Stopping twice, or before Start, is no error.
func (s *Sender) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
}

// Round sends once what is due.
func (s *Sender) Round(ctx context.Context) error {
	now := s.cfg.Now().UTC().Truncate(time.Microsecond)
	taken, err := s.cfg.Store.TakeNotices(ctx, now, now.Add(lease), atOnce)
	if err != nil {
		return err
	}
	for len(taken) > 0 && ctx.Err() == nil {
		message := taken[:1]
		for len(message) < len(taken) && taken[0].Group != "" && taken[len(message)].Group == taken[0].Group {
			message = taken[:len(message)+1]
		}
		taken = taken[len(message):]
		if err := s.send(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sender) send(ctx context.Context, message []Notice) error {
	bounded, cancel := context.WithTimeout(ctx, sendLimit)
	err := s.cfg.Carrier.Send(bounded, message[0].ID, message[0].Rule, message)
	cancel()
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the server stops: they are due again after the lease
	}
	now := s.cfg.Now().UTC().Truncate(time.Microsecond)
	for _, n := range message {
		n.Tries++
		switch {
		case err == nil:
			n.State, n.Sent, n.Error = Sent, now, ""
		case n.Tries >= MaxTries:
			n.State, n.Error = Failed, err.Error()
		default:
			n.Error, n.Due = err.Error(), now.Add(backoff(n.Tries))
		}
		if putErr := s.cfg.Store.PutNotice(context.WithoutCancel(ctx), n); putErr != nil {
			return putErr
		}
	}
	if err != nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a notice is not sent yet", slog.String("notice_id", message[0].ID),
			slog.Int("tries", message[0].Tries+1), slog.String("error", err.Error()))
	}
	return nil
}

// backoff is how long to wait after so many tries that failed.
func backoff(tries int) time.Duration {
	wait := firstWait
	for n := 1; n < tries && wait < maxWait; n++ {
		wait *= 2
	}
	return min(wait, maxWait)
}
