// curl -X POST 'http://127.0.0.1:8080/deploy?name=hello-rust&lang=rust' --data-binary @examples/rust/hello.rs
fn main() {
    println!("Hello from Rust!");
}
