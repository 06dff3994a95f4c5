# Tries: to change the platform's code inside of its own process: settrace, replaced modules, the frames' writer.
# Expected: each call of its own has one answer or an error; others are not touched (200 or 500 or 502).
def handler(event, context):
    sys.settrace(lambda frame, kind, value: None)
    sys.modules["struct"] = None
    sys.modules["json"] = None
    os.write = os.writev = os.read = lambda *arguments: 0
    import builtins
    builtins.len = lambda value: 1 << 40
    return "end"
