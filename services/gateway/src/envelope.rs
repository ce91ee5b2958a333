//! The JSON-RPC envelope: what comes in is split into requests without copying, what goes out is written
//! around the method's result. The rules are those of geth's `rpc` package, lenient where it is lenient.

use crate::error::RpcError;
use crate::json;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What one HTTP body or WebSocket message holds.
pub(crate) enum Message<'a> {
    /// One request.
    Single(Request<'a>),
    /// A batch.
    Batch(Vec<Request<'a>>),
}

/// One request, its parts not yet checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request<'a> {
    version: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    is_object: bool,
}

/// What to do with a request.
pub(crate) enum Kind<'a> {
    /// Call the method and answer under this id.
    Call {
        /// The id, as it was written.
        id: &'a str,
        /// The method's name.
        method: Cow<'a, str>,
    },
    /// Call the method and say nothing.
    Notification(Cow<'a, str>),
    /// Not a request; the answer goes to this id (`null` if there was none).
    Invalid(&'a str),
}

/// Reads a message: its first JSON value, as geth's decoder does.
pub(crate) fn parse(body: &[u8]) -> Result<Message<'_>, RpcError> {
    let text = std::str::from_utf8(body).map_err(|_| RpcError::Parse)?;
    if is_batch(text) {
        return first_value(text).map(Message::Batch);
    }
    first_value(text).map(Message::Single)
}

fn is_batch(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

fn first_value<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, RpcError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    values.next().and_then(Result::ok).ok_or(RpcError::Parse)
}

impl<'a> Request<'a> {
    /// Its parameters, as they were written.
    pub(crate) const fn params(&self) -> Option<&'a RawValue> {
        self.params
    }

    /// Its id, `null` if it has none that is valid.
    pub(crate) fn id(&self) -> &'a str {
        self.valid_id().unwrap_or("null")
    }

    fn valid_id(&self) -> Option<&'a str> {
        self.id.map(RawValue::get).filter(|id| !id.starts_with(['{', '[']))
    }

    /// What to do with it.
    pub(crate) fn kind(&self) -> Kind<'a> {
        let method = self.method.and_then(|method| crate::decode::text(method.get()));
        let is_version_2 = self.version.is_some_and(|version| version.get() == "\"2.0\"");
        match method.filter(|method| is_version_2 && !method.is_empty() && self.is_object) {
            Some(method) if self.id.is_none() => Kind::Notification(method),
            Some(method) => match self.valid_id() {
                Some(id) => Kind::Call { id, method },
                None => Kind::Invalid("null"),
            },
            None => Kind::Invalid(self.id()),
        }
    }
}

impl<'de> Deserialize<'de> for Request<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through a raw value only where it is no object: then it is not a request, but still JSON.
        deserializer.deserialize_any(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = Request<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request<'de>, A::Error> {
        let mut request = Request { is_object: true, ..Request::default() };
        while let Some(Key(key)) = map.next_key()? {
            let slot = match &*key {
                "jsonrpc" => &mut request.version,
                "id" => &mut request.id,
                "method" => &mut request.method,
                "params" => &mut request.params,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(request)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Request<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Request::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_unit<E>(self) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }
}

/// An object's key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Opens an answer, up to where the result follows.
pub(crate) fn open_result(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// A whole answer that is an error.
pub(crate) fn error(out: &mut Vec<u8>, id: &str, error: &RpcError) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":");
    error.write(out);
    out.push(b'}');
}

/// Opens a subscription's notification, up to where the result follows; [`close_notification`] ends it.
pub(crate) fn open_notification(out: &mut Vec<u8>, namespace: &str, subscription: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"");
    out.extend_from_slice(namespace.as_bytes());
    out.extend_from_slice(b"_subscription\",\"params\":{\"subscription\":");
    json::string(out, subscription);
    out.extend_from_slice(b",\"result\":");
}

/// Ends a notification.
pub(crate) fn close_notification(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(text: &str) -> String {
        let Ok(Message::Single(request)) = parse(text.as_bytes()) else { return "not one".to_owned() };
        match request.kind() {
            Kind::Call { id, method } => format!("call {method} {id}"),
            Kind::Notification(method) => format!("notification {method}"),
            Kind::Invalid(id) => format!("invalid {id}"),
        }
    }

    #[test]
    fn requests_are_told_apart_as_geth_does() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, "call a 1"),
            (r#"{"jsonrpc":"2.0","id":"x","method":"a","params":[]} trailing"#, "call a \"x\""),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, "call a null"),
            (r#"{"jsonrpc":"2.0","method":"a"}"#, "notification a"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"\u0061"}"#, "call a 1"),
            (r#"{"id":1,"method":"a"}"#, "invalid 1"),
            (r#"{"jsonrpc":"2.1","id":1,"method":"a"}"#, "invalid 1"),
            (r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#, "invalid 1"),
            (r#"{"jsonrpc":"2.0","id":[],"method":"a"}"#, "invalid null"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, "invalid null"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "invalid 1"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "invalid 1"),
            ("1", "invalid null"),
            ("null", "invalid null"),
            ("\"a\"", "invalid null"),
            ("'f", "not one"),
            ("{", "not one"),
            ("", "not one"),
        ] {
            assert_eq!(describe(text), expected, "{text}");
        }
    }

    #[test]
    fn batches_are_arrays() {
        let Ok(Message::Batch(requests)) = parse(br#" [1, {"jsonrpc":"2.0","id":2,"method":"b"}]"#) else {
            panic!("a batch")
        };
        assert_eq!(requests.len(), 2);
        assert!(matches!(requests[0].kind(), Kind::Invalid("null")));
        assert!(matches!(requests[1].kind(), Kind::Call { id: "2", .. }));
        assert!(matches!(parse(b"[1,"), Err(RpcError::Parse)));
    }
}
