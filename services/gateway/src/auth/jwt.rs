//! JSON Web Tokens by geth's rules for its authenticated port: HS256 with a shared secret of 32 bytes, and an `iat`
//! within a minute of now. What geth leaves out: `sub` names the API key whose limits apply, `modules` narrows what
//! may be called.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How far `iat` may be from now, in seconds.
const MOST_DRIFT: f64 = 60.0;

/// Why a secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("--{flag}: cannot read {}: {reason}", file.display())]
    Read {
        /// The flag.
        flag: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// It holds something else.
    #[error("--{flag}: {} must hold 32 bytes as 64 hexadecimal digits, as openssl rand -hex 32 makes them", file.display())]
    Content {
        /// The flag.
        flag: &'static str,
        /// The file.
        file: PathBuf,
    },
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iat: Option<f64>,
    /// Whose it is.
    pub(super) sub: Option<String>,
    /// The modules that it is for.
    pub(super) modules: Option<BTreeSet<String>>,
}

/// Checks tokens.
pub(crate) struct Jwt {
    key: DecodingKey,
    validation: Validation,
}

impl Jwt {
    /// Reads a secret as geth writes it.
    pub(crate) fn open(flag: &'static str, file: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(file).map_err(|error| SecretError::Read {
            flag,
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        let mut secret = [0; 32];
        alloy_primitives::hex::decode_to_slice(text.trim(), &mut secret)
            .map_err(|_| SecretError::Content { flag, file: file.to_owned() })?;
        Ok(Self::new(&secret))
    }

    fn new(secret: &[u8; 32]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(secret), validation }
    }

    /// What a token says, if it is good at `now`, in seconds since 1970; else what is wrong with it, in geth's words
    /// where geth has some.
    pub(super) fn check(&self, token: &str, now: f64) -> Result<Claims, String> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| reason(error.kind()).to_owned())?.claims;
        let issued = claims.iat.ok_or("missing issued-at")?;
        if issued < now - MOST_DRIFT {
            return Err("stale token".to_owned());
        }
        if issued > now + MOST_DRIFT {
            return Err("future token".to_owned());
        }
        Ok(claims)
    }
}

const fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "token is expired",
        ErrorKind::ImmatureSignature => "token is not valid yet",
        ErrorKind::InvalidSignature => "signature is invalid",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "signing method must be HS256",
        _ => "token is malformed",
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    fn token(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret))
            .expect("a token")
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    fn tokens_are_judged_as_geth_does() {
        let secret = [7; 32];
        let jwt = Jwt::new(&secret);
        let now = now();
        let check = |token: &str| jwt.check(token, now as f64).map(|claims| claims.sub);
        let signed = |claims: Value| token(Algorithm::HS256, &secret, &claims);
        assert_eq!(check(&signed(json!({ "iat": now }))), Ok(None));
        assert_eq!(check(&signed(json!({ "iat": now - 59, "sub": "me" }))), Ok(Some("me".to_owned())));
        assert_eq!(check(&signed(json!({ "iat": now + 59, "exp": now + 600 }))), Ok(None));
        for (claims, expected) in [
            (json!({}), "missing issued-at"),
            (json!({ "iat": now - 62 }), "stale token"),
            (json!({ "iat": now + 62 }), "future token"),
            (json!({ "iat": now, "exp": now - 5 }), "token is expired"),
            (json!({ "iat": now, "nbf": now + 600 }), "token is not valid yet"),
            (json!({ "iat": "now" }), "token is malformed"),
        ] {
            assert_eq!(check(&signed(claims.clone())), Err(expected.to_owned()), "{claims}");
        }
        let claims = json!({ "iat": now });
        assert_eq!(
            check(&token(Algorithm::HS256, &[8; 32], &claims)),
            Err("signature is invalid".to_owned())
        );
        let stronger = token(Algorithm::HS512, &secret, &claims);
        assert_eq!(check(&stronger), Err("signing method must be HS256".to_owned()));
        // {"alg":"none"} and no signature.
        let unsigned = "eyJhbGciOiJub25lIn0.eyJpYXQiOjF9.";
        assert!(check(unsigned).is_err());
        assert_eq!(check("a.b.c"), Err("token is malformed".to_owned()));
    }

    #[test]
    fn secrets_are_geths() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (text, good) in [
            ("0x".to_owned() + &"ab".repeat(32) + "\n", true),
            ("ab".repeat(32), true),
            ("ab".repeat(31), false),
            (String::new(), false),
            ("secret".to_owned(), false),
        ] {
            std::fs::write(file.path(), &text).expect("written");
            let opened = Jwt::open("rpc.jwtsecret", file.path());
            assert_eq!(opened.is_ok(), good, "{text}");
            if let Err(error) = opened {
                assert!(error.to_string().starts_with("--rpc.jwtsecret: "), "{error}");
            }
        }
        assert!(matches!(Jwt::open("x", Path::new("/nowhere/secret")), Err(SecretError::Read { .. })));
        assert!(Duration::from_secs_f64(MOST_DRIFT) == Duration::from_mins(1));
    }
}
