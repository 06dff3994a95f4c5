"""The head of a CALL as the entries of a function want it: CGI names, header values, query."""

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


class Call:
    """One call. Text is latin-1: one character a byte."""

    __slots__ = ("variables", "headers", "body", "is_http", "deadline_ns", "deadline_ms", "id")

    def __init__(self, variables, headers, body):
        self.variables = variables
        self.headers = headers
        self.body = body
        self.id = variables.get("FAAS_CALL_ID", "")
        self.is_http = "REQUEST_METHOD" in variables
        self.deadline_ns = 0  # of the monotonic clock
        self.deadline_ms = 0  # since the epoch
        if self.is_http and variables.get("SCRIPT_NAME"):
            self.headers = [header for header in headers if header[0] != PREFIX_HEADER]
            self.headers.append((PREFIX_HEADER, variables["SCRIPT_NAME"]))


def text(value):
    """Bytes in latin-1 as text: UTF-8 where they are."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value


def raw_path(call):
    path = call.variables.get("REQUEST_URI", "").partition("?")[0]
    if not path:
        path = call.variables.get("PATH_INFO", "")
    return path if path.startswith("/") else "/" + path


def joined_headers(call):
    """Names in lower case, the values of a repeated one joined."""
    joined = {}
    for name, value in call.headers:
        if name in joined:
            joined[name] += ("; " if name == "cookie" else ",") + value
        else:
            joined[name] = value
    return joined


def cgi_variables(call):
    """Of an HTTP call, by RFC 3875; without CONTENT_LENGTH. A header name with an underscore could pretend to be
    another and is left out, as other servers do."""
    variables = {name: call.variables[name] for name in CGI_NAMES if name in call.variables}
    if not variables.get("PATH_INFO"):
        variables["PATH_INFO"] = "/"
    variables.setdefault("SCRIPT_NAME", "")
    variables.setdefault("QUERY_STRING", "")
    for name, value in joined_headers(call).items():
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
