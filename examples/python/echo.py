# curl -X POST 'http://127.0.0.1:8080/deploy?name=echo-py&lang=python' --data-binary @examples/python/echo.py
def handler(event, context):
    return event
