# curl -X POST 'http://127.0.0.1:8080/deploy?name=hello-py&lang=python' --data-binary @examples/python/hello.py
def handler(event, context):
    name = event.get("name") if isinstance(event, dict) else None
    return {"message": f"Hello from {name or 'Python'}!"}
