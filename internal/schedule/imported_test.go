package schedule_test

import (
	"strings"
	"testing"

	"quire/internal/schedule"
)

const crontab = `# m h dom mon dow command
SHELL=/bin/bash
MAILTO="ops@example.org"
DATA=/srv/data
0 6 * * 1-5 papermill reports/daily.ipynb /tmp/out.ipynb -p days 7 -p country FR -r code 007 -p full True -k python3 >> /var/log/daily.log 2>&1
CRON_TZ=Europe/Paris
30 2 * * * cd /home/ann/nb && /usr/bin/timeout 2h python3 -m papermill "etl load.ipynb" out/$(date +\%Y\%m\%d).ipynb -p day "$(date -d yesterday +\%F)" -p hour $(date +\%H) -p dir $DATA/in
@hourly flock -n /tmp/l jupyter nbconvert --to notebook --execute --inplace ~/nb/hourly.ipynb --ExecutePreprocessor.timeout=600
MAILTO=""
15 * * * * /usr/local/bin/backup.sh --all | gzip > /srv/b.gz
@reboot papermill a.ipynb b.ipynb
61 * * * * papermill a.ipynb b.ipynb
0 0 * * * mail ann%Hello%
5 5 * * * papermill /opt/x.ipynb - -p who "$NOBODY"
bad line
0 1 * * * jupyter execute reports/daily.ipynb
`

func TestImportCrontab(t *testing.T) {
	t.Parallel()
	all, faults := schedule.ImportCrontab([]byte(crontab), false, schedule.ImportOptions{User: "ann", Home: "/home/ann", Zone: "America/New_York"})
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.String())
	}
	for i, want := range []string{"line 11: @reboot", `line 12: "61 * * * *"`, "line 13: the text after %", "line 15: want five times"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("the faults are %q; number %d should begin with %q", lines, i+1, want)
		}
	}
	if len(lines) != 4 {
		t.Errorf("the faults are %q", lines)
	}
	got := map[string]schedule.Imported{}
	for _, one := range all {
		if _, faults := schedule.Read(one.Text); len(faults) > 0 {
			t.Errorf("%s is not read: %v\n%s", one.Name, faults, one.Text)
		}
		got[one.Name] = one
	}
	for name, words := range map[string][]string{
		"daily":    {"timezone: America/New_York", "notebook: users/ann/reports/daily.ipynb", "days: 7\n", "country: \"FR\"", `code: "007"`, "full: true", "kernel: python3", "ops@example.org", "cron: 0 6 * * 1-5", "# what it prints is kept with each run, not in /var/log/daily.log"},
		"etl-load": {"Europe/Paris", "users/ann/nb/etl load.ipynb", `day: "{{ ds - 1d }}"`, `hour: "{{ slot | %H }}"`, `dir: "/srv/data/in"`, "timeout: 2h", "{{ ds_nodash }}"},
		"hourly":   {"@hourly", "strategy: first-only", "users/ann/nb/hourly.ipynb", "is the time of one cell"},
		"backup":   {"users/ann/crontab/backup.ipynb", "# line 10 runs a command"},
		"x":        {"users/ann/crontab/"},
		"daily-2":  {"users/ann/reports/daily.ipynb"},
	} {
		if name == "x" { // its variable is nobody's: the whole line is a command
			name = "papermill"
		}
		one, ok := got[name]
		if !ok {
			t.Errorf("there is no %s", name)
			continue
		}
		for _, word := range words {
			if !strings.Contains(string(one.Text), word) {
				t.Errorf("%s has no %q:\n%s", name, word, one.Text)
			}
		}
	}
	if nb := string(got["backup"].Notebook); !strings.Contains(nb, `backup.sh --all | gzip \u003e /srv/b.gz`) || !strings.Contains(nb, "export DATA='/srv/data'") {
		t.Errorf("the notebook of the command is %s", nb)
	}
	if strings.Contains(string(got["backup"].Text), "notify") {
		t.Error("MAILTO= is not heeded")
	}
}

func TestImportSystemCrontab(t *testing.T) {
	t.Parallel()
	all, faults := schedule.ImportCrontab([]byte("0 4 * * *\troot\tpapermill /srv/nb/a.ipynb /dev/null\n"), true,
		schedule.ImportOptions{User: "ann", Places: map[string]string{"/srv/nb": "shared/nb"}})
	if len(faults) > 0 || len(all) != 1 || !strings.Contains(string(all[0].Text), "notebook: shared/nb/a.ipynb") || !strings.Contains(string(all[0].Text), "it ran as root") {
		t.Errorf("%v %v", all, faults)
	}
}

func TestImportJupyterScheduler(t *testing.T) {
	t.Parallel()
	all, err := schedule.ReadJupyterDefinitions([]byte(`{"job_definitions":[
		{"job_definition_id":"a","name":"Daily Report","input_filename":"Report.ipynb","schedule":"0 7 * * MON-FRI","timezone":"Europe/Paris","active":false,
		 "parameters":{"days":"7","n":3,"list":[1,"a"]},"output_formats":["ipynb","html"],"tags":["bi"],"runtime_environment_name":"base","email_notifications":{"on_failure":["a@example.org"]}},
		{"name":"Daily report","input_filename":"x.ipynb","schedule":"99 * * * *"},
		{"name":"by hand","input_filename":"x.ipynb"}],"total_count":3}`))
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	done, faults := schedule.ImportJupyterScheduler(all, schedule.ImportOptions{User: "ann", Home: "/home/ann", Zone: "UTC"})
	if len(done) != 2 || len(faults) != 1 || !strings.Contains(faults[0].Text, `"Daily report"`) || faults[0].Line != 2 {
		t.Fatalf("%v, %v", done, faults)
	}
	for _, word := range []string{"name: daily-report", "cron: 0 7 * * MON-FRI", "Europe/Paris", `days: "7"`, "n: 3", "pause this schedule", "output html is left out", "a@example.org", "users/ann/Report.ipynb"} {
		if !strings.Contains(string(done[0].Text), word) {
			t.Errorf("there is no %q in\n%s", word, done[0].Text)
		}
	}
	for _, text := range []string{"", "{}", `{"jobs":[]}`, "[1]"} {
		if _, err := schedule.ReadJupyterDefinitions([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// FuzzImportCrontab holds that every definition that comes of a crontab is one
// that is read.
func FuzzImportCrontab(f *testing.F) {
	f.Add(crontab)
	f.Add("* * * * * papermill \"a b.ipynb\" c -y '{a: 1}' -p x {{ds}}\n@daily nice -n 5 env A=1 jupyter nbconvert --execute x.ipynb")
	f.Add(strings.Repeat("@daily "+strings.Repeat("x", 80)+"\n", 3))
	f.Add("0 0 * * * $(`\"'\\")
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := schedule.ImportCrontab([]byte(text), len(text)%2 == 0, schedule.ImportOptions{User: "ann", Home: "/home/ann", Zone: "UTC"})
		for _, one := range all {
			d, faults := schedule.Read(one.Text)
			if len(faults) > 0 || d.Name != one.Name {
				t.Errorf("%q gives %q: %v", text, one.Text, faults)
			}
		}
	})
}
