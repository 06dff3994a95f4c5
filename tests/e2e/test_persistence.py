"""Functions survive a restart, and a SIGKILL of everything at any moment; a half-written deploy is never seen."""

import json
import os
import random
import threading
import time
from pathlib import Path

import pytest

import faas


def test_functions_survive_a_restart(start_system):
    system = start_system()
    made = [system.deploy(Path(path), lang, timeout_ms=4321)
            for path, lang in (("c/hello.c", "c"), ("python/hello.py", "python"), ("js/hello_script.js", "js"))]  # fmt: skip
    system.try_deploy("print('two')\n", "python", made[1].name, "PUT")
    gone = system.deploy("print('x')\n", "python")
    gone.delete()
    before = [function.describe() for function in made]
    outputs = [function.invoke().output for function in made]
    names = {row["name"] for row in system.request("GET", "/functions").json["functions"]}
    system.stop()
    system.start()
    after = [function.describe() for function in made]
    for old, new in zip(before, after):
        for key in ("id", "name", "lang", "version", "size", "code", "entry"):
            assert old.get(key) == new.get(key), key
        assert ("4321" in json.dumps(new)) == ("4321" in json.dumps(old))
    assert [function.invoke().output for function in made] == outputs
    assert {row["name"] for row in system.request("GET", "/functions").json["functions"]} == names
    assert made[1].invoke(fn=made[1].id).status == 200  # the first version, by its id
    system.request("GET", f"/function/{gone.name}").assert_error(404)
    assert system.try_deploy("print('x')\n", "python", made[0].name).status == 409


def test_ids_are_new_after_a_restart_too(start_system):
    system = start_system()
    name, ids = faas.unique_name(), set()
    for _ in range(3):
        function = system.deploy("print('x')\n", "python", name)
        ids.add(function.id)
        system.stop()
        system.start()
        assert system.request("DELETE", f"/function/{name}").status == 204
    assert len(ids) == 3


SOURCES = {
    "python": lambda text: f"def handler(e, c):\n    return '{text}'\n",
    "js": lambda text: f"exports.handler = async () => '{text}';\n",
    "c": lambda text: f'#include <stdio.h>\nint main(void) {{ printf("\\"{text}\\""); return 0; }}\n',
}


@pytest.mark.slow
def test_sigkill_of_everything_during_deploys_loses_nothing_that_was_answered(start_system):
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    rng = random.Random(seed)
    system = start_system(FAAS_BUILDS=3)
    answered, tried, deleted = {}, set(), set()  # name: text of its last answered version

    for round_number in range(4):
        stop, lock = threading.Event(), threading.Lock()

        def deploy(lang, stop=stop, lock=lock):
            while not stop.is_set():
                name = faas.unique_name("k" + lang)
                with lock:
                    tried.add(name)
                try:
                    if system.try_deploy(SOURCES[lang](name), lang, name).status == 201:
                        with lock:
                            answered[name] = {name}
                    else:
                        return
                    if rng.random() < 0.3:  # a second version: either may be current after the kill
                        with lock:
                            answered[name].add(name + "-2")
                        if system.try_deploy(SOURCES[lang](name + "-2"), lang, name, "PUT").status in (200, 201):
                            with lock:
                                answered[name] = {name + "-2"}
                except OSError:
                    return

        threads = [threading.Thread(target=deploy, args=(lang,)) for lang in ("python", "js", "c", "python")]
        for thread in threads:
            thread.start()
        target = len(answered) + rng.randint(3, 8)
        faas.wait_until(lambda: len(answered) >= target, 30, "some deploys answered")
        time.sleep(rng.random() * 0.1)
        system.kill_all()
        stop.set()
        for thread in threads:
            thread.join()
        system.start()
        listed = {row["name"] for row in system.request("GET", "/functions").json["functions"]}
        assert set(answered) - deleted <= listed, "a function that was answered 201 is gone"
        assert listed <= tried
        for name in listed:
            assert system.request("GET", f"/function/{name}").status == 200
            answer = system.request("POST", f"/invoke?fn={name}")
            assert json.loads(answer.output) in answered.get(name, {name, name + "-2"}), answer
            answered.setdefault(name, {name})
        left = [path.name for path in system.data_dir.iterdir() if path.name.startswith(".stage")]
        assert not left, f"half-written deploys left: {left}"
        links = list((system.data_dir / "names").iterdir())
        assert {link.name for link in links} == listed
        assert all(link.exists() for link in links), "a name points nowhere"


def test_rubbish_in_the_data_directory_does_not_stop_the_start(start_system):
    system = start_system()
    kept = system.deploy(Path("c/hello.c"), "c")
    system.stop()
    data = system.data_dir
    (data / ".stage-abc").mkdir()
    (data / ".stage-abc" / "code.c").write_text("x")
    (data / "broken_1728435600").mkdir()
    (data / "broken_1728435600" / "metadata.json").write_text('{"format":1,"na')
    (data / "names" / "broken").symlink_to("../broken_1728435600")
    (data / "names" / "nowhere").symlink_to("../nowhere_1728435600")
    (data / "a file").write_text("x")
    system.start()
    assert system.request("POST", f"/invoke?fn={kept.name}").output == "Hello from FAAS!\n"
    assert [row["name"] for row in system.request("GET", "/functions").json["functions"]] == [kept.name]
    assert not (data / ".stage-abc").exists()
    system.request("POST", "/invoke?fn=broken").assert_error(404)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_native_code_is_rebuilt_never_run(start_system, damage):
    system = start_system()
    function = system.deploy(Path("c/hello.c"), "c")
    system.stop()
    native = next(system.data_dir.glob(f"{function.id}/code.cwasm"))
    good = native.read_bytes()
    native.unlink()
    if damage == "flip":
        middle = len(good) // 2
        native.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    elif damage == "truncate":
        native.write_bytes(good[: len(good) // 3])
    system.start()
    assert system.request("POST", f"/invoke?fn={function.name}").output == "Hello from FAAS!\n"
    assert system.request("POST", f"/invoke?fn={function.name}").output == "Hello from FAAS!\n"


def test_native_code_that_takes_long_to_check_is_rebuilt_too(start_system):
    """The gateway looks at its workers every 5 ms, and sees the call as running while its code is being hashed."""
    source = "#include <stdio.h>\nstatic char data[24 << 20] = {1, 2};\n" \
             "int main(int argc, char **argv) { putchar('a' + data[argc]); }\n"  # fmt: skip
    system = start_system(FAAS_WORKERS=1, FAAS_WORKERS_MAX=1)
    function = system.deploy(source, "c")
    want = function.invoke().output
    system.stop()
    native = next(system.data_dir.glob(f"{function.id}/code.cwasm"))
    assert native.stat().st_size > 20 << 20
    with native.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    system.start()
    gateway = system.pid_of("api_gateway")
    assert function.invoke().output == want
    assert system.pid_of("api_gateway") == gateway


def test_metadata_carries_a_format_number(start_system):
    system = start_system()
    function = system.deploy("print('x')\n", "python")
    metadata = json.loads(next(system.data_dir.glob(f"{function.id}/metadata.json")).read_text())
    assert metadata["format"] == 1
