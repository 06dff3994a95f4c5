// Tries: files, processes, threads and sockets through Rust's library. Expected: refused each (200).
fn main() {
    println!("begin");
    let mut say = |what: &str, got: bool| println!("{} {}", if got { "ESCAPED" } else { "held" }, what);
    say("read", std::fs::read("/etc/passwd").is_ok());
    say("list", std::fs::read_dir("/").is_ok());
    say("write", std::fs::write("hostile", b"x").is_ok());
    say("spawn", std::process::Command::new("/bin/true").spawn().is_ok());
    say("connect", std::net::TcpStream::connect("127.0.0.1:80").is_ok());
    say("bind", std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    say("thread", std::thread::Builder::new().spawn(|| {}).is_ok());
    say("environment", std::env::vars().any(|(name, _)| !name.starts_with("FAAS_") || name == "FAAS_CANARY"));
    println!("end");
}
