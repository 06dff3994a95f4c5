"""AWS Lambda's shapes: the event of a function URL (payload version 2.0), the context, and what a handler returns.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html describes the shapes.
"""

import re
import sys
import time
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from json import JSONDecoder, JSONEncoder
from json.encoder import c_encode_basestring, c_make_encoder

from faas_runtime.failure import BadAnswer
from faas_runtime.http_call import query_pairs, raw_path, text

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
JSON_TYPE = b"h:content-type=application/json\0"
# The gateway frames the answer: what speaks of framing or of the connection is its own affair.
GATEWAY_HEADERS = frozenset(("connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"))

header_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
header_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
monotonic_ns, time_ns = time.monotonic_ns, time.time_ns


class Context:
    """Lambda's context object. https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    def __init__(self, call, function):
        self.aws_request_id = call.id
        self.function_name = function.name
        self.function_version = function.version
        self.memory_limit_in_mb = function.memory_mb
        self.invoked_function_arn = function.arn
        self.log_group_name = function.log_group
        self.log_stream_name = function.version
        self.identity = None
        self.client_context = None
        self._deadline_ns = call.deadline_ns

    def get_remaining_time_in_millis(self):
        return max(0, (self._deadline_ns - monotonic_ns()) // 1000000)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return f"LambdaContext(aws_request_id={self.aws_request_id},function_name={self.function_name})"


def reject_constant(name):
    raise ValueError(f"{name} is not JSON")


# NaN and Infinity are not JSON, though Python's decoder takes them.
decode_json = JSONDecoder(parse_constant=reject_constant).decode


def invoke_event(body):
    """The payload of /invoke: its JSON value, else a string; None when it is empty."""
    if not body:
        return None
    try:
        payload = body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace")
    try:
        return decode_json(payload)
    except (ValueError, RecursionError):
        return payload


last_date = (0, "")  # a second, and how Lambda writes it


def date_text(second):
    global last_date
    if last_date[0] != second:
        date = time.gmtime(second)
        day = f"{date.tm_mday:02}/{MONTHS[date.tm_mon - 1]}/{date.tm_year}"
        last_date = (second, f"{day}:{date.tm_hour:02}:{date.tm_min:02}:{date.tm_sec:02} +0000")
    return last_date[1]


class EventParts:
    """What the events of all calls with one head have in common. Each call gets copies."""

    def __init__(self, head):
        variables = head.variables
        self.headers = {name: text(value) for name, value in head.joined.items()}
        cookies = self.headers.pop("cookie", None)
        self.cookies = None if cookies is None else [cookie for cookie in cookies.split("; ") if cookie]
        self.path = raw_path(head)
        self.query = variables.get("QUERY_STRING", "")
        self.parameters = {}
        for name, value in query_pairs(self.query):
            self.parameters[name] = self.parameters[name] + "," + value if name in self.parameters else value
        host = self.headers.get("host") or variables.get("SERVER_NAME", "localhost")
        self.domain = host if host.endswith("]") else host.rpartition(":")[0] or host
        self.label = self.domain.partition(".")[0]
        self.http = {
            "method": variables["REQUEST_METHOD"],
            "path": self.path,
            "protocol": variables.get("SERVER_PROTOCOL", "HTTP/1.1"),
            "sourceIp": variables.get("REMOTE_ADDR", ""),
            "userAgent": self.headers.get("user-agent", ""),
        }


def http_event(call):
    head = call.head
    parts = head.event_parts
    if parts is None:
        parts = head.event_parts = EventParts(head)
    now_ms = time_ns() // 1000000
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": parts.headers.copy(),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": parts.label,
            "authentication": None,
            "domainName": parts.domain,
            "domainPrefix": parts.label,
            "http": parts.http.copy(),
            "requestId": call.id,
            "routeKey": "$default",
            "stage": "$default",
            "time": date_text(now_ms // 1000),
            "timeEpoch": now_ms,
        },
        "pathParameters": None,
        "stageVariables": None,
        "isBase64Encoded": False,
    }
    if parts.cookies is not None:
        event["cookies"] = parts.cookies.copy()
    if parts.query:
        event["queryStringParameters"] = parts.parameters.copy()
    if call.body:
        try:
            event["body"] = call.body.decode("utf-8")
        except UnicodeDecodeError:
            event["body"] = b2a_base64(call.body, newline=False).decode("ascii")
            event["isBase64Encoded"] = True
    return event


def encode_other(value):
    """Lambda takes Decimal as a number, because its database speaks it."""
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


unicode_encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, default=encode_other)
encode_ascii = JSONEncoder(allow_nan=False, default=encode_other).encode


def make_encode():
    """JSONEncoder.encode makes its encoder in C anew for every value. This one is kept, as long as nothing fails:
    a failure leaves behind in it what it takes for signs of a cycle."""
    if c_make_encoder is None or c_encode_basestring is None:
        return unicode_encoder.encode
    encode = c_make_encoder({}, encode_other, c_encode_basestring, None, ": ", ", ", False, False, False)
    return lambda value: "".join(encode(value, 0))


encode_unicode = make_encode()


def to_json(value):
    global encode_unicode
    try:
        encoded = encode_unicode(value)
    except BaseException as error:
        encode_unicode = make_encode()
        if not isinstance(error, (TypeError, ValueError, ArithmeticError)):
            raise
        raise TypeError(f"the handler's value cannot be sent as JSON: {error}") from None
    try:
        return encoded.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return encode_ascii(value).encode("ascii")


def head_line(name, value):
    """One header of an answer, or nothing for one that is the gateway's."""
    if not header_name(name):
        raise BadAnswer(f"a header of the answer has the name {name[:100]!r}")
    if header_control(value):
        raise BadAnswer(f"the answer's header {name} has a control character in its value")
    if name.lower() in GATEWAY_HEADERS:
        return ""
    return f"h:{name}={value}\0"


def header_values(value):
    if isinstance(value, (list, tuple)):
        return [header_text(item) for item in value]
    return [header_text(value)]


def header_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def status_of(value):
    try:
        status = int(value)
        if isinstance(value, bool) or status != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise BadAnswer(f"statusCode is {repr(value)[:100]}, which is no status") from None
    if not 200 <= status <= 599:
        raise BadAnswer(f"statusCode is {status}, which is not between 200 and 599")
    return status


def mapping_of(value, name):
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadAnswer(f"the answer's {name} is no object")
    return {str(key): item for key, item in found.items()}


def body_of(value):
    """The body's bytes, and whether they are JSON that was made here."""
    body = value.get("body")
    if body is None:
        return b"", False
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), False
    if not isinstance(body, str):
        return to_json(body), True
    if not value.get("isBase64Encoded"):
        return body.encode("utf-8", "replace"), False
    try:
        return a2b_base64("".join(body.split()), strict_mode=True), False
    except (Base64Error, ValueError):
        raise BadAnswer("the answer's body is not base64, though isBase64Encoded says so") from None


def http_answer(value):
    """Head and output of the answer to an HTTP call."""
    if not isinstance(value, dict) or "statusCode" not in value:
        return JSON_TYPE, to_json(value)
    head = [f"status={status_of(value['statusCode'])}\0"]
    multiple = mapping_of(value, "multiValueHeaders")
    overridden = {name.lower() for name in multiple}
    typed = False
    for headers in (mapping_of(value, "headers"), multiple):
        for name, item in headers.items():
            if headers is not multiple and name.lower() in overridden:
                continue
            typed = typed or name.lower() == "content-type"
            head.extend(head_line(name, one) for one in header_values(item) if item is not None)
    cookies = value.get("cookies")
    if cookies is not None:
        head.extend(head_line("set-cookie", one) for one in header_values(cookies))
    output, _ = body_of(value)
    encoded = "".join(head).encode("utf-8", "replace")
    # A function URL says application/json for whatever says nothing else.
    return encoded if typed or not output else encoded + JSON_TYPE, output
