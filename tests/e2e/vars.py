"""Functions that show their environment, for the tests of variables and secrets, and the routes to set it."""

import json

# Prints the variable that the payload names, "-" when there is none.
C = r"""
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    char name[200] = "";
    if (!fgets(name, sizeof name, stdin)) return 9;
    const char *value = getenv(name);
    fputs(value ? value : "-", stdout);
    return 0;
}
"""
SHOW = {
    "c": ("c", C),
    "js-handler": ("js", "exports.handler = async (name) => process.env[name] ?? '-';\n"),
    "js-fetch": ("js", "export default { async fetch(request) {\n"
                       "  return new Response(process.env[await request.text()] ?? '-'); } };\n"),
    "js-script": ("js", "process.stdout.write(process.env[require('fs').readFileSync(0, 'utf8')] ?? '-');\n"),
    "py-handler": ("python", "import os\ndef handler(name, context):\n    return os.environ.get(name, '-')\n"),
    "py-script": ("python", "import os, sys\nprint(os.environ.get(sys.stdin.read(), '-'), end='')\n"),
}  # fmt: skip


def show(function, name):
    """What the function sees of a variable."""
    output = function.invoke(name).output
    return json.loads(output) if output.startswith('"') and output.endswith('"') and len(output) > 1 else output


def path(function, rest):
    return f"/function/{function.name}/{rest}"


def put_env(function, env):
    return function.system.request("PUT", path(function, "env"), env if isinstance(env, (str, bytes)) else json.dumps(env))


def set_env(function, **env):
    answer = put_env(function, env)
    assert answer.status == 200 and answer.json["env"] == env, answer


def get_env(function):
    answer = function.system.request("GET", path(function, "env"))
    assert answer.status == 200, answer
    return answer.json["env"]


def put(function, rest, value):
    return function.system.request("PUT", path(function, rest), value)


def set_secret(function, name, value):
    answer = put(function, f"secrets/{name}", value)
    assert answer.status == 200 and name in answer.json["secrets"], answer
    return answer


def get_secrets(function):
    answer = function.system.request("GET", path(function, "secrets"))
    assert answer.status == 200, answer
    return answer.json["secrets"]


def remove(function, rest):
    return function.system.request("DELETE", path(function, rest))
