#!/usr/bin/env python3
"""Compares what was sent with what somebody else decoded, field by field.

    interop_compare.py [--duplicates] SENT RECEIVED

SENT is what exporter/examples/interop_send writes: one record a line, a span, a log record or a metric. RECEIVED
is one request a line, in OTLP/JSON: the file exporter's of an OpenTelemetry Collector, or interop_upb.py's. Both
are brought into the form of SENT. The order of records, of the attributes of a resource and of the pairs of a map
(maps in the SDK) means nothing; all other orders do. With --duplicates a record may be there twice: somebody lost the
answer to it. Prints one line; exits 1 on a difference.
"""

import base64
import json
import struct
import sys

DIFFERENCES_SHOWN = 20
# The names of the containers and of the record, by signal.
SIGNALS = {
    "span": ("resourceSpans", "scopeSpans", "spans"),
    "log": ("resourceLogs", "scopeLogs", "logRecords"),
    "metric": ("resourceMetrics", "scopeMetrics", "metrics"),
}


def received_records(lines):
    """Yields each record of OTLP/JSON requests in the form of SENT.

    Every field is read by its name, and an unknown one is an error: nothing is passed over in silence."""
    for line in lines:
        request = parse(line)
        if not request:
            continue
        kinds = [kind for kind, (resources, _, _) in SIGNALS.items() if resources in request]
        if len(kinds) != 1:
            raise ValueError(f"a request of none of the signals, or of several: {sorted(request)}")
        yield from records_of_request(kinds[0], request)


def records_of_request(kind, request):
    resources, scopes, records = SIGNALS[kind]
    read = {"span": span_of, "log": log_of, "metric": metric_of}[kind]
    for group in take(request, {resources: []})[resources]:
        group = take(group, {"resource": {}, scopes: [], "schemaUrl": ""})
        resource = take(group["resource"], {"attributes": []})
        resource = {"attributes": attributes(resource["attributes"]), "schema_url": group["schemaUrl"]}
        for inner in group[scopes]:
            inner = take(inner, {"scope": {}, records: [], "schemaUrl": ""})
            scope = take(inner["scope"], {"name": "", "version": "", "attributes": []})
            scope["attributes"] = attributes(scope["attributes"])
            scope["schema_url"] = inner["schemaUrl"]
            for record in inner[records]:
                yield {"resource": resource, "scope": scope, kind: read(record)}


def parse(line):
    # The Collector writes the double -0.0 as -0, which Python would read as the integer 0.
    return json.loads(line, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


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


def log_of(log):
    fields = {
        **{"timeUnixNano": "0", "observedTimeUnixNano": "0", "severityNumber": 0, "severityText": "", "body": None},
        **{"attributes": [], "droppedAttributesCount": 0, "flags": 0, "traceId": "", "spanId": "", "eventName": ""},
    }
    log = take(log, fields)
    # The Collector writes an absent body as an empty one.
    body = log["body"] or None
    return {
        "time": int(log["timeUnixNano"]),
        "observed": int(log["observedTimeUnixNano"]),
        "severity_number": log["severityNumber"],
        "severity_text": log["severityText"],
        "body": None if body is None else value_of(body),
        "attributes": attributes(log["attributes"]),
        "dropped_attributes": log["droppedAttributesCount"],
        "flags": log["flags"],
        "trace_id": log["traceId"],
        "span_id": log["spanId"],
        "event_name": log["eventName"],
    }


def metric_of(metric):
    kinds = {"gauge": "gauge", "sum": "sum", "histogram": "histogram", "exponentialHistogram": "exponential"}
    metric = take(metric, {"name": "", "description": "", "unit": "", **{kind: None for kind in kinds}})
    [(kind, data)] = [(kind, metric[kind]) for kind in kinds if metric[kind] is not None]
    written = {key: metric[key] for key in ("name", "description", "unit")}
    written[kinds[kind]] = data_of(kind, data)
    return written


def data_of(kind, data):
    read = {"histogram": histogram_of, "exponentialHistogram": exponential_of}.get(kind, number_of)
    temporal = {} if kind == "gauge" else {"aggregationTemporality": 0}
    monotonic = {"isMonotonic": False} if kind == "sum" else {}
    data = take(data, {"dataPoints": [], **temporal, **monotonic})
    written = {"points": [read(point) for point in data["dataPoints"]]}
    if temporal:
        written["temporality"] = data["aggregationTemporality"]
    if monotonic:
        written["monotonic"] = data["isMonotonic"]
    return written


POINT = {"startTimeUnixNano": "0", "timeUnixNano": "0", "attributes": []}


def point_of(point):
    return {
        "start": int(point["startTimeUnixNano"]),
        "time": int(point["timeUnixNano"]),
        "attributes": attributes(point["attributes"]),
    }


def number_of(point):
    point = take(point, {**POINT, "asInt": None, "asDouble": None})
    value = bits(point["asDouble"]) if point["asInt"] is None else int(point["asInt"])
    return {**point_of(point), "value": value}


def histogram_of(point):
    fields = {"count": "0", "sum": None, "min": None, "max": None, "explicitBounds": [], "bucketCounts": []}
    point = take(point, {**POINT, **fields})
    return {
        **point_of(point),
        **summary_of(point),
        "bounds": [bits(bound) for bound in point["explicitBounds"]],
        "buckets": [int(count) for count in point["bucketCounts"]],
    }


def exponential_of(point):
    fields = {
        **{"count": "0", "sum": None, "min": None, "max": None, "scale": 0, "zeroCount": "0", "zeroThreshold": 0},
        **{"positive": {}, "negative": {}},
    }
    point = take(point, {**POINT, **fields})
    return {
        **point_of(point),
        **summary_of(point),
        "scale": point["scale"],
        "zero_count": int(point["zeroCount"]),
        "zero_threshold": bits(point["zeroThreshold"]),
        "positive": buckets_of(point["positive"]),
        "negative": buckets_of(point["negative"]),
    }


def summary_of(point):
    doubles = {key: None if point[key] is None else bits(point[key]) for key in ("sum", "min", "max")}
    return {"count": int(point["count"]), **doubles}


def buckets_of(buckets):
    buckets = take(buckets, {"offset": 0, "bucketCounts": []})
    return {"offset": buckets["offset"], "counts": [int(count) for count in buckets["bucketCounts"]]}


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
            return ["double", bits(value)]
        case "stringValue":
            return ["string", value]
        case "bytesValue":
            return ["bytes", base64.b64decode(value, validate=True).hex()]
        case "arrayValue":
            return ["array", [value_of(element) for element in take(value, {"values": []})["values"]]]
        case "kvlistValue":
            return ["map", sorted(attributes(take(value, {"values": []})["values"]))]
    raise ValueError(f"a value of kind {kind}, which no record was sent with")


def bits(double):
    return struct.pack(">d", float(double)).hex()


def take(message, fields):
    """The named fields of `message`, or their defaults: proto3 JSON leaves defaults out."""
    unknown = message.keys() - fields.keys()
    if unknown:
        raise ValueError(f"fields that no record was sent with: {sorted(unknown)}")
    return {name: message.get(name, default) for name, default in fields.items()}


def by_identity(records, where):
    """Records by what tells them apart. One that is there twice is a difference of its own."""
    found, twice = {}, []
    for record in records:
        record["resource"] = {**record["resource"], "attributes": sorted(record["resource"]["attributes"])}
        identity = identity_of(record)
        if identity in found:
            twice.append(f"{identity} is there twice in what was {where}")
        found[identity] = record
    return found, twice


def identity_of(record):
    if "span" in record:
        return f"span {record['span']['trace_id']}/{record['span']['span_id']}"
    if "log" in record:
        return f"log record of {record['log']['time']}"
    metric = record["metric"]
    data = next(value for value in metric.values() if isinstance(value, dict))
    service = record["resource"]["attributes"][0][1][1]
    return f"metric {service}/{metric['name']} of {data['points'][0]['time']}"


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


def compare(sent_lines, received_lines, may_repeat):
    """(identities compared, differences)"""
    sent, found = by_identity((json.loads(line) for line in sent_lines), "sent")
    received, twice = by_identity(received_records(received_lines), "received")
    if not may_repeat:
        found += twice
    found += [f"{identity} was not received" for identity in sent.keys() - received.keys()]
    found += [f"{identity} was never sent" for identity in received.keys() - sent.keys()]
    for identity in sent.keys() & received.keys():
        found += differences(identity, sent[identity], received[identity])
    return list(sent), found


def main(*arguments):
    sent_path, received_path = [argument for argument in arguments if argument != "--duplicates"]
    with open(sent_path, encoding="utf-8") as sent, open(received_path, encoding="utf-8") as received:
        try:
            compared, found = compare(sent, received, "--duplicates" in arguments)
        except ValueError as error:
            sys.exit(f"what was received cannot be compared: {error}")
    for difference in found[:DIFFERENCES_SHOWN]:
        print(difference, file=sys.stderr)
    if found:
        sys.exit(f"{len(found)} differences between {len(compared)} records sent and what was received")
    counts = {kind: sum(one.startswith(kind) for one in compared) for kind in ("span", "log record", "metric")}
    if not all(counts.values()):
        sys.exit(f"of a signal nothing was sent, so nothing was compared: {counts}")
    print(", ".join(f"{count} {kind}s" for kind, count in counts.items()) + " received as they were sent")


if __name__ == "__main__":
    main(*sys.argv[1:])
