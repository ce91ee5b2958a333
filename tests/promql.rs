//! The queries of the dashboards, and what a query of PromQL asks for.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The dashboard's file and the panel's title.
    pub(crate) place: String,
    /// The query, with Grafana's variables.
    pub(crate) expression: String,
    /// How its series are called.
    pub(crate) legend: String,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.expression)
    }
}

impl Query {
    /// The query as Prometheus takes it: with values for Grafana's variables.
    #[allow(dead_code, reason = "used where Prometheus runs")]
    pub(crate) fn expanded(&self) -> String {
        let replaced = self.expression.replace("$__rate_interval", "30s").replace("$__range", "30s");
        assert!(!replaced.contains("$__"), "{self}: an unknown variable");
        // Variables of the dashboard stand for everything.
        let names = replaced.split('$').skip(1).map(|rest| {
            rest.chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect::<String>()
        });
        names.fold(replaced.clone(), |text, name| text.replace(&format!("${name}"), ".*"))
    }
}

/// Every query of every dashboard.
pub(crate) fn dashboards(root: &Path) -> Vec<Query> {
    let folder = root.join("deploy/grafana/dashboards");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("dashboards").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let mut queries = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|its| its == "json")) {
        let text = std::fs::read_to_string(path).expect("a dashboard");
        let dashboard: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.file_name().expect("a name").to_string_lossy();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let place = format!("{file}, {}", panel["title"].as_str().expect("a title"));
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression =
                    target["expr"].as_str().unwrap_or_else(|| panic!("{place}: no query")).to_owned();
                let legend = target["legendFormat"].as_str().unwrap_or_default().to_owned();
                queries.push(Query { place: place.clone(), expression, legend });
            }
        }
        for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
            let query =
                variable["query"]["query"].as_str().or(variable["query"].as_str()).unwrap_or_default();
            if let Some(arguments) =
                query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'))
            {
                let (metric, label) = arguments.rsplit_once(',').expect("a metric and a label");
                let expression = format!("sum by ({}) ({metric})", label.trim());
                queries.push(Query {
                    place: format!("{file}, a variable"),
                    expression,
                    legend: String::new(),
                });
            }
        }
    }
    queries
}

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Names of metrics.
    pub(crate) metrics: BTreeSet<String>,
    /// Names of labels, in selectors and groupings.
    pub(crate) labels: BTreeSet<String>,
    /// Metric, label and value of each `=` in a selector.
    pub(crate) matchers: BTreeSet<(String, String, String)>,
}

/// Words of the language that are followed by no parenthesis.
const KEYWORDS: [&str; 9] =
    ["and", "or", "unless", "bool", "offset", "inf", "nan", "group_left", "group_right"];
/// Those that a list of labels follows.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    /// A number or duration: of no interest.
    Number,
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let mut take = |wanted: fn(char) -> bool| {
            let mut word = String::from(first);
            while let Some(next) = rest.next_if(|next| wanted(*next)) {
                word.push(next);
            }
            word
        };
        match first {
            ' ' | '\n' | '\t' => {}
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next().expect("the text ends") {
                        '"' => break,
                        '\\' => text.extend(rest.next()),
                        letter => text.push(letter),
                    }
                }
                found.push(Token::Text(text));
            }
            // Grafana's variables stand for durations or values.
            '0'..='9' | '.' | '$' => {
                take(|next| next.is_ascii_alphanumeric() || next == '.' || next == '_');
                found.push(Token::Number);
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                found.push(Token::Word(take(|next| {
                    next.is_ascii_alphanumeric() || next == '_' || next == ':'
                })));
            }
            sign => found.push(Token::Sign(sign)),
        }
    }
    found
}

/// Names of metrics and labels in a query.
///
/// # Panics
/// When a part of the query is not understood.
pub(crate) fn used(query: &str) -> Used {
    let tokens = tokens(query);
    let (mut used, mut at, mut depth) = (Used::default(), 0, 0_i32);
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        at += 1;
        match token {
            Token::Word(word) if GROUPINGS.contains(&word.as_str()) && next == Some(&Token::Sign('(')) => {
                at = labels(&tokens, at + 1, &mut used);
            }
            Token::Word(word) if KEYWORDS.contains(&word.to_lowercase().as_str()) => {}
            // Functions and aggregations; the latter may be followed by their grouping.
            Token::Word(_) if next == Some(&Token::Sign('(')) => {}
            Token::Word(_) if matches!(next, Some(Token::Word(word)) if GROUPINGS.contains(&word.as_str())) =>
                {}
            Token::Word(word) => {
                used.metrics.insert(word.clone());
                if next == Some(&Token::Sign('{')) {
                    at = selector(&tokens, at + 1, word, &mut used);
                }
            }
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth -= 1,
            Token::Sign(
                '[' | ']' | '+' | '-' | '*' | '/' | '%' | '^' | '>' | '<' | '=' | '!' | ',' | ':',
            )
            | Token::Number
            | Token::Text(_) => {}
            Token::Sign(sign) => panic!("{query}: {sign:?} is not understood"),
        }
        assert!(depth >= 0, "{query}: a parenthesis is closed that was not opened");
    }
    assert_eq!(depth, 0, "{query}: a parenthesis is not closed");
    used
}

/// Takes the labels of a grouping; gives the place behind it.
fn labels(tokens: &[Token], mut at: usize, used: &mut Used) -> usize {
    loop {
        match tokens.get(at).expect("the grouping ends") {
            Token::Word(label) => drop(used.labels.insert(label.clone())),
            Token::Sign(',') => {}
            Token::Sign(')') => return at + 1,
            other => panic!("{other:?} in a grouping"),
        }
        at += 1;
    }
}

/// Takes the labels of a selector; gives the place behind it.
fn selector(tokens: &[Token], mut at: usize, metric: &str, used: &mut Used) -> usize {
    loop {
        match &tokens[at..] {
            [Token::Sign('}'), ..] => return at + 1,
            [Token::Sign(','), ..] => at += 1,
            [Token::Word(label), Token::Sign('='), Token::Text(value), ..] => {
                used.labels.insert(label.clone());
                if !value.starts_with('$') {
                    used.matchers.insert((metric.to_owned(), label.clone(), value.clone()));
                }
                at += 3;
            }
            [Token::Word(label), Token::Sign('=' | '!'), Token::Sign('~' | '='), Token::Text(_), ..] => {
                used.labels.insert(label.clone());
                at += 4;
            }
            other => panic!("{:?} in a selector", other.first()),
        }
    }
}

/// The labels that a legend names as `{{label}}`.
pub(crate) fn legend_labels(legend: &str) -> Vec<String> {
    let names = legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::used;

    #[test]
    fn names_are_found_in_queries() {
        let query = r#"histogram_quantile(0.99, sum by (le, method) (rate(a_bucket{method=~"$m", code!="Ok", x="1"}[$__rate_interval])))
            / on (job) group_left (version) b > bool 1.5e3 or sum(c offset 5m)"#;
        let found = used(query);
        let names =
            |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names(&found.metrics), "a_bucket b c");
        assert_eq!(names(&found.labels), "code job le method version x");
        assert_eq!(found.matchers.len(), 1);
    }

    #[test]
    #[should_panic(expected = "a parenthesis is not closed")]
    fn a_parenthesis_must_be_closed() {
        used("sum(a");
    }
}
