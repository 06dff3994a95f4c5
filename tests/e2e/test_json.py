"""Every byte survives the JSON of an answer."""

import base64
import json
from pathlib import Path

import pytest

import faas


@pytest.fixture(params=["c/echo.c", "js/echo.js"])
def echo(system, request):
    return system.shared(Path(request.param), Path(request.param).parts[0])


def test_every_byte_alone(system):
    echo = system.shared(Path("c/echo.c"), "c")
    for byte in range(128):
        assert echo.invoke(bytes([byte])).json == {"ok": True, "output": chr(byte)}
    for byte in range(128, 256):
        encoded = base64.b64encode(bytes([byte])).decode()
        assert echo.invoke(bytes([byte])).json == {"ok": True, "output": encoded, "encoding": "base64"}


def test_all_256_bytes_together(echo):
    payload = bytes(range(256))
    value = echo.invoke(payload).json
    assert value["encoding"] == "base64" and base64.b64decode(value["output"]) == payload


def test_all_characters_of_unicode_planes(echo):
    text = "".join(map(chr, [*range(0, 0xD800, 7), *range(0xE000, 0x10000, 13), *range(0x10000, 0x110000, 9973)]))
    text += "\ud7ff\ue000\uffff\U00010000\U0010ffff\u2028\u2029"
    value = echo.invoke(text).json
    assert value["output"] == text and "encoding" not in value


INVALID = {
    "lone continuation": b"\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xc0\x80",
    "overlong three": b"\xe0\x80\xaf",
    "overlong four": b"\xf0\x80\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond unicode": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "cut off": b"abc\xe2\x82",
    "0xff": b"\xff",
    "valid, then invalid": "grüße".encode() * 1000 + b"\xc3",
}


@pytest.mark.parametrize("payload", list(INVALID.values()), ids=list(INVALID))
def test_invalid_utf8_is_base64(echo, payload):
    value = echo.invoke(payload).json
    assert value["encoding"] == "base64" and base64.b64decode(value["output"]) == payload


@pytest.mark.parametrize("char", ['"', "\\", "\0", "\x1f", "\n", "\x7f", "é"])
def test_a_mebibyte_of(echo, char):
    text = char * (1024 * 1024 // len(char.encode()))
    assert echo.invoke(text).output == text


def test_empty_output(echo):
    assert echo.invoke("").output == ""


def test_code_that_is_not_utf8_is_described_in_base64(system):
    source = b"/* caf\xe9 */\nint main(void) { return 0; }\n"
    value = system.deploy(source, "c").describe()
    assert value["encoding"] == "base64" and base64.b64decode(value["code"]) == source


def test_code_with_quotes_and_controls(system):
    source = '# "quoted" \\ \t \x01 \x7f ü\nprint("x")\n'
    value = system.deploy(source, "python").describe()
    assert value["code"] == source and "encoding" not in value


def test_error_messages_are_escaped(system):
    fails = system.shared(
        "def handler(event, context):\n    raise ValueError('say \"hi\" \\\\ \\x01 \\n ü \\ud800')\n", "python"
    )
    value = fails.invoke().assert_error(500, "exception")
    assert 'say "hi"' in value["error"] and "ü" in value["error"]
    fails = system.shared(
        "exports.handler = async () => { throw new Error('say \"hi\" \\\\ \\x01 \\n ü \\ud800') }\n", "js"
    )
    value = fails.invoke().assert_error(500, "exception")
    assert 'say "hi"' in value["error"] and "ü" in value["error"]


def test_output_of_a_failure_is_escaped_too(system):
    source = '#include <stdio.h>\nint main(void) { for (int i = 0; i < 256; i++) putchar(i); return 7; }\n'
    value = system.shared(source, "c").invoke().assert_error(500, "exit")
    assert value["encoding"] == "base64" and base64.b64decode(value["output"]) == bytes(range(256))


def test_value_of_a_handler_is_json(system):
    function = system.shared(
        "def handler(event, context):\n    return {'text': event, 'n': [1, 2.5, None, True]}\n", "python"
    )
    text = 'quotes " and \\ and \n and ü'
    assert json.loads(function.invoke(text).output) == {"text": text, "n": [1, 2.5, None, True]}


def test_parallel_large_answers_do_not_mix(system):
    echo = system.shared(Path("c/echo.c"), "c")
    outputs = faas.parallel(8, lambda i: echo.invoke(str(i) * 300000).output)
    assert outputs == [str(i) * 300000 for i in range(8)]
