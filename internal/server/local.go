package server

import (
	"encoding/json"
	"os"
	"path/filepath"

	"quire/internal/problem"
)

// An Address is where a server is and what opens it.
type Address struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

const addressFile = "server.json"

// Local returns the address of the server that uses the default data
// directory, as it said when it started.
func Local() (Address, error) {
	var cfg Config
	if err := cfg.validateData(); err != nil {
		return Address{}, err
	}
	data, err := os.ReadFile(filepath.Join(cfg.Data, addressFile))
	if err != nil {
		return Address{}, problem.WrapAs(problem.NotFound, err, "looking for the server of this machine")
	}
	var a Address
	return a, problem.WrapAs(problem.Invalid, json.Unmarshal(data, &a), "reading %s", addressFile)
}

// announce writes the address for commands of the same user to find: all of it at
// once, since they look as soon as it is there.
func (s *Server) announce() error {
	data, err := json.Marshal(Address{URL: s.URL(), Token: s.token})
	if err != nil {
		return err
	}
	return problem.Wrap(replaceFile(s.data(addressFile), string(data)), "announcing the server")
}
