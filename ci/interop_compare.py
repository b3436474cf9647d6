#!/usr/bin/env python3
"""Compares what was sent with what an OpenTelemetry Collector received, field by field.

    interop_compare.py SENT RECEIVED

SENT is what exporter/examples/interop_send.rs writes: one span a line. RECEIVED is the file exporter's: one
request a line, in OTLP/JSON. Both are brought into the form of SENT. The order of spans, and of the attributes
of a resource (a map in the SDK), means nothing; all other orders do. Prints one line; exits 1 on a difference.
"""

import json
import struct
import sys

DIFFERENCES_SHOWN = 20


def received_spans(lines):
    """Yields each span of OTLP/JSON requests in the form of SENT.

    Every field is read by its name, and an unknown one is an error: nothing is passed over in silence."""
    for line in lines:
        for resource_spans in take(parse(line), {"resourceSpans": []})["resourceSpans"]:
            group = take(resource_spans, {"resource": {}, "scopeSpans": [], "schemaUrl": ""})
            resource = take(group["resource"], {"attributes": []})
            resource = {
                "attributes": attributes(resource["attributes"]),
                "schema_url": group["schemaUrl"],
            }
            for scope_spans in group["scopeSpans"]:
                yield from spans_of(resource, scope_spans)


def parse(line):
    # The Collector writes the double -0.0 as -0, which Python would read as the integer 0.
    return json.loads(line, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


def spans_of(resource, scope_spans):
    group = take(scope_spans, {"scope": {}, "spans": [], "schemaUrl": ""})
    scope = take(group["scope"], {"name": "", "version": "", "attributes": []})
    scope["attributes"] = attributes(scope["attributes"])
    scope["schema_url"] = group["schemaUrl"]
    for span in group["spans"]:
        yield {"resource": resource, "scope": scope, "span": span_of(span)}


def span_of(span):
    fields = {
        **{"traceId": "", "spanId": "", "parentSpanId": "", "traceState": "", "flags": 0, "name": "", "kind": 0},
        **{"startTimeUnixNano": "0", "endTimeUnixNano": "0", "attributes": [], "droppedAttributesCount": 0},
        **{"events": [], "droppedEventsCount": 0, "links": [], "droppedLinksCount": 0, "status": {}},
    }
    span = take(span, fields)
    return {
        "trace_id": span["traceId"],
        "span_id": span["spanId"],
        "parent_span_id": span["parentSpanId"],
        "trace_state": span["traceState"],
        "flags": span["flags"],
        "name": span["name"],
        "kind": span["kind"],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "attributes": attributes(span["attributes"]),
        "dropped_attributes": span["droppedAttributesCount"],
        "events": [event_of(event) for event in span["events"]],
        "dropped_events": span["droppedEventsCount"],
        "links": [link_of(link) for link in span["links"]],
        "dropped_links": span["droppedLinksCount"],
        "status": take(span["status"], {"code": 0, "message": ""}),
    }


def event_of(event):
    event = take(event, {"timeUnixNano": "0", "name": "", "attributes": [], "droppedAttributesCount": 0})
    return {
        "time": int(event["timeUnixNano"]),
        "name": event["name"],
        "attributes": attributes(event["attributes"]),
        "dropped_attributes": event["droppedAttributesCount"],
    }


def link_of(link):
    fields = {"traceId": "", "spanId": "", "traceState": "", "attributes": [], "droppedAttributesCount": 0, "flags": 0}
    link = take(link, fields)
    return {
        "trace_id": link["traceId"],
        "span_id": link["spanId"],
        "trace_state": link["traceState"],
        "attributes": attributes(link["attributes"]),
        "dropped_attributes": link["droppedAttributesCount"],
        "flags": link["flags"],
    }


def attributes(pairs):
    return [[pair.get("key", ""), value_of(pair.get("value", {}))] for pair in pairs]


def value_of(value):
    """An AnyValue as [type, value]; a double as its bits, and all NaNs as one."""
    [(kind, value)] = value.items()
    match kind:
        case "boolValue":
            return ["bool", value]
        case "intValue":
            return ["int", int(value)]
        case "doubleValue":
            return ["double", struct.pack(">d", float(value)).hex()]
        case "stringValue":
            return ["string", value]
        case "arrayValue":
            return ["array", [value_of(element) for element in take(value, {"values": []})["values"]]]
    raise ValueError(f"a value of kind {kind}, which no span was sent with")


def take(message, fields):
    """The named fields of `message`, or their defaults: proto3 JSON leaves defaults out."""
    unknown = message.keys() - fields.keys()
    if unknown:
        raise ValueError(f"fields that no span was sent with: {sorted(unknown)}")
    return {name: message.get(name, default) for name, default in fields.items()}


def by_identity(spans, where):
    """Spans by trace and span id. A span that is there twice is a difference of its own."""
    found, twice = {}, []
    for span in spans:
        span["resource"] = {**span["resource"], "attributes": sorted(span["resource"]["attributes"])}
        identity = (span["span"]["trace_id"], span["span"]["span_id"])
        if identity in found:
            twice.append(f"{'/'.join(identity)} is there twice in what was {where}")
        found[identity] = span
    return found, twice


def differences(path, sent, received):
    """Yields a line for each leaf where the two differ."""
    if isinstance(sent, dict) and isinstance(received, dict) and sent.keys() == received.keys():
        for key in sent:
            yield from differences(f"{path}.{key}", sent[key], received[key])
    elif isinstance(sent, list) and isinstance(received, list) and len(sent) == len(received):
        for index, pair in enumerate(zip(sent, received)):
            yield from differences(f"{path}[{index}]", *pair)
    elif sent != received or type(sent) is not type(received):
        yield f"{path}: sent {shorten(sent)}, received {shorten(received)}"


def shorten(value):
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def compare(sent_lines, received_lines):
    """(spans compared, differences)"""
    sent, found = by_identity((json.loads(line) for line in sent_lines), "sent")
    received, twice = by_identity(received_spans(received_lines), "received")
    found += twice
    found += [f"{'/'.join(identity)} was not received" for identity in sent.keys() - received.keys()]
    found += [f"{'/'.join(identity)} was never sent" for identity in received.keys() - sent.keys()]
    for identity in sent.keys() & received.keys():
        found += differences("/".join(identity), sent[identity], received[identity])
    return len(sent), found


def main(sent_path, received_path):
    with open(sent_path, encoding="utf-8") as sent, open(received_path, encoding="utf-8") as received:
        try:
            compared, found = compare(sent, received)
        except ValueError as error:
            sys.exit(f"the Collector wrote what cannot be compared: {error}")
    for difference in found[:DIFFERENCES_SHOWN]:
        print(difference, file=sys.stderr)
    if found:
        sys.exit(f"{len(found)} differences between {compared} spans sent and what the Collector received")
    if compared == 0:
        sys.exit("no span was sent, so nothing was compared")
    print(f"{compared} spans received as they were sent")


main(*sys.argv[1:])
