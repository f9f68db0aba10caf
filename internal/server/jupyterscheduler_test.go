package server_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"quire/internal/problem"
	"quire/internal/server"
)

// TestReadJupyterScheduler reads a database with the tables of jupyter-scheduler
// 2.12.
func TestReadJupyterScheduler(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "scheduler.sqlite")
	handle, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = handle.Exec(`CREATE TABLE job_definitions (runtime_environment_name VARCHAR(256) NOT NULL, runtime_environment_parameters VARCHAR(1024), compute_type VARCHAR(256),
		input_filename VARCHAR(256) NOT NULL, output_formats VARCHAR(512), name VARCHAR(256), tags VARCHAR(1024), parameters VARCHAR(1024), email_notifications VARCHAR(1024),
		timeout_seconds INTEGER, retry_on_timeout BOOLEAN, max_retries INTEGER, min_retry_interval_millis INTEGER, output_filename_template VARCHAR(256), update_time INTEGER,
		package_input_folder BOOLEAN, packaged_files VARCHAR, job_definition_id VARCHAR(36) NOT NULL, schedule VARCHAR(256), timezone VARCHAR(36), url VARCHAR(256), create_time INTEGER, active BOOLEAN,
		PRIMARY KEY (job_definition_id));
		INSERT INTO job_definitions (job_definition_id, runtime_environment_name, input_filename, name, schedule, timezone, parameters, tags, output_formats, create_time, active, package_input_folder)
		VALUES ('b', 'base', 'second.ipynb', NULL, '0 7 * * 1', NULL, NULL, NULL, NULL, 2, 1, NULL),
			('a', 'base', 'first.ipynb', 'First', '0 0 * * *', 'Europe/Paris', '{"days": "7"}', '["bi"]', '["ipynb"]', 1, 0, 1)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := server.ReadJupyterScheduler(t.Context(), file)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	first, second := all[0], all[1]
	if first.Name != "First" || first.Zone != "Europe/Paris" || string(first.Parameters["days"]) != `"7"` || first.Active == nil || *first.Active || !first.Package || len(first.Tags) != 1 {
		t.Errorf("the first is %+v", first)
	}
	if second.Input != "second.ipynb" || second.Active == nil || !*second.Active {
		t.Errorf("the second is %+v", second)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{other, filepath.Join(t.TempDir(), "missing")} {
		if _, err := server.ReadJupyterScheduler(t.Context(), name); !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
