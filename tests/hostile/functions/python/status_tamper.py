# Tries: a status that is none of an answer (101 would switch the protocol). Expected: 502 bad_answer.
def handler(event, context):
    return {"statusCode": 101, "headers": {"Upgrade": "websocket", "Connection": "upgrade"}, "body": "end"}
