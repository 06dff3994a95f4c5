# Tries: headers that would end the head of its answer, or split it. Expected: 502 bad_answer, or cleaned.
def handler(event, context):
    return {"statusCode": 200, "headers": {"x-a": "b\r\nSet-Cookie: stolen=1\r\n\r\nHTTP/1.1 200 OK", "x\r\nx-evil": "1"}, "body": "end"}
