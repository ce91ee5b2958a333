//! Who may call what: addresses, API keys and tokens. A listener has one [`Gate`], which says of every HTTP request
//! and every WebSocket handshake who the [`Caller`] is, or refuses it with HTTP 401.

mod client;
mod jwt;
mod keys;

pub(crate) use client::{Network, TrustedProxies};
pub(crate) use jwt::Jwt;
pub use jwt::SecretError;
pub(crate) use keys::Keys;
pub use keys::KeysError;

use crate::error::RpcError;
use crate::limits::Rate;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use keys::Revoked;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where clients that cannot set `Authorization` put their key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Which methods may be called; all of them when both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Allowed {
    modules: BTreeSet<String>,
    methods: BTreeSet<String>,
}

impl Allowed {
    fn allows(&self, method: &str) -> bool {
        let module = method.split_once('_').map_or(method, |(module, _)| module);
        (self.modules.is_empty() && self.methods.is_empty())
            || self.modules.contains(module)
            || self.methods.contains(method)
    }
}

/// What a key or a token allows.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The key's name, which may be told; a token's subject.
    pub(crate) name: Arc<str>,
    /// Its own rate limit.
    pub(crate) rate: Option<Rate>,
    allowed: Allowed,
    /// Seconds since 1970.
    expires: Option<u64>,
    revoked: Revoked,
}

impl Grant {
    /// Whether a method may be called.
    pub(crate) fn allows(&self, method: &str) -> bool {
        self.allowed.allows(method)
    }

    fn is_good(&self, now: u64) -> bool {
        !self.revoked.load(Ordering::Relaxed) && self.expires.is_none_or(|expires| now < expires)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.rate == other.rate
            && self.allowed == other.allowed
            && self.expires == other.expires
    }
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The address, or its network, that requests are counted by.
    pub(crate) client: IpAddr,
    /// What the caller may do; everything if it needs no key.
    pub(crate) grant: Option<Arc<Grant>>,
}

impl Caller {
    /// Fails once the key was taken back or has expired: a WebSocket outlives the check of its handshake.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        match &self.grant {
            Some(grant) if !grant.is_good(unix_time()) => Err(RpcError::Unauthorized),
            _ => Ok(()),
        }
    }

    /// Fails if a method may not be called.
    pub(crate) fn check_method(&self, method: &str) -> Result<(), RpcError> {
        match &self.grant {
            Some(grant) if !grant.allows(method) => Err(RpcError::MethodNotAllowed(method.to_owned())),
            _ => Ok(()),
        }
    }

    /// A name for what belongs to this caller.
    pub(crate) fn owner(&self) -> String {
        match &self.grant {
            Some(grant) => format!("key:{}", grant.name),
            None => format!("ip:{}", self.client),
        }
    }
}

/// Lets requests in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    pub(crate) proxies: TrustedProxies,
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) jwt: Option<Arc<Jwt>>,
}

/// Why a request is not let in, for its HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What to tell.
    pub(crate) text: String,
    /// Whether there was something to judge.
    pub(crate) was_given: bool,
}

impl Gate {
    /// Whether callers have to say who they are.
    const fn is_closed(&self) -> bool {
        self.keys.is_some() || self.jwt.is_some()
    }

    /// Whether keys may stand in the path.
    pub(crate) const fn takes_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Who sends a request with these headers, and with this key in its path.
    pub(crate) fn admit(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        path_key: Option<&str>,
    ) -> Result<Caller, Refusal> {
        let client = self.proxies.client(peer, headers);
        if !self.is_closed() {
            return Ok(Caller { client, grant: None });
        }
        let header =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let bearer = header(AUTHORIZATION).and_then(|value| {
            let (scheme, credential) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
        });
        let given = bearer.or_else(|| header(API_KEY)).or(path_key).filter(|given| !given.is_empty());
        let Some(given) = given else {
            return Err(Refusal { text: self.what_is_needed().to_owned(), was_given: false });
        };
        let grant = self.grant(given).map_err(|text| Refusal { text, was_given: true })?;
        Ok(Caller { client, grant: Some(grant) })
    }

    fn grant(&self, given: &str) -> Result<Arc<Grant>, String> {
        let now = unix_time();
        if let Some(grant) = self.keys.as_ref().and_then(|keys| keys.get(given)) {
            return if grant.is_good(now) { Ok(grant) } else { Err("the API key has expired".to_owned()) };
        }
        match &self.jwt {
            Some(jwt) => self.token_grant(jwt, given),
            None => Err("the API key is not known".to_owned()),
        }
    }

    fn token_grant(&self, jwt: &Jwt, token: &str) -> Result<Arc<Grant>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = jwt.check(token, now.as_secs_f64())?;
        let named = claims.sub.as_deref().and_then(|name| self.keys.as_ref()?.named(name));
        if let Some(grant) = &named {
            if !grant.is_good(now.as_secs()) {
                return Err("the API key that the token names has expired".to_owned());
            }
            if claims.modules.is_none() {
                return Ok(Arc::clone(grant));
            }
        }
        let (rate, mut allowed) =
            named.map_or_else(Default::default, |grant| (grant.rate, grant.allowed.clone()));
        if let Some(modules) = claims.modules {
            allowed = allowed.narrowed(modules);
        }
        let name = claims.sub.as_deref().unwrap_or("token").into();
        Ok(Arc::new(Grant { name, rate, allowed, expires: None, revoked: Revoked::default() }))
    }

    const fn what_is_needed(&self) -> &'static str {
        match (&self.keys, &self.jwt) {
            (Some(_), None) => {
                "missing API key: send it as Authorization: Bearer KEY, as X-API-Key, or at the end of the path"
            }
            (None, _) => "missing token",
            (Some(_), Some(_)) => "missing API key or token: send it as Authorization: Bearer",
        }
    }
}

impl Allowed {
    /// What is allowed by this and is of these modules.
    fn narrowed(self, modules: BTreeSet<String>) -> Self {
        let of_modules =
            |method: &String| method.split_once('_').is_some_and(|(module, _)| modules.contains(module));
        let mut narrowed = if self == Self::default() {
            Self { modules, methods: BTreeSet::new() }
        } else {
            Self {
                methods: self.methods.into_iter().filter(of_modules).collect(),
                modules: self.modules.intersection(&modules).cloned().collect(),
            }
        };
        if narrowed == Self::default() {
            // Nothing is left, which must not mean everything.
            narrowed.modules.insert(String::new());
        }
        narrowed
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The key at the end of a path: `/KEY`, or `/v1/KEY` as of hosted nodes, behind the prefix that is served.
pub(crate) fn path_key<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?.strip_prefix('/')?;
    let key =
        rest.strip_prefix("v1/").or_else(|| rest.strip_prefix("v2/")).or_else(|| rest.strip_prefix("v3/"));
    let key = key.unwrap_or(rest).trim_end_matches('/');
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_at_the_end_of_the_path() {
        for (prefix, path, expected) in [
            ("", "/", None),
            ("", "/abc", Some("abc")),
            ("", "/v1/abc", Some("abc")),
            ("", "/v3/abc/", Some("abc")),
            ("", "/v1/", None),
            ("", "/a/b", None),
            ("/rpc", "/rpc/abc", Some("abc")),
            ("/rpc", "/rpc", None),
            ("/rpc", "/other/abc", None),
            ("/", "/abc", Some("abc")),
        ] {
            assert_eq!(path_key(prefix, path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn tokens_narrow_what_their_key_allows() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let allowed = Allowed { modules: set(&["eth"]), methods: set(&["net_version"]) };
        let narrowed = allowed.clone().narrowed(set(&["net"]));
        assert!(
            narrowed.allows("net_version")
                && !narrowed.allows("net_listening")
                && !narrowed.allows("eth_call")
        );
        let nothing = allowed.narrowed(set(&["debug"]));
        assert!(!nothing.allows("eth_call") && !nothing.allows("debug_x"));
        assert!(!Allowed::default().narrowed(BTreeSet::new()).allows("eth_call"));
    }
}
