//! The binary `guerdon`.

use std::process::ExitCode;

/// Large bodies leave holes in the heaps of glibc's allocator, which a server's memory then keeps:
/// see docs/explanation/reliability.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    guerdon_cli::run()
}
