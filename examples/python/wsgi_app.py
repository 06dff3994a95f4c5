# curl -X POST 'http://127.0.0.1:8080/deploy?name=wsgi&lang=python' --data-binary @examples/python/wsgi_app.py
# and then: curl -i 'http://127.0.0.1:8080/fn/wsgi/any/path?q=1'
def app(environ, start_response):
    method, path, query = (environ[key] for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
    body = environ["wsgi.input"].read()
    text = f"{method} {path} query={query!r} body={len(body)} bytes\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
    return [text]
