"""Schemas that no serializer describes: readings and results have keys named for their channels.

Views refer to them by `users.serializers.component`.
"""

import sys
from typing import Any

from devices.ingestion.checks import MAX_SENSOR
from devices.serializers import STAMP_TEXT

Schema = dict[str, Any]


def obj(
    properties: Schema, optional: Schema | None = None, *, also: Schema | None = None, text: str = ""
) -> Schema:
    """An object with these properties, and with `also` for all other keys."""
    schema: Schema = {
        "type": "object",
        "required": list(properties),
        "properties": properties | (optional or {}),
    }
    schema |= {"additionalProperties": also} if also else {}
    return schema | ({"description": text} if text else {})


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema, text: str = "") -> Schema:
    return {"type": "array", "items": items} | ({"description": text} if text else {})


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
STRING: Schema = {"type": "string"}
UUID: Schema = {"type": "string", "format": "uuid"}
STAMP: Schema = {"type": "string", "format": "date-time"}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
STAMP_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
VALUE: Schema = {"type": "number", "description": "The value of the channel of this name."}
# Beyond it JSON has numbers, but a double has none.
LARGEST = sys.float_info.max
NEW_VALUE: Schema = VALUE | {"minimum": -LARGEST, "maximum": LARGEST}
ZONE: Schema = {"type": "string", "description": "The time zone in which stamps without an offset were read."}
PROBLEM = obj(
    {
        "type": STRING,
        "title": STRING,
        "status": INTEGER,
        "detail": STRING,
        "request_id": {
            "type": "string",
            "description": "The answer's `X-Request-ID`, to report an error by.",
        },
    },
    {
        "errors": array(
            obj({"message": STRING}, {"field": STRING, "index": INTEGER}),
            "Faults, by field or index of the item.",
        )
    },
    text="Problem details (RFC 9457).",
)
READINGS: Schema = {
    "ReadingTimestamp": {
        "anyOf": [STAMP_TEXT, NUMBER],
        "description": "ISO 8601, in the device's time zone if it has no offset; or a number since 1970, in "
        "seconds unless `precision` names another unit. Up to 5 minutes ahead of the portal's clock, unless "
        "the profile allows the future; from the year 1 to the year 9999.",
    },
    "NewReading": obj(
        {},
        {"timestamp": ref("ReadingTimestamp")},
        also=NEW_VALUE,
        text="A number for each channel of the device's profile, and no other key. Without `timestamp`: "
        "now, at the server.",
    ),
    "StampedReading": obj(
        {"timestamp": ref("ReadingTimestamp")},
        also=NEW_VALUE,
        text="A number for each channel of the device's profile, and when they were measured; no other key.",
    ),
    "SensorReading": obj(
        {
            "sensor": {"type": "string", "maxLength": MAX_SENSOR, "pattern": r"^[^\u0000]+$"},
            "timestamp": ref("ReadingTimestamp"),
            "value": NUMBER | {"minimum": -LARGEST, "maximum": LARGEST},
        }
    ),
    "Reading": obj({"timestamp": STAMP}, also=VALUE, text="A stored reading of a known device."),
    "ListedReading": obj({"device_id": UUID, "timestamp": STAMP}, also=VALUE, text="A stored reading."),
    "ReadingStored": obj({"status": {"type": "string", "const": "ok"}}, {"assumed_timezone": ZONE}),
    "Receipt": obj(
        {"accepted": INTEGER, "rejected": array(obj({"index": INTEGER, "message": STRING}))},
        {"assumed_timezone": ZONE, "rejected_count": INTEGER},
        text="Number of items stored, and the faults of the others. `rejected` names the first hundred or "
        "fewer; `rejected_count` is there if they are more.",
    ),
    "SensorStatistics": obj(
        {"last_measurement": STAMP_OR_NULL, "count": INTEGER, "avg": NUMBER},
        text="`last_measurement` is the latest timestamp; null without readings.",
    ),
}
PERCENTILES: Schema = {
    "type": "object",
    "description": "By the shortest text of the percentile, such as `99.9`.",
    "additionalProperties": NUMBER_OR_NULL,
}
COVERAGE = obj(
    {
        "expected_seconds": NUMBER_OR_NULL,
        "percent": NUMBER_OR_NULL,
        "gaps": {"type": ["integer", "null"]},
        "longest_gap": or_null(obj({"start": STAMP, "end": STAMP, "seconds": NUMBER})),
    },
    text="How much of the period its readings cover at the expected interval.",
)
EXTENT: Schema = {"first": STAMP_OR_NULL, "last": STAMP_OR_NULL, "excluded": INTEGER}
WORK: Schema = {
    "start": STAMP_OR_NULL,
    "end": STAMP,
    **EXTENT,
    "rows_read": INTEGER,
    "segments_used": INTEGER,
}
SUMMARIES: Schema = {"type": "object", "additionalProperties": ref("Summary")}
RESULTS: Schema = {
    "Summary": obj(
        {"count": INTEGER, **dict.fromkeys(("min", "max", "sum", "avg", "median"), NUMBER_OR_NULL)},
        {"percentiles": PERCENTILES},
        text="Exact figures of one channel; null without readings, and for a sum beyond the largest double.",
    ),
    "Coverage": COVERAGE,
    "Bucket": obj({"start": STAMP, "end": STAMP, "seconds": NUMBER}, also=ref("Summary")),
    "DeviceResult": obj(
        {"device_id": UUID, **WORK, "coverage": or_null(ref("Coverage"))},
        {"buckets": array(ref("Bucket"))},
        also=ref("Summary"),
        text="Statistics of a device: beside these keys one for each channel.",
    ),
    "DeviceDetails": obj({**EXTENT, "coverage": or_null(ref("Coverage"))}),
    "DeviceRow": obj(
        {"device_id": UUID, **EXTENT, "coverage": or_null(ref("Coverage"))},
        also=ref("Summary"),
        text="A device in the result of a user's analysis: beside these keys one for each channel.",
    ),
    "UserResult": obj(
        {
            "user_id": INTEGER,
            **WORK,
            "aggregate": SUMMARIES,
            "devices": {"type": ["object", "null"], "additionalProperties": SUMMARIES},
            "details": {"type": ["object", "null"], "additionalProperties": ref("DeviceDetails")},
        },
        {"buckets": array(ref("Bucket")), "devices_link": STRING},
        text="Statistics of all devices of a user. Of over 1,000 devices `devices` and `details` are null, "
        "and `devices_link` names their pages.",
    ),
    "Series": obj(
        {
            "device_id": UUID,
            "start": STAMP_OR_NULL,
            "end": STAMP,
            "points": INTEGER,
            "starts": array(STAMP),
            "ends": array(STAMP),
            "count": array(INTEGER),
            "channels": {
                "type": "object",
                "additionalProperties": obj(dict.fromkeys(("min", "mean", "max"), array(NUMBER))),
            },
        },
        text="Lists of equal length, one item for each column with readings.",
    ),
}
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": 500}
EXCLUSIONS: Schema = {
    "PeriodExclusionRequest": obj(
        {"start": STAMP_TEXT, "end": STAMP_TEXT, "reason": REASON},
        {"reading": {"type": "null"}},
        text="All readings of a half-open period: `start` before `end`.",
    ),
    "ReadingExclusionRequest": obj(
        {"reading": ref("StampedReading"), "reason": REASON},
        text="A stored reading, with its timestamp and all its values.",
    ),
    "ExclusionRequest": {"oneOf": [ref("PeriodExclusionRequest"), ref("ReadingExclusionRequest")]},
}
ACTIVITY: Schema = {
    "Event": obj(
        {"login": STRING, "event": STRING, "at": STAMP_TEXT},
        {"object_id": {"type": ["integer", "null"]}, "id": {"type": ["string", "integer", "null"]}},
        text="`id` is the sender's own: events of one sender with the same id are stored once. Items that "
        "are not as described here are named by the receipt; the others are stored.",
    ),
    "CommentsDataset": obj(
        {
            "status": {"type": "string", "const": "ok"},
            "data": array(
                obj(
                    {
                        "user_login": STRING,
                        "post_header": {"type": ["string", "null"]},
                        "post_author_login": {"type": ["string", "null"]},
                        "total_comments": INTEGER,
                    }
                )
            ),
        }
    ),
    "GeneralDataset": obj(
        {
            "status": {"type": "string", "const": "ok"},
            "data": array(
                obj(
                    {
                        "date": {"type": "string", "format": "date"},
                        "logins": INTEGER,
                        "logouts": INTEGER,
                        "blog_actions": INTEGER,
                    }
                )
            ),
        }
    ),
}
COMPONENTS: Schema = {"Problem": PROBLEM, **READINGS, **RESULTS, **EXCLUSIONS, **ACTIVITY}
