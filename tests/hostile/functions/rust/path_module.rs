// Tries: a file of the host in the compiler's messages: as a module of its own. Expected: 422 compile, nothing shown.
#[path = "@SECRET@"]
mod secret;
#[path = "/etc/passwd"]
mod passwd;
fn main() {}
