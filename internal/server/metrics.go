package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"quire/internal/api"
	"quire/internal/run"
)

// metrics are the server's own numbers, in base units.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics(states func(context.Context) (map[run.State]int, error)) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "quire_http_request_duration_seconds", Help: "How long requests took, by route and status.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
		}, []string{"route", "status"}),
	}
	m.registry.MustRegister(m.requests, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &runStates{states})
	return m
}

func (m *metrics) observe(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// register adds /metrics in Prometheus' text form. It tells what runs and how
// much: an administrator's token is needed.
func (m *metrics) register(rt *api.Router) {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	rt.Handle("GET /metrics", api.Policy{Access: api.Admin, Doc: api.Doc{Summary: "The server's numbers, for Prometheus"}},
		func(w http.ResponseWriter, r *http.Request) error {
			h.ServeHTTP(w, r)
			return nil
		})
}

// runStates counts the runs that have not ended, when asked.
type runStates struct {
	count func(context.Context) (map[run.State]int, error)
}

var runsDesc = prometheus.NewDesc("quire_runs", "Runs that have not ended, by state.", []string{"state"}, nil)

// Describe implements prometheus.Collector.
func (*runStates) Describe(ch chan<- *prometheus.Desc) { ch <- runsDesc }

// Collect implements prometheus.Collector.
func (s *runStates) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := s.count(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(runsDesc, err)
		return
	}
	for _, state := range []run.State{run.Queued, run.Starting, run.Running} {
		ch <- prometheus.MustNewConstMetric(runsDesc, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
}
