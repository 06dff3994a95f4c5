# Tries: nothing itself: its caller sends JSON that is nested 100,000 deep, and numbers that are long. Expected: an answer.
def handler(event, context):
    return type(event).__name__
