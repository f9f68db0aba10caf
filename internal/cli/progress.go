package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// How often the bar on a terminal is drawn anew, and how far apart plain lines
// are at least.
const (
	drawEvery  = 200 * time.Millisecond
	plainEvery = 100 * time.Millisecond
)

// A progress shows how far a run is: a bar on a terminal, elsewhere a line for
// each finished cell, at most ten a second. It is safe for concurrent use.
type progress struct {
	console *console
	unit    string // "cell" or "run"
	now     func() time.Time

	mu        sync.Mutex
	total     int
	done      int
	label     string // what is being done now
	started   time.Time
	unitStart time.Time // when the unit now running started; zero when none runs
	lastLine  time.Time
	lastDone  int
	closed    bool

	stop chan struct{}
	idle sync.WaitGroup
}

// newProgress shows a run of total units from now on, until Close.
func newProgress(c *console, unit string, total int, now func() time.Time) *progress {
	p := &progress{console: c, unit: unit, now: now, total: total, started: now(), stop: make(chan struct{})}
	if c.terminal {
		p.draw()
		p.idle.Add(1)
		go p.redraw()
	}
	return p
}

// redraw keeps the times on the bar moving until Close.
func (p *progress) redraw() {
	defer p.idle.Done()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

// SetTotal says that there are n units.
func (p *progress) SetTotal(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = n
}

// Start says that the next unit has started. label describes it; "" keeps the
// label of the one before, as papermill does.
func (p *progress) Start(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if label != "" {
		p.label = printable(label)
	}
	p.unitStart = p.now()
}

// Finish says that n units are done now.
func (p *progress) Finish(n int) {
	p.mu.Lock()
	p.done = n
	now := p.now()
	took := time.Duration(0)
	if !p.unitStart.IsZero() {
		took = now.Sub(p.unitStart)
	}
	p.unitStart = time.Time{}
	line := ""
	if !p.console.terminal && (now.Sub(p.lastLine) >= plainEvery || n >= p.total) {
		line = p.plain(now, took)
		p.lastLine, p.lastDone = now, n
	}
	p.mu.Unlock()
	if line != "" {
		p.console.Println(line)
	}
}

// Close takes the bar away, leaving its last state as a line. Closing twice is
// fine.
func (p *progress) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	p.idle.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	switch {
	case p.console.terminal:
		bar := p.bar(now)
		p.console.SetStatus("")
		p.console.Println(bar)
	case p.lastDone != p.done:
		p.console.Println(p.plain(now, 0))
	}
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console.SetStatus(p.bar(p.now()))
}

// plain is the line for a console that is not a terminal.
func (p *progress) plain(now time.Time, took time.Duration) string {
	line := fmt.Sprintf("Executing %s %d/%d", p.unit, p.done, p.total)
	if p.label != "" {
		line += " " + p.label
	}
	line += " [" + clock(now.Sub(p.started))
	if took > 0 {
		line += ", " + seconds(took)
	}
	return line + "]"
}

// bar is the status line on a terminal, cut to its width:
//
//	Executing load:  42%|████▏     | 5/12 [00:10<00:14, cell 6: 3 s]
func (p *progress) bar(now time.Time) string {
	elapsed := now.Sub(p.started)
	part := 1.0
	if p.total > 0 {
		part = min(1, float64(p.done)/float64(p.total))
	}
	head := "Executing"
	if p.label != "" {
		head += " " + cut(p.label, 30)
	}
	head += fmt.Sprintf(": %3.0f%%|", part*100)
	tail := fmt.Sprintf("| %d/%d [%s<%s", p.done, p.total, clock(elapsed), p.remaining(elapsed))
	if !p.unitStart.IsZero() && p.done < p.total {
		tail += fmt.Sprintf(", %s %d: %s", p.unit, p.done+1, seconds(now.Sub(p.unitStart)))
	}
	tail += "]"
	room := p.console.width() - 1 - utf8.RuneCountInString(head) - utf8.RuneCountInString(tail)
	return cut(head+fill(part, min(40, room), p.console.unicode)+tail, p.console.width()-1)
}

// remaining is the time left, taken from the mean of what is done.
func (p *progress) remaining(elapsed time.Duration) string {
	if p.done == 0 || p.total <= 0 {
		return "?"
	}
	left := float64(elapsed) / float64(p.done) * float64(p.total-p.done)
	return clock(time.Duration(max(0, left)))
}

// fill draws a bar of width columns of which part, 0 to 1, is done.
func fill(part float64, width int, blocks bool) string {
	if width <= 0 {
		return ""
	}
	if !blocks {
		n := int(part * float64(width))
		return strings.Repeat("#", n) + strings.Repeat(" ", width-n)
	}
	eighths := int(part * float64(width) * 8)
	bar := strings.Repeat("█", eighths/8)
	n := eighths / 8
	if eighths%8 > 0 {
		bar += string([]rune(" ▏▎▍▌▋▊▉")[eighths%8])
		n++
	}
	return bar + strings.Repeat(" ", width-n)
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:max(0, n)])
}

// clock writes a duration as MM:SS, or H:MM:SS from an hour on.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// seconds writes a duration for a person: "3.2 s", "41 ms", "2 min 5 s".
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
