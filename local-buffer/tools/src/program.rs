//! In whose name the tools speak.

use clap::Command;

/// A program that has the tools. Help and messages speak in its name, and of its folders.
pub trait Program {
    /// As it is typed, such as `turnstile`.
    const NAME: &'static str;
    /// The folder of a buffer of its own for the examples, such as `/var/lib/turnstile/buffer`.
    const EXAMPLE_DIR: &'static str;
    /// Where the buffer of its settings is, such as `TURNSTILE_DATA/buffer, by default ./data/buffer`.
    const SETTINGS_DIR: &'static str;
}

/// The help of a command in the program's name.
pub(crate) fn help_spoken<P: Program>(command: Command) -> Command {
    match command.get_after_help().map(ToString::to_string) {
        Some(help) => command.after_help(spoken::<P>(&help)),
        None => command,
    }
}

/// A text in the program's name, with the remarks of its lines, each behind a tab, below each other.
pub(crate) fn spoken<P: Program>(text: &str) -> String {
    let text = text.replace("{program}", P::NAME);
    let text = text.replace("{dir}", P::EXAMPLE_DIR).replace("{settings}", P::SETTINGS_DIR);
    let examples = text.lines().filter_map(|line| line.split_once('\t'));
    let width = examples.map(|(example, _)| example.chars().count()).max().unwrap_or(0);
    let aligned = |line: &str| match line.split_once('\t') {
        Some((example, remark)) => format!("{example:width$}   {remark}"),
        None => line.to_owned(),
    };
    text.lines().map(aligned).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;
    use crate::BufferCommand;

    /// As long a name, and as deep a folder, as the programs have.
    struct Longest;

    impl Program for Longest {
        const NAME: &'static str = "turnstile";
        const EXAMPLE_DIR: &'static str = "/var/lib/turnstile/buffer";
        const SETTINGS_DIR: &'static str = "TURNSTILE_DATA/buffer, by default ./data/buffer";
    }

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        buffer: BufferCommand<Longest>,
    }

    #[test]
    fn remarks_stand_below_each_other() {
        let text = spoken::<Longest>("  {program} x\tshort\n  {program} x {dir}\tlong\n\nIn {settings}: {kind}");
        assert_eq!(
            text,
            "  turnstile x                             short\n  \
             turnstile x /var/lib/turnstile/buffer   long\n\n\
             In TURNSTILE_DATA/buffer, by default ./data/buffer: {kind}"
        );
    }

    /// Help is wrapped at 100 columns where there is no terminal, and an example that is wrapped cannot be copied.
    #[test]
    fn every_help_names_the_program_and_fits() {
        let command = Cli::command();
        let helps = command.get_subcommands().chain([&command]).map(|command| command.get_after_help());
        let helps: Vec<_> = helps.map(|help| help.unwrap().to_string()).collect();
        assert_eq!(helps.len(), 6);
        for help in helps {
            assert!(help.contains("  turnstile buffer "), "{help}");
            assert!(["{program}", "{dir}", "{settings}", "\t"].iter().all(|hole| !help.contains(hole)), "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        }
    }

    #[test]
    fn the_directory_of_the_settings_is_asked_for_only_where_none_was_named() {
        let run = |arguments: &[&str]| {
            let matches = Cli::command().try_get_matches_from(arguments).unwrap();
            let mut asked = false;
            let buffer = Cli::from_arg_matches(&matches).unwrap().buffer;
            let failure = buffer.run(|| {
                asked = true;
                Ok("/nowhere/settings".into())
            });
            (asked, failure.unwrap_err().to_string())
        };
        let (asked, message) = run(&["turnstile", "inspect"]);
        assert!(asked && message.contains("/nowhere/settings"), "{message}");
        let (asked, message) = run(&["turnstile", "inspect", "/nowhere/named"]);
        assert!(!asked && message.contains("/nowhere/named"), "{message}");
    }
}
