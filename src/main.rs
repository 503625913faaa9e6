//! wgconv
fn main() {}
