// Tries: to compute for ever in the compiler. Expected: 422 (compile or timeout).
const fn spin() -> u64 { let mut x = 1u64; loop { x = x.wrapping_mul(3); if x == 0 { return x; } } }
const VALUE: u64 = spin();
fn main() { println!("{}", VALUE); }
