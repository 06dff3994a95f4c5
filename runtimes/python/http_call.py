"""The head of a CALL as the entries of a function want it: CGI names, header values, query."""

from faas_runtime.frames import parse_head

CGI_NAMES = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "REQUEST_URI",
)
PREFIX_HEADER = "x-forwarded-prefix"
# A CGI variable HTTP_PROXY would be taken for a setting by half of the world's HTTP clients.
NEVER_IN_CGI = ("proxy", "content-length")


HEADS_MAX = 64
HEAD_BYTES_MAX = 4096
CALL_ID = "FAAS_CALL_ID="


class Head:
    """The head of a call without its id. Text is latin-1: one character a byte. It may serve many calls: nobody
    changes it."""

    __slots__ = ("variables", "headers", "joined", "is_http", "event_parts")

    def __init__(self, variables, headers):
        self.variables = variables
        self.headers = headers  # pairs, in order
        self.is_http = "REQUEST_METHOD" in variables
        self.event_parts = None
        if self.is_http and variables.get("SCRIPT_NAME"):
            self.headers = [header for header in headers if header[0] != PREFIX_HEADER]
            self.headers.append((PREFIX_HEADER, variables["SCRIPT_NAME"]))
        self.joined = join_headers(self.headers)


class Call:
    __slots__ = ("head", "id", "body", "is_http", "deadline_ns", "deadline_ms")

    def __init__(self, head, call_id, body):
        self.head = head
        self.id = call_id
        self.body = body
        self.is_http = head.is_http
        # Set by who runs it: by the monotonic clock, and since the epoch.
        self.deadline_ns = self.deadline_ms = 0


# The calls of one client differ in their ids, and in little else.
heads = {}


def make_call(frame):
    first, _, rest = frame.head.partition("\0")
    call_id = ""
    if first.startswith(CALL_ID):
        call_id = first[len(CALL_ID) :]
    else:
        rest = frame.head
    head = heads.get(rest)
    if head is None:
        head = Head(*parse_head(rest))
        if len(rest) <= HEAD_BYTES_MAX:
            if len(heads) >= HEADS_MAX:
                heads.clear()
            heads[rest] = head
    return Call(head, call_id, frame.body)


def join_headers(headers):
    """A dict of them; the values of a repeated one joined."""
    joined = dict(headers)
    if len(joined) == len(headers):
        return joined
    joined = {}
    for name, value in headers:
        if name in joined:
            joined[name] += ("; " if name == "cookie" else ",") + value
        else:
            joined[name] = value
    return joined


def text(value):
    """Bytes in latin-1 as text: UTF-8 where they are."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value


def raw_path(head):
    path = head.variables.get("REQUEST_URI", "").partition("?")[0]
    if not path:
        path = head.variables.get("PATH_INFO", "")
    return path if path.startswith("/") else "/" + path


def cgi_variables(head):
    """Of an HTTP call, by RFC 3875; without CONTENT_LENGTH. A header name with an underscore could pretend to be
    another and is left out, as other servers do."""
    variables = {name: head.variables[name] for name in CGI_NAMES if name in head.variables}
    if not variables.get("PATH_INFO"):
        variables["PATH_INFO"] = "/"
    variables.setdefault("SCRIPT_NAME", "")
    variables.setdefault("QUERY_STRING", "")
    for name, value in head.joined.items():
        if name == "content-type":
            variables["CONTENT_TYPE"] = value
        elif "_" not in name and name not in NEVER_IN_CGI:
            variables["HTTP_" + name.upper().replace("-", "_")] = value
    return variables


def unquote(value):
    """Percent-decoding of one name or value of a query; what is no escape stays as it is."""
    value = value.replace("+", " ")
    if "%" not in value:
        return text(value)
    first, *rest = value.encode("latin-1").split(b"%")
    parts = [first]
    for part in rest:
        try:
            if not part[:2].isalnum():
                raise ValueError
            parts.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:])
        except ValueError:
            parts.append(b"%" + part)
    return b"".join(parts).decode("utf-8", "replace")


def query_pairs(query):
    pairs = []
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            pairs.append((unquote(name), unquote(value)))
    return pairs
