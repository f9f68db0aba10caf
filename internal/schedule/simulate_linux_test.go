//go:build simulate

package schedule_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"quire/internal/db/dbtest"
)

// TestSimulatedDay is the whole of it: make simulate.
func TestSimulatedDay(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("QUIRE_SIMULATE_MINUTES"), 64)
	if err != nil {
		t.Fatalf("QUIRE_SIMULATE_MINUTES: %v", err)
	}
	kills, _ := strconv.Atoi(os.Getenv("QUIRE_SIMULATE_KILLS"))
	schedules := 10_000
	if n, err := strconv.Atoi(os.Getenv("QUIRE_SIMULATE_SCHEDULES")); err == nil {
		schedules = n
	}
	d := day{schedules: schedules, hourly: schedules * 6_087 / 10_000, zones: 4, length: 24 * time.Hour, speed: 24 * 60 / minutes, servers: 1, kills: kills}
	if dbtest.OnPostgres() {
		d.servers = 2
	}
	out := d.live(t)
	fmt.Printf("day: %d schedules, %d fires in %s, %d servers of one core, %d kills: each exactly once; late by %s (p50), %s (p99), %s (most); memory of a server %d MB\n",
		d.schedules, out.fires, out.took.Round(time.Second), d.servers, out.kills, out.p50.Round(time.Millisecond), out.p99.Round(time.Millisecond), out.max.Round(time.Millisecond), out.memory>>20)
}

// TestSimulatedRush has all schedules fire at the same time: make simulate.
func TestSimulatedRush(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("QUIRE_SIMULATE_RUSH"))
	if err != nil {
		t.Fatalf("QUIRE_SIMULATE_RUSH: %v", err)
	}
	d := day{schedules: n, zones: 1, rush: true, begin: time.Date(2026, 3, 8, 0, 59, 55, 0, time.UTC), length: 10 * time.Second, speed: 1, servers: 1}
	if dbtest.OnPostgres() {
		d.servers = 2
	}
	out := d.live(t)
	fmt.Printf("rush: %d schedules that fire at once, %d servers of one core: the last run was seen %s after its slot: %.0f/s; memory of a server %d MB\n",
		n, d.servers, out.max.Round(time.Millisecond), float64(n)/out.max.Seconds(), out.memory>>20)
}
