package api

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the span of a request, in the trace that the caller's
// traceparent names, and returns the context that carries it.
func (rt *Router) startSpan(r *http.Request) context.Context {
	if rt.cfg.Tracer == nil {
		return r.Context()
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, _ = rt.cfg.Tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	return ctx
}

// endSpan ends the span of a request that was answered. It says the route and
// not the path, which names people's files.
func endSpan(rec *recorder, r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	if rec.pattern != "" {
		span.SetName(rec.pattern)
	}
	span.SetAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", rec.pattern),
		attribute.Int("http.response.status_code", rec.status), attribute.String("quire.request_id", RequestID(r.Context())),
	)
	if rec.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, http.StatusText(rec.status))
	}
	span.End()
}
