# curl -X POST 'http://127.0.0.1:8080/deploy?name=script-py&lang=python' --data-binary @examples/python/hello_script.py
import sys

name = sys.stdin.read().strip() or "Python"
print(f"Hello from {name}!")
