"""Entries `wsgi` and `asgi`: which of the two a module's `app` is."""

from faas_runtime.wsgi import Wsgi

CO_COROUTINE = 0x80
WSGI_ARGUMENTS = 2


def is_asgi(app):
    """Whether calling the application makes a coroutine. None: it cannot be seen."""
    while hasattr(app, "func") and hasattr(app, "keywords"):  # functools.partial
        app = app.func
    called = app if hasattr(app, "__code__") or hasattr(app, "__func__") else getattr(type(app), "__call__", None)
    code = getattr(getattr(called, "__func__", called), "__code__", None)
    if code is None:
        return None
    if code.co_flags & CO_COROUTINE:
        return True
    is_bound = called is not app or hasattr(app, "__self__")
    return False if code.co_argcount - is_bound == WSGI_ARGUMENTS else None


def make_application(function, module):
    """The deploy reads the entry from the syntax alone; the object itself knows better."""
    seen = is_asgi(module.app)
    if seen is None:
        seen = function.entry == "asgi"
    if not seen:
        return Wsgi(function, module)
    from faas_runtime.asgi import Asgi

    return Asgi(function, module)
