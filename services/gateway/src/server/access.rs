//! Who may talk to the node from a browser: virtual hosts against DNS rebinding, cross-origin headers as the `cors`
//! handler that geth uses, and the origins of WebSocket handshakes.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request};
use std::net::IpAddr;

/// How long a browser may remember a preflight's answer, in seconds.
const MAX_AGE: &str = "600";

/// Cross-origin resource sharing; nothing is done when no domain is named.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    domains: Vec<String>,
    any: bool,
}

impl Cors {
    pub(super) fn new(domains: &[String]) -> Self {
        let domains: Vec<_> = domains.iter().map(|domain| domain.to_lowercase()).collect();
        let any = domains.iter().any(|domain| domain == "*");
        Self { domains, any }
    }

    /// Whether it does anything.
    pub(super) fn is_enabled(&self) -> bool {
        !self.domains.is_empty()
    }

    /// Whether a request asks what it may ask.
    pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_lowercase();
        let matches = |domain: &String| match domain.split_once('*') {
            // One wildcard stands for anything.
            Some((start, end)) => {
                text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
            }
            None => *domain == text,
        };
        self.domains.iter().any(matches).then(|| origin.clone())
    }

    /// The headers of a preflight's answer.
    pub(super) fn preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            answer.append(
                VARY,
                HeaderValue::from_str(&canonical(name.as_str())).unwrap_or(HeaderValue::from_static("*")),
            );
        }
        let Some(allowed) = request.get(ORIGIN).and_then(|origin| self.allowed(origin)) else { return };
        let Some(method) = request.get(ACCESS_CONTROL_REQUEST_METHOD) else { return };
        if !["GET", "POST", "HEAD", "OPTIONS"]
            .iter()
            .any(|known| method.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
        {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(headers) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }

    /// The headers of any other answer.
    pub(super) fn actual(&self, request_origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(allowed) = request_origin.and_then(|origin| self.allowed(origin)) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        }
    }
}

/// `access-control-request-method` as `Access-Control-Request-Method`.
fn canonical(name: &str) -> String {
    let mut start = true;
    let upper = |c: char| {
        let c = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        c
    };
    name.chars().map(upper).collect()
}

/// The names under which the node may be reached. Addresses are always allowed: they cannot be rebound.
#[derive(Clone, Debug)]
pub(super) struct VirtualHosts {
    hosts: Vec<String>,
    any: bool,
}

impl VirtualHosts {
    pub(super) fn new(hosts: &[String]) -> Self {
        Self { any: hosts.iter().any(|host| host == "*"), hosts: hosts.to_vec() }
    }

    /// Whether a request for this host is answered.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(host) =
            headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty())
        else {
            // HTTP/1.0 clients send none.
            return true;
        };
        let name = without_port(host);
        self.any
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split_once(']').map_or(bracketed, |(address, _)| address);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

/// Pages that may open a WebSocket.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    rules: Vec<String>,
    any: bool,
}

impl Origins {
    pub(super) fn new(origins: &[String]) -> Self {
        let any = origins.iter().any(|origin| origin == "*");
        let rules = match origins {
            [] => vec!["http://localhost".to_owned(), "https://localhost".to_owned()],
            origins => origins.to_vec(),
        };
        Self { rules, any }
    }

    /// Whether a handshake is answered. Only browsers send an origin; others are let in.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_lowercase();
        self.any || self.rules.iter().any(|rule| origin_matches(rule, &origin))
    }
}

/// A rule may leave out the scheme and the port; what it leaves out may be anything.
fn origin_matches(rule: &str, origin: &str) -> bool {
    let (rule_scheme, rule_host, rule_port) = split_origin(rule);
    let (scheme, host, port) = split_origin(origin);
    let same = |rule: &str, value: &str| rule.is_empty() || rule == value;
    same(rule_scheme, scheme) && same(rule_host, host) && same(rule_port, port)
}

fn split_origin(origin: &str) -> (&str, &str, &str) {
    let (scheme, rest) = origin.split_once("://").unwrap_or(("", origin));
    let host = without_port(rest);
    let port = rest.rsplit_once(':').map_or("", |(_, port)| port);
    (scheme, host, if port.chars().all(|c| c.is_ascii_digit()) { port } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().expect("a value"))].into_iter().collect()
    }

    #[test]
    fn hosts_are_names_of_the_list_or_addresses() {
        let hosts = VirtualHosts::new(&["localhost".to_owned()]);
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8545", true),
            ("127.0.0.1:8545", true),
            ("[::1]:8545", true),
            ("::1", true),
            ("evil.example", false),
            ("evil.example:8545", false),
        ] {
            assert_eq!(hosts.allow(&headers(HOST, host)), expected, "{host}");
        }
        assert!(hosts.allow(&HeaderMap::new()));
        assert!(VirtualHosts::new(&["*".to_owned()]).allow(&headers(HOST, "evil.example")));
    }

    #[test]
    fn origins_match_by_the_parts_that_a_rule_names() {
        let check = |rules: &[&str], origin: &str| {
            let rules: Vec<_> = rules.iter().map(|rule| (*rule).to_owned()).collect();
            Origins::new(&rules).allow(&headers(ORIGIN, origin))
        };
        assert!(check(&[], "http://localhost:3000"));
        assert!(!check(&[], "http://evil.example"));
        assert!(check(&["*"], "http://evil.example"));
        assert!(check(&["example.com"], "https://example.com:99"));
        assert!(check(&["https://example.com"], "https://example.com"));
        assert!(!check(&["https://example.com"], "http://example.com"));
        assert!(!check(&["example.com:80"], "http://example.com:81"));
        assert!(Origins::new(&[]).allow(&HeaderMap::new()));
    }

    #[test]
    fn cross_origin_answers_name_the_origin() {
        let cors = Cors::new(&["https://wallet.example".to_owned(), "http://*.dev".to_owned()]);
        let answer = |origin: &str| {
            let mut answer = HeaderMap::new();
            cors.actual(Some(&origin.parse().expect("a value")), &mut answer);
            answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned)
        };
        assert_eq!(answer("https://wallet.example").as_deref(), Some("https://wallet.example"));
        assert_eq!(answer("http://a.dev").as_deref(), Some("http://a.dev"));
        assert_eq!(answer("https://evil.example"), None);
    }

    #[test]
    fn preflights_are_answered_in_full() {
        let cors = Cors::new(&["*".to_owned()]);
        let mut request = headers(ORIGIN, "https://wallet.example");
        request.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        request.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("content-type"));
        let mut answer = HeaderMap::new();
        cors.preflight(&request, &mut answer);
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
        assert_eq!(answer[ACCESS_CONTROL_MAX_AGE], "600");
        let vary: Vec<_> = answer.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"]);
    }
}
