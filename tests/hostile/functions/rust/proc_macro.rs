// Tries: to run code of its own inside of the compiler: a library of macros. Expected: 422 compile: it is no program.
#![crate_type = "proc-macro"]
extern crate proc_macro;
#[proc_macro]
pub fn evil(_: proc_macro::TokenStream) -> proc_macro::TokenStream { std::fs::read_to_string("/etc/passwd").unwrap().parse().unwrap() }
