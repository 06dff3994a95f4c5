// Tries: files of the host inside of its program: include_str!, include_bytes!. Expected: 422 compile, nothing shown.
const SECRET: &str = include_str!("@SECRET@");
const PASSWD: &[u8] = include_bytes!("/etc/passwd");
const ENVIRON: &[u8] = include_bytes!("/proc/self/environ");
fn main() { println!("{} {:?} {:?}", SECRET, PASSWD, ENVIRON); }
