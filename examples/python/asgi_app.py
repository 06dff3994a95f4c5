# curl -X POST 'http://127.0.0.1:8080/deploy?name=asgi&lang=python' --data-binary @examples/python/asgi_app.py
# and then: curl -i 'http://127.0.0.1:8080/fn/asgi/any/path?q=1'
async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    query = scope["query_string"].decode()
    text = f"{scope['method']} {scope['path']} query={query!r} body={len(body)} bytes\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
