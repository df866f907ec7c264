//! The `gtc` command.

fn main() -> std::process::ExitCode {
    gtc::cli::main()
}
