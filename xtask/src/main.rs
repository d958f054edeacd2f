//! Generators and checks: `cargo xtask generate` writes the committed generated files, `cargo xtask fences` checks which
//! crate may know which. The tests of this package hold both.

#![expect(clippy::print_stdout, reason = "a command prints")]

mod fences;
mod generate;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("generate") => {
            for file in generate::write()? {
                println!("wrote {file}");
            }
        }
        Some("fences") => {
            fences::check()?;
            println!("every fence stands");
        }
        _ => anyhow::bail!("usage: cargo xtask generate|fences"),
    }
    Ok(())
}
