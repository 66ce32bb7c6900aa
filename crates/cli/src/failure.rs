//! Failures of a command and the exit codes that they become.

use std::process::ExitCode;

/// The command line, the environment or the configuration file is wrong: exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user stopped a command with Ctrl-C: exit code 130, and nothing more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Prints a failure with its causes and gives its exit code: 1, 2 for [`Usage`] and what the platform calls bad input, 130 for [`Interrupted`]. A reader that
/// closed our output early (`orrery list | head`) is no failure.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(130);
    }
    let pipe = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<std::io::Error>().is_some_and(pipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", message(error));
    let refused = matches!(error.downcast_ref(), Some(orrery_platform::Error::BadInput { .. }));
    if error.is::<Usage>() || refused {
        eprintln!("For more information, try '--help'.");
        return ExitCode::from(2);
    }
    ExitCode::FAILURE
}

/// `error: what: why: why`, leaving out a cause that the message above it already tells.
fn message(error: &anyhow::Error) -> String {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once() {
        let inner = anyhow!("disk full");
        assert_eq!(message(&inner.context("cannot write x: disk full")), "error: cannot write x: disk full");
        assert_eq!(message(&anyhow!("disk full").context("cannot write x")), "error: cannot write x: disk full");
    }

    #[test]
    fn exit_codes() {
        let show = |code: ExitCode| format!("{code:?}");
        assert_eq!(show(report(&anyhow!("x"))), show(ExitCode::FAILURE));
        assert_eq!(show(report(&anyhow!(Usage("x".into())))), show(ExitCode::from(2)));
        let refused = orrery_platform::Error::BadInput { param: None, message: "x".into() };
        assert_eq!(show(report(&refused.into())), show(ExitCode::from(2)));
        assert_eq!(show(report(&anyhow!(Interrupted))), show(ExitCode::from(130)));
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(show(report(&anyhow!(pipe))), show(ExitCode::SUCCESS));
    }
}
