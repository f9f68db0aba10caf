package server

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // registers the driver

	"quire/internal/problem"
	"quire/internal/schedule"
)

// maxJobDefinitions bounds what is read of a database of jupyter-scheduler.
const maxJobDefinitions = 10_000

// ReadJupyterScheduler reads the job definitions of jupyter-scheduler's database,
// scheduler.sqlite in Jupyter's data directory. The file is only read.
func ReadJupyterScheduler(ctx context.Context, file string) ([]schedule.JupyterDefinition, error) {
	full, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	handle, err := sql.Open("sqlite", "file:"+(&url.URL{Path: full}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)&_pragma=trusted_schema(OFF)")
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "opening %s", file)
	}
	defer handle.Close()
	rows, err := handle.QueryContext(ctx, `SELECT * FROM job_definitions ORDER BY create_time, job_definition_id LIMIT ?`, maxJobDefinitions)
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading %s as a database of jupyter-scheduler", file)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading %s", file)
	}
	var all []schedule.JupyterDefinition
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "reading %s", file)
		}
		one, err := jobDefinition(names, values)
		if err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "reading a job definition of %s", file)
		}
		all = append(all, one)
	}
	return all, problem.WrapAs(problem.Invalid, rows.Err(), "reading %s", file)
}

// jobDefinition is a row as the API would answer it: some columns are JSON.
func jobDefinition(names []string, values []any) (schedule.JupyterDefinition, error) {
	row := map[string]any{}
	for i, name := range names {
		value := *values[i].(*any) //nolint:forcetypeassert // made so above
		text, isText := value.(string)
		switch {
		case value == nil:
			continue
		case name == "active" || name == "package_input_folder":
			n, isNumber := value.(int64)
			row[name] = isNumber && n != 0 || value == true
		case isText && json.Valid([]byte(text)) && (name == "parameters" || name == "tags" || name == "output_formats" || name == "runtime_environment_parameters" || name == "email_notifications"):
			row[name] = json.RawMessage(text)
		case isText:
			row[name] = text
		}
	}
	var one schedule.JupyterDefinition
	text, err := json.Marshal(row)
	if err == nil {
		err = json.Unmarshal(text, &one)
	}
	return one, err
}
