//! The options of generation, under the reference's names.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use instructblip_web::session::{AskOptions, KNOBS, Kind, Knob};
use serde_json::{Map, Value};

/// How to answer: a flag for each of [`KNOBS`].
#[derive(Clone, Debug)]
pub struct GenerationArgs(pub AskOptions);

impl clap::Args for GenerationArgs {
    fn augment_args(command: Command) -> Command {
        command.args(KNOBS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GenerationArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |knob: &Knob| Some((knob.option(), value(knob, matches)?));
        let given: Map<String, Value> = KNOBS.iter().filter_map(given).collect();
        let options = serde_json::from_value(given.into());
        options.map(Self).map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(knob: &'static Knob) -> Arg {
    let arg = Arg::new(knob.name).help_heading("Generation").help(knob.help());
    let flag = |name: &str| -> &'static str { name.replace('_', "-").leak() };
    match knob.kind {
        Kind::Flag(_) => arg.long(flag(knob.name)).action(ArgAction::SetTrue),
        Kind::Texts => {
            let one = knob.name.strip_suffix('s').unwrap_or(knob.name);
            let help = format!("{}; may be given several times", knob.help());
            arg.long(flag(one)).help(help).value_name(knob.unit).action(ArgAction::Append)
        }
        kind => arg
            .long(flag(knob.name))
            .value_name(knob.unit)
            .allow_negative_numbers(matches!(kind, Kind::Number(_)))
            .value_parser(move |text: &str| number(kind, text)),
    }
}

fn number(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Count(_) => text.parse::<usize>().map(Value::from).map_err(|e| e.to_string()),
        Kind::Seed => text.parse::<u32>().map(Value::from).map_err(|e| e.to_string()),
        _ => match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(Value::from(value)),
            Ok(_) => Err("it is not finite".into()),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn value(knob: &Knob, matches: &ArgMatches) -> Option<Value> {
    match knob.kind {
        Kind::Flag(_) => matches.get_flag(knob.name).then_some(Value::Bool(true)),
        Kind::Texts => matches
            .get_many::<String>(knob.name)
            .map(|texts| texts.cloned().map(Value::String).collect()),
        _ => matches.get_one(knob.name).cloned(),
    }
}
