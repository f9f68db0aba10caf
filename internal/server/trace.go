package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"quire/internal/problem"
)

// traceEnd is how long the last spans may take to be sent when the server stops.
const traceEnd = 3 * time.Second

// tracing sends the spans of a server to a collector. The zero value, without
// an endpoint, makes none.
type tracing struct {
	provider *sdk.TracerProvider
}

// newTracing sends spans to the OTLP collector at endpoint, which is an address
// as "http://127.0.0.1:4318", or to the one that OpenTelemetry's own variables
// name; where there is none nothing is traced.
func newTracing(endpoint, version string, log *slog.Logger) (*tracing, error) {
	address := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if endpoint == "" {
		endpoint = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	} else {
		address = ""
	}
	if address == "" && endpoint != "" {
		address = strings.TrimSuffix(endpoint, "/") + "/v1/traces"
	}
	if address == "" {
		return &tracing{}, nil
	}
	if err := checkTraces(address); err != nil {
		return nil, err
	}
	exporter := &otlp{url: address, log: log, header: traceHeader(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS")), client: &http.Client{Timeout: 10 * time.Second}}
	about := resource.NewSchemaless(attribute.String("service.name", "quire"), attribute.String("service.version", version))
	return &tracing{sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))}, nil
}

func checkTraces(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return problem.New(problem.Invalid, "traces: want the address of an OTLP collector without credentials, as http://127.0.0.1:4318; OTEL_EXPORTER_OTLP_HEADERS takes a token")
	}
	return nil
}

// traceHeader reads "name=value,name=value", values escaped as in a URL.
func traceHeader(s string) http.Header {
	h := http.Header{}
	for field := range strings.SplitSeq(s, ",") {
		if name, value, ok := strings.Cut(field, "="); ok {
			if plain, err := url.QueryUnescape(strings.TrimSpace(value)); err == nil {
				h.Set(strings.TrimSpace(name), plain)
			}
		}
	}
	return h
}

// tracer returns what makes spans, nil when nothing is traced.
func (t *tracing) tracer() trace.Tracer {
	if t == nil || t.provider == nil {
		return nil
	}
	return t.provider.Tracer("quire")
}

// close sends the spans that wait.
func (t *tracing) close() error {
	if t == nil || t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceEnd)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	t.provider = nil
	return problem.WrapAs(problem.Unavailable, err, "sending the last spans")
}

// otlp sends spans as JSON over HTTP, the form of OTLP that needs no generated
// code.
type otlp struct {
	url    string
	log    *slog.Logger
	header http.Header
	client *http.Client
}

var _ sdk.SpanExporter = (*otlp)(nil)

// ExportSpans implements sdk.SpanExporter. Spans that cannot be sent are lost,
// and the log says so: nobody's work waits for them.
func (o *otlp) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	if err := o.send(ctx, spans); err != nil {
		o.log.LogAttrs(ctx, slog.LevelWarn, "spans are lost", slog.String("error", err.Error()))
	}
	return nil
}

func (o *otlp) send(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	list := make([]otlpSpan, len(spans))
	for i, s := range spans {
		list[i] = spanOf(s)
	}
	body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
		"resource":   map[string]any{"attributes": attributesOf(spans[0].Resource().Attributes())},
		"scopeSpans": []any{map[string]any{"scope": map[string]any{"name": "quire"}, "spans": list}},
	}}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = o.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	answer, err := o.client.Do(req)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "sending %d spans", len(spans))
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
	if answer.StatusCode >= http.StatusMultipleChoices {
		return problem.New(problem.Unavailable, "sending %d spans: the collector answered %s", len(spans), answer.Status)
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (o *otlp) Shutdown(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// An otlpSpan is a span in OTLP's JSON: ids in hex, times in nanoseconds as text.
type otlpSpan struct {
	TraceID      string          `json:"traceId"`
	SpanID       string          `json:"spanId"`
	ParentSpanID string          `json:"parentSpanId,omitempty"`
	Name         string          `json:"name"`
	Kind         int             `json:"kind"`
	Start        string          `json:"startTimeUnixNano"`
	End          string          `json:"endTimeUnixNano"`
	Attributes   []otlpAttribute `json:"attributes,omitempty"`
	Status       otlpStatus      `json:"status"`
}

type otlpStatus struct {
	Code    int    `json:"code,omitempty"` // 1 is good, 2 an error
	Message string `json:"message,omitempty"`
}

type otlpAttribute struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"`
}

func spanOf(s sdk.ReadOnlySpan) otlpSpan {
	span := otlpSpan{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: int(s.SpanKind()),
		Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10),
		Attributes: attributesOf(s.Attributes()),
	}
	if s.Parent().SpanID().IsValid() {
		span.ParentSpanID = s.Parent().SpanID().String()
	}
	switch s.Status().Code {
	case codes.Error:
		span.Status = otlpStatus{2, s.Status().Description}
	case codes.Ok:
		span.Status.Code = 1
	}
	return span
}

func attributesOf(all []attribute.KeyValue) []otlpAttribute {
	var list []otlpAttribute
	for _, a := range all {
		value := map[string]any{"stringValue": a.Value.String()}
		switch a.Value.Type() {
		case attribute.INT64:
			value = map[string]any{"intValue": a.Value.String()}
		case attribute.BOOL:
			value = map[string]any{"boolValue": a.Value.AsBool()}
		}
		list = append(list, otlpAttribute{string(a.Key), value})
	}
	return list
}
