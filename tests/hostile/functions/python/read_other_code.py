# Tries: to find the code of other functions, by its path and by a walk through all that is visible.
# Expected: no such file (200).
target = read_target()
attempt("the code of another", lambda: open(target["code"]).read())
attempt("the data directory", lambda: os.listdir(target["data"]))
for folder, names, files in os.walk("/"):
    if folder.startswith(("/proc", "/usr", "/lib")):
        names.clear()
    for name in files:
        if name in ("metadata.json", "code.cwasm", "code.wasm") or (name.startswith("code.") and folder.count("/") > 1):
            escaped("walk", os.path.join(folder, name))
say("end")
