"""A span for each request, where OTEL_EXPORTER_OTLP_ENDPOINT is set: the settings add it then."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from opentelemetry.context import attach, detach
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from conversations import tracing
from conversations.api.middleware import View, current_request_id
from conversations.api.waiting import when_answered

_propagator = TraceContextTextMapPropagator()


def trace_requests(get_response: View) -> View:
    """From the begin of a request to the head of its response, named by its route. It goes on with
    the trace of the client, where that names one."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        tracer = tracing.tracer()
        if tracer is None:
            return get_response(request)
        span = tracer.start_span(
            request.method or "HTTP",
            context=_propagator.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": request.method or "",
                "url.path": request.path,
                "url.scheme": request.scheme or "",
                "http.request.header.x-request-id": [current_request_id()],
            },
        )
        token = attach(set_span_in_context(span))
        try:
            response = get_response(request)
        finally:
            detach(token)

        def end() -> None:
            if match := request.resolver_match:
                span.update_name(f"{request.method} {match.view_name}")
                span.set_attribute("http.route", match.route)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_attribute("error.type", str(response.status_code))
                span.set_status(StatusCode.ERROR)
            span.end()

        when_answered(response, end)
        return response

    return middleware
