/* Tries: to link with functions of the host that are not WASI's. Expected: 422 compile. */
__attribute__((import_module("env"), import_name("system"))) int host_system(const char *);
int main(void) { return host_system("id"); }
