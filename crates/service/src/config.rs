//! Layered configuration: a flag on the command line, else its `QUINTET_*` variable, else the file that its
//! `QUINTET_*_FILE` variable names, else the TOML file of `--config`, else the default.
//!
//! The file of a `QUINTET_*_FILE` variable holds nothing but the value, for secrets: `QUINTET_STORE_FILE=/run/secrets/store`
//! gives `--store` what is in that file, without the newlines at its end. It is not looked at where the flag or the
//! variable itself is set; otherwise it must be there and hold something.
//!
//! A program describes its flags once, with clap. From that, every long flag `--http.addr` also has the variable
//! `QUINTET_HTTP_ADDR` and the file's key `http.addr`, which may be written as `addr` in a table `[http]`. A switch
//! such as `--http` beside `--http.addr` is `enabled` in the table. What the file may say is what flags exist: an
//! unknown key is an error.

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, Parser};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Names a configuration file; understood by every program.
const CONFIG_FLAG: &str = "config";

/// Configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// What clap has to say: wrong flags, but also the text of `--help` and `--version`.
    #[error("{0}")]
    Usage(clap::Error),
    /// A value that its flag does not take.
    #[error(
        "invalid value {value:?} for --{flag}{reason} (set by --{flag}, by {variable}, or by {flag} in the configuration file)"
    )]
    Value {
        /// The flag, without dashes.
        flag: String,
        /// Its variable.
        variable: String,
        /// The value.
        value: String,
        /// What is wrong with it, after a colon; or nothing.
        reason: String,
    },
    /// The file that should hold a value does not.
    #[error(
        "a secret is missing: {variable} names {}, which {reason}; \
         put the value of --{flag} into that file, or set {} instead", file.display(), self::variable(flag)
    )]
    Secret {
        /// The flag, without dashes.
        flag: String,
        /// The variable that names the file.
        variable: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration file cannot be read.
    #[error("configuration file {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is not TOML.
    #[error("configuration file {}: {source}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// No flag has this name.
    #[error("configuration file {}: unknown key {key}", file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The key, with the tables that it is in.
        key: String,
    },
    /// A value of a type that no flag takes.
    #[error("configuration file {}: {key} must be a string, a number, a boolean or a list of these", file.display())]
    Type {
        /// The file.
        file: PathBuf,
        /// The key, with the tables that it is in.
        key: String,
    },
}

impl ConfigError {
    /// Whether this is a text that was asked for (`--help`, `--version`) and no error.
    pub fn is_help(&self) -> bool {
        matches!(self, Self::Usage(error) if !error.use_stderr())
    }

    /// A value of a flag (without dashes) that was found wrong after parsing.
    pub fn wrong_value(flag: &str, value: &str, reason: &dyn Display) -> Self {
        Self::Value {
            flag: flag.to_owned(),
            variable: variable(flag),
            value: value.to_owned(),
            reason: format!(": {reason}"),
        }
    }
}

/// The variable of a flag: `http.addr` is `QUINTET_HTTP_ADDR`.
pub fn variable(flag: &str) -> String {
    format!("QUINTET_{}", flag.to_uppercase().replace(['.', '-'], "_"))
}

/// Parses `args` (the program's name first), the variables and the file.
///
/// # Errors
/// See [`ConfigError`]; [`ConfigError::is_help`] tells apart what is not an error.
pub fn parse<T: Parser>(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<T, ConfigError> {
    parse_as(T::command(), args.into_iter().map(Into::into).collect(), Keys::All)
}

/// Which keys of the configuration file there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Those of the flags.
    All,
    /// Any: the file is another command's too.
    Some,
}

fn parse_as<T: Parser>(command: Command, args: Vec<OsString>, keys: Keys) -> Result<T, ConfigError> {
    let mut values = match config_file(&args) {
        Some(file) => FileValues::read(file)?,
        None => FileValues::default(),
    };
    let mut secrets = Secrets { given: args.clone(), ..Secrets::default() };
    let command = command.arg(config_arg());
    secrets.take_variables(&command);
    let command = layered(command, &mut values, &mut secrets);
    if let Some(error) = secrets.error {
        return Err(error);
    }
    if let Some(key) = values.first_unused().filter(|_| keys == Keys::All) {
        return Err(ConfigError::UnknownKey { file: values.file, key });
    }
    let parsed =
        command.try_get_matches_from(args).and_then(|mut matches| T::from_arg_matches_mut(&mut matches));
    parsed.map_err(config_error)
}

/// Parses the process's own arguments; prints help or the error and exits when there is no configuration to run
/// with.
pub fn parse_or_exit<T: Parser>() -> T {
    or_exit(parse(std::env::args_os()))
}

/// The same with a text at the end of the help.
pub(crate) fn parse_with_help_or_exit<T: Parser>(help: &'static str) -> T {
    or_exit(parse_as(T::command().after_help(help), std::env::args_os().collect(), Keys::All))
}

/// The same for a command that knows only some of what a service is configured with.
pub(crate) fn parse_some_or_exit<T: Parser>(args: impl IntoIterator<Item = OsString>) -> T {
    or_exit(parse_as(T::command(), args.into_iter().collect(), Keys::Some))
}

fn or_exit<T>(parsed: Result<T, ConfigError>) -> T {
    match parsed {
        Ok(config) => config,
        Err(ConfigError::Usage(error)) => error.exit(),
        Err(error) => {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit();
        }
    }
}

fn config_arg() -> Arg {
    Arg::new(CONFIG_FLAG)
        .long(CONFIG_FLAG)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .global(true)
        .help_heading("Process")
        .help("TOML file with values for flags that neither the command line nor a variable sets")
}

/// The configuration file that the arguments or the variable name. It is needed before clap can run.
fn config_file(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(file) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    std::env::var_os(variable(CONFIG_FLAG)).filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// Gives every long flag of `command` its variable, and the value of its own file or of the configuration file as its
/// default.
fn layered(command: Command, values: &mut FileValues, secrets: &mut Secrets) -> Command {
    let command = command.mut_args(|arg| {
        let Some(flag) = arg.get_long().map(str::to_owned) else { return arg };
        let arg = match arg.get_env() {
            Some(_) => arg,
            None => arg.env(variable(&flag)),
        };
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let arg =
            if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }.hide_env_values(true);
        if flag == CONFIG_FLAG {
            return arg;
        }
        let value = values.take(&flag, is_switch);
        if is_switch && is_off(&variable(&flag)) {
            // To clap, a switch that its variable sets is given, to whatever: it would be in conflict with others.
            return arg.env(None);
        }
        if let Some(secret) = secrets.value(&flag) {
            // A switch has no default that help could show.
            return arg.required(false).default_values([secret]).hide_default_value(!is_switch);
        }
        match value {
            Some(value) => arg.required(false).default_values(value),
            None => arg,
        }
    });
    command.mut_subcommands(|subcommand| layered(subcommand, values, secrets))
}

/// Whether a variable switches off.
fn is_off(variable: &str) -> bool {
    let off = ["0", "f", "false", "n", "no", "off"];
    std::env::var(variable).is_ok_and(|value| off.iter().any(|word| word.eq_ignore_ascii_case(&value)))
}

/// The values in the files of `QUINTET_*_FILE` variables.
#[derive(Default)]
struct Secrets {
    /// The command line.
    given: Vec<OsString>,
    /// The flags' own variables: `--keys.file` has the one that would name a file for `--keys`.
    variables: BTreeSet<String>,
    /// The first that is missing.
    error: Option<ConfigError>,
}

impl Secrets {
    fn take_variables(&mut self, command: &Command) {
        self.variables.extend(command.get_arguments().filter_map(Arg::get_long).map(variable));
        for subcommand in command.get_subcommands() {
            self.take_variables(subcommand);
        }
    }

    /// The value for a flag that neither the command line nor its variable sets.
    fn value(&mut self, flag: &str) -> Option<OsString> {
        let of_flag = variable(flag);
        let of_file = format!("{of_flag}_FILE");
        if self.variables.contains(&of_file) || std::env::var_os(&of_flag).is_some() {
            return None;
        }
        let file = PathBuf::from(std::env::var_os(&of_file).filter(|file| !file.is_empty())?);
        let long = format!("--{flag}");
        let sets = |given: &OsString| {
            given
                .to_str()
                .and_then(|given| given.strip_prefix(&long))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        if self.given.iter().any(sets) {
            return None;
        }
        match secret(&file) {
            Ok(value) => Some(value),
            Err(reason) => {
                let missing = ConfigError::Secret { flag: flag.to_owned(), variable: of_file, file, reason };
                self.error.get_or_insert(missing);
                None
            }
        }
    }
}

/// What a file holds, without the newlines at its end.
fn secret(file: &Path) -> Result<OsString, String> {
    let mut bytes = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() { Err("is empty".to_owned()) } else { Ok(OsString::from_vec(bytes)) }
}

/// Names flag and variable in clap's error about a value.
fn config_error(error: clap::Error) -> ConfigError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return ConfigError::Usage(error);
    }
    // clap gives the argument as `--http.port <PORT>`.
    let flag = text(ContextKind::InvalidArg)
        .and_then(|arg| Some(arg.strip_prefix("--")?.split([' ', '=', '[']).next()?.to_owned()));
    let Some(flag) = flag else { return ConfigError::Usage(error) };
    let reason = match (error.get(ContextKind::ValidValue), std::error::Error::source(&error)) {
        (Some(ContextValue::Strings(valid)), _) => format!(": expected one of {}", valid.join(", ")),
        (_, Some(source)) => format!(": {source}"),
        _ => String::new(),
    };
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    ConfigError::Value { variable: variable(&flag), flag, value, reason }
}

/// What a configuration file says, by flag.
#[derive(Debug, Default)]
struct FileValues {
    file: PathBuf,
    values: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Value {
    texts: Vec<OsString>,
    used: bool,
}

impl FileValues {
    fn read(file: PathBuf) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { file, source }),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(source) => return Err(ConfigError::Syntax { file, source: Box::new(source) }),
        };
        let mut values = BTreeMap::new();
        flatten(&file, "", table, &mut values)?;
        Ok(Self { file, values })
    }

    /// The values for a flag. Several subcommands may share one flag, so it stays for the next.
    fn take(&mut self, flag: &str, is_switch: bool) -> Option<Vec<OsString>> {
        let mut found = None;
        for key in [flag.to_owned(), format!("{flag}.enabled")] {
            if let Some(value) = self.values.get_mut(&key)
                && (key == flag || is_switch)
            {
                value.used = true;
                found = Some(value.texts.clone());
            }
        }
        found
    }

    fn first_unused(&self) -> Option<String> {
        self.values.iter().find(|(_, value)| !value.used).map(|(key, _)| key.clone())
    }
}

fn flatten(
    file: &Path,
    prefix: &str,
    table: toml::Table,
    values: &mut BTreeMap<String, Value>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let wrong_type = || ConfigError::Type { file: file.to_owned(), key: key.clone() };
        let texts = match value {
            toml::Value::Table(table) => {
                flatten(file, &key, table, values)?;
                continue;
            }
            toml::Value::Array(items) => {
                items.iter().map(scalar).collect::<Option<Vec<_>>>().ok_or_else(wrong_type)?
            }
            value => vec![scalar(&value).ok_or_else(wrong_type)?],
        };
        values.insert(key, Value { texts, used: false });
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<OsString> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => return None,
    };
    Some(OsStr::new(&text).to_owned())
}

/// Parses a duration as geth's flags have it: `10s`, `500ms`, `1m30s`, `2h`. For clap's `value_parser`.
///
/// # Errors
/// When the text is not one, or does not fit.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 10s, 500ms or 1m30s");
    let mut rest = text;
    let mut total = std::time::Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = std::time::Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
