//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    engenho_node::main()
}
