package pages

import (
	"fmt"
	"time"

	"quire/internal/run"
)

// ago is how long before now t was, as people say it.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	switch {
	case d < 45*time.Second:
		return "just now"
	case d < 90*time.Second:
		return "1 minute ago"
	case d < 45*time.Minute:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()+0.5))
	case d < 90*time.Minute:
		return "1 hour ago"
	case d < 22*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()+0.5))
	case d < 36*time.Hour:
		return "1 day ago"
	case d < 26*24*time.Hour:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24+0.5))
	case d < 345*24*time.Hour:
		return plural(int(d.Hours()/24/30.4+0.5), "month")
	}
	return plural(int(d.Hours()/24/365+0.5), "year")
}

func plural(n int, unit string) string {
	if n <= 1 {
		return "1 " + unit + " ago"
	}
	return fmt.Sprintf("%d %ss ago", n, unit)
}

// byteSize is a size with its unit.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "KMGT"
	for value >= unit && len(suffix) > 1 {
		value, suffix = value/unit, suffix[1:]
	}
	if value < 10 {
		return fmt.Sprintf("%.1f %ciB", value, suffix[0])
	}
	return fmt.Sprintf("%.0f %ciB", value, suffix[0])
}

// duration is a span with its unit.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// A state is shown by a sign and a word, never by colour alone.

func sign(s run.State) string {
	switch s {
	case run.Succeeded:
		return "✓"
	case run.Failed, run.TimedOut, run.Lost:
		return "✕"
	case run.Running, run.Starting:
		return "◐"
	case run.Cancelled:
		return "■"
	}
	return "○"
}

func word(s run.State) string {
	switch s {
	case run.Succeeded:
		return "Succeeded"
	case run.Failed:
		return "Failed"
	case run.TimedOut:
		return "Timed out"
	case run.Lost:
		return "Lost"
	case run.Running:
		return "Running"
	case run.Starting:
		return "Starting"
	case run.Cancelled:
		return "Cancelled"
	}
	return "Queued"
}

func class(s run.State) string {
	switch s {
	case run.Succeeded:
		return "q-ok"
	case run.Failed, run.TimedOut, run.Lost:
		return "q-bad"
	case run.Cancelled:
		return "q-warn"
	}
	return "q-busy"
}
