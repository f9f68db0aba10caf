package schedule_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db"
	"quire/internal/db/dbtest"
	"quire/internal/db/postgres"
	"quire/internal/db/sqlite"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// A day is a simulated day: schedules of which some fire every hour and the others
// once, servers that are processes of their own and are killed at random, a clock
// that runs faster than the real one, and runs that do nothing.
type day struct {
	schedules, hourly int
	rush              bool // all of them fire at 01:00 instead
	zones             int  // the first so many of dayZones
	begin             time.Time
	length            time.Duration // of the day that is simulated
	speed             float64       // simulated seconds in a real one
	servers           int
	kills             int
}

// serverSpec is what a server of a simulated day is started with.
type serverSpec struct {
	Address string // of the records
	Begin   time.Time
	Started time.Time // when it was Begin
	Speed   float64
}

func (c serverSpec) now() time.Time {
	return c.Begin.Add(time.Duration(float64(time.Since(c.Started)) * c.Speed))
}

const serverVariable = "QUIRE_TEST_SCHEDULE_SERVER"

// TestMain makes this binary a server of a simulated day where it is told to.
func TestMain(m *testing.M) {
	if text := os.Getenv(serverVariable); text != "" {
		var spec serverSpec
		err := json.Unmarshal([]byte(text), &spec)
		if err == nil {
			err = serve(spec)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// noRuns are runs that are in the records and nowhere else.
type noRuns struct{ now func() time.Time }

func (noRuns) Check(context.Context, auth.User, run.Request) (int64, error) { return 1, nil }

func (n noRuns) Prepare(_ context.Context, u auth.User, req run.Request) (run.Run, error) {
	now := n.now()
	return run.Run{
		ID: run.NewID(now), Owner: u.Name, Notebook: req.Notebook, Version: req.Version, Tags: req.Tags, State: run.Queued,
		Parameters: json.RawMessage("{}"), Created: now, IdempotencyHash: req.IdempotencyKey,
	}, nil
}

func (noRuns) Settle(context.Context, run.Run, bool) {}

func (noRuns) Cancel(context.Context, auth.User, string) (run.Run, error) {
	return run.Run{}, problem.New(problem.Conflict, "over")
}

// serve is a server of a simulated day; it ends when it is killed.
func serve(spec serverSpec) error {
	runtime.GOMAXPROCS(1)
	ctx := context.Background()
	records, raw, err := openRecords(ctx, spec.Address)
	if err != nil {
		return err
	}
	s := schedule.New(schedule.Config{
		Store: records, Runs: noRuns{spec.now}, Now: spec.now,
		User: func(context.Context, string) (auth.User, error) { return ann, nil },
	})
	if err := s.Start(ctx); err != nil {
		return err
	}
	// Every run is over as soon as it is seen. When it was seen is later than when
	// it was queued: it is what lateness is measured by.
	for range time.Tick(20 * time.Millisecond) {
		_, err := raw.Exec(`UPDATE runs SET state = 'succeeded', started = ` + fmt.Sprint(spec.now().UnixMicro()) + `, finished = ` + fmt.Sprint(spec.now().UnixMicro()) + ` WHERE state = 'queued'`)
		if err != nil {
			return err
		}
	}
	return nil
}

// openRecords opens records, and a handle of the test's own on them.
func openRecords(ctx context.Context, address string) (*db.DB, *sql.DB, error) {
	if strings.Contains(address, "://") {
		records, err := postgres.Open(ctx, address)
		if err != nil {
			return nil, nil, err
		}
		raw, err := sql.Open("pgx", address)
		return records, raw, err
	}
	records, err := sqlite.Open(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	raw, err := sql.Open("sqlite", "file:"+address+"?_pragma=busy_timeout(60000)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err == nil {
		raw.SetMaxOpenConns(1)
	}
	return records, raw, err
}

var dayZones = []string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"}

// text is the definition of schedule i: some fire every hour, the others once a
// day, at times that are spread over both.
func (d day) text(i int) string {
	cron := fmt.Sprintf("%d * * * *", i*7%60)
	switch {
	case d.rush:
		cron = "0 1 * * *"
	case i >= d.hourly:
		cron = fmt.Sprintf("%d %d * * *", i*11%60, i*5%24)
	}
	return fmt.Sprintf("schedule: 1\nname: s%d\nnotebook: users/ann/a.ipynb\ntimezone: %s\ncatchUp: all\ntriggers: [{cron: %q}]\n", i, dayZones[i%d.zones], cron)
}

// simulated are the figures of a simulated day.
type simulated struct {
	fires         int
	took          time.Duration // real
	p50, p99, max time.Duration // lateness, real
	memory        int64         // of a server, bytes
	kills         int
}

// live simulates a day. Everything that was to fire has fired once, or it fails.
func (d day) live(t *testing.T) simulated {
	t.Helper()
	file := filepath.Join(t.TempDir(), "day.db")
	address := file
	if dbtest.OnPostgres() {
		address = dbtest.Database(t, file)
	}
	records, raw, err := openRecords(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = raw.Close(), records.Close() }()
	begin := d.begin
	if begin.IsZero() { // New York's clock goes forward on this day
		begin = time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)
	}
	s := schedule.New(schedule.Config{
		Store: records, Runs: noRuns{func() time.Time { return begin }}, Now: func() time.Time { return begin },
		User: func(context.Context, string) (auth.User, error) { return ann, nil },
	})
	want := map[string][]int64{}
	for i := range d.schedules {
		made, _, err := s.Apply(t.Context(), ann, []byte(d.text(i)))
		if err != nil {
			t.Fatal(err)
		}
		table, err := made.Definition.Timetable()
		if err != nil {
			t.Fatal(err)
		}
		for at, ok := table.Next(begin); ok && !at.After(begin.Add(d.length)); at, ok = table.Next(at) {
			want[made.ID] = append(want[made.ID], at.UnixMicro())
		}
	}
	out := simulated{}
	for _, slots := range want {
		out.fires += len(slots)
	}
	spec := serverSpec{Address: address, Begin: begin, Started: time.Now(), Speed: d.speed}
	servers := make([]*exec.Cmd, d.servers)
	for i := range servers {
		servers[i] = start(t, spec)
	}
	end := func(i int) {
		_ = servers[i].Process.Kill()
		_ = servers[i].Wait()
		if used, ok := servers[i].ProcessState.SysUsage().(*syscall.Rusage); ok {
			out.memory = max(out.memory, used.Maxrss<<10)
		}
	}
	defer func() {
		for i := range servers {
			if servers[i].ProcessState == nil {
				end(i)
			}
		}
	}()
	real := time.Duration(float64(d.length) / d.speed)
	rng := rand.New(rand.NewPCG(7, 7))
	for n := range d.kills {
		// Somewhere in its own part of the day.
		at := time.Duration((float64(n) + rng.Float64()) / float64(d.kills) * float64(real))
		select {
		case <-time.After(time.Until(spec.Started.Add(at))):
		case <-t.Context().Done():
			return out
		}
		i := rng.IntN(len(servers))
		end(i)
		if n%10 == 9 && d.schedules > 1000 {
			var behind int
			if err := raw.QueryRow(`SELECT COUNT(*) FROM schedules WHERE wake > 0 AND wake <= ` + fmt.Sprint(spec.now().UnixMicro())).Scan(&behind); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d kills, at %s: %d schedules are to be looked at", n+1, spec.now().Format("15:04"), behind)
		}
		servers[i] = start(t, spec)
		out.kills++
	}
	closing := begin.Add(d.length).UnixMicro()
	// Over when the clock is past the end, no schedule has a slot before it that is
	// not decided about, and no fire is live.
	over := fmt.Sprintf(`SELECT (SELECT COUNT(*) FROM schedules WHERE wake > 0 AND wake <= %d) + (SELECT COUNT(*) FROM fires WHERE state IN ('due', 'running') AND slot <= %d)`, closing, closing)
	for {
		var n int
		if err := raw.QueryRow(over).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 && spec.now().UnixMicro() > closing {
			break
		}
		if time.Since(spec.Started) > real+10*time.Minute {
			t.Fatalf("%d schedules and fires are not over", n)
		}
		time.Sleep(200 * time.Millisecond)
	}
	out.took = time.Since(spec.Started)
	for i := range servers {
		end(i)
	}
	d.judge(t, raw, want, closing, &out)
	return out
}

func start(t *testing.T, spec serverSpec) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// judge holds the records against what was to fire.
func (d day) judge(t *testing.T, raw *sql.DB, want map[string][]int64, closing int64, out *simulated) {
	t.Helper()
	got := map[string][]int64{}
	rows, err := raw.Query(`SELECT f.schedule, f.slot, f.state, f.body, r.started, r.idempotency FROM fires f LEFT JOIN runs r
		ON r.idempotency = 'schedule/' || f.id || '/0/notebook/-1/1' WHERE f.slot <= ` + fmt.Sprint(closing) + ` ORDER BY f.slot`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var late []time.Duration
	for rows.Next() {
		var id, state, body string
		var slot int64
		var started sql.NullInt64
		var key sql.NullString
		if err := rows.Scan(&id, &slot, &state, &body, &started, &key); err != nil {
			t.Fatal(err)
		}
		var f schedule.Fire
		if err := json.Unmarshal([]byte(body), &f); err != nil {
			t.Fatal(err)
		}
		if state != "succeeded" || f.Count != 1 || len(f.Tasks) != 1 || f.Tasks[0].Try != 1 || !key.Valid {
			t.Errorf("the fire of %s of %s: %s, %d slots, %d tasks; its run is there: %v", f.Slot, id, state, f.Count, len(f.Tasks), key.Valid)
		}
		got[id] = append(got[id], slot)
		late = append(late, time.Duration(float64(started.Int64-slot)*1000/d.speed))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for id, slots := range want {
		if !slices.Equal(slots, got[id]) {
			t.Errorf("schedule %s fired at %v, want %v", id, got[id], slots)
		}
	}
	// A run that no fire knows would be one that was fired twice.
	var runs, keys int
	err = raw.QueryRow(`SELECT COUNT(*), COUNT(DISTINCT idempotency) FROM runs`).Scan(&runs, &keys)
	var fires int
	if err == nil {
		err = raw.QueryRow(`SELECT COUNT(*) FROM fires WHERE state <> 'due'`).Scan(&fires)
	}
	if err != nil {
		t.Fatal(err)
	}
	if runs != keys || runs > fires {
		t.Errorf("%d runs of %d keys, and %d fires", runs, keys, fires)
	}
	slices.Sort(late)
	if n := len(late); n > 0 {
		out.p50, out.p99, out.max = late[n/2], late[n*99/100], late[n-1]
	}
}

// TestDayWithKills is a small day: one server, which is killed again and again.
func TestDayWithKills(t *testing.T) {
	t.Parallel()
	d := day{schedules: 40, hourly: 25, zones: 4, length: 6 * time.Hour, speed: 3600, servers: 1, kills: 6}
	if dbtest.OnPostgres() {
		d.servers = 2
	}
	out := d.live(t)
	t.Logf("%d fires in %s, %d kills, p99 %s late", out.fires, out.took.Round(time.Millisecond), out.kills, out.p99.Round(time.Millisecond))
	if out.fires < 100 || out.kills != d.kills {
		t.Errorf("%d fires, %d kills", out.fires, out.kills)
	}
}
