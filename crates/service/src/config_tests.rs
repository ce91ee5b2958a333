use super::{ConfigError, duration, parse, variable};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    http: Http,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Debug, Args)]
struct Http {
    /// Serve HTTP.
    #[arg(id = "http", long = "http", conflicts_with = "http.socket")]
    enabled: bool,
    #[arg(id = "http.socket", long = "http.socket")]
    socket: Option<String>,
    #[arg(id = "http.addr", long = "http.addr", default_value = "localhost")]
    addr: String,
    #[arg(id = "http.port", long = "http.port", default_value_t = 8545)]
    port: u16,
    #[arg(id = "http.api", long = "http.api", value_delimiter = ',')]
    api: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Dev {
        #[arg(long = "block-time", required = true)]
        block_time: u64,
    },
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn with_file(text: &str, args: &[&str]) -> Result<Program, ConfigError> {
    let file = file(text);
    let path = file.path().to_str().expect("text");
    parse([&["program", "--config", path], args].concat())
}

#[test]
fn defaults_stand_where_nothing_is_set() {
    let program: Program = parse(["program"]).expect("valid");
    assert_eq!(
        (program.http.addr.as_str(), program.http.port, program.http.enabled),
        ("localhost", 8545, false)
    );
}

#[test]
fn the_file_is_above_defaults_and_below_flags() {
    let text = "[http]\nenabled = true\naddr = \"::1\"\nport = 1\napi = [\"eth\", \"net\"]\n";
    let program = with_file(text, &["--http.port", "2"]).expect("valid");
    assert!(program.http.enabled);
    assert_eq!((program.http.addr.as_str(), program.http.port), ("::1", 2));
    assert_eq!(program.http.api, ["eth", "net"]);
}

#[test]
fn the_file_sets_flags_of_subcommands() {
    let program = with_file("block-time = 12\n", &["dev"]).expect("valid");
    assert!(matches!(program.command, Some(Sub::Dev { block_time: 12 })));
}

/// Run by the tests below in a process of its own, where variables can be set.
#[test]
#[ignore = "a child of the tests of variables"]
fn child() {
    let args = std::env::var("TEST_ARGS").unwrap_or_default();
    match parse::<Program>(["program"].into_iter().chain(args.split_whitespace())) {
        Ok(Program { http: Http { enabled, addr, port, api, .. }, .. }) => {
            let mut words = vec![enabled.to_string(), addr, port.to_string()];
            words.extend(api);
            println!("<{}>", words.join(" "));
        }
        Err(error) => println!("<{error}>"),
    }
}

fn child_says(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().expect("own path"))
        .args(["--ignored", "--exact", "config::tests::child", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .expect("child runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, rest) = text.split_once('<').expect("an answer");
    rest.rsplit_once('>').expect("a whole answer").0.to_owned()
}

#[test]
fn variables_are_above_the_file_and_below_flags() {
    let file = file("http.addr = \"file\"\nhttp.port = 1\n");
    let config = ("QUINTET_CONFIG", file.path().to_str().expect("text"));
    assert_eq!(child_says(&[config]), "false file 1");
    let port = ("QUINTET_HTTP_PORT", "2");
    assert_eq!(child_says(&[config, port, ("QUINTET_HTTP", "1")]), "true file 2");
    assert_eq!(child_says(&[config, port, ("TEST_ARGS", "--http.port 3")]), "false file 3");
}

#[test]
fn a_switch_that_its_variable_turns_off_is_not_there() {
    let file = file("http.enabled = true\n");
    let config = ("QUINTET_CONFIG", file.path().to_str().expect("text"));
    assert_eq!(child_says(&[config]), "true localhost 8545");
    assert_eq!(child_says(&[config, ("QUINTET_HTTP", "False")]), "false localhost 8545");
    let socket = ("TEST_ARGS", "--http.socket /s");
    assert_eq!(child_says(&[socket, ("QUINTET_HTTP", "false")]), "false localhost 8545");
    assert!(child_says(&[socket, ("QUINTET_HTTP", "true")]).contains("cannot be used with"));
}

#[test]
fn a_wrong_value_names_its_flag_and_its_variable() {
    for error in [
        child_says(&[("QUINTET_HTTP_PORT", "many")]),
        with_file("http.port = \"many\"", &[]).expect_err("wrong").to_string(),
        parse::<Program>(["program", "--http.port=many"]).expect_err("wrong").to_string(),
        ConfigError::wrong_value("http.port", "many", &"invalid digit").to_string(),
    ] {
        assert!(error.starts_with("invalid value \"many\" for --http.port: invalid digit"), "{error}");
        assert!(error.contains("QUINTET_HTTP_PORT"), "{error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let error = with_file("[http]\nprot = 8545\n", &[]).expect_err("unknown").to_string();
    assert!(error.ends_with("unknown key http.prot") && error.starts_with("configuration file /"), "{error}");
    let error = with_file("http.addr.enabled = true\n", &[]).expect_err("no switch").to_string();
    assert!(error.ends_with("unknown key http.addr.enabled"), "{error}");
}

#[test]
fn files_that_are_missing_or_no_toml_are_named() {
    let error = parse::<Program>(["program", "--config=/nowhere/q.toml"]).expect_err("missing").to_string();
    assert!(error.starts_with("configuration file /nowhere/q.toml: "), "{error}");
    assert!(matches!(with_file("http = = 1", &[]), Err(ConfigError::Syntax { .. })));
    assert!(matches!(with_file("http.port = [[1]]", &[]), Err(ConfigError::Type { .. })));
}

#[test]
fn unknown_flags_and_help_come_from_clap() {
    assert!(!parse::<Program>(["program", "--htpt"]).expect_err("unknown").is_help());
    let help = parse::<Program>(["program", "--help"]).expect_err("help");
    assert!(help.is_help() && help.to_string().contains("[env: QUINTET_HTTP_ADDR]"), "{help}");
}

#[test]
fn variables_mirror_flags() {
    assert_eq!(variable("http.addr"), "QUINTET_HTTP_ADDR");
    assert_eq!(variable("block-time"), "QUINTET_BLOCK_TIME");
}

#[test]
fn durations_are_written_as_in_geth() {
    assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
    assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("1.5h"), Ok(Duration::from_mins(90)));
    for wrong in ["", "10", "s", "1d", "-1s", "1..2s", "99999999999999999999h"] {
        assert!(duration(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_variable_may_name_a_file_that_holds_the_value() {
    let (addr, config) = (file("s3cret\r\n\n"), file("http.addr = \"file\"\n"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().expect("text").to_owned();
    let (addr, config) = (path(&addr), path(&config));
    let (of_file, of_config) =
        (("QUINTET_HTTP_ADDR_FILE", addr.as_str()), ("QUINTET_CONFIG", config.as_str()));
    assert_eq!(child_says(&[of_file, of_config]), "false s3cret 8545");
    assert_eq!(child_says(&[of_file, ("QUINTET_HTTP_ADDR", "variable")]), "false variable 8545");
    assert_eq!(child_says(&[of_file, ("TEST_ARGS", "--http.addr flag")]), "false flag 8545");
    // Nor does the file have to be there then.
    let missing = ("QUINTET_HTTP_ADDR_FILE", "/nowhere/secret");
    assert_eq!(child_says(&[missing, ("TEST_ARGS", "--http.addr=flag")]), "false flag 8545");
    assert_eq!(child_says(&[missing, ("QUINTET_HTTP_ADDR", "variable")]), "false variable 8545");
}

#[test]
fn a_missing_secret_is_named_with_its_variable_and_file() {
    let (empty, wrong) = (file("\n"), file("many\n"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().expect("text").to_owned();
    for (named, reason) in [
        ("/nowhere/secret".to_owned(), "cannot be read: No such file"),
        (path(&empty), "is empty"),
        ("/".to_owned(), "cannot be read"),
    ] {
        let said = child_says(&[("QUINTET_HTTP_ADDR_FILE", named.as_str())]);
        let start = format!("a secret is missing: QUINTET_HTTP_ADDR_FILE names {named}, which {reason}");
        assert!(said.starts_with(&start), "{said}");
        assert!(said.contains("--http.addr") && said.contains("set QUINTET_HTTP_ADDR instead"), "{said}");
    }
    let said = child_says(&[("QUINTET_HTTP_PORT_FILE", path(&wrong).as_str())]);
    assert!(said.starts_with("invalid value \"many\" for --http.port"), "{said}");
}

#[test]
fn lists_and_switches_may_be_in_files_too() {
    let (api, on) = (file("eth,net\n"), file("true"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().expect("text").to_owned();
    let said = child_says(&[
        ("QUINTET_HTTP_API_FILE", path(&api).as_str()),
        ("QUINTET_HTTP_FILE", path(&on).as_str()),
    ]);
    assert_eq!(said, "true localhost 8545 eth net");
}
