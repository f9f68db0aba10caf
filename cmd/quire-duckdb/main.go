//go:build cgo && duckdb_arrow

// Command quire-duckdb is the process that has DuckDB in it: the server starts
// one for each person who asks something of DuckDB, in a container of that
// person's, and ends it when nothing was asked for a while. It answers orders
// (see package frame) on a Unix socket. It is built with cgo; quire is not.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"quire/internal/query/frame"
)

// config is the one argument, as JSON.
type config struct {
	Socket  string   `json:"socket"`  // to listen on
	Catalog string   `json:"catalog"` // the database's file; "" is in memory
	Temp    string   `json:"temp"`    // for what does not fit in the memory
	Search  string   `json:"search"`  // folders that relative paths are looked for in
	Allowed []string `json:"allowed"` // folders whose files may be read and written
	Sample  string   `json:"sample"`  // folder of Parquet files that are shown as views; may be missing
	Memory  string   `json:"memory"`  // DuckDB's memory_limit
	Disk    string   `json:"disk"`    // DuckDB's max_temp_directory_size
	Threads int      `json:"threads"`
	// IdleSeconds is how long the process goes on when nothing is asked.
	IdleSeconds int `json:"idleSeconds"`
	// Shared says that several people are in the process: nobody attaches another
	// database, or changes what the others have.
	Shared bool `json:"shared"`
}

func main() {
	do := serve
	if len(os.Args) == 4 && os.Args[1] == "pack" { // for tools/duckdb.sh
		do = func() error { return pack(os.Args[2], os.Args[3]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "quire-duckdb:", err)
		os.Exit(1)
	}
}

func serve() error {
	if len(os.Args) != 2 {
		return errors.New("want one argument, the configuration as JSON: the server starts this program")
	}
	var cfg config
	if err := json.Unmarshal([]byte(os.Args[1]), &cfg); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	db, err := openEngine(cfg)
	if err != nil {
		return err
	}
	defer db.close()
	listener, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		return err
	}
	s := &frame.Server{Listener: listener, Answer: db.answer, Idle: time.Duration(cfg.IdleSeconds) * time.Second}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		s.Stop()
	}()
	return s.Serve()
}

// answer does one order. A cancel, or the end of the connection, interrupts it.
func (e *engine) answer(conn net.Conn) {
	reader := frame.NewReader(conn)
	kind, payload, err := reader.Read()
	if err != nil || kind != frame.Order {
		return
	}
	var ask frame.Ask
	if err := json.Unmarshal(payload, &ask); err != nil {
		_ = frame.WriteJSON(conn, frame.End, frame.Done{Fault: &frame.Fault{Kind: "internal", Message: err.Error(), Offset: -1}})
		return
	}
	o := &order{engine: e, ask: ask, out: frame.NewSender(conn)}
	over := make(chan struct{})
	if ask.What == "load" || ask.What == "parquet" {
		o.in = frame.NewArriving(reader, o.interrupt)
	} else {
		go frame.Interrupt(reader, over, o.interrupt)
	}
	done := o.do()
	close(over)
	_ = o.out.SendJSON(frame.End, done)
}
