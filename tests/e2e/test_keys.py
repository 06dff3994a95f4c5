"""API keys: made and revoked by a command, asked for at once, and where an instance without one may listen."""

import json
import re
import stat
import subprocess
import time

import pytest

import faas

HEADERS_PY = """
def handler(event, context):
    return {"statusCode": 200, "body": "\\n".join(f"{k}={v}" for k, v in sorted(event["headers"].items()))}
"""
HELLO_PY = "def handler(event, context):\n    return 'hi'\n"


def key_command(system, *args, code=0):
    done = subprocess.run([system.bin_dir / "minifaas", "key", *args], capture_output=True, text=True, timeout=20,
                          env=faas.clean_env(**system.env))  # fmt: skip
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done.stdout.strip() if code == 0 else done.stderr


def create(system, *args):
    token = key_command(system, "create", *args)
    assert re.fullmatch(r"mf_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", token), token
    return token


def key_id(token):
    return token[3:11]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(start_system):
    """An instance with an admin's key, which the helpers send."""
    system = start_system(FAAS_WORKERS=1)
    system.token = create(system, "--scope", "admin")
    return system


def without_key(system, method, path, body=None, headers=None):
    token, system.token = system.token, None
    try:
        return system.request(method, path, body, headers)
    finally:
        system.token = token


def test_open_until_there_is_a_key_then_asked_for_everywhere(start_system):
    system = start_system(FAAS_WORKERS=1)
    hello = system.deploy(HELLO_PY, "python")
    assert hello.invoke().output == '"hi"'
    token = create(system, "--scope", "admin", "--name", "first")
    for method, path in [("POST", f"/invoke?fn={hello.name}"), ("GET", f"/fn/{hello.name}/"), ("GET", "/functions"),
                         ("POST", "/deploy?name=x&lang=python"), ("PUT", "/deploy?name=x&lang=python"),
                         ("GET", f"/function/{hello.name}"), ("POST", f"/function/{hello.name}"),
                         ("DELETE", f"/function/{hello.name}"), ("GET", "/workers"), ("GET", "/metrics"),
                         ("GET", "/strategy"), ("PUT", "/strategy"), ("GET", "/no-such-route"), ("PATCH", "/"),
                         ("HEAD", "/functions"), ("OPTIONS", "*")]:  # fmt: skip
        answer = system.request(method, path)
        assert answer.status == 401, (method, path, answer)
        assert answer.header("WWW-Authenticate") == 'Bearer realm="minifaas"'
        if method != "HEAD":
            answer.assert_error(401, "unauthorized", "API key")
    for path in ("/healthz", "/readyz"):
        assert system.request("GET", path).status == 200
    system.token = token
    assert hello.invoke().output == '"hi"'
    assert system.request("GET", "/no-such-route").status == 404
    assert system.metric("faas_auth_refused_total", reason="missing") >= 16
    assert system.metric("faas_keys") == 1


def test_every_way_to_send_a_key(guarded):
    token = guarded.token
    for headers in (bearer(token), {"authorization": f"bearer   {token}"}, {"X-API-Key": token},
                    {"X-API-Key": token, "Authorization": "Basic dXNlcjpwYXNz"}):  # fmt: skip
        assert without_key(guarded, "GET", "/functions", headers=headers).status == 200, headers
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    for headers in (bearer(flipped), bearer(token[:-1]), bearer(token + "x"), bearer(token.upper()), bearer(""),
                    bearer("mf_"), bearer("x" * 5000), {"X-API-Key": flipped}, {"X-API-Key": "", **bearer(token)},
                    {"Authorization": token}, {"Authorization": f"Basic {token}"},
                    bearer(f"mf_00000000_{token[12:]}"), {"Cookie": f"token={token}"}):  # fmt: skip
        assert without_key(guarded, "GET", "/functions", headers=headers).status == 401, headers
    assert without_key(guarded, "GET", f"/functions?token={token}").status == 401


def test_scopes(guarded):
    hello = guarded.deploy(HELLO_PY, "python")
    tokens = {scope: create(guarded, "--scope", scope) for scope in ("deploy", "invoke", "read", "admin")}
    tokens["read,invoke"] = create(guarded, "--scope", "read,invoke")
    wants = [("POST", f"/invoke?fn={hello.name}", "", "invoke"), ("GET", f"/fn/{hello.name}/x", None, "invoke"),
             ("DELETE", f"/fn/{hello.name}/x", None, "invoke"), ("POST", f"/function/{hello.name}", "", "invoke"),
             ("GET", f"/function/{hello.name}", None, "read"), ("HEAD", f"/function/{hello.name}", None, "read"),
             ("GET", "/functions", None, "read"), ("GET", "/workers", None, "read"), ("GET", "/metrics", None, "read"),
             ("GET", "/strategy", None, "read"), ("PUT", "/strategy", "RR", "admin"),
             ("PUT", f"/deploy?name={hello.name}&lang=python", HELLO_PY, "deploy"),
             ("PUT", f"/function/{hello.name}/env/K", "v", "deploy"), ("GET", f"/function/{hello.name}/env", None, "read"),
             ("PUT", f"/function/{hello.name}/secrets/S", "v", "deploy"), ("PATCH", f"/function/{hello.name}", "", "deploy"),
             ("DELETE", f"/function/{hello.name}/secrets/S", None, "deploy"),
             ("DELETE", "/function/nobody-has-this-name", None, "deploy")]  # fmt: skip
    for scopes, token in tokens.items():
        for method, path, body, wanted in wants:
            answer = without_key(guarded, method, path, body, bearer(token))
            if wanted in scopes.split(",") or scopes == "admin":
                assert answer.status in (200, 201, 204, 400, 404), (scopes, method, path, answer)
            elif method == "HEAD":
                assert answer.status == 403, (scopes, method, path, answer)
            else:
                answer.assert_error(403, "forbidden", f"'{wanted}'", key_id(token))


def test_key_for_some_functions_only(guarded):
    mine, other = (guarded.deploy(HELLO_PY, "python") for _ in range(2))
    token = create(guarded, "--scope", "deploy,invoke,read", "--function", f"{mine.name},brand-new",
                   "--function", "third")  # fmt: skip

    def ask(method, path, body=None):
        return without_key(guarded, method, path, body, bearer(token)).status

    for name in (mine.name, mine.id):
        assert ask("POST", f"/invoke?fn={name}", "") == 200
        assert ask("GET", f"/fn/{name}/any/path") == 200
        assert ask("GET", f"/function/{name}") == 200
    assert ask("POST", "/deploy?name=brand-new&lang=python", HELLO_PY) == 201
    for name in (other.name, other.id, "nobody", mine.name + "x", mine.name[:-1], f"{mine.name},third", ""):
        assert ask("POST", f"/invoke?fn={name}", "") == 403, name
        assert ask("POST", f"/deploy?name={name}&lang=python", HELLO_PY) == 403, name
        if name:
            assert ask("GET", f"/fn/{name}/{mine.name}") == 403, name
            assert ask("DELETE", f"/function/{name}") == 403, name
    # The first of two parameters is the one that counts, for the key as for the call.
    assert ask("POST", f"/invoke?fn={other.name}&fn={mine.name}", "") == 403
    assert ask("POST", f"/invoke?fn={mine.name}&fn={other.name}", "") == 200
    assert ask("POST", f"/invoke?f%6e={other.name}&fn={mine.name}", "") == 403
    for path in ("/functions", "/workers", "/metrics", "/strategy"):
        assert ask("GET", path) == 403, path
    assert ask("DELETE", f"/function/{mine.name}") == 204


def test_rate_and_burst(guarded):
    token = create(guarded, "--scope", "read", "--rate", "2", "--burst", "5")
    with guarded.raw() as raw:
        answers = [raw.request("GET", "/strategy", b"", f"Authorization: Bearer {token}") for _ in range(12)]
        refused = [answer for answer in answers if answer.status == 429]
        assert 5 <= len(answers) - len(refused) <= 7, answers
        refused[0].assert_error(429, "limit", "2 requests a second", key_id(token))
        assert refused[0].header("Retry-After") == "1"
        # Others are not held up, and a request that is refused does not move the next one further away.
        assert guarded.request("GET", "/strategy").status == 200
        faas.wait_until(lambda: raw.request("GET", "/strategy", b"", f"X-API-Key: {token}").status == 200, 5, "a place")
    assert guarded.metric("faas_auth_refused_total", reason="rate") >= len(refused)


def test_rate_holds_over_connections_and_over_other_changes_of_the_keys(guarded):
    token = create(guarded, "--scope", "read", "--rate", "1", "--burst", "3")
    statuses = []
    for _ in range(8):
        statuses.append(without_key(guarded, "GET", "/strategy", headers=bearer(token)).status)
        create(guarded, "--scope", "read")
    assert statuses[:3] == [200] * 3 and statuses.count(429) >= 3, statuses


def test_revoked_key_is_refused_with_the_next_request_also_on_its_connection(guarded):
    token = create(guarded, "--scope", "read")
    for _ in range(20):
        with guarded.raw() as raw:
            header = f"Authorization: Bearer {token}"
            assert raw.request("GET", "/functions", b"", header).status == 200
            key_command(guarded, "revoke", key_id(token))
            raw.request("GET", "/functions", b"", header).assert_error(401, "unauthorized", "revoked")
        token = create(guarded, "--scope", "read")
    assert guarded.request("GET", "/functions").status == 200


def test_revoking_the_last_key_opens_nothing(start_system):
    system = start_system(FAAS_WORKERS=1)
    token = create(system, "--scope", "admin")
    key_command(system, "revoke", key_id(token))
    system.request("GET", "/functions").assert_error(401)
    system.request("GET", "/functions", headers=bearer(token)).assert_error(401)
    system.stop()
    system.start()
    system.request("GET", "/functions").assert_error(401)
    (system.data_dir / ".keys" / "keys").unlink()
    assert system.request("GET", "/functions").status == 200


def test_keys_survive_a_restart_and_a_killed_gateway(guarded):
    assert guarded.request("GET", "/functions").status == 200
    faas.kill(guarded.pid_of("api_gateway"))
    guarded.wait_ready()
    assert guarded.request("GET", "/functions").status == 200
    without_key(guarded, "GET", "/functions").assert_error(401)
    guarded.stop()
    guarded.start()
    assert guarded.request("GET", "/functions").status == 200
    without_key(guarded, "GET", "/functions").assert_error(401)


def test_only_hashes_are_kept(guarded):
    token = guarded.token
    directory = guarded.data_dir / ".keys"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "keys").stat().st_mode) == 0o600
    guarded.request("GET", "/functions", headers=bearer(token[:-2] + "zz"))
    for path in [*guarded.home.rglob("*")]:
        if path.is_file():
            assert token[12:].encode() not in path.read_bytes(), path


def test_damaged_file_keeps_what_was_known_and_does_not_start(start_system):
    system = start_system(FAAS_WORKERS=1)
    system.token = create(system, "--scope", "admin")
    file = system.data_dir / ".keys" / "keys"
    good = file.read_text()
    file.write_text(good + "id=garbage\n")
    faas.wait_until(lambda: "line 3 is damaged" in system.process.text(), 5, "a log line")
    assert system.request("GET", "/functions").status == 200
    without_key(system, "GET", "/functions").assert_error(401)
    system.stop()
    system.launch()
    faas.wait_until(lambda: "line 3 is damaged" in system.process.text(), 10, "an error that says so")
    assert not system.process.match(r"api_gateway listening on .*")
    file.write_text(good)
    system.find_address(system.process)
    system.wait_ready()
    assert system.request("GET", "/functions").status == 200


def test_directory_of_the_keys_is_replaced_while_running(guarded):
    directory = guarded.data_dir / ".keys"
    directory.rename(guarded.data_dir / ".keys-old")
    faas.wait_until(lambda: directory.exists(), 5, "a new directory")
    token = create(guarded, "--scope", "read")
    without_key(guarded, "GET", "/functions").assert_error(401)
    assert without_key(guarded, "GET", "/functions", headers=bearer(token)).status == 200


def test_function_never_sees_the_key(guarded):
    function = guarded.deploy(HEADERS_PY, "python")
    assert guarded.token not in function.http().text and "mf_" not in function.http().text
    answer = without_key(guarded, "GET", f"/fn/{function.name}", None,
                         {"X-API-Key": guarded.token, "Authorization": "Basic dXNlcjpwYXNz"})  # fmt: skip
    assert "authorization=Basic dXNlcjpwYXNz" in answer.text and "mf_" not in answer.text


def test_function_has_its_own_authorization_where_no_key_is_asked_for(system):
    function = system.shared(HEADERS_PY, "python")
    assert "authorization=Bearer abc" in function.http(headers={"Authorization": "Bearer abc"}).text
    assert "x-api-key=abc" in function.http(headers={"X-API-Key": "abc"}).text


def test_body_of_a_stranger_is_refused_before_it_is_taken(guarded):
    with guarded.raw() as raw:
        raw.send("POST /deploy?name=x&lang=c HTTP/1.1\r\nHost: x\r\nContent-Length: 15000000\r\n"
                 "Expect: 100-continue\r\n\r\n")  # fmt: skip
        raw.answer().assert_error(401)
        assert raw.at_end()
    with guarded.raw() as raw:
        raw.send("POST /deploy?name=x&lang=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        raw.answer().assert_error(401)
    with guarded.raw() as raw:
        raw.send(f"POST /deploy?name=x&lang=c HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
                 f"Authorization: Bearer {guarded.token}\r\nExpect: 100-continue\r\n\r\n")  # fmt: skip
        assert raw.answer().status == 100


def test_commands_at_the_same_time_lose_no_key(start_system):
    system = start_system(started=False)
    tokens = faas.parallel(12, lambda _: create(system, "--scope", "invoke"))
    listed = key_command(system, "ls")
    assert all(key_id(token) in listed for token in tokens)
    faas.parallel(6, lambda i: key_command(system, "revoke", key_id(tokens[i])))
    listed = key_command(system, "ls")
    assert [key_id(token) in listed for token in tokens] == [False] * 6 + [True] * 6


def test_ls_shows_what_a_key_may_do(start_system):
    system = start_system(started=False)
    token = create(system, "--scope", "invoke,deploy", "--name", "ci.main", "--rate", "7", "--burst", "9",
                   "--function", "a,b")  # fmt: skip
    line = [line for line in key_command(system, "ls").splitlines() if line.startswith(key_id(token))][0]
    for word in ("deploy,invoke", "ci.main", "7/s,9", "a,b", time.strftime("%Y-")):
        assert word in line
    assert token[12:] not in line


@pytest.mark.parametrize(
    "args, words",
    [
        (["create"], "--scope is missing"),
        (["create", "--scope", "root"], "'root' is no scope"),
        (["create", "--scope", "read", "--name", "a b"], "name"),
        (["create", "--scope", "read", "--name", "x" * 65], "64"),
        (["create", "--scope", "read", "--rate", "0"], "--rate"),
        (["create", "--scope", "read", "--rate", "-1"], "--rate"),
        (["create", "--scope", "read", "--burst", "5"], "--rate"),
        (["create", "--scope", "read", "--function", "../x"], "no name of a function"),
        (["create", "--scope", "read", "--function", "a\nid=b"], "no name of a function"),
        (["create", "--scope"], "value"),
        (["create", "--what", "x"], "--what"),
        (["nonsense"], "nonsense"),
        (["ls", "x"], "ls"),
    ],
)
def test_wrong_command_says_what_is_wrong(start_system, args, words):
    system = start_system(started=False)
    assert words in key_command(system, *args, code=2)
    assert not (system.data_dir / ".keys" / "keys").exists()


def test_revoke_of_nobodys_key(start_system):
    system = start_system(started=False)
    assert "there is no key" in key_command(system, "revoke", "00000000", code=3)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0"])
def test_without_a_key_nobody_listens_beyond_this_machine(start_system, address):
    system = start_system(started=False, FAAS_LISTEN=address)
    process = system.launch().process
    code = process.wait()
    if "Address family not supported" in process.text():
        pytest.skip("this machine has no IPv6")
    assert code == 2, process.text()
    for word in ("API key", "minifaas key create", "--allow-open"):
        assert word in process.text()
    system.process = None


def test_gateway_by_hand_refuses_too(start_system, start_process):
    system = start_system(started=False)
    env = faas.clean_env(**{**system.env, "FAAS_LISTEN": "0.0.0.0:0"})
    process = start_process([faas.BIN / "api_gateway"], env, system.home)
    assert process.wait() == 1
    assert "minifaas key create" in process.text()


@pytest.mark.parametrize("options", [{"args": ["--allow-open"]}, {"FAAS_ALLOW_OPEN": 1}])
def test_told_so_it_listens_open(start_system, options):
    system = start_system(started=False, FAAS_LISTEN="0.0.0.0:0", FAAS_WORKERS=1, **options)
    process = system.launch().process
    found = process.wait_line(r"api_gateway listening on 0.0.0.0:(\d+)")
    system.address = ("127.0.0.1", int(found[1]))
    system.wait_ready()
    assert system.request("GET", "/functions").status == 200


def test_with_a_key_it_listens_everywhere_and_stays_closed_when_the_last_is_gone(start_system):
    system = start_system(started=False, FAAS_LISTEN="0.0.0.0:0", FAAS_WORKERS=1)
    token = create(system, "--scope", "read")
    found = system.launch().process.wait_line(r"api_gateway listening on 0.0.0.0:(\d+)")
    system.address = ("127.0.0.1", int(found[1]))
    system.wait_ready()
    system.request("GET", "/functions").assert_error(401)
    assert system.request("GET", "/functions", headers=bearer(token)).status == 200
    (system.data_dir / ".keys" / "keys").unlink()
    system.request("GET", "/functions").assert_error(401)
    system.request("GET", "/functions", headers=bearer(token)).assert_error(401)
    faas.kill(system.pid_of("api_gateway"))
    system.wait_ready()
    system.request("GET", "/functions").assert_error(401)


def test_page_of_another_site_changes_nothing_on_an_open_instance(system):
    """A browser of this machine reaches it for every page that it shows."""
    name = faas.unique_name()
    path = f"/deploy?name={name}&lang=python"
    for origin in ("https://evil.example", "http://localhost.evil.example", "null", "http://127.0.0.1.evil.example:8080",
                   "http://evil.example:80@localhost", "http://[::1].evil.example"):  # fmt: skip
        for method, target in (("POST", path), ("PUT", path), ("PUT", "/strategy"), ("DELETE", f"/function/{name}")):
            answer = system.request(method, target, HELLO_PY, {"Origin": origin})
            answer.assert_error(403, "forbidden", "another site")
    assert system.request("GET", f"/function/{name}").status == 404
    for origin in ("http://localhost:8080", "http://127.0.0.1:3000", "https://localhost", "http://[::1]:8080"):
        answer = system.request("PUT", path, HELLO_PY, {"Origin": origin})
        assert answer.status == 201, answer
    assert system.request("POST", f"/invoke?fn={name}", "", {"Origin": "https://app.example"}).status == 200


def test_load_injector_sends_the_key(guarded, start_process):
    hello = guarded.deploy(HELLO_PY, "python")
    argv = [faas.BIN / "load_injector", hello.name, "2", "10", "--json"]
    process = start_process(argv, faas.clean_env(FAAS_URL=guarded.url))
    assert process.wait(30) == 1
    process = start_process(argv, faas.clean_env(FAAS_URL=guarded.url, MINIFAAS_TOKEN=guarded.token))
    assert process.wait(30) == 0, process.text()
    assert json.loads(process.text())["errors"] == 0
