//! Where two JSON values differ.

use serde_json::Value;

/// Characters of a value that a difference shows.
const SHOWN: usize = 120;

/// A place where the answer is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where: `result.transactions[].v`, indices left out.
    pub(crate) place: String,
    /// What and how, for people.
    pub(crate) text: String,
}

/// All differences; the order of an object's keys is none.
pub(crate) fn differences(expected: &Value, got: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", "", Some(expected), Some(got), &mut found);
    found
}

/// All differences, but for fields that `expected` does not have: newer nodes say more.
pub(crate) fn differences_but_new(expected: &Value, got: &Value) -> Vec<Difference> {
    differences(expected, &without_new(expected, got))
}

fn without_new(expected: &Value, got: &Value) -> Value {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => got
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), without_new(expected.get(key)?, value))))
            .collect(),
        (Value::Array(expected), Value::Array(got)) => {
            let paired = got.iter().zip(expected).map(|(got, expected)| without_new(expected, got));
            let more = got.iter().skip(expected.len()).cloned();
            paired.chain(more).collect()
        }
        _ => got.clone(),
    }
}

fn walk(place: &str, path: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            let more = got.keys().filter(|key| !expected.contains_key(*key));
            for key in expected.keys().chain(more) {
                let join = |to: &str| if to.is_empty() { key.clone() } else { format!("{to}.{key}") };
                walk(&join(place), &join(path), expected.get(key), got.get(key), found);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for index in 0..expected.len().max(got.len()) {
                let path = format!("{path}[{index}]");
                walk(&format!("{place}[]"), &path, expected.get(index), got.get(index), found);
            }
        }
        _ if expected == got => {}
        _ => {
            let text = format!("{path}: expected {}, got {}", show(expected, got), show(got, expected));
            found.push(Difference { place: place.to_owned(), text });
        }
    }
}

/// The value, or what of it comes shortly before and after its first difference from the other.
fn show(value: Option<&Value>, other: Option<&Value>) -> String {
    let Some(value) = value.map(Value::to_string) else { return "nothing".to_owned() };
    let other = other.map(Value::to_string).unwrap_or_default();
    if value.len() <= SHOWN {
        return value;
    }
    let same = value.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
    let start = if other.is_empty() { 0 } else { same.saturating_sub(SHOWN / 4) };
    let shown: String = value.chars().skip(start).take(SHOWN).collect();
    format!("…{shown}… ({} characters)", value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_found_and_named() {
        let expected = json!({ "a": 1, "b": [{ "c": "x" }, { "c": "y" }], "gone": null });
        assert_eq!(differences(&expected, &expected), []);
        let reordered = json!({ "gone": null, "b": [{ "c": "x" }, { "c": "y" }], "a": 1 });
        assert_eq!(differences(&expected, &reordered), []);
        let got = json!({ "a": "1", "b": [{ "c": "x" }, { "c": "z" }, 3], "more": 4 });
        let found = differences(&expected, &got);
        let places: Vec<_> = found.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(places, ["a", "b[].c", "b[]", "gone", "more"]);
        assert_eq!(found[1].text, "b[1].c: expected \"y\", got \"z\"");
        assert_eq!(found[3].text, "gone: expected null, got nothing");
    }

    #[test]
    fn new_fields_may_be_passed_over_and_nothing_else() {
        let expected = json!({ "a": [{ "b": 1 }], "gone": null });
        let got = json!({ "a": [{ "b": 2, "new": 3 }, { "more": 4 }], "new": 5 });
        let found = differences_but_new(&expected, &got);
        let places: Vec<_> = found.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(places, ["a[].b", "a[]", "gone"]);
    }
}
