"""Entry `handler`: def handler(event, context), plain or async, as in AWS Lambda."""

from faas_runtime.lambda_event import Context, http_answer, http_event, invoke_event, to_json
from faas_runtime.loop import run, start_loop

CO_COROUTINE = 0x80
INVOKE_HEAD = b"json=1\0"


class Handler:
    def __init__(self, function, module):
        self.function = function
        self.user = module.handler
        code = getattr(self.user, "__code__", None)
        if code is not None and code.co_flags & CO_COROUTINE:
            start_loop()

    def prepare(self, call):
        event = http_event(call) if call.is_http else invoke_event(call.body)
        return event, Context(call, self.function), call.is_http

    def run(self, prepared):
        event, context, is_http = prepared
        value = self.user(event, context)
        if hasattr(value, "__await__"):
            value = run(value)
        if is_http:
            return http_answer(value)
        return INVOKE_HEAD, to_json(value)

    def close(self):
        pass
