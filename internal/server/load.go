package server

import (
	"bytes"
	"errors"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"quire/internal/db/postgres"
	"quire/internal/problem"
)

// LoadConfig reads a configuration from a YAML file. An unknown key is an error
// with its line: a setting that is silently ignored is worse than none.
func LoadConfig(name string) (Config, error) {
	var cfg Config
	data, err := os.ReadFile(name)
	if err != nil {
		return cfg, problem.WrapAs(problem.NotFound, err, "reading the configuration")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil && !errors.Is(err, io.EOF) {
		return cfg, problem.WrapAs(problem.Invalid, err, "reading the configuration %s", name)
	}
	return cfg, nil
}

// YAML returns the configuration as a file would hold it, defaults filled in.
// Secrets are not part of it.
func (c Config) YAML() ([]byte, error) {
	if c.Database != "" {
		c.Database = postgres.Redacted(c.Database)
	}
	return yaml.Marshal(c)
}
