//! The help of every command, recorded: a change of it is a change that users see.

use clap::CommandFactory;
use everup_cli::args::Args;
use std::fmt::Write;

#[test]
fn the_help_is_as_recorded() {
    let mut command = Args::command().term_width(100);
    command.build();
    let mut text = command.render_help().to_string();
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = sub.get_name().to_owned();
        let sub = std::mem::take(sub).term_width(100);
        let _ = write!(text, "\n==== everup {name} ====\n\n{}", sub.clone().render_help());
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    snapbox::assert_data_eq!(lines.join("\n"), snapbox::file!["recorded/help.txt"]);
}

#[test]
fn the_arguments_are_consistent() {
    Args::command().debug_assert();
}
