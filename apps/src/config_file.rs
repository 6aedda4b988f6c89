//! `--config FILE.toml`: flags from a file, and `--echo-config`: the flags of a command line as such a file.
//!
//! It must never win over the command line, and never take a key that is no flag of the command.
//!
//! Keys are the long names of flags without their dashes; `targets` are what stands without a flag. A table applies to the
//! command of its name, what stands above all tables to every command that has the flag:
//!
//! ```toml
//! allow-target = ["198.51.100.7/32"]
//!
//! [load]
//! targets = ["http://198.51.100.7/"]
//! rate = "10k"
//! ```

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use toml::{Table, Value};

use crate::cli::Cli;
use crate::console;
use crate::failure::Failure;

/// The flag that names the file.
const CONFIG: &str = "--config";
/// The key of what stands without a flag.
const TARGETS: &str = "targets";

/// The command line of this process, with the flags of the file that it names. `None` after its flags were printed as such a
/// file, as it asked.
///
/// # Errors
/// [`Failure::Usage`] as for [`expanded`]; wrong flags end the process here, with clap's words.
pub(crate) fn command_line() -> Result<Option<Cli>, Failure> {
    let cli = Cli::command();
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words = expanded(words, &cli)?;
    let matches = cli.clone().get_matches_from(words);
    if let Some((name, own)) = matches.subcommand()
        && let Ok(Some(true)) = own.try_get_one::<bool>("echo_config")
        && let Some(command) = cli.find_subcommand(name)
    {
        console::result(echoed(name, command, own).trim_end())?;
        return Ok(None);
    }
    let parsed = Cli::from_arg_matches(&matches);
    Ok(Some(parsed.unwrap_or_else(|error| error.exit())))
}

/// `args` with the flags of the file that `--config` names, if it does, behind the name of the command.
///
/// # Errors
/// [`Failure::Usage`] when the file can't be read, or has a key that is no flag.
fn expanded(args: Vec<String>, cli: &Command) -> Result<Vec<String>, Failure> {
    let Some(file) = named_file(&args) else {
        return Ok(args);
    };
    let Some((name, command)) = args
        .get(1)
        .and_then(|name| Some((name.clone(), cli.find_subcommand(name)?)))
    else {
        return Ok(args);
    };
    let table = read(Path::new(&file))?;
    let given = &args[2..];
    let mut expanded = args[..2].to_vec();
    for (key, value) in &table {
        if !value.is_table() && find(command, key).is_some() {
            add(&mut expanded, (command, given), (&file, key, value))?;
        }
    }
    if let Some(Value::Table(own)) = table.get(&name) {
        for (key, value) in own {
            if find(command, key).is_none() {
                return Err(Failure::Usage(format!(
                    "{CONFIG} {file}: unknown flag `{key}` of `syncline {name}`; `syncline {name} --help` lists them"
                )));
            }
            add(&mut expanded, (command, given), (&file, key, value))?;
        }
    }
    expanded.extend_from_slice(given);
    Ok(expanded)
}

fn named_file(args: &[String]) -> Option<String> {
    let at = args.iter().position(|arg| arg == CONFIG);
    let behind = at.and_then(|at| args.get(at + 1));
    let joined = args.iter().find_map(|arg| arg.strip_prefix("--config="));
    behind.cloned().or(joined.map(str::to_owned))
}

fn read(file: &Path) -> Result<Table, Failure> {
    let wrong = |error: String| Failure::Usage(format!("{CONFIG} {}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    text.parse::<Table>().map_err(|error| {
        let lines = error.to_string();
        wrong(lines.lines().collect::<Vec<_>>().join(" "))
    })
}

/// The argument of a command that a key names.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| match arg.get_long() {
        Some(long) => long == key,
        None => arg.is_positional() && key == TARGETS,
    })
}

/// Adds the flag of a key, unless the command line has it.
fn add(
    expanded: &mut Vec<String>,
    (command, given): (&Command, &[String]),
    (file, key, value): (&str, &str, &Value),
) -> Result<(), Failure> {
    let Some(arg) = find(command, key) else {
        return Ok(());
    };
    if given.iter().any(|word| is_of(arg, word)) {
        return Ok(());
    }
    let wrong = || {
        Failure::Usage(format!(
            "{CONFIG} {file}: invalid value of `{key}`: expected a text, a number, true, false, or a list of these"
        ))
    };
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    for value in values {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(false) => continue,
            Value::Boolean(true) => {
                expanded.push(format!("--{key}"));
                continue;
            }
            Value::Datetime(_) | Value::Array(_) | Value::Table(_) => return Err(wrong()),
        };
        expanded.push(if arg.is_positional() {
            text
        } else {
            format!("--{key}={text}")
        });
    }
    Ok(())
}

/// Whether a word of the command line gives this argument.
fn is_of(arg: &Arg, word: &str) -> bool {
    let names = arg.get_long_and_visible_aliases().unwrap_or_default();
    let is_long = word.strip_prefix("--").is_some_and(|rest| {
        let name = rest.split('=').next().unwrap_or(rest);
        names.contains(&name)
    });
    let is_short = !word.starts_with("--")
        && word.strip_prefix('-').and_then(|rest| rest.chars().next()) == arg.get_short()
        && arg.get_short().is_some();
    is_long || is_short || (arg.is_positional() && word.contains("://"))
}

/// The flags of a command line, as a file for `--config`.
fn echoed(name: &str, command: &Command, matches: &ArgMatches) -> String {
    let mut table = Table::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let key = arg.get_long().unwrap_or(TARGETS);
        if matches.value_source(id) != Some(ValueSource::CommandLine)
            || matches!(key, "config" | "echo-config")
        {
            continue;
        }
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            table.insert(key.to_owned(), Value::Boolean(true));
            continue;
        }
        let raw = matches.get_raw(id).into_iter().flatten();
        let mut values: Vec<Value> = raw
            .map(|value| Value::String(value.to_string_lossy().into_owned()))
            .collect();
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        let value = match values.len() {
            1 if !is_list => values.remove(0),
            _ => Value::Array(values),
        };
        table.insert(key.to_owned(), value);
    }
    let mut whole = Table::new();
    whole.insert(name.to_owned(), Value::Table(table));
    whole.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, args: &[&str]) -> Result<Vec<String>, Failure> {
        let path = std::env::temp_dir().join(format!(
            "syncline-config-{}-{:?}.toml",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, text).expect("a file");
        let mut words = vec!["syncline".to_owned()];
        words.extend(args.iter().map(ToString::to_string));
        words.extend(["--config".to_owned(), path.display().to_string()]);
        let expanded = expanded(words, &Cli::command());
        std::fs::remove_file(&path).expect("it was there");
        expanded.map(|words| words[..words.len() - 2].to_vec())
    }

    #[test]
    fn flags_come_from_the_file_unless_the_command_line_has_them() {
        let file = "allow-target = [\"198.51.100.0/24\"]\n[load]\nrate = \"1k\"\nconnections = 7\njson = true\nunshare = false\n\
                    targets = [\"http://198.18.0.1/\"]\n[serve]\nmtu = 9000\n";
        let words = with_file(file, &["load", "-c", "5"]).expect("a good file");
        let rest = ["-c", "5"];
        assert_eq!(words[..2], ["syncline", "load"]);
        assert!(words.contains(&"--allow-target=198.51.100.0/24".to_owned()));
        assert!(words.contains(&"--rate=1k".to_owned()) && words.contains(&"--json".to_owned()));
        assert!(words.contains(&"http://198.18.0.1/".to_owned()));
        assert!(
            !words
                .iter()
                .any(|word| word.contains("connections") || word.contains("mtu"))
        );
        assert_eq!(words[words.len() - 2..], rest);
        let words = with_file(file, &["load", "http://198.18.0.9/"]).expect("a good file");
        assert!(!words.contains(&"http://198.18.0.1/".to_owned()));
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        let error = with_file("[load]\nspeed = 3\n", &["load"]).expect_err("no such flag");
        assert!(
            error
                .to_string()
                .contains("unknown flag `speed` of `syncline load`"),
            "{error}"
        );
        assert!(with_file("[load\n", &["load"]).is_err());
    }

    #[test]
    fn an_echoed_configuration_gives_the_same_flags_again() {
        let cli = Cli::command();
        let args = [
            "syncline",
            "load",
            "http://198.18.0.1/",
            "-R",
            "1k",
            "-J",
            "--header",
            "A: b",
        ];
        let matches = cli.clone().try_get_matches_from(args).expect("flags");
        let (name, own) = matches.subcommand().expect("a command");
        let text = echoed(name, cli.find_subcommand(name).expect("it"), own);
        let words = with_file(&text, &["load"]).expect("a good file");
        for word in ["--rate=1k", "--json", "--header=A: b", "http://198.18.0.1/"] {
            assert!(
                words.contains(&word.to_owned()),
                "{word}: {words:?}\n{text}"
            );
        }
    }
}
