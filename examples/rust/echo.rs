// curl -X POST 'http://127.0.0.1:8080/deploy?name=echo-rust&lang=rust' --data-binary @examples/rust/echo.rs
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut payload = Vec::new();
    io::stdin().read_to_end(&mut payload)?;
    io::stdout().write_all(&payload)
}
