//! Requests to the hub: redirects are followed here, so that the token stays with its endpoint.
//!
//! In: an address at the endpoint. Out: the answer of whoever has the bytes, or a [`Failure`].
//! From https no redirect leads back to http.

use crate::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use ureq::http::{HeaderName, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// Redirects that are followed for a request.
const REDIRECTS: usize = 8;

/// Failed attempts in a row after which a transfer is given up.
pub const RETRIES: u32 = 5;

/// Longest wait that a server may ask for.
const LONGEST_WAIT: u64 = 60;

/// The wait after the first failed attempt; it doubles with every other.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 30_000 });

/// What stays as it is in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why there are no bytes.
#[derive(Debug)]
pub enum Failure {
    /// The server answered with this status.
    Status {
        /// The status.
        code: u16,
        /// How long the server asks to be left alone.
        wait: Option<Duration>,
    },
    /// The network failed, or the transfer was cut off.
    Broken(String),
    /// The server contradicts itself or asks for what is not done.
    Refused(String),
    /// The fault lies on this machine.
    Local(Error),
}

impl Failure {
    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..),
            Self::Broken(_) => true,
            Self::Refused(_) | Self::Local(_) => false,
        }
    }

    /// Waits before attempt number `failures` + 1.
    pub fn wait(&self, failures: u32) {
        let asked = if let Self::Status { wait, .. } = self { *wait } else { None };
        std::thread::sleep(asked.unwrap_or(FIRST_WAIT * 2u32.pow(failures.saturating_sub(1))));
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// Asks one server, and those it redirects to.
pub struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<String>,
}

/// Whom one talks to: the token is for one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    encrypted: bool,
    host: String,
    port: u16,
}

impl Client {
    /// A client of the server at `endpoint`.
    ///
    /// # Errors
    /// The address is not one of http or https; the token is none, or would be sent unencrypted.
    pub fn new(endpoint: &str, token: Option<&str>) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        let refuse =
            |option: &str, reason: String| Error::OptionInvalid { option: option.into(), reason };
        let origin = Uri::try_from(endpoint)
            .map_err(|e| e.to_string())
            .and_then(|uri| Origin::of(&uri))
            .map_err(|reason| refuse("HF_ENDPOINT", format!("{endpoint:?}: {reason}")))?;
        if let Some(token) = token {
            if !token.bytes().all(|b| b.is_ascii_graphic()) {
                let reason = "it has characters that no token has; copy it again".into();
                return Err(refuse("HF_TOKEN", reason));
            }
            if !origin.encrypted && !origin.is_loopback() {
                let reason = format!(
                    "{endpoint} is not encrypted: the access token could be read on the way. Use an https:// address, or unset HF_TOKEN"
                );
                return Err(refuse("HF_ENDPOINT", reason));
            }
        }
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(SILENCE))
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE * 2))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint: endpoint.into(),
            origin,
            token: token.map(str::to_owned),
        })
    }

    /// The address of the list of files.
    pub fn listing_url(&self, repository: &str, revision: &str) -> String {
        let revision = utf8_percent_encode(revision, PLAIN);
        format!("{}/api/models/{repository}/revision/{revision}?blobs=true", self.endpoint)
    }

    /// The address of a file.
    pub fn file_url(&self, repository: &str, commit: &str, name: &str) -> String {
        format!("{}/{repository}/resolve/{commit}/{name}", self.endpoint)
    }

    /// A whole answer of at most `limit` bytes; asks again where the server is busy.
    pub fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let once = || {
            let (body, mut bytes) = (self.get(url, 0)?.into_body(), Vec::new());
            let read = body.into_reader().take(limit + 1).read_to_end(&mut bytes);
            read.map_err(|e| Failure::Broken(e.to_string()))?;
            Ok(bytes)
        };
        let mut failures = 0;
        loop {
            match once() {
                Ok(bytes) if bytes.len() as u64 > limit => {
                    return Err(Failure::Refused(format!("it has more than {limit} bytes")));
                }
                Err(failure @ Failure::Status { .. })
                    if failure.is_passing() && failures < RETRIES =>
                {
                    failures += 1;
                    failure.wait(failures);
                }
                other => return other,
            }
        }
    }

    /// The answer with the bytes from `start` on, or with all of them: that is the server's
    /// choice, see the status.
    pub fn get(&self, url: &str, start: u64) -> Result<Response<Body>, Failure> {
        let range = (start > 0).then(|| (header::RANGE, format!("bytes={start}-")));
        self.follow(url, range.as_slice()).map(|(response, _)| response)
    }

    /// The answer to a request with these headers, and the address that it came from.
    pub fn follow(
        &self,
        url: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<(Response<Body>, Uri), Failure> {
        let mut uri = Uri::try_from(url).map_err(|e| Failure::Refused(e.to_string()))?;
        let mut at_home = true;
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&uri).map_err(Failure::Refused)?;
            // Once led away, the token is not sent again, wherever that leads.
            at_home &= origin == self.origin;
            let mut request = self.agent.get(uri.clone());
            if origin.is_loopback() {
                // A proxy is another machine.
                request = request.config().proxy(None).build();
            }
            if let Some(token) = self.token.as_ref().filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let response = request.call().map_err(|e| Failure::Broken(e.to_string()))?;
            let status = response.status();
            if is_redirect(status) {
                uri = location(&uri, &response).map_err(Failure::Refused)?;
            } else if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                return Ok((response, uri));
            } else {
                let wait = response.headers().get(header::RETRY_AFTER);
                let wait = wait.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                let wait = wait.map(|seconds| Duration::from_secs(seconds.min(LONGEST_WAIT)));
                return Err(Failure::Status { code: status.as_u16(), wait });
            }
        }
        Err(Failure::Refused(format!("it redirects more than {REDIRECTS} times")))
    }
}

impl fmt::Display for Origin {
    /// As the header `Origin` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.encrypted { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Origin {
    /// Of an address of http or https.
    pub fn of(uri: &Uri) -> Result<Self, String> {
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{uri} is no address of http or https")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("{uri} names no host"))?.to_ascii_lowercase();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("{host} is given with a user's name"));
        }
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self { encrypted, host, port })
    }

    /// Whether what is said cannot be read on the way.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        let inner = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || inner.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || inner.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect from `base` leads: from https to https.
fn location<T>(base: &Uri, response: &Response<T>) -> Result<Uri, String> {
    let value = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let value = value.ok_or("it redirects to nowhere")?;
    let value = value.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let has_scheme = |(scheme, _): (&str, &str)| scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    let absolute = if value.split_once("://").is_some_and(has_scheme) {
        value.to_owned()
    } else if value.starts_with("//") {
        format!("{scheme}:{value}")
    } else if value.starts_with('/') {
        format!("{scheme}://{authority}{value}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{value}")
    };
    let next = Uri::try_from(&absolute);
    let next = next.map_err(|e| format!("it redirects to {} ({e})", shown(&absolute)))?;
    if base.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(format!("it redirects from https to {}", shown(&absolute)));
    }
    Ok(next)
}

/// The beginning of a text of the server, for a sentence about it.
pub fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn redirected(base: &Uri, to: &str) -> Result<Uri, String> {
        location(base, &Response::builder().header("location", to).body(()).unwrap())
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let base = Uri::from_static("https://hub.example:8443/a/b?c=d");
        for (value, expected) in [
            ("/x/y?z=/", "https://hub.example:8443/x/y?z=/"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("https://cdn.example/x#part", "https://cdn.example/x"),
            ("y?u=http://z/", "https://hub.example:8443/a/y?u=http://z/"),
        ] {
            let found = redirected(&base, value).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), Ok(expected), "{value}");
        }
        assert!(location(&base, &Response::new(())).is_err());
    }

    #[test]
    fn redirects_stay_encrypted() {
        let base = Uri::from_static("https://hub.example/a");
        for value in ["http://hub.example/a", "HTTP://cdn.example/", "ftp://hub.example/"] {
            let said = redirected(&base, value).unwrap_err();
            assert!(said.contains("from https to"), "{said}");
        }
        let plain = Uri::from_static("http://hub.example/a");
        for value in ["http://cdn.example/", "https://cdn.example/", "/b"] {
            redirected(&plain, value).unwrap();
        }
    }

    #[test]
    fn the_token_is_for_one_origin() {
        let of = |text: &str| Origin::of(&Uri::try_from(text).unwrap());
        assert_eq!(of("https://Hub.example/x"), of("https://hub.example:443/y"));
        for other in ["http://hub.example", "https://hub.example:444", "https://a.hub.example"] {
            assert_ne!(of("https://hub.example"), of(other));
        }
        for bad in ["https://me@hub.example/", "ftp://hub.example/", "/x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        for local in
            ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:80"]
        {
            assert!(of(local).unwrap().is_loopback(), "{local}");
        }
        for far in [
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "http://localhost.example",
            "http://[::2]",
        ] {
            assert!(!of(far).unwrap().is_loopback(), "{far}");
        }
    }
}
