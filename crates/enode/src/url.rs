//! The text of `enode://` URLs, read as geth reads it.

use crate::{Enode, EnodeError, PublicKey, to_secp};
use alloy_primitives::hex;
use std::net::{IpAddr, Ipv6Addr};

const SCHEME: &str = "enode";

pub(crate) fn parse(text: &str, resolve: impl FnOnce(&str) -> Option<IpAddr>) -> Result<Enode, EnodeError> {
    if let Some(digits) = incomplete(text) {
        return Ok(Enode::incomplete(public_key(digits)?));
    }
    let (address, _fragment) = split(text, '#');
    if address.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(not_a_url(text, "net/url: invalid control character in URL"));
    }
    let (rest, query) = split(after_scheme(address, text)?, '?');
    let (authority, _path) = split(rest, '/');
    let (user, host) = authority.rsplit_once('@').ok_or(EnodeError::NoNodeId)?;
    let public_key = public_key(user)?;
    let (host, port) = split_port(host).ok_or_else(|| not_a_url(text, "invalid host"))?;
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical(),
        Err(_) => resolve(host).ok_or(EnodeError::IpAddress)?.to_canonical(),
    };
    let tcp = number(port).ok_or(EnodeError::Port)?;
    let udp = match discport(query) {
        Some(value) => number(value).ok_or(EnodeError::Discport)?,
        None => tcp,
    };
    Ok(Enode { public_key, ip, tcp, udp })
}

/// The digits of `enode://KEY` and of `KEY`.
fn incomplete(text: &str) -> Option<&str> {
    let prefix = text.get(..8).filter(|prefix| prefix.eq_ignore_ascii_case("enode://"));
    let digits = prefix.map_or(Some(text), |_| text.get(8..))?;
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(digits)
}

/// What follows `enode://` in an address; `text` is what it is of.
fn after_scheme<'a>(address: &'a str, text: &str) -> Result<&'a str, EnodeError> {
    let (scheme, rest) = address.split_once(':').ok_or(EnodeError::Scheme)?;
    if scheme.is_empty() {
        return Err(not_a_url(text, "missing protocol scheme"));
    }
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(EnodeError::Scheme);
    }
    rest.strip_prefix("//").ok_or(EnodeError::NoNodeId)
}

/// What is before and after the first `separator`.
fn split(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or((text, ""))
}

/// Host and port of `HOST:PORT` and `[IPV6]:PORT`; a missing port is empty.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Some(text.rsplit_once(':').unwrap_or((text, "")));
    };
    let (host, port) = bracketed.split_once(']')?;
    host.parse::<Ipv6Addr>().ok()?;
    if port.is_empty() {
        return Some((host, ""));
    }
    Some((host, port.strip_prefix(':')?))
}

/// The value of `discport`, where it is given and not empty.
fn discport(query: &str) -> Option<&str> {
    let mut pairs = query.split('&').map(|pair| split(pair, '='));
    pairs.find(|(name, _)| *name == "discport").map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// A decimal number without a sign, which `u16` would take.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn public_key(text: &str) -> Result<PublicKey, EnodeError> {
    let wrong = |reason: String| EnodeError::PublicKey(reason);
    if let Some(found) = text.chars().find(|digit| !digit.is_ascii_hexdigit()) {
        let code = u32::from(found);
        return Err(wrong(format!("encoding/hex: invalid byte: U+{code:04X} {found:?}")));
    }
    if !text.len().is_multiple_of(2) {
        return Err(wrong("encoding/hex: odd length hex string".to_owned()));
    }
    let mut key = PublicKey::ZERO;
    if text.len() != 2 * key.len() {
        return Err(wrong("wrong length, want 128 hex chars".to_owned()));
    }
    hex::decode_to_slice(text, key.as_mut_slice()).map_err(|error| wrong(error.to_string()))?;
    match to_secp(&key) {
        Some(_) => Ok(key),
        None => Err(wrong("invalid secp256k1 public key".to_owned())),
    }
}

fn not_a_url(text: &str, reason: &str) -> EnodeError {
    EnodeError::NotAUrl { url: text.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use proptest::prelude::*;

    const KEY: &str = "1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439";

    fn enode(ip: &str, tcp: u16, udp: u16) -> Enode {
        Enode { public_key: KEY.parse().unwrap(), ip: ip.parse().unwrap(), tcp, udp }
    }

    #[test]
    fn complete_urls() {
        let cases = [
            ("@127.0.0.1:52150", enode("127.0.0.1", 52150, 52150)),
            ("@127.0.0.1:52150?discport=22334", enode("127.0.0.1", 52150, 22334)),
            ("@[2001:db8:3c4d:15::abcd:ef12]:52150", enode("2001:db8:3c4d:15::abcd:ef12", 52150, 52150)),
            ("@[::]:52150?discport=0", enode("::", 52150, 0)),
        ];
        for (address, expected) in cases {
            let text = format!("enode://{KEY}{address}");
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        let same = [
            format!("ENODE://{KEY}@127.0.0.1:3/"),
            format!("enode://{}@127.0.0.1:3?discport=", KEY.to_uppercase()),
            format!("enode://{KEY}@[::ffff:127.0.0.1]:3?a=b&discport=3#fragment"),
        ];
        for text in same {
            assert_eq!(text.parse(), Ok(enode("127.0.0.1", 3, 3)), "{text}");
        }
    }

    #[test]
    fn a_key_alone_is_a_node_to_be_found() {
        let expected = Enode::incomplete(KEY.parse().unwrap());
        for text in [KEY.to_owned(), format!("enode://{KEY}"), format!("eNode://{}", KEY.to_uppercase())] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), format!("enode://{KEY}"));
        assert!(expected.is_incomplete());
    }

    #[test]
    fn refusals_have_the_words_of_geth() {
        let at = |rest: &str| format!("enode://{KEY}{rest}");
        let short = "invalid public key (wrong length, want 128 hex chars)";
        let cases = [
            ("http://foobar".to_owned(), "invalid URL scheme, want \"enode\""),
            (String::new(), "invalid URL scheme, want \"enode\""),
            ("://foo".to_owned(), "parse \"://foo\": missing protocol scheme"),
            ("enode://01010101@123.124.125.126:3".to_owned(), short),
            ("01010101".to_owned(), short),
            ("enode://01010101".to_owned(), short),
            ("enode://123.124.125.126:3".to_owned(), "does not contain node ID"),
            ("enode:foo".to_owned(), "does not contain node ID"),
            ("enode://0@1.2.3.4:3".to_owned(), "invalid public key (encoding/hex: odd length hex string)"),
            (
                "enode://xy@1.2.3.4:3".to_owned(),
                "invalid public key (encoding/hex: invalid byte: U+0078 'x')",
            ),
            ("01".repeat(64), "invalid public key (invalid secp256k1 public key)"),
            (at("@hostname:3"), "invalid IP address"),
            (at("@:3"), "invalid IP address"),
            (at("@2001:db8::1:foo"), "invalid port"),
            (at("@127.0.0.1"), "invalid port"),
            (at("@127.0.0.1:foo"), "invalid port"),
            (at("@127.0.0.1:+3"), "invalid port"),
            (at("@127.0.0.1:65536"), "invalid port"),
            (at("@127.0.0.1:3?discport=foo"), "invalid discport in query"),
            (at("@127.0.0.1:3?discport=70000"), "invalid discport in query"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Enode>().unwrap_err().to_string(), expected, "{text}");
        }
        // Wherever they are, but in the fragment, at which nobody looks.
        for text in [
            at("@127.0.0.1:3/\n"),
            at("@127.0.0.1:3/\0"),
            at("@127.0.0.1:3?a=\u{7f}"),
            at("\0@1.2.3.4:3"),
            "\t://foo".to_owned(),
        ] {
            let error = text.parse::<Enode>().unwrap_err();
            let expected = format!("parse {text:?}: net/url: invalid control character in URL");
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(at("@127.0.0.1:3#\n").parse(), Ok(enode("127.0.0.1", 3, 3)));
        assert!(at("@[::1:3").parse::<Enode>().unwrap_err().to_string().ends_with("invalid host"));
    }

    #[test]
    fn a_name_is_for_the_caller_to_resolve() {
        let text = format!("enode://{KEY}@node.example:3");
        let resolve = |host: &str| (host == "node.example").then(|| "10.0.0.7".parse().unwrap());
        assert_eq!(Enode::parse_with(&text, resolve), Ok(enode("10.0.0.7", 3, 3)));
        assert_eq!(Enode::parse_with(&text, |_| None), Err(EnodeError::IpAddress));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ip: IpAddr, tcp: u16, udp: u16) {
            let node = Enode { public_key: NodeKey::generate().public(), ip: ip.to_canonical(), tcp, udp };
            prop_assert_eq!(node.to_string().parse(), Ok(node));
        }

        #[test]
        fn no_text_panics(text: String, rest: String) {
            drop(text.parse::<Enode>());
            drop(format!("enode://{KEY}{rest}").parse::<Enode>());
            drop(format!("enode://{KEY}@[{rest}").parse::<Enode>());
        }
    }
}
