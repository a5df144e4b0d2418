use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::token::Bearer;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_option_is_explained() {
    let mut command = Cli::command();
    command.build();
    for command in command.get_subcommands() {
        for argument in command.get_arguments() {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !help.is_empty(),
                "{} {}",
                command.get_name(),
                argument.get_id()
            );
        }
    }
}

#[test]
fn serve_takes_its_overrides() {
    let Ok(Command::Serve(args)) =
        parse("sluice serve --config a.toml --listen [::1]:0 --data-dir d")
    else {
        panic!("not understood");
    };
    assert_eq!(args.place.config, Some("a.toml".into()));
    assert_eq!(args.listen, Some("[::1]:0".parse().unwrap()));
    assert_eq!(args.place.data_dir, Some("d".into()));
}

#[test]
fn a_bearer_is_what_the_options_say() {
    let line = "sluice token --subject u --tenant t --email e --role r --meeting m --expires 90s --key-set k";
    let Ok(Command::Token(args)) = parse(line) else {
        panic!("not understood")
    };
    let bearer = Bearer::from(&args);
    assert_eq!(
        (bearer.user_id.as_str(), bearer.tenant_id.as_str()),
        ("u", "t")
    );
    assert_eq!((bearer.email.as_str(), bearer.role.as_str()), ("e", "r"));
    assert_eq!(
        (bearer.meeting_id.as_deref(), args.expires),
        (Some("m"), Duration::from_secs(90))
    );
    assert_eq!(args.key_set.as_deref(), Some("k"));
}

#[test]
fn the_defaults_of_token_are_those_of_a_bearer() {
    let Ok(Command::Token(args)) = parse("sluice token") else {
        panic!("not understood")
    };
    assert_eq!(Bearer::from(&args), Bearer::default());
}

#[test]
fn an_expiry_without_a_unit_is_a_usage_error() {
    let error = parse("sluice token --expires 60").unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        (ErrorKind::ValueValidation, 2)
    );
    assert!(error.to_string().contains("needs a unit"), "{error}");
}

#[test]
fn a_token_is_given_once() {
    let error = parse("sluice stream a.wav --url ws://h/ --token t --token-file f").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn debug_shows_neither_token_nor_url() {
    let command = parse("sluice stream a.wav --url ws://h/?token=HUSH --token HUSH").unwrap();
    let shown = format!("{command:?}");
    assert!(!shown.contains("HUSH"), "{shown}");
}
