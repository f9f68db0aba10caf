package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"quire/internal/api"
	"quire/internal/problem"
)

// A GRPCConfig is where Titus's own clients are answered.
type GRPCConfig struct {
	// Address is where JobManagementService is served, HOST:PORT; port 0 picks a
	// free one, and the log says which. Default: none, and then it is not served.
	Address string `yaml:"address"`
}

func (c *Config) validateGRPC() error {
	if c.GRPC.Address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.GRPC.Address)
	switch {
	case err != nil:
		return problem.New(problem.Invalid, "grpc.address: %q: want HOST:PORT", c.GRPC.Address)
	case !loopback(host) && !c.InsecureBehindProxy:
		return problem.New(problem.Invalid, "grpc.address: %s is reachable from other machines, and this server does not speak TLS: put a proxy that does in front and set insecureBehindProxy", c.GRPC.Address)
	case c.Compute == computeNone:
		return problem.New(problem.Invalid, "grpc.address: there are no jobs with compute: none")
	}
	return nil
}

// listenGRPC opens the listener of Titus's clients, where one is wanted.
func (s *Server) listenGRPC() (err error) {
	if s.cfg.GRPC.Address == "" {
		return nil
	}
	if s.grpc, err = net.Listen("tcp", s.cfg.GRPC.Address); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "listening on %s", s.cfg.GRPC.Address)
	}
	return nil
}

// serveGRPC answers Titus's clients until the returned function is called.
func (s *Server) serveGRPC(ctx context.Context) (stop func()) {
	if s.grpc == nil {
		return func() {}
	}
	port := fmt.Sprint(s.grpc.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // it listens on tcp
	hosts := append([]string{
		net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("localhost", port), net.JoinHostPort("::1", port),
	}, s.cfg.Hosts...)
	rt := api.NewRouter(api.Config{Sessions: s.sessions, Log: s.log, Hosts: hosts, ErrorPage: api.GRPCErrors, Tracer: s.traces.tracer()})
	api.RegisterTitus(rt, s.jobs)
	server := &http.Server{
		Handler: rt, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), Protocols: new(http.Protocols),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	server.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	server.RegisterOnShutdown(rt.EndStreams)
	s.log.LogAttrs(ctx, slog.LevelInfo, "grpc is served", slog.String("address", s.grpc.Addr().String()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(s.grpc)
	}()
	return func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
		<-ended
	}
}
