/* Tries: the environment and arguments of the worker that runs it. Expected: its own variables only (200; the test looks for
 * its canary). */
extern char **environ;
int main(int argc, char **argv) {
    begin();
    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, "FAAS_FUNCTION=", 14) && strncmp(*at, "FAAS_VERSION=", 13) && strncmp(*at, "FAAS_CALL_ID=", 13) && strncmp(*at, "FAAS_DEADLINE_MS=", 17)) escaped("variable", "%s", *at);
    if (argc != 1 || strchr(argv[0], '/')) escaped("argument", "%s", argv[0]);
    puts("end");
    return 0;
}
